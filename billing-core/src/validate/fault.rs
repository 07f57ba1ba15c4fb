use alloc::{format, string::String, vec, vec::Vec};
use core::{error::Error, fmt};

use super::error::{ValidationError, one_line};

/// One thing that is wrong with a value that has several parts.
///
/// Path and message are on one line each: line breaks and control characters are escaped on the way in.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Fault {
    /// The part, from the outside in, such as `meters.api.tiers[2].up_to`; empty for the value as a whole.
    pub path: String,
    /// The kind of fault as a word for machines, in snake_case. It stays the same when the message is reworded.
    pub code: &'static str,
    /// What is wrong, for a person.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Everything that is wrong with a value, in the order in which it was found.
///
/// Checks go on after the first fault, so that a person who writes a plan sees all of them at once. As JSON a list of
/// [`Fault`].
///
/// # Example: faults of a part are set under its path
///
/// ```
/// use billing_core::validate::{Faults, Tag, positive_decimal};
///
/// let mut meter = Faults::default();
/// let price = meter.keep("unit_price", positive_decimal("0"));
/// meter.push("tiers", "no_tiers", "expected at least one tier");
///
/// let mut plan = Faults::default();
/// let tag = plan.keep("tags[0]", "pci-dss".parse::<Tag>());
/// plan.at("meters.api", meter);
///
/// assert!(price.is_none() && tag.is_some());
/// assert_eq!(
///     plan.into_result().unwrap_err().to_string(),
///     "meters.api.unit_price: number `0` is zero, expected more than zero; \
///      meters.api.tiers: expected at least one tier"
/// );
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault; see the fields of [`Fault`].
    pub fn push(&mut self, path: impl fmt::Display, code: &'static str, message: impl fmt::Display) {
        self.0.push(Fault {
            path: one_line(&path),
            code,
            message: one_line(&message),
        });
    }

    /// The value that was parsed, or a fault at `path` that says why there is none.
    pub fn keep<T>(&mut self, path: impl fmt::Display, parsed: Result<T, ValidationError>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(path, error.code(), &error);
                None
            }
        }
    }

    /// Adds the faults of a part, each with `path` before its own.
    pub fn at(&mut self, path: impl fmt::Display, faults: Self) {
        let outer = one_line(&path);
        for Fault {
            path: inner,
            code,
            message,
        } in faults.0
        {
            let path = if outer.is_empty() || inner.is_empty() || inner.starts_with('[') {
                format!("{outer}{inner}")
            } else {
                format!("{outer}.{inner}")
            };
            self.0.push(Fault { path, code, message });
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults so far.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// Success if nothing is wrong.
    ///
    /// # Errors
    ///
    /// The faults, at least one.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no faults");
        }
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Error for Faults {}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = core::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::validate::{boolean, positive_decimal};

    fn one(path: &str) -> Faults {
        let mut faults = Faults::default();
        faults.push(path, "code", "message");
        faults
    }

    #[track_caller]
    fn check_at(outer: &str, inner: &str, expected: &str) {
        let mut faults = Faults::default();
        faults.at(outer, one(inner));
        assert_eq!(faults.as_slice()[0].path, expected);
        assert_eq!(faults.as_slice()[0].code, "code");
    }

    #[test]
    fn paths_join_from_the_outside_in() {
        check_at("meters.api", "tiers", "meters.api.tiers");
        check_at("tiers", "[2].up_to", "tiers[2].up_to");
        check_at("name", "", "name");
        check_at("", "name", "name");
        check_at("", "", "");
        check_at("a\nb", "c", "a\\nb.c");
    }

    #[test]
    fn all_faults_are_told_in_order_on_one_line() {
        let mut faults = Faults::default();
        assert_eq!(faults.to_string(), "no faults");
        faults.push("a", "x", "first\nline");
        faults.push("", "y", "whole");
        faults.push(format_args!("meters[{}]", 3), "z", "last\u{1b}");
        assert_eq!(
            faults.to_string(),
            r"a: first\nline; whole; meters[3]: last\u{1b}"
        );
        assert_eq!(
            faults.into_iter().map(|fault| fault.code).collect::<Vec<_>>(),
            ["x", "y", "z"]
        );
    }

    #[test]
    fn parsed_values_are_kept_and_refusals_noted() {
        let mut faults = Faults::default();
        assert_eq!(faults.keep("a", boolean("true")), Some(true));
        assert_eq!(faults.clone().into_result(), Ok(()));
        assert_eq!(faults.keep("b", positive_decimal("0")), None);
        assert_eq!(faults.as_slice()[0].code, "zero");
        assert_eq!(faults.clone().into_result(), Err(faults));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn faults_are_a_list_as_json() {
        assert_eq!(
            serde_json::to_string(&one("a.b")).unwrap(),
            r#"[{"path":"a.b","code":"code","message":"message"}]"#
        );
    }
}
