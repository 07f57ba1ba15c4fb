//! Add-ons: what is bought once, and what is held with every period.

use alloc::vec::Vec;

use chrono::{DateTime, TimeDelta, Utc};

use super::change::{Part, exchange, unhindered};
use super::decision::Draft;
use super::rejection::Rejection;
use super::state::{Active, AtPeriodEnd, State, Trialing};
use super::{Subscription, When};
use crate::audit::{AuditAction, Details};
use crate::calendar::{CalendarError, Period};
use crate::id::{AddOnCode, PlanId};
use crate::invoice::{InvoiceKind, InvoiceLine, LineKind, explain};
use crate::money::Money;
use crate::plan::{AddOn, AddOnCharge, Plan};

/// The most purchases that wait for an invoice, and fewer where the runaway guard allows fewer lines.
const PURCHASES_MAX: usize = 100;

/// An add-on that was bought once and is not billed yet, at the price of when it was.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Purchase {
    /// Which.
    pub add_on: AddOnCode,
    /// How many, at least 1.
    pub quantity: u32,
    /// The price of one.
    pub price: Money,
    /// The plan that it was sold beside.
    pub plan_id: PlanId,
    /// When.
    pub bought_at: DateTime<Utc>,
}

impl Purchase {
    /// When it was bought, as a line has it: a purchase has an instant, a line a period, so it is the shortest that there is.
    pub(super) fn period(&self) -> Result<Period, CalendarError> {
        let instant = TimeDelta::microseconds(1);
        let end = self.bought_at.checked_add_signed(instant);
        Period::new(self.bought_at, end.unwrap_or(self.bought_at))
    }
}

/// The add-on of this code that `plan` sells so.
pub(super) fn sold<'a>(
    plan: &'a Plan,
    add_on: &AddOnCode,
    charged: AddOnCharge,
) -> Result<&'a AddOn, Rejection> {
    let found = plan.add_ons.get(add_on);
    found
        .filter(|found| found.charged == charged)
        .ok_or_else(|| Rejection::NoAddOn {
            plan_id: plan.id,
            add_on: add_on.clone(),
            charged,
            otherwise: found.is_some(),
        })
}

/// By default more is held now, less when the period is over, as with the [quantity](super::quantity) of the plan.
pub(super) fn change(
    draft: &mut Draft<'_>,
    current: &Subscription,
    add_on: &AddOnCode,
    quantity: u32,
    when: Option<When>,
) -> Result<State, Rejection> {
    unhindered(draft, current)?;
    let held = current.add_ons.get(add_on).copied().unwrap_or(0);
    if quantity == held {
        return Err(Rejection::SameAddOn {
            add_on: add_on.clone(),
            quantity,
        });
    }
    // What is held may be given up, whatever the plan sells.
    if quantity > 0 {
        let sold = sold(draft.facts.plan, add_on, AddOnCharge::Recurring)?;
        // What could never be billed is refused now, and not when the period is over.
        sold.price.checked_mul(quantity)?;
    }
    let default = match &current.state {
        State::Active(_) if quantity < held => When::AtPeriodEnd,
        State::Active(_)
        | State::Trial(_)
        | State::Pending(_)
        | State::Expired(_)
        | State::Suspended(_)
        | State::Canceled(_) => When::Now,
    };
    let at_end = Some(AtPeriodEnd::ChangeAddOn {
        add_on: add_on.clone(),
        quantity,
    });
    Ok(match (&current.state, when.unwrap_or(default)) {
        (State::Trial(trial), When::AtPeriodEnd) => {
            draft.record_add_on(AuditAction::AddOnChangeScheduled, add_on, quantity);
            State::Trial(Trialing {
                at_end,
                ..trial.clone()
            })
        }
        (State::Active(active), When::AtPeriodEnd) => {
            draft.record_add_on(AuditAction::AddOnChangeScheduled, add_on, quantity);
            State::Active(Active {
                at_end,
                ..active.clone()
            })
        }
        (State::Active(active), When::Now) => exchange(
            draft,
            active,
            InvoiceKind::AddOnChange,
            Part::AddOn(add_on),
            |draft| draft.change_add_on_to(add_on, quantity),
        )?,
        (
            State::Trial(_)
            | State::Pending(_)
            | State::Expired(_)
            | State::Suspended(_)
            | State::Canceled(_),
            _,
        ) => {
            draft.change_add_on_to(add_on, quantity);
            current.state.clone()
        }
    })
}

/// Leaves a purchase for the next invoice.
pub(super) fn buy(
    draft: &mut Draft<'_>,
    current: &Subscription,
    add_on: &AddOnCode,
    quantity: u32,
) -> Result<State, Rejection> {
    draft.buy(add_on, quantity)?;
    Ok(current.state.clone())
}

impl Draft<'_> {
    /// Leaves a purchase for the next invoice.
    pub(super) fn buy(&mut self, add_on: &AddOnCode, quantity: u32) -> Result<(), Rejection> {
        let price = sold(self.plan, add_on, AddOnCharge::Once)?.price;
        let amount = price.checked_mul(quantity)?;
        // Half of the lines of a day, so that they cannot park a renewal.
        let lines = self.plan.invoice_lines_per_day_max.div_ceil(2);
        let max = PURCHASES_MAX.min(usize::try_from(lines).unwrap_or(PURCHASES_MAX));
        if self.next.purchases.len() >= max {
            return Err(Rejection::TooManyPurchases { max });
        }
        self.next.purchases.push(Purchase {
            add_on: add_on.clone(),
            quantity,
            price,
            plan_id: self.plan.id,
            bought_at: self.now(),
        });
        self.record(
            AuditAction::AddOnBought,
            Details::new()
                .plain("add_on", add_on.as_str())
                .number("quantity", quantity)
                .money("amount", amount),
        );
        Ok(())
    }

    /// Holds an add-on from the start.
    pub(super) fn hold(&mut self, add_on: &AddOnCode, quantity: u32) -> Result<(), Rejection> {
        sold(self.plan, add_on, AddOnCharge::Recurring)?
            .price
            .checked_mul(quantity)?;
        self.change_add_on_to(add_on, quantity);
        Ok(())
    }

    /// Holds so many of an add-on and says so in the audit trail.
    pub(super) fn change_add_on_to(&mut self, add_on: &AddOnCode, quantity: u32) {
        self.record_add_on(AuditAction::AddOnChanged, add_on, quantity);
        if quantity == 0 {
            self.next.add_ons.remove(add_on);
        } else {
            self.next.add_ons.insert(add_on.clone(), quantity);
        }
    }

    /// Gives up the add-ons that the plan in force does not sell: of a change that was asked for there are none, but a trial may
    /// end on another plan by itself.
    pub(super) fn drop_add_ons(&mut self) {
        let gone = |add_on: &&AddOnCode| self.plan.recurring_add_on(add_on).is_none();
        let gone: Vec<_> = self.next.add_ons.keys().filter(gone).cloned().collect();
        for add_on in &gone {
            self.change_add_on_to(add_on, 0);
        }
    }

    fn record_add_on(&mut self, action: AuditAction, add_on: &AddOnCode, to: u32) {
        let from = self.next.add_ons.get(add_on).copied().unwrap_or(0);
        let details = Details::new()
            .plain("add_on", add_on.as_str())
            .number("from", from)
            .number("to", to);
        self.record(action, details);
    }

    /// Adds a line for everything that was bought since the last invoice.
    pub(super) fn bill_purchases(&mut self, lines: &mut Vec<InvoiceLine>) -> Result<(), Rejection> {
        for purchase in core::mem::take(&mut self.next.purchases) {
            let period = purchase.period()?;
            let Purchase {
                add_on,
                quantity,
                price,
                plan_id,
                bought_at: _,
            } = purchase;
            let amount = price.checked_mul(quantity)?;
            lines.push(InvoiceLine {
                plan_id,
                quantity: quantity.into(),
                unit_price: Some(price.to_decimal()),
                explanation: explain(format_args!("{add_on}: {quantity} x {price}")),
                add_on: Some(add_on),
                ..self.plain_line(LineKind::AddOn, period, amount)
            });
        }
        Ok(())
    }
}
