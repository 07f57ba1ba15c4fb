//! The port to whoever knows the tenants and their users: profile, permissions, tokens.
//!
//! **An answer tells how old it is.** Where the service cannot be asked, an adapter may give the last good answer it had, within
//! a limit; [`Answer::age`] says so, and what must be sure looks at it. That a token is good is never answered from memory: it
//! may have been revoked since.

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::gateway::Health;
use crate::id::{ActorName, Permission, TenantId};
use crate::plan::TenantProfile;
use crate::ports::PortFuture;

/// A future that an [`IdentityDirectory`] returns.
pub type IdentityFuture<'a, T> = PortFuture<'a, Result<T, IdentityError>>;

/// Knows tenants and their users.
pub trait IdentityDirectory: Send + Sync + fmt::Debug {
    /// Who a tenant is: region, industry, compliance tags.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], when there is no last good answer that is young enough either.
    fn tenant(&self, tenant_id: TenantId) -> IdentityFuture<'_, Answer<TenantRecord>>;

    /// What a user may do in a tenant; nothing, when the user does not belong to it.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], when there is no last good answer that is young enough either.
    fn permissions<'a>(
        &'a self,
        tenant_id: TenantId,
        user: &'a ActorName,
    ) -> IdentityFuture<'a, Answer<BTreeSet<Permission>>>;

    /// Whether an access token is good, and whose it is. Never answered from memory.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]: then nobody knows, and the token is not to be taken.
    fn verify_token<'a>(&'a self, token: &'a AccessToken) -> IdentityFuture<'a, TokenVerdict>;

    /// Whether the service can be reached, by asking it. The breaker does not stop this call, and is told of it.
    fn health(&self) -> PortFuture<'_, Health>;
}

/// An answer, and how old it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Answer<T> {
    /// What was said.
    pub value: T,
    /// How long ago, if the service could not be asked now; none for what it has just said.
    pub age: Option<TimeDelta>,
}

impl<T> Answer<T> {
    /// What the service has just said.
    pub const fn fresh(value: T) -> Self {
        Self { value, age: None }
    }

    /// Whether it is the last good answer instead of one of now.
    pub const fn is_stale(&self) -> bool {
        self.age.is_some()
    }
}

/// A tenant, as the identity service knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct TenantRecord {
    /// Who.
    pub tenant_id: TenantId,
    /// What it is called, for people.
    pub name: String,
    /// What decides which plans it may have.
    pub profile: TenantProfile,
    /// Whether its users may come in at all.
    pub is_active: bool,
}

/// A token by which a user comes in. `Debug` does not show it, there is no `Display`, and serde does not know it.
#[derive(Clone, Eq, PartialEq)]
pub struct AccessToken(String);

impl AccessToken {
    /// Takes a token as it came; whether it is one is for the service to say.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The token, to send to the service.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(***)")
    }
}

/// What the service says of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a host must fail to compile when one is added"
)]
pub enum TokenVerdict {
    /// It is good.
    Valid {
        /// Whose.
        user: ActorName,
        /// In which tenant, if it is of one.
        tenant_id: Option<TenantId>,
        /// Until when.
        expires_at: DateTime<Utc>,
    },
    /// It is not.
    Invalid {
        /// Why: the service's code, such as `expired` or `revoked`.
        code: String,
    },
}

/// Why the identity service gave no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The breaker lets no call pass.
    #[error("the identity service is not asked before {until}, since it failed too often")]
    BreakerOpen {
        /// When it is worth to ask again.
        until: DateTime<Utc>,
    },
    /// It could not be reached, or did not answer as documented.
    #[error("the identity service did not answer: {code}")]
    Unavailable {
        /// A short code, such as `timeout`.
        code: &'static str,
    },
    /// It asks for fewer calls.
    #[error("the identity service asks for fewer calls")]
    TooManyCalls {
        /// How long it asks to be left alone, if it says so.
        retry_after: Option<TimeDelta>,
    },
    /// There is no such tenant.
    #[error("the identity service knows no tenant `{tenant_id}`")]
    UnknownTenant {
        /// Who.
        tenant_id: TenantId,
    },
    /// It did not take our credentials.
    #[error("the identity service refused our credentials")]
    Unauthorized,
    /// It refused the request as such.
    #[error("the identity service refused the request: {code}")]
    Refused {
        /// Its code.
        code: String,
    },
}

impl IdentityError {
    /// Whether the same call may succeed later without anybody's doing.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::BreakerOpen { .. } | Self::Unavailable { .. } | Self::TooManyCalls { .. } => true,
            Self::UnknownTenant { .. } | Self::Unauthorized | Self::Refused { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn an_answer_from_memory_is_marked() {
        assert!(!Answer::fresh(1).is_stale());
        let old = Answer {
            value: 1,
            age: Some(TimeDelta::zero()),
        };
        assert!(old.is_stale());
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = AccessToken::new("eyJhbGciOi");
        assert_eq!(format!("{token:?}"), "AccessToken(***)");
        assert_eq!(token.expose(), "eyJhbGciOi");
    }

    #[test]
    fn only_what_passes_by_itself_is_transient() {
        assert!(IdentityError::Unavailable { code: "timeout" }.is_transient());
        assert!(!IdentityError::Unauthorized.is_transient());
    }
}
