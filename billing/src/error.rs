//! Why the engine could not do what was asked.

use billing_core::aggregation::Aggregation;
use billing_core::audit::ChainFault;
use billing_core::id::{
    CouponCode, IdempotencyKey, InvoiceId, MeterCode, PlanCode, PlanId, SubscriptionId, TenantId,
};
use billing_core::ports::{CommitRefusal, StoreError};
use billing_core::subscription::Rejection;
use billing_core::tax::TaxError;
use billing_core::usage::UsageRefusal;
use billing_core::validate::Faults;
use chrono::{DateTime, TimeDelta, Utc};

use crate::QuoteInput;

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
    /// Nothing can be used in such a quantity.
    #[error(transparent)]
    Quantity(UsageRefusal),
    /// No subscription of the tenant that is current measures this.
    #[error("no current subscription of tenant `{tenant_id}` measures `{meter}`")]
    NotMetered {
        /// Who.
        tenant_id: TenantId,
        /// What.
        meter: MeterCode,
    },
    /// Nothing can be held of a meter whose events do not add up: a hold is a part of a sum or of a count.
    #[error("nothing can be held of `{meter}`, which is {aggregation}: expected a sum or a count")]
    NotReservable {
        /// What.
        meter: MeterCode,
        /// How its events become one quantity.
        aggregation: Aggregation,
    },
    /// A lease must last for some time, and for a day at most.
    #[error("a lease must last for more than no time and at most a day, got {lease}")]
    LeaseLength {
        /// What came.
        lease: TimeDelta,
    },
    /// A quote is good for some time, and for a day at most.
    #[error("a quote must be good for more than no time and at most a day, got {valid_for}")]
    QuoteLength {
        /// What came.
        valid_for: TimeDelta,
    },
    /// Nothing is due, so there is nothing to quote.
    #[error("nothing is due, so there is nothing to quote")]
    NothingToDo,
    /// The quote is not good now.
    #[error("the quote is good from {at} until {expires_at}, a day at most; now it is {now}")]
    QuoteExpired {
        /// From when on it is good.
        at: DateTime<Utc>,
        /// Until when.
        expires_at: DateTime<Utc>,
        /// The engine's time.
        now: DateTime<Utc>,
    },
    /// Something that the quote was computed from is another now, so it would charge what it did not show.
    #[error("the quote does not hold any more, since these have changed: {changed:?}")]
    QuoteChanged {
        /// What.
        changed: Vec<QuoteInput>,
    },
    /// There is no such coupon.
    #[error("no coupon `{code}`")]
    UnknownCoupon {
        /// What came.
        code: CouponCode,
    },
    /// A coupon has faults: all of them.
    #[error("coupon `{code}` is not valid: {faults}")]
    InvalidCoupon {
        /// The coupon.
        code: CouponCode,
        /// Each with its path.
        faults: Faults,
    },
    /// The tax that falls on the tenant has faults: all of them. Nothing was billed.
    #[error("the tax of tenant `{tenant_id}` is not valid: {faults}")]
    InvalidTax {
        /// Who.
        tenant_id: TenantId,
        /// Each with its path.
        faults: Faults,
    },
    /// Which tax falls on the tenant is not known, so nothing was billed.
    #[error(transparent)]
    Tax(#[from] TaxError),
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
    ///
    /// # Example: busy is, refused is not
    ///
    /// ```
    /// use billing::core::id::PlanId;
    /// use billing::{Error, StoreError};
    ///
    /// let busy = Error::Store(StoreError::Busy { detail: "database is locked".into() });
    /// let unknown = Error::UnknownPlan { id: PlanId::new(uuid::Uuid::from_u128(1)) };
    /// assert!(busy.is_transient() && !unknown.is_transient());
    /// ```
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Contended { .. } => true,
            Self::Store(error) => error.is_transient(),
            Self::Tax(error) => error.is_transient(),
            Self::UnknownSubscription { .. }
            | Self::UnknownPlan { .. }
            | Self::UnknownInvoice { .. }
            | Self::Quantity(_)
            | Self::NotMetered { .. }
            | Self::NotReservable { .. }
            | Self::UnknownCoupon { .. }
            | Self::InvalidCoupon { .. }
            | Self::InvalidTax { .. }
            | Self::LeaseLength { .. }
            | Self::QuoteLength { .. }
            | Self::NothingToDo
            | Self::QuoteExpired { .. }
            | Self::QuoteChanged { .. }
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
