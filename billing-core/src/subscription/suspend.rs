//! An operator stops a subscription, and puts it back.

use super::Subscription;
use super::decision::{Decision, Draft};
use super::rejection::Rejection;
use super::state::{Active, AtPeriodEnd, Held, State, Suspended, Suspension, Term};
use crate::audit::{AuditAction, Details};
use crate::invoice::InvoiceKind;
use crate::payment::Collection;
use chrono::{DateTime, Utc};

pub(super) fn suspend(
    mut draft: Draft<'_>,
    current: &Subscription,
    reason: &str,
) -> Result<Decision, Rejection> {
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
    Ok(draft.finish(State::Suspended(Suspended {
        suspended_at,
        suspension: Suspension::Operator {
            reason: reason.into(),
            retention_ends_at,
            held,
        },
    })))
}

/// Puts a suspended subscription back: into what it was while that still runs, else into a new period.
///
/// A trial goes on as a trial (DESIGN's table has `active`): a charge that the tenant did not agree to would follow
/// otherwise.
pub(super) fn reactivate(mut draft: Draft<'_>, current: &Subscription) -> Result<Decision, Rejection> {
    let State::Suspended(suspended) = &current.state else {
        return Err(draft.missing("a suspended subscription"));
    };
    let now = draft.now();
    draft.record(AuditAction::Reactivated, Details::new());
    let state = match &suspended.suspension {
        Suspension::Paused { .. } => {
            return Err(Rejection::WrongSuspension {
                id: current.id,
                command: draft.command,
                paused: true,
            });
        }
        Suspension::Unpaid { held, .. } => restart(&mut draft, held.collection.as_ref(), None, now)?,
        Suspension::Operator { held, .. } => match held {
            Held::Trial(trial) => State::Trial(trial.clone()),
            Held::Active(active) if keeps(active, now) => State::Active(active.clone()),
            Held::Active(active) => {
                let served = Some((&active.term, suspended.suspended_at));
                restart(&mut draft, active.collection.as_ref(), served, now)?
            }
            Held::Expired(expired) => restart(&mut draft, expired.collection.as_ref(), None, now)?,
        },
    };
    Ok(draft.finish(state))
}

/// Whether what was held goes on as it is: its period runs, its invoice is being collected, or its end is due.
fn keeps(active: &Active, now: DateTime<Utc>) -> bool {
    let ends = match active.at_end {
        Some(AtPeriodEnd::Cancel { .. } | AtPeriodEnd::Pause { .. }) => true,
        Some(AtPeriodEnd::ChangePlan { .. }) | None => false,
    };
    now < active.term.period.end || active.collection.is_some() || ends
}

/// Begins a new period now: what was to come of an open invoice is withdrawn, what is owed of it moves along.
fn restart(
    draft: &mut Draft<'_>,
    collection: Option<&Collection>,
    served: Option<(&Term, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> Result<State, Rejection> {
    let plan = draft.facts.plan;
    let mut lines = draft.withdraw(collection)?;
    if let Some((term, until)) = served {
        lines.extend(draft.arrears_line(plan, term, until)?);
    }
    lines.extend(draft.usage_lines(plan, served.map(|(term, _)| term), now)?);
    draft.anchor_at(now);
    let period = draft.next_period()?;
    if let Some(line) = draft.advance_line(period) {
        lines.insert(0, line);
    }
    draft.begin(InvoiceKind::Restart, period, lines)
}
