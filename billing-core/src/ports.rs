//! What the engine needs of the world: a store that commits decisions whole, and a clock.
//!
//! Ports return boxed futures, so that an engine holds them as `Arc<dyn Port>` and no runtime is prescribed.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::pin::Pin;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::audit::{AuditEntry, ChainHead, Digest};
use crate::coupon::Coupon;
use crate::credit::LedgerEntry;
use crate::credit_note::CreditNote;
use crate::id::{
    CouponCode, CreditNoteId, IdempotencyKey, InvoiceId, JobId, PlanCode, PlanId, ProductCode,
    SubscriptionId, TenantId, TrialFamily,
};
use crate::invoice::Invoice;
use crate::limit::{Consumed, Consumption, Counter, CounterFault, CounterKey, Lease, Reserved, Settled};
use crate::outbox::{Job, JobResult, JobStatus, LeasedJob};
use crate::plan::Plan;
use crate::subscription::{Decision, Subscription};
use crate::usage::{Usage, UsageEvent, UsageOutcome, UsageQuery};

/// A future that a port returns. It needs no particular runtime.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The only source of time. Core never reads it; the engine passes on what it says.
pub trait Clock: Send + Sync + Debug {
    /// The time, in whole microseconds, since that is what every store keeps.
    fn now(&self) -> DateTime<Utc>;
}

/// Keeps plans, subscriptions, usage, invoices, the audit trail and the outbox.
///
/// One contract suite runs against every store (`tests/` in the repository). What is returned was committed: a store
/// never shows a part of a commit.
pub trait Store: Send + Sync + Debug {
    /// Commits decisions in one durable transaction, in order.
    ///
    /// An invoice whose series is named gets the next number of it, in the same transaction: numbers begin with 1 and have no
    /// gap, also where a commit is refused.
    ///
    /// Each commit stands for itself: one that is refused leaves no trace and does not hinder the others. The answers
    /// come in the order of the commits.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the transaction failed: then nothing of any of them was committed.
    fn commit(
        &self,
        commits: Vec<Commit>,
    ) -> PortFuture<'_, Result<Vec<Result<(), CommitRefusal>>, StoreError>>;

    /// The answer that was recorded for a command, if there is one.
    fn command<'a>(
        &'a self,
        tenant_id: TenantId,
        key: &'a IdempotencyKey,
    ) -> PortFuture<'a, Result<Option<CommandRecord>, StoreError>>;

    /// Keeps a plan version, or replaces one that no subscription has used yet. A plan that a change is
    /// [scheduled](Subscription::scheduled_plan) to counts as used.
    fn put_plan<'a>(&'a self, plan: &'a Plan) -> PortFuture<'a, Result<PlanStored, StoreError>>;

    /// Sets who may come in to a plan version; `false` when there is no such plan.
    fn set_plan_availability(
        &self,
        id: PlanId,
        is_active: bool,
        discontinued: bool,
    ) -> PortFuture<'_, Result<bool, StoreError>>;

    /// A plan version by its id.
    fn plan(&self, id: PlanId) -> PortFuture<'_, Result<Option<Plan>, StoreError>>;

    /// A plan version by its code; the newest without a version.
    fn plan_by_code<'a>(
        &'a self,
        code: &'a PlanCode,
        version: Option<u32>,
    ) -> PortFuture<'a, Result<Option<Plan>, StoreError>>;

    /// All plan versions, by code and version.
    fn plans(&self) -> PortFuture<'_, Result<Vec<Plan>, StoreError>>;

    /// A subscription by its id.
    fn subscription(&self, id: SubscriptionId) -> PortFuture<'_, Result<Option<Subscription>, StoreError>>;

    /// A tenant's live subscription of a product: at most one.
    fn live_subscription<'a>(
        &'a self,
        tenant_id: TenantId,
        product: &'a ProductCode,
    ) -> PortFuture<'a, Result<Option<Subscription>, StoreError>>;

    /// All subscriptions of a tenant, live or not, oldest first.
    fn subscriptions_of(&self, tenant_id: TenantId) -> PortFuture<'_, Result<Vec<Subscription>, StoreError>>;

    /// Subscriptions whose [`next_due`](Subscription::next_due) is at or before `until`, by that instant and id, at
    /// most `limit`, beginning after `after`.
    fn due(
        &self,
        until: DateTime<Utc>,
        after: Option<DueCursor>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<Subscription>, StoreError>>;

    /// Whether the trial ledger has the tenant and the family.
    fn trial_used<'a>(
        &'a self,
        tenant_id: TenantId,
        family: &'a TrialFamily,
    ) -> PortFuture<'a, Result<bool, StoreError>>;

    /// An invoice by its id.
    fn invoice(&self, id: InvoiceId) -> PortFuture<'_, Result<Option<Invoice>, StoreError>>;

    /// The invoices of a subscription by number, beginning after number `after`, at most `limit`.
    fn invoices_of(
        &self,
        subscription_id: SubscriptionId,
        after: u32,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<Invoice>, StoreError>>;

    /// The audit entries of a subscription by sequence, beginning after `after`, at most `limit`.
    fn audit_entries(
        &self,
        subscription_id: SubscriptionId,
        after: u64,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<AuditEntry>, StoreError>>;

    /// Where the kept part of an audit chain begins: [`ChainHead::default`] before a first clean-up.
    fn audit_checkpoint(
        &self,
        subscription_id: SubscriptionId,
    ) -> PortFuture<'_, Result<ChainHead, StoreError>>;

    /// Removes the entries of a chain before the first one at or after `before`, never its last one, and leaves a
    /// checkpoint, in one transaction. Returns how many were removed.
    fn prune_audit(
        &self,
        subscription_id: SubscriptionId,
        before: DateTime<Utc>,
    ) -> PortFuture<'_, Result<u64, StoreError>>;

    /// Records usage events in one durable transaction; one answer per event, in order.
    ///
    /// An event whose tenant and key are known is answered by [`UsageEvent::compare`], also within the batch. The
    /// events were [checked](UsageEvent::check) before.
    fn record_usage(
        &self,
        events: Vec<UsageEvent>,
        recorded_at: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Vec<UsageOutcome>, StoreError>>;

    /// What a window of a meter has used up and what leases hold at `now`.
    ///
    /// The first time that a window is asked for it is counted from the events; from then on the counter is kept by
    /// every transaction that records one.
    fn counter<'a>(
        &'a self,
        key: &'a CounterKey,
        now: DateTime<Utc>,
    ) -> PortFuture<'a, Result<Counter, StoreError>>;

    /// Records events that stay within their limits, all of them or none, in one durable transaction; one answer per
    /// event, in order. A later event of the batch sees the earlier ones counted.
    ///
    /// The events were [checked](UsageEvent::check) before.
    fn consume(
        &self,
        batch: Vec<Consumption>,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Vec<Consumed>, StoreError>>;

    /// Holds a quantity if it stays within `hard_limit`.
    fn reserve(
        &self,
        lease: Lease,
        hard_limit: Option<Decimal>,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Reserved, StoreError>>;

    /// Ends the lease that has the event's tenant and key, and records the event. A lease is remembered for a week at least
    /// after its time is over.
    fn settle(&self, event: UsageEvent, now: DateTime<Utc>) -> PortFuture<'_, Result<Settled, StoreError>>;

    /// Ends a lease without usage; `false` when there is none, or it was settled or released before.
    fn release<'a>(
        &'a self,
        tenant_id: TenantId,
        key: &'a IdempotencyKey,
    ) -> PortFuture<'a, Result<bool, StoreError>>;

    /// Recounts every counter of a tenant from the events and returns those that were wrong. They are right afterwards.
    fn recount(&self, tenant_id: TenantId) -> PortFuture<'_, Result<Vec<CounterFault>, StoreError>>;

    /// What each query finds, in order, all in one snapshot: what [`UsageQuery::answer`] says of all there is.
    fn usage<'a>(&'a self, queries: &'a [UsageQuery<'a>]) -> PortFuture<'a, Result<Vec<Usage>, StoreError>>;

    /// Keeps a coupon, or what it says from now on. How often it was redeemed stays, and so do the discounts that it has left.
    fn put_coupon<'a>(&'a self, coupon: &'a Coupon) -> PortFuture<'a, Result<(), StoreError>>;

    /// A coupon, and what is known of its redemptions.
    fn coupon<'a>(
        &'a self,
        code: &'a CouponCode,
        tenant_id: TenantId,
    ) -> PortFuture<'a, Result<Option<CouponState>, StoreError>>;

    /// What became of the prepaid credit of a subscription, in order, beginning after entry number `after`, at most `limit`.
    fn credit_ledger(
        &self,
        subscription_id: SubscriptionId,
        after: u64,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<LedgerEntry>, StoreError>>;

    /// The credit notes of an invoice, by number.
    fn credit_notes_of(&self, invoice_id: InvoiceId) -> PortFuture<'_, Result<Vec<CreditNote>, StoreError>>;

    /// Jobs of the outbox in the order of their commits, beginning after `after`, at most `limit`.
    fn jobs(&self, after: Option<JobId>, limit: usize) -> PortFuture<'_, Result<Vec<Job>, StoreError>>;

    /// Takes jobs that may be taken at `now`, the longest waiting first, at most `limit`: nobody else gets them before `until`,
    /// unless they are finished sooner.
    fn lease_jobs(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<LeasedJob>, StoreError>>;

    /// Moves the end of a lease; `false` when it was lost: the job was taken again, or finished.
    fn extend_lease(
        &self,
        id: JobId,
        lease: u32,
        until: DateTime<Utc>,
    ) -> PortFuture<'_, Result<bool, StoreError>>;

    /// Keeps what a worker made of a job; `false`, and nothing changed, when its lease was lost.
    fn finish_job(
        &self,
        id: JobId,
        lease: u32,
        result: JobResult,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<bool, StoreError>>;

    /// Where a job stands.
    fn job(&self, id: JobId) -> PortFuture<'_, Result<Option<JobStatus>, StoreError>>;

    /// Parked jobs in the order of their commits, beginning after `after`, at most `limit`.
    fn parked_jobs(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<JobStatus>, StoreError>>;

    /// Lets a parked job be taken again from `now` on; `false` when it is not parked.
    fn unpark_job(&self, id: JobId, now: DateTime<Utc>) -> PortFuture<'_, Result<bool, StoreError>>;

    /// Removes jobs that were performed before `before`; how many.
    fn prune_jobs(&self, before: DateTime<Utc>) -> PortFuture<'_, Result<u64, StoreError>>;
}

/// A coupon, and what is known of its redemptions.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what a store knows")]
pub struct CouponState {
    /// The coupon.
    pub coupon: Coupon,
    /// How often it was redeemed.
    pub redemptions: u32,
    /// Whether the tenant redeemed it.
    pub redeemed_before: bool,
}

/// A decision and what is committed with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Commit {
    /// The version that the decision was made from, 0 for a creation: anything else there is a conflict.
    pub expected_version: u64,
    /// The decision. Its effects are in `jobs`.
    pub decision: Decision,
    /// The decision's effects as jobs.
    pub jobs: Vec<Job>,
    /// What to answer when the command is repeated; none for a step of a sweep.
    pub command: Option<CommandRecord>,
}

/// A command that was carried out, and what was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandRecord {
    /// Whose key it is.
    pub tenant_id: TenantId,
    /// The key.
    pub key: IdempotencyKey,
    /// A hash of what was asked.
    pub fingerprint: Digest,
    /// The answer, as JSON.
    pub answer: String,
    /// When.
    pub recorded_at: DateTime<Utc>,
}

/// Where a page of [`Store::due`] ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DueCursor {
    /// When the last one was due.
    pub due_at: DateTime<Utc>,
    /// Its id.
    pub id: SubscriptionId,
}

/// What became of a plan that was to be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the engine must fail to compile when an outcome is added"
)]
pub enum PlanStored {
    /// It was not there.
    Created,
    /// It was there with the same content.
    Unchanged,
    /// It was there with other content, and not used yet.
    Replaced,
    /// It is there with other terms and a subscription uses it, or used it; nothing has changed.
    InUse,
    /// Another plan has its code and version; nothing has changed.
    VersionTaken {
        /// That plan.
        by: PlanId,
    },
}

/// Why a commit was refused: something else was committed since its facts were read. It left no trace.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitRefusal {
    /// The command's key was recorded meanwhile.
    #[error("command `{key}` was carried out meanwhile")]
    CommandExists {
        /// The key.
        key: IdempotencyKey,
    },
    /// The subscription has another version.
    #[error("subscription `{id}` has version {found}, expected {expected}")]
    VersionConflict {
        /// Which subscription.
        id: SubscriptionId,
        /// The version that the decision was made from.
        expected: u64,
        /// The version that is there; 0 for none.
        found: u64,
    },
    /// The tenant has a live subscription of the product.
    #[error("tenant `{tenant_id}` has a live subscription of product `{product}`")]
    LiveExists {
        /// The tenant.
        tenant_id: TenantId,
        /// The product.
        product: ProductCode,
    },
    /// The trial was granted meanwhile.
    #[error("tenant `{tenant_id}` had the trial `{family}`")]
    TrialExists {
        /// The tenant.
        tenant_id: TenantId,
        /// The family.
        family: TrialFamily,
    },
    /// The coupon was redeemed as often as it may be, by anybody or by the tenant.
    #[error("coupon `{code}` was redeemed meanwhile as often as it may be")]
    CouponSpent {
        /// Which.
        code: CouponCode,
    },
    /// The subscription has an invoice with this number, or one that buys the same period.
    #[error("invoice {number} of subscription `{subscription_id}`, or one for its period, exists")]
    InvoiceExists {
        /// Which subscription.
        subscription_id: SubscriptionId,
        /// The number.
        number: u32,
    },
    /// A credit note has this id.
    #[error("credit note `{id}` exists")]
    CreditNoteExists {
        /// Which.
        id: CreditNoteId,
    },
    /// An invoice that was to be closed is not there, or was closed already.
    #[error("invoice `{invoice_id}` is not there or was closed meanwhile")]
    InvoiceNotOpen {
        /// Which.
        invoice_id: InvoiceId,
    },
}

impl CommitRefusal {
    /// Whether somebody else was faster, so that deciding anew from fresh state helps. An invoice that is there, or not
    /// open, although the version is the expected one is no race: the store holds what core would not have decided.
    pub const fn is_race(&self) -> bool {
        match self {
            Self::CommandExists { .. }
            | Self::VersionConflict { .. }
            | Self::LiveExists { .. }
            | Self::TrialExists { .. }
            | Self::CouponSpent { .. } => true,
            Self::InvoiceExists { .. } | Self::CreditNoteExists { .. } | Self::InvoiceNotOpen { .. } => false,
        }
    }
}

/// Why a store could not do what was asked. Nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the lock for longer than the store waits.
    #[error("the store is busy: {detail}")]
    Busy {
        /// What the driver said.
        detail: String,
    },
    /// There is no space left.
    #[error("the store is full: {detail}")]
    Full {
        /// What the driver said.
        detail: String,
    },
    /// The store can be read only.
    #[error("the store is read-only: {detail}")]
    ReadOnly {
        /// What the driver said.
        detail: String,
    },
    /// Reading or writing failed below the store.
    #[error("the store failed to read or write: {detail}")]
    Io {
        /// What the driver said.
        detail: String,
    },
    /// What is there is not a store of this kind.
    #[error("`{path}` is not a billing store: {detail}")]
    NotAStore {
        /// Where.
        path: String,
        /// What was found.
        detail: String,
    },
    /// A newer program wrote the store.
    #[error("`{path}` has schema version {found}, this program knows up to {supported}")]
    NewerSchema {
        /// Where.
        path: String,
        /// The version that is there.
        found: u32,
        /// The newest that this program knows.
        supported: u32,
    },
    /// What is stored cannot be read back.
    #[error("the store holds damaged data: {detail}")]
    Damaged {
        /// What and where.
        detail: String,
    },
    /// The store was closed, or its writer has stopped.
    #[error("the store is closed")]
    Closed,
    /// Anything else: a fault of the store.
    #[error("the store failed: {detail}")]
    Internal {
        /// What the driver said.
        detail: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody's doing.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::Io { .. }
            | Self::NotAStore { .. }
            | Self::NewerSchema { .. }
            | Self::Damaged { .. }
            | Self::Closed
            | Self::Internal { .. } => false,
        }
    }
}
