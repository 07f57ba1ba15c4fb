use alloc::{boxed::Box, string::String};
use core::fmt::{self, Write as _};

/// How many characters of an input are kept in an error.
const EXCERPT_CHARS: usize = 40;

/// Why a text from outside was refused.
///
/// Positions count characters from 1, as a person does. What came is kept in [`Given`], which is bounded, printable,
/// and empty for personal data, so that an error can be logged and sent back as it is. Each parser says in which
/// order it checks.
///
/// # Example: personal data stays out of messages
///
/// ```
/// use billing_core::validate::Email;
///
/// let error = "jane doe@example.com".parse::<Email>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "e-mail address has a space at character 5, expected a letter, a digit, another sign of a mailbox name, `.` or `@`"
/// );
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// Too short, or too long.
    #[error("{given} has {got} {}, expected {}", unit(given, *got), Bounds { min: *min, max: *max })]
    Length {
        /// What came.
        given: Given,
        /// Its length: digits for [`Kind::Phone`], characters for the others.
        got: usize,
        /// The least that is allowed.
        min: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// A character that may not stand where it stands.
    #[error("{given} has {} at character {position}, expected {expected}", Sign(*got))]
    Character {
        /// What came.
        given: Given,
        /// Where, counted from 1.
        position: usize,
        /// The character.
        got: char,
        /// What may stand there.
        expected: &'static str,
    },
    /// All characters are right, but some are missing at the end.
    #[error("{given} ends too early, expected {expected}")]
    Ended {
        /// What came.
        given: Given,
        /// What is missing.
        expected: &'static str,
    },
    /// The UUID that is all zeros (RFC 9562, section 5.9): it stands for "no value", which no field here means.
    #[error("{given} is nil, expected the identifier of something")]
    NilUuid {
        /// What came.
        given: Given,
    },
    /// Two letters that ISO 3166-1 has not assigned to a country.
    #[error("{given} names no country in iso 3166-1, expected an assigned code such as `US`")]
    UnknownCountry {
        /// What came.
        given: Given,
    },
    /// The last part of a domain has digits only, as in an IP address (RFC 3696, section 2).
    #[error("{given} ends in a domain part of digits only, expected a name such as `com`")]
    NumericDomain {
        /// What came.
        given: Given,
    },
    /// Zero where the number has to be greater.
    #[error("{given} is zero, expected more than zero")]
    Zero {
        /// What came.
        given: Given,
    },
    /// More digits than can be held exactly. Rounding would change an amount in silence.
    #[error(
        "{given} has more digits than can be held exactly, expected at most 28 after the point and a value below 2^96 without it"
    )]
    TooManyDigits {
        /// What came.
        given: Given,
    },
    /// Not one of a fixed set of values.
    #[error("{given} is not allowed, expected {}{}", OneOf(allowed), Hint(*suggestion))]
    NotAllowed {
        /// What came.
        given: Given,
        /// All that is allowed.
        allowed: &'static [&'static str],
        /// The allowed value that was probably meant.
        suggestion: Option<&'static str>,
    },
}

impl ValidationError {
    /// The kind of fault as a stable word for machines: the variant's name in snake_case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "length",
            Self::Character { .. } => "character",
            Self::Ended { .. } => "ended",
            Self::NilUuid { .. } => "nil_uuid",
            Self::UnknownCountry { .. } => "unknown_country",
            Self::NumericDomain { .. } => "numeric_domain",
            Self::Zero { .. } => "zero",
            Self::TooManyDigits { .. } => "too_many_digits",
            Self::NotAllowed { .. } => "not_allowed",
        }
    }

    /// What came.
    pub fn given(&self) -> &Given {
        match self {
            Self::Length { given, .. }
            | Self::Character { given, .. }
            | Self::Ended { given, .. }
            | Self::NilUuid { given }
            | Self::UnknownCountry { given }
            | Self::NumericDomain { given }
            | Self::Zero { given }
            | Self::TooManyDigits { given }
            | Self::NotAllowed { given, .. } => given,
        }
    }
}

/// What a text was to be.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Kind {
    /// The identifier of [`parse_uuid`](super::parse_uuid).
    Uuid,
    /// An [`Email`](super::Email).
    Email,
    /// The part of an [`Email`](super::Email) before the `@`.
    Mailbox,
    /// One part between the dots of an [`Email`](super::Email)'s domain.
    DomainLabel,
    /// A [`Phone`](super::Phone).
    Phone,
    /// A [`Country`](super::Country).
    Country,
    /// A [`Region`](super::Region).
    Region,
    /// A [`Tag`](super::Tag).
    Tag,
    /// The number of [`positive_decimal`](super::positive_decimal).
    Decimal,
    /// The value of [`boolean`](super::boolean) or [`choice`](super::choice).
    Choice,
}

impl Kind {
    /// Whether an input of this kind names or reaches a person, so that an error must not repeat it.
    pub fn is_personal(self) -> bool {
        match self {
            Self::Email | Self::Mailbox | Self::DomainLabel | Self::Phone => true,
            Self::Uuid | Self::Country | Self::Region | Self::Tag | Self::Decimal | Self::Choice => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Uuid => "uuid",
            Self::Email => "e-mail address",
            Self::Mailbox => "mailbox name of the e-mail address",
            Self::DomainLabel => "domain part of the e-mail address",
            Self::Phone => "phone number",
            Self::Country => "country code",
            Self::Region => "region code",
            Self::Tag => "tag",
            Self::Decimal => "number",
            Self::Choice => "value",
        })
    }
}

/// An input that was refused, as far as an error may repeat it.
///
/// At most 40 characters, then `…`. What does not print (control characters, line breaks, marks that turn the
/// direction of writing) is escaped, as are the backslash and the backtick, so that it can neither forge a log line
/// nor end the backticks around it. Personal data is not kept at all.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Given {
    kind: Kind,
    excerpt: Option<Box<str>>,
}

impl Given {
    pub(super) fn new(kind: Kind, input: &str) -> Self {
        Self {
            kind,
            excerpt: (!kind.is_personal()).then(|| excerpt(input)),
        }
    }

    /// What the input was to be.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The beginning of the input, escaped; `None` if it is personal data.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_deref()
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.excerpt {
            Some(excerpt) => write!(f, "{} `{excerpt}`", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

fn excerpt(input: &str) -> Box<str> {
    let mut kept = String::new();
    let mut rest = input.chars();
    for c in rest.by_ref().take(EXCERPT_CHARS) {
        match c {
            '\'' | '"' => kept.push(c),
            '`' => kept.extend(c.escape_unicode()),
            c => kept.extend(c.escape_debug()),
        }
    }
    if rest.next().is_some() {
        kept.push('…');
    }
    kept.into_boxed_str()
}

fn unit(given: &Given, count: usize) -> &'static str {
    match (given.kind == Kind::Phone, count == 1) {
        (true, true) => "digit",
        (true, false) => "digits",
        (false, true) => "character",
        (false, false) => "characters",
    }
}

struct Bounds {
    min: usize,
    max: usize,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max } = self;
        if min == max {
            write!(f, "{min}")
        } else {
            write!(f, "{min} to {max}")
        }
    }
}

/// A single character so that a person can tell what it is: blanks by name, look-alikes of ASCII by code point.
struct Sign(char);

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ' ' => f.write_str("a space"),
            '\t' => f.write_str("a tab"),
            '\n' | '\r' => f.write_str("a line break"),
            '`' => f.write_str("a backtick"),
            c if c.is_ascii_graphic() => write!(f, "`{c}`"),
            // A combining mark or a control character alone would spoil the line.
            c if c.is_alphanumeric() => write!(f, "`{c}` (U+{:04X})", u32::from(c)),
            c => write!(f, "U+{:04X}", u32::from(c)),
        }
    }
}

struct OneOf(&'static [&'static str]);

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, before)) = self.0.split_last() else {
            return f.write_str("no value at all");
        };
        for (i, value) in before.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}`{value}`")?;
        }
        if !before.is_empty() {
            f.write_str(" or ")?;
        }
        write!(f, "`{last}`")
    }
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "; did you mean `{value}`?"),
            None => Ok(()),
        }
    }
}

/// Writes `text` on one line: control characters and the separators of lines and paragraphs are escaped.
pub(super) fn one_line(text: &dyn fmt::Display) -> String {
    struct OneLine(String);

    impl fmt::Write for OneLine {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            for c in part.chars() {
                if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                    self.0.extend(c.escape_default());
                } else {
                    self.0.push(c);
                }
            }
            Ok(())
        }
    }

    let mut line = OneLine(String::new());
    match write!(line, "{text}") {
        // A `Display` that fails says nothing more; what it wrote until then is what there is to show.
        Ok(()) | Err(fmt::Error) => line.0,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[track_caller]
    fn check_given(kind: Kind, input: &str, expected: &str) {
        assert_eq!(Given::new(kind, input).to_string(), expected);
    }

    #[test]
    fn input_is_cut_escaped_and_hidden_when_personal() {
        check_given(Kind::Tag, "", "tag ``");
        check_given(Kind::Tag, "PCI 'dss'", "tag `PCI 'dss'`");
        check_given(
            Kind::Tag,
            &"x".repeat(40),
            &std::format!("tag `{}`", "x".repeat(40)),
        );
        check_given(
            Kind::Tag,
            &"x".repeat(41),
            &std::format!("tag `{}…`", "x".repeat(40)),
        );
        check_given(
            Kind::Tag,
            &"é".repeat(50),
            &std::format!("tag `{}…`", "é".repeat(40)),
        );
        check_given(Kind::Tag, "a\nb\0\u{1b}[31m", r"tag `a\nb\0\u{1b}[31m`");
        check_given(Kind::Tag, "a\u{202e}b\u{2028}c", r"tag `a\u{202e}b\u{2028}c`");
        check_given(Kind::Tag, r"a`b\c", r"tag `a\u{60}b\\c`");
        check_given(Kind::Email, "jane@example.com", "e-mail address");
        check_given(Kind::Phone, "+15550100", "phone number");
    }

    #[track_caller]
    fn check_sign(c: char, expected: &str) {
        assert_eq!(Sign(c).to_string(), expected);
    }

    #[test]
    fn a_character_is_told_so_that_a_person_knows_it() {
        check_sign('x', "`x`");
        check_sign(' ', "a space");
        check_sign('\t', "a tab");
        check_sign('\r', "a line break");
        check_sign('`', "a backtick");
        check_sign('\0', "U+0000");
        check_sign('\u{a0}', "U+00A0");
        check_sign('\u{202e}', "U+202E");
        check_sign('А', "`А` (U+0410)");
        check_sign('٣', "`٣` (U+0663)");
    }

    #[track_caller]
    fn check_one_of(allowed: &'static [&'static str], expected: &str) {
        assert_eq!(OneOf(allowed).to_string(), expected);
    }

    #[test]
    fn allowed_values_are_listed_as_in_a_sentence() {
        check_one_of(&[], "no value at all");
        check_one_of(&["a"], "`a`");
        check_one_of(&["a", "b"], "`a` or `b`");
        check_one_of(&["a", "b", "c"], "`a`, `b` or `c`");
    }
}
