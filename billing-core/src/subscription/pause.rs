//! A pause that the customer asked for: billing and access stop, and go on later.

use alloc::vec::Vec;

use chrono::{DateTime, TimeDelta, Utc};

use super::decision::Draft;
use super::rejection::Rejection;
use super::state::{Active, AtPeriodEnd, Carried, State, Suspended, Suspension, Term};
use super::{Subscription, UnusedOnPause, When, cancel};
use crate::audit::{AuditAction, Details};
use crate::calendar::{CalendarError, IntervalUnit, Period};
use crate::invoice::InvoiceKind;
use crate::payment::Debit;

pub(super) fn pause(
    draft: &mut Draft<'_>,
    current: &Subscription,
    when: When,
    resume_at: Option<DateTime<Utc>>,
    unused: UnusedOnPause,
) -> Result<State, Rejection> {
    let State::Active(active) = &current.state else {
        return Err(draft.missing("an active subscription"));
    };
    let pause_at = match when {
        When::Now => draft.now(),
        When::AtPeriodEnd => active.term.period.end,
    };
    if let Some(resume_at) = resume_at.filter(|resume_at| *resume_at <= pause_at) {
        return Err(Rejection::ResumeTooEarly { resume_at, pause_at });
    }
    if let Some(collection) = &active.collection {
        return Err(Rejection::ChargePending {
            id: current.id,
            command: draft.command,
            invoice_id: collection.invoice_id,
        });
    }
    if active.at_end.is_some() {
        return Err(Rejection::ChangeScheduled { id: current.id });
    }
    let details = Details::new().time("pause_at", pause_at);
    let details = match resume_at {
        Some(resume_at) => details.time("resume_at", resume_at),
        None => details,
    };
    Ok(match when {
        When::AtPeriodEnd => {
            draft.record(AuditAction::PauseScheduled, details);
            State::Active(Active {
                at_end: Some(AtPeriodEnd::Pause { resume_at }),
                ..active.clone()
            })
        }
        When::Now => {
            draft.record(AuditAction::Paused, details);
            paused_now(draft, current, active, resume_at, unused)?
        }
    })
}

fn paused_now(
    draft: &mut Draft<'_>,
    current: &Subscription,
    active: &Active,
    resume_at: Option<DateTime<Utc>>,
    unused: UnusedOnPause,
) -> Result<State, Rejection> {
    let (now, plan, term) = (draft.now(), draft.facts.plan, &active.term);
    let mut lines = draft.closing_lines(plan, Some(term), now)?;
    let carried = match unused {
        UnusedOnPause::Credit => {
            draft.proration_credits(plan, &term.debits, &mut lines)?;
            None
        }
        UnusedOnPause::Carry => {
            let mut debits = Vec::new();
            for debit in &term.debits {
                let amount = draft
                    .left(debit.period, now, plan)
                    .of(debit.amount, plan.rounding)?;
                debits.push(Debit {
                    amount,
                    ..debit.clone()
                });
            }
            let left_micros = term
                .period
                .end
                .signed_duration_since(now)
                .num_microseconds()
                .unwrap_or(0);
            // Time that was not paid for in advance is nothing to be set aside.
            let whole_micros = Some(term.whole().microseconds());
            (left_micros > 0 && !debits.is_empty()).then_some(Carried {
                left_micros,
                debits,
                whole_micros,
            })
        }
    };
    let collection = cancel::close_out(draft, current.usage.from, now, lines)?;
    Ok(State::Suspended(Suspended {
        suspended_at: now,
        suspension: Suspension::Paused {
            resume_at,
            carried,
            collection,
        },
    }))
}

pub(super) fn resume(draft: &mut Draft<'_>, current: &Subscription) -> Result<State, Rejection> {
    let State::Suspended(suspended) = &current.state else {
        return Err(draft.missing("a paused subscription"));
    };
    resumed(draft, suspended, draft.now())
}

/// Ends a pause at `at`: carried time is served first, else a new period begins.
pub(super) fn resumed(
    draft: &mut Draft<'_>,
    suspended: &Suspended,
    at: DateTime<Utc>,
) -> Result<State, Rejection> {
    let (carried, collection) = match &suspended.suspension {
        Suspension::Unpaid { .. } | Suspension::Operator { .. } => {
            return Err(Rejection::WrongSuspension {
                id: draft.next.id,
                command: draft.command,
                paused: false,
            });
        }
        Suspension::Paused {
            carried, collection, ..
        } => (carried, collection.as_ref()),
    };
    let plan = draft.facts.plan;
    let mut lines = draft.withdraw(collection)?;
    lines.extend(draft.usage_lines(plan, None, at)?);
    let Some(carried) = carried else {
        draft.anchor_at(at);
        let period = draft.next_period()?;
        draft.record(
            AuditAction::Resumed,
            Details::new().time("period_end", period.end),
        );
        lines.splice(0..0, draft.advance_lines(period)?);
        return draft.begin(InvoiceKind::Restart, period, lines);
    };
    let left = TimeDelta::microseconds(carried.left_micros);
    let end = at.checked_add_signed(left).ok_or(CalendarError::OutOfRange {
        from: at,
        count: left.num_days().unsigned_abs(),
        unit: IntervalUnit::Day,
    })?;
    let period = Period::new(at, end)?;
    let whole = carried.whole_micros.map(TimeDelta::microseconds);
    let rest_of = match whole.and_then(|whole| end.checked_sub_signed(whole)) {
        Some(start) => Some(Period::new(start, end)?),
        None => None,
    };
    draft.anchor_at(end);
    draft.record(
        AuditAction::Resumed,
        Details::new().time("period_end", period.end),
    );
    let debits = carried
        .debits
        .iter()
        .map(|debit| Debit {
            period,
            ..debit.clone()
        })
        .collect();
    let collection = cancel::close_out(draft, suspended.suspended_at, at, lines)?;
    Ok(State::Active(Active {
        term: Term {
            rest_of,
            ..Term::of(period, debits)
        },
        collection,
        at_end: None,
    }))
}
