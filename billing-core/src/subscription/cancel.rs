//! Ending a subscription.

use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::decision::Draft;
use super::rejection::Rejection;
use super::state::{
    AtPeriodEnd, CancelCause, Canceled, Expired, Held, State, Suspended, Suspension, Trialing,
};
use super::{Subscription, UnusedOnCancel, When};
use crate::audit::{AuditAction, Details};
use crate::calendar::Period;
use crate::id::PlanId;
use crate::invoice::{InvoiceKind, InvoiceLine, InvoiceStatus, LineKind, explain};
use crate::money::MoneyError;
use crate::payment::{Collection, Debit};

pub(super) fn cancel(
    draft: &mut Draft<'_>,
    current: &Subscription,
    when: When,
    reason: &str,
    unused: UnusedOnCancel,
) -> Result<State, Rejection> {
    let scheduled = |at_end: &Option<AtPeriodEnd>| match at_end {
        Some(AtPeriodEnd::Cancel { .. }) => Err(Rejection::ChangeScheduled { id: current.id }),
        // A cancellation takes the place of what else was to come.
        Some(
            AtPeriodEnd::Pause { .. }
            | AtPeriodEnd::ChangePlan { .. }
            | AtPeriodEnd::ChangeQuantity { .. }
            | AtPeriodEnd::ChangeAddOn { .. },
        )
        | None => Ok(Some(AtPeriodEnd::Cancel {
            reason: reason.into(),
        })),
    };
    Ok(match (&current.state, when) {
        (State::Trial(trial), When::AtPeriodEnd) => {
            let at_end = scheduled(&trial.at_end)?;
            draft.record(
                AuditAction::CancelScheduled,
                Details::new().text("reason", reason),
            );
            State::Trial(Trialing {
                at_end,
                ..trial.clone()
            })
        }
        (State::Active(active), When::AtPeriodEnd) => {
            let at_end = scheduled(&active.at_end)?;
            draft.record(
                AuditAction::CancelScheduled,
                Details::new().text("reason", reason),
            );
            State::Active(super::Active {
                at_end,
                ..active.clone()
            })
        }
        (State::Trial(_) | State::Active(_), When::Now)
        | (State::Pending(_) | State::Expired(_) | State::Suspended(_) | State::Canceled(_), _) => {
            end_now(draft, current, reason, unused)?
        }
    })
}

pub(super) fn undo(draft: &mut Draft<'_>, current: &Subscription) -> Result<State, Rejection> {
    let nothing = Rejection::NothingScheduled {
        id: current.id,
        command: draft.command,
    };
    let state = match &current.state {
        State::Trial(trial) => match trial.at_end {
            Some(AtPeriodEnd::Cancel { .. }) => State::Trial(Trialing {
                at_end: None,
                ..trial.clone()
            }),
            Some(
                AtPeriodEnd::Pause { .. }
                | AtPeriodEnd::ChangePlan { .. }
                | AtPeriodEnd::ChangeQuantity { .. }
                | AtPeriodEnd::ChangeAddOn { .. },
            )
            | None => return Err(nothing),
        },
        State::Active(active) => match active.at_end {
            Some(AtPeriodEnd::Cancel { .. }) => State::Active(super::Active {
                at_end: None,
                ..active.clone()
            }),
            Some(
                AtPeriodEnd::Pause { .. }
                | AtPeriodEnd::ChangePlan { .. }
                | AtPeriodEnd::ChangeQuantity { .. }
                | AtPeriodEnd::ChangeAddOn { .. },
            )
            | None => return Err(nothing),
        },
        State::Pending(_) | State::Expired(_) | State::Suspended(_) | State::Canceled(_) => {
            return Err(nothing);
        }
    };
    draft.record(AuditAction::CancelUndone, Details::new());
    Ok(state)
}

/// Ends the subscription now: withdraws what was to come, bills what was used, and deals with unused paid time.
fn end_now(
    draft: &mut Draft<'_>,
    current: &Subscription,
    reason: &str,
    unused: UnusedOnCancel,
) -> Result<State, Rejection> {
    let now = draft.now();
    let plan = draft.facts.plan;
    let mut lines = draft.withdraw(current.state.collection())?;
    let usage_from = current.usage.from;
    let mut credits = Vec::new();
    if current.state.never_was_paid() {
        draft.next.purchases.clear();
        lines.retain(|line| line.kind != LineKind::AddOn);
    }
    match &current.state {
        State::Pending(_) | State::Trial(_) | State::Canceled(_) => {}
        State::Active(active) => {
            lines.extend(draft.closing_lines(plan, Some(&active.term), now)?);
            draft.proration_credits(plan, &active.term.debits, &mut credits)?;
        }
        State::Expired(expired) => {
            lines.extend(draft.usage_lines(plan, None, now)?);
            expired_credits(draft, expired, &mut credits)?;
        }
        State::Suspended(suspended) => match &suspended.suspension {
            Suspension::Unpaid { held, .. } => {
                lines.extend(draft.usage_lines(plan, None, now)?);
                expired_credits(draft, held, &mut credits)?;
            }
            Suspension::Operator { held, .. } => match held {
                Held::Trial(_) => {}
                Held::Expired(expired) => {
                    lines.extend(draft.usage_lines(plan, None, now)?);
                    expired_credits(draft, expired, &mut credits)?;
                }
                Held::Active(active) => {
                    // Time in arrears was served until the suspension.
                    lines.extend(draft.arrears_lines(plan, &active.term, suspended.suspended_at)?);
                    lines.extend(draft.usage_lines(plan, Some(&active.term), now)?);
                    draft.proration_credits(plan, &active.term.debits, &mut credits)?;
                }
            },
            Suspension::Paused { carried, .. } => {
                lines.extend(draft.usage_lines(plan, None, now)?);
                if let Some(carried) = carried {
                    credits = carried_credits(plan.id, &carried.debits)?;
                }
            }
        },
    }
    match unused {
        UnusedOnCancel::None => {}
        UnusedOnCancel::Credit => lines.extend(credits),
        UnusedOnCancel::Refund => {
            lines.extend(credits);
            draft.pays_back = true;
        }
    }
    draft.record(AuditAction::Canceled, Details::new().text("reason", reason));
    let collection = close_out(draft, usage_from, now, lines)?;
    Ok(State::Canceled(Canceled {
        canceled_at: now,
        cause: CancelCause::Requested {
            reason: reason.into(),
        },
        collection,
    }))
}

/// Cancels a subscription that was suspended for longer than it is kept: its open invoice is given up, what was used
/// since is billed.
pub(super) fn retention_over(
    draft: &mut Draft<'_>,
    current: &Subscription,
    due: DateTime<Utc>,
) -> Result<State, Rejection> {
    let usage_from = draft.next.usage.from;
    if let Some(collection) = current.state.collection() {
        let invoice_id = collection.invoice_id;
        draft.close(invoice_id, InvoiceStatus::Uncollectible { given_up_at: due });
    }
    let mut lines = Vec::new();
    let plan = draft.facts.plan;
    if let State::Suspended(suspended) = &current.state
        && let Suspension::Operator {
            held: Held::Active(active),
            ..
        } = &suspended.suspension
    {
        lines.extend(draft.arrears_lines(plan, &active.term, suspended.suspended_at)?);
    }
    // A trial is not charged, however long it was held.
    let held_trial = matches!(
        &current.state,
        State::Suspended(Suspended {
            suspension: Suspension::Operator {
                held: Held::Trial(_),
                ..
            },
            ..
        })
    );
    if current.state.never_was_paid() {
        draft.next.purchases.clear();
    }
    if !held_trial {
        lines.extend(draft.usage_lines(plan, None, due)?);
    }
    draft.record(
        AuditAction::Canceled,
        Details::new().text("cause", "retention_over"),
    );
    let collection = close_out(draft, usage_from, due, lines)?;
    Ok(State::Canceled(Canceled {
        canceled_at: due,
        cause: CancelCause::RetentionOver,
        collection,
    }))
}

/// Opens the closing invoice over `lines`, if there are any.
pub(super) fn close_out(
    draft: &mut Draft<'_>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    lines: Vec<InvoiceLine>,
) -> Result<Option<Collection>, Rejection> {
    let period = match (Period::new(from, until), lines.first()) {
        (Ok(period), _) => period,
        (Err(_), Some(first)) => first.period,
        // Without a line or any time since the last billing there is nothing to date the invoice by; credit stays.
        (Err(_), None) => match draft.next.purchases.first() {
            Some(purchase) => purchase.period()?,
            None => return Ok(None),
        },
    };
    Ok(draft
        .open_invoice(InvoiceKind::Closing, period, until, lines)?
        .collection())
}

/// Credits what an expired subscription had paid before the payment that failed, as for a plan change.
fn expired_credits(
    draft: &Draft<'_>,
    expired: &Expired,
    credits: &mut Vec<InvoiceLine>,
) -> Result<(), Rejection> {
    match &expired.resumes {
        Some(term) => draft.proration_credits(draft.facts.plan, &term.debits, credits),
        None => Ok(()),
    }
}

/// Credits the whole of what a pause had set aside.
fn carried_credits(plan_id: PlanId, debits: &[Debit]) -> Result<Vec<InvoiceLine>, MoneyError> {
    debits
        .iter()
        .filter(|debit| !debit.amount.is_zero())
        .map(|debit| {
            Ok(InvoiceLine {
                kind: LineKind::ProrationCredit,
                plan_id,
                meter: None,
                add_on: debit.add_on.clone(),
                cell: None,
                period: debit.period,
                quantity: Decimal::ONE,
                unit_price: None,
                amount: debit.amount.checked_neg()?,
                explanation: explain(format_args!("set aside by the pause: {}", debit.amount)),
                source: Some(debit.source),
            })
        })
        .collect()
}
