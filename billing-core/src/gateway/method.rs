use alloc::string::String;
use core::fmt;

use crate::id::{CodeError, PaymentMethodId, TenantId};
use crate::ports::{PortFuture, StoreError};
use crate::validate::{Country, Email};

/// The longest token that a provider is known to give has 64 bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// What a provider charges a stored payment method by. Whoever has it, with our key, can take money.
///
/// `Debug` does not show it, there is no `Display`, and serde does not know it: it leaves only by [`expose`](Self::expose).
///
/// ```
/// use billing_core::gateway::MethodToken;
///
/// let token = MethodToken::new("AUTH_pmx3mgawyd").unwrap();
/// assert_eq!(format!("{token:?}"), "MethodToken(***)");
/// assert_eq!(token.expose(), "AUTH_pmx3mgawyd");
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct MethodToken(String);

impl MethodToken {
    /// Takes a token of 1 to 512 visible ASCII characters.
    ///
    /// # Errors
    ///
    /// In order: [`CodeError::Empty`], [`CodeError::TooLong`], [`CodeError::Character`], which does not tell the character.
    pub fn new(text: &str) -> Result<Self, CodeError> {
        let max = TOKEN_BYTES_MAX;
        if text.is_empty() {
            return Err(CodeError::Empty { max });
        }
        if text.len() > max {
            return Err(CodeError::TooLong {
                max,
                found: text.len(),
            });
        }
        if let Some(index) = text.chars().position(|c| !c.is_ascii_graphic()) {
            return Err(CodeError::Character {
                character: '*',
                position: index.saturating_add(1),
                expected: "visible ASCII characters",
            });
        }
        Ok(Self(text.into()))
    }

    /// The token, to send to its provider or to encrypt.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MethodToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MethodToken(***)")
    }
}

/// A stored payment method, with what its provider wants to see beside the token.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a request: an engine must fill in what is added"
)]
pub struct StoredMethod {
    /// Its token.
    pub token: MethodToken,
    /// The address that the customer had when the token was made: Paystack refuses it with another.
    pub email: Email,
    /// Where it was issued, if known.
    pub country: Option<Country>,
}

/// Where the payment methods are kept: the only place that knows a token by the id that a subscription has.
pub trait PaymentMethodVault: Send + Sync + fmt::Debug {
    /// A tenant's payment method; none when there is none of that id, or it is another tenant's.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn find(
        &self,
        tenant_id: TenantId,
        id: PaymentMethodId,
    ) -> PortFuture<'_, Result<Option<StoredMethod>, StoreError>>;
}

/// Whose payment methods.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a request: an engine must fill in what is added"
)]
pub struct MethodsQuery {
    /// Who.
    pub tenant_id: TenantId,
    /// By which the provider knows them.
    pub email: Email,
}

/// What a payment method is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a kind is added"
)]
pub enum MethodKind {
    /// A card.
    Card,
    /// A bank account.
    BankAccount,
    /// A wallet on a phone.
    MobileMoney,
    /// Anything else.
    Other,
}

/// A payment method that may be charged, as its provider tells of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct UsableMethod {
    /// How to charge it.
    pub method: StoredMethod,
    /// What it is.
    pub kind: MethodKind,
    /// Such as `visa`, if known.
    pub brand: Option<String>,
    /// The last four digits, if known.
    pub last4: Option<String>,
    /// The year and month (1 to 12) at whose end it expires, if it does.
    pub expires: Option<(i32, u32)>,
}

/// Whether a payment method may be charged.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an engine must fail to compile when one is added"
)]
pub enum MethodCheck {
    /// It may.
    Usable,
    /// It has expired.
    Expired {
        /// At the end of this year and month.
        expires: (i32, u32),
    },
    /// The provider does not know it, or does not charge it again.
    Unusable {
        /// `unknown` or `not_reusable`.
        code: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_is_not_told() {
        assert_eq!(MethodToken::new(""), Err(CodeError::Empty { max: 512 }));
        assert_eq!(
            MethodToken::new(&"x".repeat(513)),
            Err(CodeError::TooLong { max: 512, found: 513 })
        );
        assert_eq!(
            MethodToken::new("a\u{e9}"),
            Err(CodeError::Character {
                character: '*',
                position: 2,
                expected: "visible ASCII characters"
            })
        );
    }
}
