//! A store in memory, for tests and examples.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use billing_core::audit::{AuditEntry, ChainHead};
use billing_core::coupon::Coupon;
use billing_core::credit::LedgerEntry;
use billing_core::credit_note::CreditNote;
use billing_core::id::{
    CouponCode, IdempotencyKey, InvoiceId, JobId, PlanCode, PlanId, ProductCode, SeriesCode, SubscriptionId,
    TenantId, TrialFamily,
};
use billing_core::invoice::{Invoice, InvoiceKind, InvoiceStatus};
use billing_core::limit::{
    Consumed, Consumption, Counter, CounterFault, CounterKey, Lease, Reserved, Settled,
};
use billing_core::outbox::{Job, JobResult, JobState, JobStatus, LeasedJob};
use billing_core::plan::Plan;
use billing_core::ports::{
    CommandRecord, Commit, CommitRefusal, CouponState, DueCursor, PlanStored, PortFuture, Store, StoreError,
};
use billing_core::subscription::{CouponRedemption, Decision, InvoiceClosed, Subscription};
use billing_core::usage::{
    BilledWindow, Usage, UsageEvent, UsageField, UsageOutcome, UsageOverflow, UsageQuery, UsageRefusal,
    add_quantities,
};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

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

#[derive(Debug, Default)]
struct Tables {
    plans: BTreeMap<PlanId, Plan>,
    /// Plans that a subscription uses or used.
    used_plans: BTreeSet<PlanId>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    commands: BTreeMap<(TenantId, IdempotencyKey), CommandRecord>,
    trials: BTreeSet<(TenantId, TrialFamily)>,
    invoices: BTreeMap<InvoiceId, Invoice>,
    audit: BTreeMap<SubscriptionId, Chain>,
    /// In the order of their commits.
    jobs: Vec<JobStatus>,
    /// In the order in which they were recorded: the place of an event, from 1, is what a watermark counts.
    usage: Vec<UsageEvent>,
    leases: BTreeMap<(TenantId, IdempotencyKey), (Lease, LeaseState)>,
    billed: Vec<(SubscriptionId, BilledWindow)>,
    /// The last number of each series.
    series: BTreeMap<SeriesCode, u64>,
    /// With who redeemed them.
    coupons: BTreeMap<CouponCode, (Coupon, Vec<TenantId>)>,
    ledgers: BTreeMap<SubscriptionId, Vec<LedgerEntry>>,
    notes: Vec<CreditNote>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LeaseState {
    Held,
    Settled,
    Released,
}

/// What is kept of an audit chain.
#[derive(Debug, Default)]
struct Chain {
    checkpoint: ChainHead,
    entries: Vec<AuditEntry>,
}

impl Tables {
    fn commit(&mut self, commit: Commit) -> Result<(), CommitRefusal> {
        self.check(&commit)?;
        let Commit {
            expected_version: _,
            decision,
            jobs,
            command,
        } = commit;
        let Decision {
            next,
            audit,
            opened,
            closed,
            billed,
            ledger,
            note,
            redemption,
            trial,
            // They are in `jobs`, with their ids.
            effects: _,
        } = decision;
        for InvoiceClosed { invoice_id, state } in closed {
            if let Some(invoice) = self.invoices.get_mut(&invoice_id) {
                invoice.state = state;
            }
        }
        self.billed.extend(billed.map(|billed| (next.id, billed)));
        if let Some(mut invoice) = opened {
            if let Some(serial) = &mut invoice.serial {
                let last = self.series.entry(serial.series.clone()).or_default();
                *last += 1;
                serial.number = *last;
            }
            self.invoices.insert(invoice.id, invoice);
        }
        self.ledgers.entry(next.id).or_default().extend(ledger);
        self.notes.extend(note);
        if let Some(redemption) = redemption
            && let Some((_, redeemed)) = self.coupons.get_mut(&redemption.code)
        {
            redeemed.push(redemption.tenant_id);
        }
        self.trials
            .extend(trial.map(|trial| (trial.tenant_id, trial.family)));
        self.commands
            .extend(command.map(|command| ((command.tenant_id, command.key.clone()), command)));
        for job in jobs {
            let key = job.effect.idempotency_key();
            if self
                .jobs
                .iter()
                .all(|kept| kept.job.effect.idempotency_key() != key)
            {
                let until = job.created_at;
                self.jobs.push(JobStatus {
                    job,
                    leases: 0,
                    state: JobState::Waiting { until },
                    note: String::new(),
                });
            }
        }
        self.audit.entry(next.id).or_default().entries.extend(audit);
        self.used_plans.insert(next.plan_id);
        self.used_plans.extend(next.scheduled_plan());
        self.subscriptions.insert(next.id, next);
        Ok(())
    }

    /// The jobs after one, in the order of their commits. After one that is not there (any more) the list begins at the start.
    fn jobs_after(&self, after: Option<JobId>) -> impl Iterator<Item = &JobStatus> {
        let place = after.and_then(|after| self.jobs.iter().position(|status| status.job.id == after));
        self.jobs.iter().skip(place.map_or(0, |place| place + 1))
    }

    /// The job that is held by a lease, unless that was lost.
    fn leased(&mut self, id: JobId, lease: u32) -> Option<&mut JobStatus> {
        self.jobs.iter_mut().find(|status| {
            status.job.id == id && status.leases == lease && matches!(status.state, JobState::Waiting { .. })
        })
    }

    /// The refusals, in the order in which [`CommitRefusal`] lists them.
    fn check(&self, commit: &Commit) -> Result<(), CommitRefusal> {
        let Commit {
            expected_version,
            decision,
            command,
            jobs: _,
        } = commit;
        let next = &decision.next;
        if let Some(command) = command
            && self
                .commands
                .contains_key(&(command.tenant_id, command.key.clone()))
        {
            return Err(CommitRefusal::CommandExists {
                key: command.key.clone(),
            });
        }
        let found = self
            .subscriptions
            .get(&next.id)
            .map_or(0, |current| current.version);
        if found != *expected_version {
            return Err(CommitRefusal::VersionConflict {
                id: next.id,
                expected: *expected_version,
                found,
            });
        }
        let live = self.live(next.tenant_id, &next.product);
        if next.is_live() && live.is_some_and(|live| live.id != next.id) {
            return Err(CommitRefusal::LiveExists {
                tenant_id: next.tenant_id,
                product: next.product.clone(),
            });
        }
        if let Some(trial) = &decision.trial
            && self.trials.contains(&(trial.tenant_id, trial.family.clone()))
        {
            return Err(CommitRefusal::TrialExists {
                tenant_id: trial.tenant_id,
                family: trial.family.clone(),
            });
        }
        if let Some(CouponRedemption { code, tenant_id }) = &decision.redemption {
            let is_open = self.coupons.get(code).is_some_and(|(coupon, redeemed)| {
                let is_spent = coupon
                    .redemptions_max
                    .is_some_and(|max| count(redeemed.len()) >= max.into());
                let was_redeemed = coupon.once_per_tenant && redeemed.contains(tenant_id);
                !is_spent && !was_redeemed
            });
            if !is_open {
                return Err(CommitRefusal::CouponSpent { code: code.clone() });
            }
        }
        let voided = |kept: &Invoice| {
            is_void(&kept.state)
                || decision
                    .closed
                    .iter()
                    .any(|closed| closed.invoice_id == kept.id && is_void(&closed.state))
        };
        if let Some(opened) = &decision.opened
            && self.invoices.values().any(|kept| {
                same_number(kept, opened) || (same_period(kept, opened) && !voided(kept) && !voided(opened))
            })
        {
            return Err(CommitRefusal::InvoiceExists {
                subscription_id: opened.subscription_id,
                number: opened.number,
            });
        }
        if let Some(note) = &decision.note
            && self.notes.iter().any(|kept| kept.id == note.id)
        {
            return Err(CommitRefusal::CreditNoteExists { id: note.id });
        }
        for InvoiceClosed { invoice_id, state } in &decision.closed {
            let open = self
                .invoices
                .get(invoice_id)
                .is_some_and(|invoice| may_close(&invoice.state, state));
            if !open {
                return Err(CommitRefusal::InvoiceNotOpen {
                    invoice_id: *invoice_id,
                });
            }
        }
        Ok(())
    }

    fn live(&self, tenant_id: TenantId, product: &ProductCode) -> Option<&Subscription> {
        self.subscriptions
            .values()
            .find(|one| one.is_live() && one.tenant_id == tenant_id && one.product == *product)
    }

    fn put_plan(&mut self, plan: &Plan) -> PlanStored {
        let taken = self
            .plans
            .values()
            .find(|other| other.id != plan.id && (&other.code, other.version) == (&plan.code, plan.version));
        let stored = match (taken, self.plans.get(&plan.id)) {
            (Some(other), _) => PlanStored::VersionTaken { by: other.id },
            (None, None) => PlanStored::Created,
            (None, Some(known)) if known == plan => PlanStored::Unchanged,
            (None, Some(known)) if self.used_plans.contains(&plan.id) => {
                // Who may come in is not changed here: a catalogue that is put again at every start must not reopen
                // what an operator has closed since.
                if known.has_same_terms(plan) {
                    PlanStored::Unchanged
                } else {
                    PlanStored::InUse
                }
            }
            (None, Some(_)) => PlanStored::Replaced,
        };
        match stored {
            PlanStored::Created | PlanStored::Replaced => {
                self.plans.insert(plan.id, plan.clone());
            }
            PlanStored::Unchanged | PlanStored::InUse | PlanStored::VersionTaken { .. } => {}
        }
        stored
    }

    fn record_usage(&mut self, event: UsageEvent) -> UsageOutcome {
        if let Some(known) = self.known(&event) {
            return event.compare(known);
        }
        self.usage.push(event);
        UsageOutcome::Accepted
    }

    /// The event that has the tenant and key of `event`.
    fn known(&self, event: &UsageEvent) -> Option<&UsageEvent> {
        self.usage.iter().find(|known| {
            (known.tenant_id, &known.idempotency_key) == (event.tenant_id, &event.idempotency_key)
        })
    }

    /// Counted anew each time: what a store that keeps counters must agree with.
    fn counter(&self, key: &CounterKey, now: DateTime<Utc>) -> Result<Counter, UsageOverflow> {
        let mut counter = Counter::default();
        let of_meter = |event: &&UsageEvent| (event.tenant_id, &event.meter) == (key.tenant_id, &key.meter);
        let mut events: Vec<_> = self.usage.iter().filter(of_meter).collect();
        // A stable sort: of those at one instant the one that was recorded last is the last.
        events.sort_by_key(|event| event.occurred_at);
        for event in events {
            if key.window.contains(event.occurred_at) {
                counter.record(&key.aggregation, event.quantity, true)?;
            } else if key.aggregation.carries_over() && event.occurred_at < key.window.start {
                counter.used = event.quantity;
            }
        }
        for (lease, state) in self.leases.values() {
            let in_window = lease.window.start < key.window.end && lease.expires_at > key.window.start;
            if (lease.tenant_id, &lease.meter) == (key.tenant_id, &key.meter)
                && in_window
                && *state == LeaseState::Held
                && lease.expires_at > now
            {
                counter.reserved = add_quantities(counter.reserved, lease.quantity)?;
            }
        }
        Ok(counter)
    }

    fn consume(
        &mut self,
        batch: Vec<Consumption>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Consumed>, UsageOverflow> {
        let before = self.usage.len();
        let mut consumed = self.consume_each(batch, now);
        match &mut consumed {
            Ok(outcomes) if !outcomes.iter().any(Consumed::is_refusal) => {}
            Ok(outcomes) => {
                self.usage.truncate(before);
                for outcome in outcomes {
                    if matches!(outcome, Consumed::Accepted(_)) {
                        *outcome = Consumed::Withheld;
                    }
                }
            }
            Err(_) => self.usage.truncate(before),
        }
        consumed
    }

    fn consume_each(
        &mut self,
        batch: Vec<Consumption>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Consumed>, UsageOverflow> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for Consumption {
            event,
            window,
            aggregation,
            hard_limit,
        } in batch
        {
            let key = CounterKey {
                tenant_id: event.tenant_id,
                meter: event.meter.clone(),
                window,
                aggregation,
            };
            let counter = self.counter(&key, now)?;
            let quantity = key.aggregation.counted(event.quantity);
            let admitted = counter.admits(&key.aggregation, quantity, hard_limit)?;
            let known = self.known(&event).map(|known| event.compare(known));
            outcomes.push(match known {
                Some(UsageOutcome::Refused(refusal)) => Consumed::Refused(refusal),
                Some(UsageOutcome::Duplicate | UsageOutcome::Accepted | UsageOutcome::Late { .. }) => {
                    Consumed::Duplicate(counter)
                }
                None if admitted => {
                    self.usage.push(event);
                    Consumed::Accepted(counter)
                }
                None => Consumed::OverLimit(counter),
            });
        }
        Ok(outcomes)
    }

    fn reserve(
        &mut self,
        lease: Lease,
        hard_limit: Option<Decimal>,
        now: DateTime<Utc>,
    ) -> Result<Reserved, UsageOverflow> {
        let key = CounterKey {
            tenant_id: lease.tenant_id,
            meter: lease.meter.clone(),
            window: lease.window,
            aggregation: lease.aggregation.clone(),
        };
        let counter = self.counter(&key, now)?;
        let name = (lease.tenant_id, lease.key.clone());
        let is_recorded = self
            .usage
            .iter()
            .any(|event| (event.tenant_id, &event.idempotency_key) == (lease.tenant_id, &lease.key));
        Ok(match self.leases.get(&name) {
            Some((known, _)) if (&known.meter, known.quantity) != (&lease.meter, lease.quantity) => {
                Reserved::KeyReused
            }
            Some((known, LeaseState::Held)) if known.expires_at > now => Reserved::Duplicate(counter),
            Some(_) => Reserved::Ended,
            None if is_recorded => Reserved::KeyReused,
            None if counter.admits(&lease.aggregation, lease.quantity, hard_limit)? => {
                self.leases.insert(name, (lease, LeaseState::Held));
                Reserved::Held(counter)
            }
            None => Reserved::OverLimit(counter),
        })
    }

    fn settle(&mut self, event: UsageEvent) -> Settled {
        let name = (event.tenant_id, event.idempotency_key.clone());
        match self.leases.get(&name) {
            None => match self.known(&event) {
                Some(known) => Settled::Recorded(event.compare(known)),
                None => Settled::Unknown,
            },
            Some((lease, _)) if lease.meter != event.meter => {
                Settled::Recorded(UsageOutcome::Refused(UsageRefusal::KeyReused {
                    idempotency_key: event.idempotency_key,
                    field: UsageField::Meter,
                }))
            }
            Some((_, LeaseState::Released)) => Settled::Released,
            Some((_, LeaseState::Held | LeaseState::Settled)) => {
                let outcome = self.record_usage(event);
                if let Some((_, state)) = self.leases.get_mut(&name)
                    && !matches!(outcome, UsageOutcome::Refused(_))
                {
                    *state = LeaseState::Settled;
                }
                Settled::Recorded(outcome)
            }
        }
    }

    fn release(&mut self, tenant_id: TenantId, key: &IdempotencyKey) -> bool {
        match self.leases.get_mut(&(tenant_id, key.clone())) {
            Some((_, state @ LeaseState::Held)) => {
                *state = LeaseState::Released;
                true
            }
            Some((_, LeaseState::Settled | LeaseState::Released)) | None => false,
        }
    }

    fn usage(&self, query: &UsageQuery<'_>) -> Result<Usage, UsageOverflow> {
        let recorded = (1..).zip(&self.usage);
        let mut events: Vec<_> = recorded
            .filter(|(_, event)| event.tenant_id == query.tenant_id)
            .collect();
        events.sort_by_key(|(sequence, event)| (event.occurred_at, *sequence));
        let billed: Vec<_> = self
            .billed
            .iter()
            .filter(|(id, _)| *id == query.subscription_id)
            .filter_map(|(_, billed)| Some((*billed, self.plans.get(&billed.plan_id)?)))
            .collect();
        query.answer(&events, &billed, count(self.usage.len()))
    }

    fn prune_audit(&mut self, id: SubscriptionId, before: DateTime<Utc>) -> u64 {
        let Some(chain) = self.audit.get_mut(&id) else {
            return 0;
        };
        let Some(last) = chain.entries.len().checked_sub(1) else {
            return 0;
        };
        let first_kept = chain.entries.iter().position(|entry| entry.at >= before);
        let kept = chain.entries.split_off(first_kept.unwrap_or(last));
        let removed = std::mem::replace(&mut chain.entries, kept);
        if let Some(AuditEntry { sequence, hash, .. }) = removed.last() {
            chain.checkpoint = ChainHead {
                sequence: *sequence,
                hash: *hash,
            };
        }
        count(removed.len())
    }
}

fn same_number(kept: &Invoice, opened: &Invoice) -> bool {
    (kept.subscription_id, kept.number) == (opened.subscription_id, opened.number)
}

/// Whether both buy the period of one subscription that begins at one instant.
///
/// A restart is left out: at a clock that stands still, one subscription can restart twice at one instant.
fn same_period(kept: &Invoice, opened: &Invoice) -> bool {
    let buys = |invoice: &Invoice| match invoice.kind {
        InvoiceKind::First | InvoiceKind::Renewal => true,
        InvoiceKind::Restart
        | InvoiceKind::PlanChange
        | InvoiceKind::QuantityChange
        | InvoiceKind::AddOnChange
        | InvoiceKind::Closing => false,
    };
    buys(kept)
        && buys(opened)
        && (kept.subscription_id, kept.period.start) == (opened.subscription_id, opened.period.start)
}

const fn is_void(state: &InvoiceStatus) -> bool {
    matches!(state, InvoiceStatus::Void { .. })
}

/// An open invoice may be closed; one that was given up may still be paid.
const fn may_close(from: &InvoiceStatus, to: &InvoiceStatus) -> bool {
    match (from, to) {
        (InvoiceStatus::Open, to) => !matches!(to, InvoiceStatus::Open),
        (InvoiceStatus::Uncollectible { .. }, InvoiceStatus::Paid { .. }) => true,
        (
            InvoiceStatus::Uncollectible { .. } | InvoiceStatus::Paid { .. } | InvoiceStatus::Void { .. },
            _,
        ) => false,
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
