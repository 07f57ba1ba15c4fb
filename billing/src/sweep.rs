//! The sweep: takes every step that time has made due, page by page.

use std::ops::ControlFlow;
use std::sync::Arc;

use billing_core::audit::{Actor, AuditAction};
use billing_core::calendar::Period;
use billing_core::id::{SubscriptionId, TenantId};
use billing_core::invoice::InvoiceKind;
use billing_core::money::Money;
use billing_core::ports::{Commit, CommitRefusal, DueCursor, StoreError};
use billing_core::subscription::{self, Command, Decision, Status, Subscription};
use billing_core::usage::{Usage, UsageQuery};
use chrono::{DateTime, Utc};
use futures_util::future;

use crate::engine::{STEPS_MAX, versioned, whole_micros};
use crate::facts::Uncommitted;
use crate::{Billing, Error};

/// How often a subscription that others keep changing is tried anew before it is left to the next sweep.
const ATTEMPTS_MAX: u32 = 8;

/// How many failures a report lists; all are counted.
const FAILURES_LISTED_MAX: usize = 100;

/// How a sweep goes about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SweepOptions {
    /// How many subscriptions are read, decided and committed at once: what the sweep holds in memory, and what is
    /// done again at worst when it is stopped.
    pub page: usize,
}

impl Default for SweepOptions {
    /// A thousand: the cost of a durable commit is spread far enough, and a page is about 2 MB.
    fn default() -> Self {
        Self { page: 1_000 }
    }
}

/// One step of one subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SweepStep {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Whose.
    pub tenant_id: TenantId,
    /// When the step fell due.
    pub due_at: DateTime<Utc>,
    /// The status before.
    pub from: Status,
    /// The status after.
    pub to: Status,
    /// What the audit trail says.
    pub actions: Vec<AuditAction>,
    /// The invoice that is opened: what for, which period, how much.
    pub invoice: Option<(InvoiceKind, Period, Money)>,
    /// How many jobs go to the outbox.
    pub jobs: usize,
}

/// A subscription that could not be advanced; it stays due.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SweepFailure {
    /// Which.
    pub subscription_id: SubscriptionId,
    /// Why.
    pub error: Error,
}

/// What a sweep has done so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SweepReport {
    /// Subscriptions that took at least one step.
    pub subscriptions: u64,
    /// Steps taken.
    pub steps: u64,
    /// Invoices opened.
    pub invoices: u64,
    /// Subscriptions that the runaway guard parked.
    pub parked: u64,
    /// Subscriptions that somebody else changed at the same time; they were decided anew.
    pub conflicts: u64,
    /// Subscriptions that could not be advanced.
    pub failed: u64,
    /// The first hundred of them.
    pub failures: Vec<SweepFailure>,
    /// Whether the callback stopped it before it was through.
    pub stopped: bool,
}

/// One page, right after its commit: what a progress callback sees.
#[derive(Clone, Copy, Debug)]
pub struct SweepPage<'a> {
    /// The steps of the page, in the order of their due times and ids.
    pub steps: &'a [SweepStep],
    /// The totals so far, this page included.
    pub report: &'a SweepReport,
}

/// A subscription with the steps that were decided for it.
#[derive(Debug)]
struct Planned {
    current: Subscription,
    decisions: Vec<Decision>,
    steps: Vec<SweepStep>,
    failure: Option<Error>,
}

impl Planned {
    const fn new(current: Subscription) -> Self {
        Self {
            current,
            decisions: Vec::new(),
            steps: Vec::new(),
            failure: None,
        }
    }

    fn state(&self) -> &Subscription {
        self.decisions
            .last()
            .map_or(&self.current, |decision| &decision.next)
    }

    /// When the next step is due, if it is by `now`.
    fn due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.failure.is_some() || self.decisions.len() >= STEPS_MAX {
            return None;
        }
        self.state().next_due().filter(|due| *due <= now)
    }

    fn take(&mut self, due_at: DateTime<Utc>, decision: Decision) {
        let from = self.state().status();
        let invoice = decision
            .opened
            .as_ref()
            .map(|invoice| (invoice.kind, invoice.period, invoice.total));
        self.steps.push(SweepStep {
            subscription_id: decision.next.id,
            tenant_id: decision.next.tenant_id,
            due_at,
            from,
            to: decision.next.status(),
            actions: decision.audit.iter().map(|entry| entry.action).collect(),
            invoice,
            jobs: decision.effects.len(),
        });
        self.decisions.push(decision);
    }
}

impl SweepReport {
    fn count(&mut self, steps: &[SweepStep]) {
        self.subscriptions = self.subscriptions.saturating_add(u64::from(!steps.is_empty()));
        for step in steps {
            self.steps = self.steps.saturating_add(1);
            self.invoices = self.invoices.saturating_add(u64::from(step.invoice.is_some()));
            self.parked = self
                .parked
                .saturating_add(u64::from(step.actions.contains(&AuditAction::Parked)));
        }
    }

    fn fail(&mut self, subscription_id: SubscriptionId, error: Error) {
        self.failed = self.failed.saturating_add(1);
        if self.failures.len() < FAILURES_LISTED_MAX {
            self.failures.push(SweepFailure {
                subscription_id,
                error,
            });
        }
    }
}

impl Billing {
    /// Takes every step that is due at `now`, for all subscriptions.
    ///
    /// Reads what is due page by page through the index, decides a page while the one before is being committed, and
    /// commits each page in one transaction. It may be stopped at any point, by `progress` or by a crash: what was
    /// committed is done, what was not is still due. Two sweeps at once do no harm. A subscription that cannot be
    /// advanced is reported and left due; the others go on.
    ///
    /// `progress` is called after each page; [`ControlFlow::Break`] stops the sweep.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; pages before it are committed.
    ///
    /// # Example: a month end, and nothing the second time
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, .. }| {
    /// use std::ops::ControlFlow;
    /// use billing::SweepOptions;
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let options = SweepOptions::default();
    /// let report = billing.sweep(billing.now(), &options, |_| ControlFlow::Continue(())).await?;
    /// assert_eq!((report.subscriptions, report.invoices, report.failed), (1, 1, 0));
    /// let report = billing.sweep(billing.now(), &options, |_| ControlFlow::Continue(())).await?;
    /// assert_eq!(report.subscriptions, 0);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn sweep(
        &self,
        now: DateTime<Utc>,
        options: &SweepOptions,
        mut progress: impl FnMut(SweepPage<'_>) -> ControlFlow<()>,
    ) -> Result<SweepReport, Error> {
        let now = whole_micros(now);
        let mut report = SweepReport::default();
        let mut next = self.plan_page(now, options, None).await?;
        while let Some((page, cursor)) = next {
            // The commit is polled first, so it is on its way while the next page is read and decided.
            let (committed, planned) = future::join(
                self.commit_page(page, now),
                self.plan_page(now, options, Some(cursor)),
            )
            .await;
            let steps = self.settle_page(committed?, now, &mut report).await?;
            if progress(SweepPage {
                steps: &steps,
                report: &report,
            })
            .is_break()
            {
                report.stopped = true;
                break;
            }
            next = planned?;
        }
        Ok(report)
    }

    /// Lists exactly what [`sweep`](Self::sweep) would do at `now`, and writes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: what July will open
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// use std::ops::ControlFlow;
    /// use billing::SweepOptions;
    ///
    /// let mut totals = Vec::new();
    /// billing.sweep_dry_run(at("2026-07-01T00:00:00Z"), &SweepOptions::default(), |page| {
    ///     totals.extend(page.steps.iter().filter_map(|step| step.invoice).map(|(_, _, total)| total.minor));
    ///     ControlFlow::Continue(())
    /// }).await?;
    /// assert_eq!(totals, [29_00]);
    /// assert_eq!(billing.invoices_of(id).await?.len(), 1, "nothing was written");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn sweep_dry_run(
        &self,
        now: DateTime<Utc>,
        options: &SweepOptions,
        mut progress: impl FnMut(SweepPage<'_>) -> ControlFlow<()>,
    ) -> Result<SweepReport, Error> {
        let now = whole_micros(now);
        let mut report = SweepReport::default();
        let mut cursor = None;
        while let Some((page, after)) = self.plan_page(now, options, cursor).await? {
            cursor = Some(after);
            let mut steps = Vec::new();
            for planned in page {
                report.count(&planned.steps);
                steps.extend(planned.steps);
                if let Some(error) = planned.failure {
                    report.fail(planned.current.id, error);
                }
            }
            if progress(SweepPage {
                steps: &steps,
                report: &report,
            })
            .is_break()
            {
                report.stopped = true;
                break;
            }
        }
        Ok(report)
    }

    /// Reads a page of what is due and decides all its steps; `None` when nothing is left.
    async fn plan_page(
        &self,
        now: DateTime<Utc>,
        options: &SweepOptions,
        after: Option<DueCursor>,
    ) -> Result<Option<(Vec<Planned>, DueCursor)>, Error> {
        let due = self.store.due(now, after, options.page.max(1)).await?;
        let Some((last, due_at)) = due
            .last()
            .and_then(|last| last.next_due().map(|due_at| (last.id, due_at)))
        else {
            return Ok(None);
        };
        let mut page: Vec<_> = due.into_iter().map(Planned::new).collect();
        while self.step_page(now, &mut page).await? {}
        Ok(Some((page, DueCursor { due_at, id: last })))
    }

    /// Decides one step for each subscription of the page that has one due; whether there was any.
    ///
    /// The usage of the whole page is read at once.
    async fn step_page(&self, now: DateTime<Utc>, page: &mut [Planned]) -> Result<bool, Error> {
        let mut plans = Vec::with_capacity(page.len());
        for (index, planned) in page.iter_mut().enumerate() {
            let Some(due_at) = planned.due(now) else { continue };
            let plan = match self.plan_in_force(planned.state().plan_id).await {
                Ok(plan) => plan,
                Err(error) if ends_sweep(&error) => return Err(error),
                Err(error) => {
                    planned.failure = Some(error);
                    continue;
                }
            };
            plans.push((index, due_at, plan));
        }
        if plans.is_empty() {
            return Ok(false);
        }
        let mut steps = Vec::with_capacity(plans.len());
        let mut queries = Vec::new();
        for (index, due_at, plan) in &plans {
            let Some(planned) = page.get(*index) else { continue };
            let needs = subscription::needs(planned.state(), &Command::Advance, plan, now);
            let query = needs.usage.map(|query| {
                queries.push(UsageQuery {
                    up_to: Uncommitted::of(planned.decisions.iter()).read_up_to,
                    ..query
                });
                queries.len() - 1
            });
            steps.push((*index, *due_at, Arc::clone(plan), needs, query));
        }
        let mut usage: Vec<_> = self
            .usage_of_each(&queries)
            .await?
            .into_iter()
            .map(Some)
            .collect();
        for (index, due_at, plan, needs, query) in steps {
            let Some(planned) = page.get_mut(index) else {
                continue;
            };
            let usage = match query
                .and_then(|query| usage.get_mut(query))
                .and_then(Option::take)
            {
                None => None,
                Some(Ok(usage)) => Some(usage),
                Some(Err(error)) => {
                    planned.failure = Some(error);
                    continue;
                }
            };
            let before = Uncommitted::of(planned.decisions.iter());
            let loaded = match self
                .load(
                    planned.state(),
                    plan,
                    (&needs, &Command::Advance),
                    now,
                    usage,
                    before,
                )
                .await
            {
                Ok(loaded) => loaded,
                Err(error) if ends_sweep(&error) => return Err(error),
                Err(error) => {
                    planned.failure = Some(error);
                    continue;
                }
            };
            let context = self.context(now, &Actor::System, None);
            match subscription::decide(planned.state(), &Command::Advance, &loaded.facts(&[]), &context) {
                Ok(decision) => planned.take(due_at, decision),
                Err(rejection) => planned.failure = Some(rejection.into()),
            }
        }
        Ok(true)
    }

    /// The usage of a page, read at once; one by one when something of it cannot be read, so that it stops nobody else.
    async fn usage_of_each(&self, queries: &[UsageQuery<'_>]) -> Result<Vec<Result<Usage, Error>>, Error> {
        match self.store.usage(queries).await.map_err(Error::from) {
            Ok(usage) => return Ok(usage.into_iter().map(Ok).collect()),
            Err(error) if ends_sweep(&error) => return Err(error),
            Err(_) => {}
        }
        let mut each = Vec::with_capacity(queries.len());
        for query in queries {
            match self
                .store
                .usage(std::slice::from_ref(query))
                .await
                .map_err(Error::from)
            {
                Ok(mut usage) => each.push(Ok(usage.pop().unwrap_or_default())),
                Err(error) if ends_sweep(&error) => return Err(error),
                Err(error) => each.push(Err(error)),
            }
        }
        Ok(each)
    }

    /// Commits a page; each subscription with the answer to its first refused commit, if there is one.
    async fn commit_page(
        &self,
        mut page: Vec<Planned>,
        now: DateTime<Utc>,
    ) -> Result<Vec<(Planned, Option<CommitRefusal>)>, StoreError> {
        let mut commits: Vec<Commit> = Vec::with_capacity(page.len());
        let mut owners = Vec::with_capacity(page.len());
        for (index, planned) in page.iter_mut().enumerate() {
            for (version, decision) in versioned(&planned.current, std::mem::take(&mut planned.decisions)) {
                commits.push(self.commit_of(version, decision, None, now));
                owners.push(index);
            }
        }
        // Rows lie in the order of their ids, due times do not: in key order a batch touches fewer pages. The sort is
        // stable, so the steps of one subscription stay in order.
        let mut order: Vec<usize> = (0..commits.len()).collect();
        order.sort_by_key(|index| commits.get(*index).map(|commit| commit.decision.next.id));
        let mut slots: Vec<_> = commits.into_iter().map(Some).collect();
        let commits = order
            .iter()
            .filter_map(|index| slots.get_mut(*index).and_then(Option::take))
            .collect();

        let answers = self.store.commit(commits).await?;
        let mut refusals: Vec<Option<CommitRefusal>> = page.iter().map(|_| None).collect();
        for (index, answer) in order.into_iter().zip(answers) {
            if let (Err(refusal), Some(owner)) = (answer, owners.get(index))
                && let Some(slot) = refusals.get_mut(*owner)
            {
                slot.get_or_insert(refusal);
            }
        }
        Ok(page.into_iter().zip(refusals).collect())
    }

    /// Counts a committed page and decides anew what somebody else has changed; the steps that were taken.
    async fn settle_page(
        &self,
        page: Vec<(Planned, Option<CommitRefusal>)>,
        now: DateTime<Utc>,
        report: &mut SweepReport,
    ) -> Result<Vec<SweepStep>, Error> {
        let mut steps = Vec::new();
        for (mut planned, refusal) in page {
            if refusal.is_some() {
                report.conflicts = report.conflicts.saturating_add(1);
                let id = planned.current.id;
                planned = match self.advance_alone(id, now).await {
                    Ok(planned) => planned,
                    Err(error) if ends_sweep(&error) => return Err(error),
                    Err(error) => {
                        report.fail(id, error);
                        continue;
                    }
                };
            }
            report.count(&planned.steps);
            steps.append(&mut planned.steps);
            if let Some(error) = planned.failure {
                report.fail(planned.current.id, error);
            }
        }
        Ok(steps)
    }

    /// Advances one subscription from fresh state.
    async fn advance_alone(&self, id: SubscriptionId, now: DateTime<Utc>) -> Result<Planned, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let current = self
                .store
                .subscription(id)
                .await?
                .ok_or(Error::UnknownSubscription { id })?;
            let mut page = [Planned::new(current)];
            while self.step_page(now, &mut page).await? {}
            let committed = self.commit_page(page.into(), now).await?;
            if let Some((planned, None)) = committed.into_iter().next() {
                return Ok(planned);
            }
        }
        Err(Error::Contended {
            attempts: ATTEMPTS_MAX,
        })
    }
}

/// Whether an error concerns the store as a whole, and not one subscription whose data cannot be used.
fn ends_sweep(error: &Error) -> bool {
    match error {
        Error::Store(StoreError::Damaged { .. } | StoreError::Internal { .. }) => false,
        Error::Store(_) => true,
        _ => false,
    }
}
