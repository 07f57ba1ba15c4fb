//! An operator stops a subscription, and puts it back.

use super::Subscription;
use super::decision::Draft;
use super::rejection::Rejection;
use super::state::{Active, AtPeriodEnd, Held, State, Suspended, Suspension, Term, Trialing};
use crate::audit::{AuditAction, Details};
use crate::invoice::InvoiceKind;
use chrono::{DateTime, Utc};

pub(super) fn suspend(
    draft: &mut Draft<'_>,
    current: &Subscription,
    reason: &str,
) -> Result<State, Rejection> {
    let held = match &current.state {
        State::Trial(trial) => Held::Trial(trial.clone()),
        State::Active(active) => Held::Active(active.clone()),
        State::Expired(expired) => Held::Expired(expired.clone()),
        State::Pending(_) | State::Suspended(_) | State::Canceled(_) => {
            return Err(draft.missing("a state that can be suspended"));
        }
    };
    let retention_ends_at = draft.retention_ends_at()?;
    draft.record(AuditAction::Suspended, Details::new().text("reason", reason));
    let suspended_at = draft.now();
    Ok(State::Suspended(Suspended {
        suspended_at,
        suspension: Suspension::Operator {
            reason: reason.into(),
            retention_ends_at,
            held,
        },
    }))
}

/// Puts a suspended subscription back: into what it was while that still runs, else into a new period.
///
/// A trial goes on as a trial (DESIGN's table has `active`): a charge that the tenant did not agree to would follow
/// otherwise.
pub(super) fn reactivate(draft: &mut Draft<'_>, current: &Subscription) -> Result<State, Rejection> {
    let State::Suspended(suspended) = &current.state else {
        return Err(draft.missing("a suspended subscription"));
    };
    let now = draft.now();
    draft.record(AuditAction::Reactivated, Details::new());
    Ok(match &suspended.suspension {
        Suspension::Paused { .. } => {
            return Err(Rejection::WrongSuspension {
                id: current.id,
                command: draft.command,
                paused: true,
            });
        }
        Suspension::Unpaid { held, .. } => restart(
            draft,
            current,
            (held.resumes.as_ref(), None),
            held.at_end.as_ref(),
        )?,
        Suspension::Operator { held, .. } => match held {
            Held::Trial(trial) if now < trial.trial_ends_at => State::Trial(trial.clone()),
            Held::Trial(trial) => {
                // It was over while suspended. Paid time begins now, not in time that was not served.
                draft.anchor_at(now);
                draft.next.usage.origin = now;
                draft.next.usage.from = now;
                State::Trial(Trialing {
                    trial_ends_at: now,
                    ..trial.clone()
                })
            }
            Held::Active(active) if keeps(active, now) => State::Active(active.clone()),
            Held::Active(active) => {
                let served = (Some(&active.term), Some(suspended.suspended_at));
                restart(draft, current, served, active.at_end.as_ref())?
            }
            Held::Expired(expired) => {
                let unserved = (expired.resumes.as_ref(), None);
                restart(draft, current, unserved, expired.at_end.as_ref())?
            }
        },
    })
}

/// Whether what was held goes on as it is: its period runs, its invoice is being collected, or its end is due. A pause
/// that would be over by now is not begun.
fn keeps(active: &Active, now: DateTime<Utc>) -> bool {
    let ends = match &active.at_end {
        Some(AtPeriodEnd::Cancel { .. }) => true,
        Some(AtPeriodEnd::Pause { resume_at }) => resume_at.is_none_or(|resume_at| now < resume_at),
        Some(
            AtPeriodEnd::ChangePlan { .. }
            | AtPeriodEnd::ChangeQuantity { .. }
            | AtPeriodEnd::ChangeAddOn { .. },
        )
        | None => false,
    };
    now < active.term.period.end || active.collection.is_some() || ends
}

/// Begins a new period now: what was to come of an open invoice is withdrawn, what is owed of it moves along, and paid
/// time that was not used is credited. A change that was scheduled is applied first, a
/// cancellation stays scheduled.
///
/// `held` is the term, if there was one, and until when it was served, if it was paid for.
fn restart(
    draft: &mut Draft<'_>,
    current: &Subscription,
    held: (Option<&Term>, Option<DateTime<Utc>>),
    at_end: Option<&AtPeriodEnd>,
) -> Result<State, Rejection> {
    let (now, plan) = (draft.now(), draft.facts.plan);
    let (term, served_until) = held;
    let mut lines = draft.withdraw(current.state.collection())?;
    if let (Some(term), Some(until)) = held {
        lines.extend(draft.arrears_lines(plan, term, until)?);
    }
    lines.extend(draft.usage_lines(plan, term.filter(|_| served_until.is_some()), now)?);
    if let Some(term) = term {
        draft.proration_credits(plan, &term.debits, &mut lines)?;
    }
    draft.put_in_force(at_end, now)?;
    let at_end = at_end
        .filter(|at_end| matches!(at_end, AtPeriodEnd::Cancel { .. }))
        .cloned();
    draft.anchor_at(now);
    let period = draft.next_period()?;
    lines.splice(0..0, draft.advance_lines(period)?);
    Ok(match draft.begin(InvoiceKind::Restart, period, lines)? {
        State::Active(active) => State::Active(Active { at_end, ..active }),
        state @ (State::Pending(_)
        | State::Trial(_)
        | State::Expired(_)
        | State::Suspended(_)
        | State::Canceled(_)) => state,
    })
}
