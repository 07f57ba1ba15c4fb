//! Moving to another plan.

use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use super::add_on::sold;
use super::create::available;
use super::decision::Draft;
use super::invoicing::Opened;
use super::rejection::Rejection;
use super::state::{Active, AtPeriodEnd, State, Term, Trialing};
use super::{Subscription, When};
use crate::audit::{AuditAction, Details};
use crate::calendar::Period;
use crate::id::{AddOnCode, PlanId};
use crate::invoice::{InvoiceKind, InvoiceLine};
use crate::payment::{Collection, Debit};
use crate::plan::{AddOnCharge, Plan, ProrationRule, TenantProfile};

/// By default what costs more (or the same) over a year begins now, what costs less when the period is over: the
/// customer has what they pay for, and keeps what they paid for.
pub(super) fn change(
    draft: &mut Draft<'_>,
    current: &Subscription,
    plan_id: PlanId,
    when: Option<When>,
    tenant: &TenantProfile,
) -> Result<State, Rejection> {
    unhindered(draft, current)?;
    let target = draft.target(plan_id)?;
    check(current, draft.facts.plan, target)?;
    available(target, tenant, draft.facts.siblings)?;
    // What could never be billed is refused now, and not when the period is over.
    target.price.checked_mul(current.quantity)?;
    for (add_on, quantity) in &current.add_ons {
        sold(target, add_on, AddOnCharge::Recurring)?
            .price
            .checked_mul(*quantity)?;
    }

    let default = if target.is_cheaper_than(draft.facts.plan) {
        When::AtPeriodEnd
    } else {
        When::Now
    };
    Ok(match (&current.state, when.unwrap_or(default)) {
        (State::Trial(trial), When::AtPeriodEnd) => {
            draft.schedule(plan_id);
            State::Trial(Trialing {
                at_end: Some(AtPeriodEnd::ChangePlan { plan_id }),
                ..trial.clone()
            })
        }
        (State::Active(active), When::AtPeriodEnd) => {
            draft.schedule(plan_id);
            State::Active(Active {
                at_end: Some(AtPeriodEnd::ChangePlan { plan_id }),
                ..active.clone()
            })
        }
        (State::Active(active), When::Now) => changed_now(draft, active, target)?,
        // Nothing is charged in a trial, so nothing is prorated; the trial ends when it would have.
        (
            State::Trial(_)
            | State::Pending(_)
            | State::Expired(_)
            | State::Suspended(_)
            | State::Canceled(_),
            _,
        ) => {
            draft.change_plan_to(target, draft.now());
            current.state.clone()
        }
    })
}

/// Refuses a change while an invoice is collected, since what it is worth is not known yet, or while something else is
/// scheduled.
pub(super) fn unhindered(draft: &Draft<'_>, current: &Subscription) -> Result<(), Rejection> {
    let (at_end, collection) = match &current.state {
        State::Trial(trial) => (&trial.at_end, None),
        State::Active(active) => (&active.at_end, active.collection.as_ref()),
        State::Pending(_) | State::Expired(_) | State::Suspended(_) | State::Canceled(_) => {
            return Err(draft.missing("a state in which it can change"));
        }
    };
    if let Some(collection) = collection {
        return Err(Rejection::ChargePending {
            id: current.id,
            command: draft.command,
            invoice_id: collection.invoice_id,
        });
    }
    if at_end.is_some() {
        return Err(Rejection::ChangeScheduled { id: current.id });
    }
    Ok(())
}

pub(super) fn drop_pending(draft: &mut Draft<'_>, current: &Subscription) -> Result<State, Rejection> {
    let nothing = Rejection::NothingScheduled {
        id: current.id,
        command: draft.command,
    };
    let state = match &current.state {
        State::Trial(trial) if droppable(trial.at_end.as_ref()) => State::Trial(Trialing {
            at_end: None,
            ..trial.clone()
        }),
        State::Active(active) if droppable(active.at_end.as_ref()) => State::Active(Active {
            at_end: None,
            ..active.clone()
        }),
        State::Trial(_)
        | State::Active(_)
        | State::Pending(_)
        | State::Expired(_)
        | State::Suspended(_)
        | State::Canceled(_) => return Err(nothing),
    };
    draft.record(AuditAction::PendingChangeDropped, Details::new());
    Ok(state)
}

const fn droppable(at_end: Option<&AtPeriodEnd>) -> bool {
    match at_end {
        Some(
            AtPeriodEnd::Pause { .. }
            | AtPeriodEnd::ChangePlan { .. }
            | AtPeriodEnd::ChangeQuantity { .. }
            | AtPeriodEnd::ChangeAddOn { .. },
        ) => true,
        Some(AtPeriodEnd::Cancel { .. }) | None => false,
    }
}

fn check(current: &Subscription, plan: &Plan, target: &Plan) -> Result<(), Rejection> {
    if target.id == current.plan_id {
        return Err(Rejection::SamePlan { plan_id: target.id });
    }
    if target.product != current.product {
        return Err(Rejection::ProductMismatch {
            plan_id: target.id,
            expected: current.product.clone(),
            found: target.product.clone(),
        });
    }
    if target.currency() != plan.currency() {
        return Err(Rejection::CurrencyMismatch {
            plan_id: target.id,
            expected: plan.currency(),
            found: target.currency(),
        });
    }
    Ok(())
}

/// Bills the old plan until now, credits what was paid for later, and charges the rest of the period by the new plan.
///
/// Another interval begins a new period now: a rest of a month has no meaning in a year.
fn changed_now<'a>(draft: &mut Draft<'a>, active: &Active, target: &'a Plan) -> Result<State, Rejection> {
    let (now, plan, term) = (draft.now(), draft.facts.plan, &active.term);
    let mut lines = draft.arrears_at_change(plan, term)?;
    lines.extend(draft.usage_lines(plan, Some(term), now)?);
    let owed = lines.len();
    draft.proration_credits(plan, &term.debits, &mut lines)?;
    let credited = lines.len() > owed;
    let same_interval = target.interval == plan.interval;
    draft.change_plan_to(target, now);
    let period = if same_interval {
        term.period
    } else {
        draft.anchor_at(now);
        draft.next_period()?
    };
    // What was bought until now and what is bought from now on are counted alike, so that nothing is paid for twice.
    let rule = match (term.rule(plan), target.proration) {
        (_, ProrationRule::None) => ProrationRule::None,
        (ProrationRule::None, rule) | (rule, _) => rule,
    };
    let charges = if same_interval {
        draft.proration_charges(target, term.priced_by(rule), rule, Part::All)?
    } else {
        draft.advance_lines(period)?
    };
    let charged = !charges.is_empty();
    lines.extend(charges);
    let exchanged = credited || charged || !same_interval;
    let (collection, debits) = draft.open_change(
        InvoiceKind::PlanChange,
        period,
        lines,
        exchanged,
        &term.debits,
        Part::All,
    )?;
    Ok(State::Active(Active {
        term: Term {
            plan_since: now,
            rest_of: term.rest_of.filter(|_| same_interval),
            counted_by: Some(rule).filter(|rule| same_interval && *rule != target.proration),
            ..Term::of(period, debits)
        },
        collection,
        at_end: None,
    }))
}

/// Which of the recurring prices of a subscription are exchanged for others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// All of them.
    All,
    /// That of the plan itself.
    Plan,
    /// That of an add-on.
    AddOn(&'a AddOnCode),
}

impl Part<'_> {
    /// Whether the price of `add_on`, or of the plan if none, is one of them.
    pub(super) fn holds(self, add_on: Option<&AddOnCode>) -> bool {
        match self {
            Self::All => true,
            Self::Plan => add_on.is_none(),
            Self::AddOn(code) => add_on == Some(code),
        }
    }
}

/// Exchanges `part` of the recurring prices inside a period: credits what was paid for later and charges the rest of the
/// period by what `put_in_force` puts in force; in arrears, what was in force until now is owed, and what counts from now on
/// will be.
pub(super) fn exchange(
    draft: &mut Draft<'_>,
    active: &Active,
    kind: InvoiceKind,
    part: Part<'_>,
    put_in_force: impl FnOnce(&mut Draft<'_>),
) -> Result<State, Rejection> {
    let (now, plan, term) = (draft.now(), draft.facts.plan, &active.term);
    let mut lines = draft.arrears_at_change(plan, term)?;
    let owed = lines.len();
    let exchanged = term
        .debits
        .iter()
        .filter(|debit| part.holds(debit.add_on.as_ref()));
    draft.proration_credits(plan, exchanged, &mut lines)?;
    put_in_force(draft);
    let rule = term.rule(plan);
    lines.extend(draft.proration_charges(plan, term.priced_by(rule), rule, part)?);
    let exchanged = lines.len() > owed;
    let (collection, debits) = draft.open_change(kind, term.period, lines, exchanged, &term.debits, part)?;
    Ok(State::Active(Active {
        term: Term {
            price_since: Some(now),
            debits,
            ..term.clone()
        },
        collection,
        at_end: None,
    }))
}

impl<'a> Draft<'a> {
    /// Puts in force what was scheduled for the end of a period, or of a trial. The periods of a plan with another interval
    /// are counted from `from`.
    pub(super) fn put_in_force(
        &mut self,
        at_end: Option<&AtPeriodEnd>,
        from: DateTime<Utc>,
    ) -> Result<(), Rejection> {
        match at_end {
            Some(AtPeriodEnd::ChangePlan { plan_id }) => {
                let target = self.target(*plan_id)?;
                if target.interval != self.plan.interval {
                    self.anchor_at(from);
                }
                self.change_plan_to(target, from);
            }
            Some(AtPeriodEnd::ChangeQuantity { quantity }) => self.change_quantity_to(*quantity),
            Some(AtPeriodEnd::ChangeAddOn { add_on, quantity }) => self.change_add_on_to(add_on, *quantity),
            Some(AtPeriodEnd::Cancel { .. } | AtPeriodEnd::Pause { .. }) | None => {}
        }
        Ok(())
    }
}

impl Draft<'_> {
    /// What is owed in arrears when something else counts from now on.
    ///
    /// Without proration what was in force keeps the period, also when its price is due at the end.
    pub(super) fn arrears_at_change(&self, plan: &Plan, term: &Term) -> Result<Vec<InvoiceLine>, Rejection> {
        self.arrears_lines(plan, term, self.served_at_change(plan, term))
    }

    fn served_at_change(&self, plan: &Plan, term: &Term) -> DateTime<Utc> {
        let now = self.now();
        match term.rule(plan) {
            ProrationRule::None if now > term.period.start => term.period.end,
            ProrationRule::None
            | ProrationRule::Second
            | ProrationRule::Day
            | ProrationRule::StartedDay
            | ProrationRule::StartedMonth => now,
        }
    }

    /// Opens the invoice of a change inside a period: how it is collected, and what was paid for the time from now on.
    ///
    /// `before` is what was paid so far. Where nothing was exchanged, and for what is not in `part`, it still pays for the
    /// period.
    pub(super) fn open_change(
        &mut self,
        kind: InvoiceKind,
        period: Period,
        lines: Vec<InvoiceLine>,
        exchanged: bool,
        before: &[Debit],
        part: Part<'_>,
    ) -> Result<(Option<Collection>, Vec<Debit>), Rejection> {
        let now = self.now();
        let kept = before
            .iter()
            .filter(|debit| !exchanged || !part.holds(debit.add_on.as_ref()))
            .cloned();
        Ok(match self.open_invoice(kind, period, now, lines)? {
            Opened::Paid { debits } => (None, kept.chain(debits).collect()),
            // Until the change is paid, what was paid before is what can be credited.
            Opened::Collecting(mut collection) => {
                collection.debits.splice(0..0, kept);
                (Some(collection), before.to_vec())
            }
        })
    }

    fn schedule(&mut self, plan_id: PlanId) {
        self.record(
            AuditAction::PlanChangeScheduled,
            Details::new().id("to", plan_id.uuid()),
        );
    }
}
