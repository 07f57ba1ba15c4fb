//! Text in a page: escaped, whoever wrote it.

use alloc::string::String;
use core::fmt::{self, Write as _};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// A day, as ISO 8601.
pub(super) struct Date(pub(super) DateTime<Utc>, pub(super) Tz);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.with_timezone(&self.1).date_naive().fmt(f)
    }
}

/// Small print below a text; nothing if there is none.
pub(super) struct Small<'a>(pub(super) &'a str);

impl fmt::Display for Small<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            text => write!(f, "<small><bdi>{}</bdi></small>", Text(text)),
        }
    }
}

/// Text that stays text, in an element and in a quoted attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' | '\n' => f.write_char(c)?,
                // HTML, 13.2.3.5: a document must not have them.
                c if c.is_control()
                    || u32::from(c) & 0xFFFE == 0xFFFE
                    || ('\u{FDD0}'..='\u{FDEF}').contains(&c) =>
                {
                    f.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Appends to `out`. Writing to a `String` does not fail.
pub(super) fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
