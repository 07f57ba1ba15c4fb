//! A store in memory, for tests and examples.

mod tables;
mod usage;

use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use billing_core::audit::{AuditEntry, ChainHead};
use billing_core::coupon::Coupon;
use billing_core::credit::LedgerEntry;
use billing_core::credit_note::CreditNote;
use billing_core::id::{
    CouponCode, IdempotencyKey, InvoiceId, JobId, PlanCode, PlanId, ProductCode, SubscriptionId, TenantId,
    TrialFamily,
};
use billing_core::invoice::Invoice;
use billing_core::limit::{
    Consumed, Consumption, Counter, CounterFault, CounterKey, Lease, Reserved, Settled,
};
use billing_core::outbox::{Job, JobResult, JobState, JobStatus, LeasedJob};
use billing_core::plan::Plan;
use billing_core::ports::{
    CommandRecord, Commit, CommitRefusal, CouponState, DueCursor, PlanStored, PortFuture, Store, StoreError,
};
use billing_core::subscription::Subscription;
use billing_core::usage::{Usage, UsageEvent, UsageOutcome, UsageOverflow, UsageQuery};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use self::tables::Tables;

/// A [`Store`] in memory, for tests and examples: nothing survives the process.
///
/// It is the simple model that the other stores are compared with, so it is written to be obviously right, not fast:
/// most reads look at everything. All futures are ready at once, and the work is done when the method is called.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    /// An empty store.
    ///
    /// # Example: shared by engines
    ///
    /// ```
    /// use std::sync::Arc;
    /// use billing::{Billing, MemoryStore, Store, SystemClock};
    ///
    /// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    /// let engines = [0, 1].map(|_| Billing::new(Arc::clone(&store), Arc::new(SystemClock)));
    /// let plans = futures_executor::block_on(engines[1].store().plans())?;
    /// assert!(plans.is_empty());
    /// # Ok::<(), billing::StoreError>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn done<'a, T: Send + 'a>(answer: T) -> PortFuture<'a, Result<T, StoreError>> {
    Box::pin(ready(Ok(answer)))
}

/// An answer that holds a sum.
fn summed<'a, T: Send + 'a>(answer: Result<T, UsageOverflow>) -> PortFuture<'a, Result<T, StoreError>> {
    Box::pin(ready(answer.map_err(|overflow| StoreError::Internal {
        detail: overflow.to_string(),
    })))
}

impl Store for MemoryStore {
    fn commit(
        &self,
        commits: Vec<Commit>,
    ) -> PortFuture<'_, Result<Vec<Result<(), CommitRefusal>>, StoreError>> {
        let mut tables = self.tables();
        done(commits.into_iter().map(|commit| tables.commit(commit)).collect())
    }

    fn command<'a>(
        &'a self,
        tenant_id: TenantId,
        key: &'a IdempotencyKey,
    ) -> PortFuture<'a, Result<Option<CommandRecord>, StoreError>> {
        done(self.tables().commands.get(&(tenant_id, key.clone())).cloned())
    }

    fn put_plan<'a>(&'a self, plan: &'a Plan) -> PortFuture<'a, Result<PlanStored, StoreError>> {
        done(self.tables().put_plan(plan))
    }

    fn set_plan_availability(
        &self,
        id: PlanId,
        is_active: bool,
        discontinued: bool,
    ) -> PortFuture<'_, Result<bool, StoreError>> {
        let mut tables = self.tables();
        let plan = tables.plans.get_mut(&id);
        let found = plan.is_some();
        if let Some(plan) = plan {
            plan.is_active = is_active;
            plan.discontinued = discontinued;
        }
        done(found)
    }

    fn plan(&self, id: PlanId) -> PortFuture<'_, Result<Option<Plan>, StoreError>> {
        done(self.tables().plans.get(&id).cloned())
    }

    fn plan_by_code<'a>(
        &'a self,
        code: &'a PlanCode,
        version: Option<u32>,
    ) -> PortFuture<'a, Result<Option<Plan>, StoreError>> {
        let tables = self.tables();
        let asked =
            |plan: &&Plan| plan.code == *code && version.is_none_or(|version| plan.version == version);
        done(
            tables
                .plans
                .values()
                .filter(asked)
                .max_by_key(|plan| plan.version)
                .cloned(),
        )
    }

    fn plans(&self) -> PortFuture<'_, Result<Vec<Plan>, StoreError>> {
        let mut plans: Vec<Plan> = self.tables().plans.values().cloned().collect();
        plans.sort_by(|a, b| (&a.code, a.version).cmp(&(&b.code, b.version)));
        done(plans)
    }

    fn subscription(&self, id: SubscriptionId) -> PortFuture<'_, Result<Option<Subscription>, StoreError>> {
        done(self.tables().subscriptions.get(&id).cloned())
    }

    fn live_subscription<'a>(
        &'a self,
        tenant_id: TenantId,
        product: &'a ProductCode,
    ) -> PortFuture<'a, Result<Option<Subscription>, StoreError>> {
        done(self.tables().live(tenant_id, product).cloned())
    }

    fn subscriptions_of(&self, tenant_id: TenantId) -> PortFuture<'_, Result<Vec<Subscription>, StoreError>> {
        let tables = self.tables();
        let mut found: Vec<Subscription> = tables
            .subscriptions
            .values()
            .filter(|one| one.tenant_id == tenant_id)
            .cloned()
            .collect();
        found.sort_by_key(|one| (one.created_at, one.id));
        done(found)
    }

    fn due(
        &self,
        until: DateTime<Utc>,
        after: Option<DueCursor>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<Subscription>, StoreError>> {
        let tables = self.tables();
        let mut found: Vec<(DueCursor, &Subscription)> = tables
            .subscriptions
            .values()
            .filter_map(|one| {
                one.next_due()
                    .map(|due_at| (DueCursor { due_at, id: one.id }, one))
            })
            .filter(|(cursor, _)| cursor.due_at <= until && after.is_none_or(|after| *cursor > after))
            .collect();
        found.sort_by_key(|(cursor, _)| *cursor);
        done(
            found
                .into_iter()
                .take(limit)
                .map(|(_, one)| one.clone())
                .collect(),
        )
    }

    fn trial_used<'a>(
        &'a self,
        tenant_id: TenantId,
        family: &'a TrialFamily,
    ) -> PortFuture<'a, Result<bool, StoreError>> {
        done(self.tables().trials.contains(&(tenant_id, family.clone())))
    }

    fn invoice(&self, id: InvoiceId) -> PortFuture<'_, Result<Option<Invoice>, StoreError>> {
        done(self.tables().invoices.get(&id).cloned())
    }

    fn invoices_of(
        &self,
        subscription_id: SubscriptionId,
        after: u32,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<Invoice>, StoreError>> {
        let tables = self.tables();
        let mut found: Vec<Invoice> = tables
            .invoices
            .values()
            .filter(|invoice| invoice.subscription_id == subscription_id && invoice.number > after)
            .cloned()
            .collect();
        found.sort_by_key(|invoice| invoice.number);
        found.truncate(limit);
        done(found)
    }

    fn audit_entries(
        &self,
        subscription_id: SubscriptionId,
        after: u64,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<AuditEntry>, StoreError>> {
        let tables = self.tables();
        let chain = tables.audit.get(&subscription_id);
        let entries = chain.map_or(&[][..], |chain| &chain.entries);
        done(
            entries
                .iter()
                .filter(|entry| entry.sequence > after)
                .take(limit)
                .cloned()
                .collect(),
        )
    }

    fn audit_checkpoint(
        &self,
        subscription_id: SubscriptionId,
    ) -> PortFuture<'_, Result<ChainHead, StoreError>> {
        let tables = self.tables();
        let chain = tables.audit.get(&subscription_id);
        done(chain.map_or_else(ChainHead::default, |chain| chain.checkpoint))
    }

    fn prune_audit(
        &self,
        subscription_id: SubscriptionId,
        before: DateTime<Utc>,
    ) -> PortFuture<'_, Result<u64, StoreError>> {
        done(self.tables().prune_audit(subscription_id, before))
    }

    fn record_usage(
        &self,
        events: Vec<UsageEvent>,
        _recorded_at: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Vec<UsageOutcome>, StoreError>> {
        let mut tables = self.tables();
        done(
            events
                .into_iter()
                .map(|event| tables.record_usage(event))
                .collect(),
        )
    }

    fn counter<'a>(
        &'a self,
        key: &'a CounterKey,
        now: DateTime<Utc>,
    ) -> PortFuture<'a, Result<Counter, StoreError>> {
        summed(self.tables().counter(key, now))
    }

    fn consume(
        &self,
        batch: Vec<Consumption>,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Vec<Consumed>, StoreError>> {
        summed(self.tables().consume(batch, now))
    }

    fn reserve(
        &self,
        lease: Lease,
        hard_limit: Option<Decimal>,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Reserved, StoreError>> {
        summed(self.tables().reserve(lease, hard_limit, now))
    }

    fn settle(&self, event: UsageEvent, _now: DateTime<Utc>) -> PortFuture<'_, Result<Settled, StoreError>> {
        done(self.tables().settle(event))
    }

    fn release<'a>(
        &'a self,
        tenant_id: TenantId,
        key: &'a IdempotencyKey,
    ) -> PortFuture<'a, Result<bool, StoreError>> {
        done(self.tables().release(tenant_id, key))
    }

    fn recount(&self, _tenant_id: TenantId) -> PortFuture<'_, Result<Vec<CounterFault>, StoreError>> {
        // Nothing is kept that could be wrong.
        done(Vec::new())
    }

    fn put_coupon<'a>(&'a self, coupon: &'a Coupon) -> PortFuture<'a, Result<(), StoreError>> {
        let mut tables = self.tables();
        let (kept, _) = tables
            .coupons
            .entry(coupon.code.clone())
            .or_insert_with(|| (coupon.clone(), Vec::new()));
        kept.clone_from(coupon);
        done(())
    }

    fn coupon<'a>(
        &'a self,
        code: &'a CouponCode,
        tenant_id: TenantId,
    ) -> PortFuture<'a, Result<Option<CouponState>, StoreError>> {
        let tables = self.tables();
        done(tables.coupons.get(code).map(|(coupon, redeemed)| CouponState {
            coupon: coupon.clone(),
            redemptions: u32::try_from(redeemed.len()).unwrap_or(u32::MAX),
            redeemed_before: redeemed.contains(&tenant_id),
        }))
    }

    fn credit_ledger(
        &self,
        subscription_id: SubscriptionId,
        after: u64,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
        let tables = self.tables();
        let entries = tables.ledgers.get(&subscription_id).into_iter().flatten();
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        done(entries.skip(after).take(limit).copied().collect())
    }

    fn credit_notes_of(&self, invoice_id: InvoiceId) -> PortFuture<'_, Result<Vec<CreditNote>, StoreError>> {
        let tables = self.tables();
        let of_invoice = tables.notes.iter().filter(|note| note.invoice_id == invoice_id);
        done(of_invoice.cloned().collect())
    }

    fn usage<'a>(&'a self, queries: &'a [UsageQuery<'a>]) -> PortFuture<'a, Result<Vec<Usage>, StoreError>> {
        let tables = self.tables();
        summed(queries.iter().map(|query| tables.usage(query)).collect())
    }

    fn jobs(&self, after: Option<JobId>, limit: usize) -> PortFuture<'_, Result<Vec<Job>, StoreError>> {
        let tables = self.tables();
        let jobs = tables.jobs_after(after).take(limit);
        done(jobs.map(|status| status.job.clone()).collect())
    }

    fn lease_jobs(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<LeasedJob>, StoreError>> {
        let mut tables = self.tables();
        let mut runnable: Vec<_> = tables
            .jobs
            .iter_mut()
            .filter_map(|status| match status.state {
                JobState::Waiting { until } if until <= now => Some((until, status)),
                JobState::Waiting { .. } | JobState::Done { .. } | JobState::Parked { .. } => None,
            })
            .collect();
        runnable.sort_by_key(|(until, _)| *until);
        let leased = runnable.into_iter().take(limit).map(|(_, status)| {
            status.leases += 1;
            status.state = JobState::Waiting { until };
            LeasedJob {
                job: status.job.clone(),
                lease: status.leases,
            }
        });
        done(leased.collect())
    }

    fn extend_lease(
        &self,
        id: JobId,
        lease: u32,
        until: DateTime<Utc>,
    ) -> PortFuture<'_, Result<bool, StoreError>> {
        done(match self.tables().leased(id, lease) {
            Some(status) => {
                status.state = JobState::Waiting { until };
                true
            }
            None => false,
        })
    }

    fn finish_job(
        &self,
        id: JobId,
        lease: u32,
        result: JobResult,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<bool, StoreError>> {
        done(match self.tables().leased(id, lease) {
            Some(status) => {
                (status.state, status.note) = match result {
                    JobResult::Done { note } => (JobState::Done { done_at: now }, note),
                    JobResult::Again { at, because } => (JobState::Waiting { until: at }, because),
                    JobResult::Parked { because } => (JobState::Parked { parked_at: now }, because),
                };
                true
            }
            None => false,
        })
    }

    fn job(&self, id: JobId) -> PortFuture<'_, Result<Option<JobStatus>, StoreError>> {
        let tables = self.tables();
        done(tables.jobs.iter().find(|status| status.job.id == id).cloned())
    }

    fn parked_jobs(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<JobStatus>, StoreError>> {
        let tables = self.tables();
        let is_parked = |status: &&JobStatus| matches!(status.state, JobState::Parked { .. });
        let parked = tables.jobs_after(after).filter(is_parked);
        done(parked.take(limit).cloned().collect())
    }

    fn unpark_job(&self, id: JobId, now: DateTime<Utc>) -> PortFuture<'_, Result<bool, StoreError>> {
        let mut tables = self.tables();
        let found = tables.jobs.iter_mut().find(|status| status.job.id == id);
        let parked = found.filter(|status| matches!(status.state, JobState::Parked { .. }));
        done(match parked {
            Some(status) => {
                status.state = JobState::Waiting { until: now };
                true
            }
            None => false,
        })
    }

    fn prune_jobs(&self, before: DateTime<Utc>) -> PortFuture<'_, Result<u64, StoreError>> {
        let mut tables = self.tables();
        let kept = tables.jobs.len();
        tables
            .jobs
            .retain(|status| !matches!(status.state, JobState::Done { done_at } if done_at < before));
        done((kept - tables.jobs.len()) as u64)
    }
}
