use alloc::sync::Arc;
use core::{borrow::Borrow, fmt, str::FromStr};

use super::error::{Given, Kind, ValidationError};

const CHARS_MAX: usize = 64;

/// A compliance or industry tag, such as `pci-dss` or `health_care`: 1 to 64 of a-z, 0-9, `_` and `-`, a letter first.
///
/// Lower case only, so that the same tag is not written in two ways. Cheap to clone.
///
/// # Source
///
/// Our own: the form that goes unchanged through URLs, JSON keys, and the names of a policy language.
///
/// # Example: upper case is refused, not lowered
///
/// ```
/// use billing_core::validate::Tag;
///
/// assert_eq!("pci-dss".parse::<Tag>().unwrap().as_str(), "pci-dss");
/// assert_eq!(
///     "pci-DSS".parse::<Tag>().unwrap_err().to_string(),
///     "tag `pci-DSS` has `D` at character 5, expected a lower-case letter, a digit, `_` or `-`"
/// );
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ValidationError;

    /// # Errors
    ///
    /// In order: [`ValidationError::Length`], [`ValidationError::Character`] for the first that is wrong.
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let given = || Given::new(Kind::Tag, text);
        let length = text.chars().count();
        if !(1..=CHARS_MAX).contains(&length) {
            return Err(ValidationError::Length {
                given: given(),
                got: length,
                min: 1,
                max: CHARS_MAX,
            });
        }
        for (position, got) in (1..).zip(text.chars()) {
            let expected = match (position, got) {
                (_, 'a'..='z') | (2.., '0'..='9' | '_' | '-') => continue,
                (..=1, _) => "a lower-case letter",
                (2.., _) => "a lower-case letter, a digit, `_` or `-`",
            };
            return Err(ValidationError::Character {
                given: given(),
                position,
                got,
                expected,
            });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", self.0)
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lets a set of tags be asked with a `&str`.
impl Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(feature = "serde")]
super::text::serde_as_text!(Tag, "a tag such as `pci-dss`");

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, format, string::ToString as _};

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let parsed = text.parse::<Tag>();
        if let Ok(tag) = &parsed {
            assert_eq!(tag.to_string(), text);
        }
        assert_eq!(
            parsed.map(drop).map_err(|error| error.to_string()),
            expected.map_err(Into::into)
        );
    }

    #[test]
    fn tags_are_short_lower_case_words() {
        check("a", Ok(()));
        check("pci-dss", Ok(()));
        check("soc_2", Ok(()));
        check("a-_9-", Ok(()));
        check(&"a".repeat(64), Ok(()));
        check("", Err("tag `` has 0 characters, expected 1 to 64"));
        check(
            &"a".repeat(65),
            Err(&format!(
                "tag `{}…` has 65 characters, expected 1 to 64",
                "a".repeat(40)
            )),
        );
        check(
            "1a",
            Err("tag `1a` has `1` at character 1, expected a lower-case letter"),
        );
        check(
            "_a",
            Err("tag `_a` has `_` at character 1, expected a lower-case letter"),
        );
        check(
            "A",
            Err("tag `A` has `A` at character 1, expected a lower-case letter"),
        );
        check(
            " a",
            Err("tag ` a` has a space at character 1, expected a lower-case letter"),
        );
        check(
            "a ",
            Err("tag `a ` has a space at character 2, expected a lower-case letter, a digit, `_` or `-`"),
        );
        check(
            "a\n",
            Err(
                r"tag `a\n` has a line break at character 2, expected a lower-case letter, a digit, `_` or `-`",
            ),
        );
        check(
            "aé",
            Err(
                "tag `aé` has `é` (U+00E9) at character 2, expected a lower-case letter, a digit, `_` or `-`",
            ),
        );
    }

    #[test]
    fn a_set_of_tags_is_asked_with_text() {
        let tags: BTreeSet<Tag> = ["soc_2", "gdpr"].map(|tag| tag.parse().unwrap()).into();
        assert!(tags.contains("gdpr") && !tags.contains("hipaa"));
        assert_eq!(format!("{tags:?}"), "{Tag(gdpr), Tag(soc_2)}");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept_whole(text in "\\PC*|[a-z0-9_-]{0,70}|(?s).*") {
            if let Ok(tag) = text.parse::<Tag>() {
                prop_assert_eq!(tag.to_string(), text);
            }
        }

        #[test]
        fn what_the_rule_allows_is_accepted(text in "[a-z][a-z0-9_-]{0,63}") {
            prop_assert!(text.parse::<Tag>().is_ok());
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_is_the_text_and_is_checked() {
        let tag: Tag = serde_json::from_str(r#""pci-dss""#).unwrap();
        assert_eq!(serde_json::to_string(&tag).unwrap(), r#""pci-dss""#);
        let error = serde_json::from_str::<Tag>(r#""9""#).unwrap_err().to_string();
        assert!(
            error.starts_with("tag `9` has `9` at character 1, expected a lower-case letter"),
            "{error}"
        );
        let error = serde_json::from_str::<Tag>("9").unwrap_err().to_string();
        assert!(error.contains("expected a tag such as `pci-dss`"), "{error}");
    }
}
