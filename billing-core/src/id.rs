//! Typed ids and codes: the names by which everything else is found.
//!
//! Ids are UUIDs made by the engine (version 7), never by core: core has no clock and no randomness.
//! Codes are names that people choose and see.

use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use uuid::Uuid;

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(Uuid);

        impl $name {
            /// Names `uuid` as an id of this kind.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id without its kind.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

typed_id! {
    /// A tenant: the customer of the product that embeds the engine.
    TenantId
}
typed_id! {
    /// One version of a plan.
    PlanId
}
typed_id! {
    /// A subscription of one tenant to one plan.
    SubscriptionId
}
typed_id! {
    /// An invoice.
    InvoiceId
}
typed_id! {
    /// A stored payment method. Core never sees the card, only that there is one.
    PaymentMethodId
}
typed_id! {
    /// A job in the outbox.
    JobId
}
typed_id! {
    /// A grant of prepaid credit.
    GrantId
}
typed_id! {
    /// A credit note.
    CreditNoteId
}

/// Why a code or key was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Nothing came.
    #[error("expected 1 to {max} characters, got none")]
    Empty {
        /// The most characters that this kind may have.
        max: usize,
    },
    /// More came than the kind may have.
    #[error("expected at most {max} characters, got {found}")]
    TooLong {
        /// The most bytes that this kind may have.
        max: usize,
        /// How many bytes came.
        found: usize,
    },
    /// A character that the kind does not take.
    #[error("character `{}` at position {position} is not allowed, expected {expected}", character.escape_default())]
    Character {
        /// What came.
        character: char,
        /// Where, counted in characters from 1.
        position: usize,
        /// What the kind takes.
        expected: &'static str,
    },
}

fn checked(
    text: &str,
    max: usize,
    expected: &'static str,
    accept: fn(char) -> bool,
) -> Result<Arc<str>, CodeError> {
    if text.is_empty() {
        return Err(CodeError::Empty { max });
    }
    if text.len() > max {
        return Err(CodeError::TooLong {
            max,
            found: text.len(),
        });
    }
    if let Some((index, character)) = text.chars().enumerate().find(|(_, c)| !accept(*c)) {
        return Err(CodeError::Character {
            character,
            position: index.saturating_add(1),
            expected,
        });
    }
    Ok(Arc::from(text))
}

macro_rules! code {
    ($(#[$doc:meta])* $name:ident, $max:literal, $expected:expr, $accept:expr) => {
        $(#[$doc])*
        ///
        /// Cheap to clone: clones share the text.
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize, serde::Deserialize),
            serde(try_from = "alloc::string::String", into = "alloc::string::String")
        )]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` as it is; nothing is trimmed or folded.
            ///
            /// # Errors
            ///
            /// In order: [`CodeError::Empty`], [`CodeError::TooLong`], [`CodeError::Character`].
            pub fn new(text: &str) -> Result<Self, CodeError> {
                checked(text, $max, $expected, $accept).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = CodeError;

            fn from_str(text: &str) -> Result<Self, CodeError> {
                Self::new(text)
            }
        }

        impl TryFrom<alloc::string::String> for $name {
            type Error = CodeError;

            fn try_from(text: alloc::string::String) -> Result<Self, CodeError> {
                Self::new(&text)
            }
        }

        impl From<$name> for alloc::string::String {
            fn from(code: $name) -> Self {
                Self::from(&*code.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

const CODE: &str = "ASCII letters, digits, `.`, `_`, `:` or `-`";

fn is_code(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-')
}

code! {
    /// The code of a plan; its versions share it. 1 to 64 ASCII letters, digits, `.`, `_`, `:` or `-`.
    PlanCode, 64, CODE, is_code
}
code! {
    /// The product line of a plan: a tenant holds at most one live subscription of each. Same form as a [`PlanCode`].
    ProductCode, 64, CODE, is_code
}
code! {
    /// Plans that share one trial. Same form as a [`PlanCode`].
    TrialFamily, 64, CODE, is_code
}
code! {
    /// What a plan grants or withholds. Same form as a [`PlanCode`].
    FeatureCode, 64, CODE, is_code
}
code! {
    /// What is measured. Same form as a [`PlanCode`].
    MeterCode, 64, CODE, is_code
}
code! {
    /// What is sold beside a plan. Same form as a [`PlanCode`].
    AddOnCode, 64, CODE, is_code
}
code! {
    /// What a customer enters for a discount; upper and lower case differ. Same form as a [`PlanCode`].
    CouponCode, 64, CODE, is_code
}
code! {
    /// A series of invoice numbers, such as that of one legal entity. Same form as a [`PlanCode`].
    SeriesCode, 64, CODE, is_code
}
code! {
    /// Tells a repeated request from a new one. 1 to 255 visible ASCII characters.
    ///
    /// Scoped by tenant. Source: the `Idempotency-Key` header draft of the IETF httpapi group, and its common limit.
    IdempotencyKey, 255, "visible ASCII characters", |c| c.is_ascii_graphic()
}

code! {
    /// What a user may do, such as `subscription:cancel`. Same form as a [`PlanCode`].
    Permission, 64, CODE, is_code
}
code! {
    /// By which a payment or a refund is found again at its provider: chosen by us, before anything is sent. 1 to 100 ASCII letters,
    /// digits, `-` or `.`, which is what every provider takes (Paystack: `-`, `.`, `=` and alphanumeric).
    PaymentReference, 100, "ASCII letters, digits, `-` or `.`", |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')
}
code! {
    /// Who acts, as the host names them: a user id, a service name. 1 to 128 visible ASCII characters.
    ActorName, 128, "visible ASCII characters", |c| c.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_code_takes_its_own_characters_only_and_says_where_it_went_wrong() {
        assert_eq!(MeterCode::new("G95F.JR_T:C-1").unwrap().as_str(), "G95F.JR_T:C-1");
        assert_eq!(
            MeterCode::new("").unwrap_err().to_string(),
            "expected 1 to 64 characters, got none"
        );
        assert_eq!(
            MeterCode::new(&"x".repeat(65)).unwrap_err().to_string(),
            "expected at most 64 characters, got 65"
        );
        assert_eq!(
            MeterCode::new("api calls").unwrap_err().to_string(),
            "character ` ` at position 4 is not allowed, expected ASCII letters, digits, `.`, `_`, `:` or `-`"
        );
        assert_eq!(
            IdempotencyKey::new("a\u{7}").unwrap_err().to_string(),
            "character `\\u{7}` at position 2 is not allowed, expected visible ASCII characters"
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_code_is_checked_when_it_is_read() {
        assert!(serde_json::from_str::<PlanCode>("\"pro\"").is_ok());
        assert!(serde_json::from_str::<PlanCode>("\"p r o\"").is_err());
    }
}
