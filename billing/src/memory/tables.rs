//! The tables of a store in memory, and how a decision is written to them.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::audit::{AuditEntry, ChainHead};
use billing_core::coupon::Coupon;
use billing_core::credit::LedgerEntry;
use billing_core::credit_note::CreditNote;
use billing_core::id::{
    CouponCode, IdempotencyKey, InvoiceId, JobId, PlanId, ProductCode, SeriesCode, SubscriptionId, TenantId,
    TrialFamily,
};
use billing_core::invoice::{Invoice, InvoiceKind, InvoiceStatus};
use billing_core::limit::Lease;
use billing_core::outbox::{JobState, JobStatus};
use billing_core::plan::Plan;
use billing_core::ports::{CommandRecord, Commit, CommitRefusal, PlanStored};
use billing_core::subscription::{CouponRedemption, Decision, InvoiceClosed, Subscription};
use billing_core::usage::{BilledWindow, UsageEvent};
use chrono::{DateTime, Utc};

use super::count;
use super::usage::LeaseState;

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) plans: BTreeMap<PlanId, Plan>,
    /// Plans that a subscription uses or used.
    pub(super) used_plans: BTreeSet<PlanId>,
    pub(super) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    pub(super) commands: BTreeMap<(TenantId, IdempotencyKey), CommandRecord>,
    pub(super) trials: BTreeSet<(TenantId, TrialFamily)>,
    pub(super) invoices: BTreeMap<InvoiceId, Invoice>,
    pub(super) audit: BTreeMap<SubscriptionId, Chain>,
    /// In the order of their commits.
    pub(super) jobs: Vec<JobStatus>,
    /// In the order in which they were recorded: the place of an event, from 1, is what a watermark counts.
    pub(super) usage: Vec<UsageEvent>,
    pub(super) leases: BTreeMap<(TenantId, IdempotencyKey), (Lease, LeaseState)>,
    pub(super) billed: Vec<(SubscriptionId, BilledWindow)>,
    /// The last number of each series.
    pub(super) series: BTreeMap<SeriesCode, u64>,
    /// With who redeemed them.
    pub(super) coupons: BTreeMap<CouponCode, (Coupon, Vec<TenantId>)>,
    pub(super) ledgers: BTreeMap<SubscriptionId, Vec<LedgerEntry>>,
    pub(super) notes: Vec<CreditNote>,
}
/// What is kept of an audit chain.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) checkpoint: ChainHead,
    pub(super) entries: Vec<AuditEntry>,
}
impl Tables {
    pub(super) fn commit(&mut self, commit: Commit) -> Result<(), CommitRefusal> {
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
    pub(super) fn jobs_after(&self, after: Option<JobId>) -> impl Iterator<Item = &JobStatus> {
        let place = after.and_then(|after| self.jobs.iter().position(|status| status.job.id == after));
        self.jobs.iter().skip(place.map_or(0, |place| place + 1))
    }

    /// The job that is held by a lease, unless that was lost.
    pub(super) fn leased(&mut self, id: JobId, lease: u32) -> Option<&mut JobStatus> {
        self.jobs.iter_mut().find(|status| {
            status.job.id == id && status.leases == lease && matches!(status.state, JobState::Waiting { .. })
        })
    }

    /// The refusals, in the order in which [`CommitRefusal`] lists them.
    pub(super) fn check(&self, commit: &Commit) -> Result<(), CommitRefusal> {
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

    pub(super) fn live(&self, tenant_id: TenantId, product: &ProductCode) -> Option<&Subscription> {
        self.subscriptions
            .values()
            .find(|one| one.is_live() && one.tenant_id == tenant_id && one.product == *product)
    }

    pub(super) fn put_plan(&mut self, plan: &Plan) -> PlanStored {
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
    pub(super) fn prune_audit(&mut self, id: SubscriptionId, before: DateTime<Utc>) -> u64 {
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
