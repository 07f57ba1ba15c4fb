//! Why the engine could not do what was asked.

use billing_core::audit::ChainFault;
use billing_core::id::{IdempotencyKey, InvoiceId, PlanCode, PlanId, SubscriptionId};
use billing_core::ports::{CommitRefusal, StoreError};
use billing_core::subscription::Rejection;
use billing_core::validate::Faults;

/// Why the engine could not do what was asked. Nothing has changed. When several apply, the first listed is returned.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such subscription.
    #[error("unknown subscription `{id}`")]
    UnknownSubscription {
        /// What came.
        id: SubscriptionId,
    },
    /// There is no such plan.
    #[error("unknown plan `{id}`")]
    UnknownPlan {
        /// What came.
        id: PlanId,
    },
    /// There is no such invoice.
    #[error("unknown invoice `{id}`")]
    UnknownInvoice {
        /// What came.
        id: InvoiceId,
    },
    /// The idempotency key was used for something else.
    #[error("idempotency key `{key}` was used before for another command")]
    KeyReused {
        /// The key.
        key: IdempotencyKey,
    },
    /// A plan has faults: all of them.
    #[error("plan `{code}` is not valid: {faults}")]
    InvalidPlan {
        /// The plan.
        code: PlanCode,
        /// Each with its path.
        faults: Faults,
    },
    /// A plan version that subscriptions use cannot change; make the next version.
    #[error("plan `{code}` version {version} is in use and cannot change")]
    PlanInUse {
        /// The plan.
        code: PlanCode,
        /// Its version.
        version: u32,
    },
    /// Another plan has this code and version.
    #[error("plan `{code}` version {version} exists as `{by}`")]
    PlanVersionTaken {
        /// The code.
        code: PlanCode,
        /// The version.
        version: u32,
        /// The plan that has it.
        by: PlanId,
    },
    /// The command was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Others kept changing the same subscription; the command may be repeated with the same key.
    #[error("gave up after {attempts} attempts: the subscription kept changing")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The store refused a commit for another reason than a race: it holds what core would not have decided.
    #[error("the store refused the commit: {0}")]
    Refused(CommitRefusal),
    /// An audit chain was tampered with.
    #[error("audit chain of subscription `{id}`: {fault}")]
    AuditChain {
        /// Whose.
        id: SubscriptionId,
        /// The first fault.
        fault: ChainFault,
    },
    /// The store could not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Contended { .. } => true,
            Self::Store(error) => error.is_transient(),
            Self::UnknownSubscription { .. }
            | Self::UnknownPlan { .. }
            | Self::UnknownInvoice { .. }
            | Self::KeyReused { .. }
            | Self::InvalidPlan { .. }
            | Self::PlanInUse { .. }
            | Self::PlanVersionTaken { .. }
            | Self::Rejected(_)
            | Self::Refused(_)
            | Self::AuditChain { .. } => false,
        }
    }
}
