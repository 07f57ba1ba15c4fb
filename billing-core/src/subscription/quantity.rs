//! Taking more or fewer of a plan: seats.

use super::change::{Part, exchange, unhindered};
use super::decision::Draft;
use super::rejection::Rejection;
use super::state::{Active, AtPeriodEnd, State, Trialing};
use super::{Subscription, When};
use crate::audit::{AuditAction, Details};
use crate::invoice::InvoiceKind;

/// By default more begins now, fewer when the period is over: the customer has what they pay for, and keeps what they
/// paid for. Nothing was paid for a trial, so there it is now either way.
pub(super) fn change(
    draft: &mut Draft<'_>,
    current: &Subscription,
    quantity: u32,
    when: Option<When>,
) -> Result<State, Rejection> {
    unhindered(draft, current)?;
    if quantity == current.quantity {
        return Err(Rejection::SameQuantity { quantity });
    }
    // What could never be billed is refused now, and not when the period is over.
    draft.facts.plan.price.checked_mul(quantity)?;

    let fewer = quantity < current.quantity;
    let default = match &current.state {
        State::Active(_) if fewer => When::AtPeriodEnd,
        State::Active(_)
        | State::Trial(_)
        | State::Pending(_)
        | State::Expired(_)
        | State::Suspended(_)
        | State::Canceled(_) => When::Now,
    };
    let at_end = Some(AtPeriodEnd::ChangeQuantity { quantity });
    Ok(match (&current.state, when.unwrap_or(default)) {
        (State::Trial(trial), When::AtPeriodEnd) => {
            draft.record_quantity(AuditAction::QuantityChangeScheduled, quantity);
            State::Trial(Trialing {
                at_end,
                ..trial.clone()
            })
        }
        (State::Active(active), When::AtPeriodEnd) => {
            draft.record_quantity(AuditAction::QuantityChangeScheduled, quantity);
            State::Active(Active {
                at_end,
                ..active.clone()
            })
        }
        // The usage of the period is left alone: its tiers and allowances do not depend on the quantity.
        (State::Active(active), When::Now) => {
            exchange(draft, active, InvoiceKind::QuantityChange, Part::Plan, |draft| {
                draft.change_quantity_to(quantity);
            })?
        }
        (
            State::Trial(_)
            | State::Pending(_)
            | State::Expired(_)
            | State::Suspended(_)
            | State::Canceled(_),
            _,
        ) => {
            draft.change_quantity_to(quantity);
            current.state.clone()
        }
    })
}

impl Draft<'_> {
    /// Puts `quantity` in force and says so in the audit trail.
    pub(super) fn change_quantity_to(&mut self, quantity: u32) {
        self.record_quantity(AuditAction::QuantityChanged, quantity);
        self.next.quantity = quantity;
    }

    fn record_quantity(&mut self, action: AuditAction, to: u32) {
        let details = Details::new().number("from", self.next.quantity).number("to", to);
        self.record(action, details);
    }
}
