//! Creating a subscription.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::decision::{Context, CouponFacts, Decision, Draft, Facts};
use super::invoicing::Opened;
use super::rejection::Rejection;
use super::state::{Pending, State, Trialing};
use super::{AccessTerms, CommandKind, LineGuard, Subscription, UsageCursor};
use crate::audit::{AuditAction, ChainHead, Details};
use crate::calendar::{self, Anchor, CalendarError, IntervalUnit, MonthEnd};
use crate::id::{AddOnCode, CouponCode, PaymentMethodId, SubscriptionId, TenantId};
use crate::invoice::InvoiceKind;
use crate::money::Money;
use crate::plan::{Activation, AddOnCharge, Plan, TenantProfile};
use crate::tax::TaxTreatment;

/// What is asked for when a subscription is created.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Create {
    /// Its id, given by the engine.
    pub id: SubscriptionId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Who asks, for the plan's availability.
    pub tenant: TenantProfile,
    /// The billing zone, in which days and months are counted.
    pub zone: Tz,
    /// What an anchor on day 29, 30 or 31 means in a shorter month.
    pub month_end: MonthEnd,
    /// The payment method, if one is known.
    pub payment_method: Option<PaymentMethodId>,
    /// Whether it renews by itself.
    pub auto_renew: bool,
    /// Whether a trial is wanted if there is one to be had.
    pub trial: bool,
    /// A coupon to redeem.
    pub coupon: Option<CouponCode>,
    /// How many of the plan, seats for example; at least 1.
    #[cfg_attr(feature = "serde", serde(default = "super::one"))]
    pub quantity: u32,
    /// Add-ons of the plan, and how many of each, at least 1: recurring ones are held from now on, others are bought.
    #[cfg_attr(feature = "serde", serde(default))]
    pub add_ons: BTreeMap<AddOnCode, u32>,
}

/// What a shell loads before it asks for a creation.
#[derive(Clone, Copy, Debug)]
pub struct CreateFacts<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The tenant's live subscription of the plan's product, if there is one.
    pub live: Option<SubscriptionId>,
    /// Whether the trial ledger has the tenant and the plan's trial family.
    pub trial_used: bool,
    /// The plans of the tenant's live subscriptions of other products.
    pub siblings: &'a [(SubscriptionId, &'a Plan)],
    /// The tax on the first invoice; none for no tax.
    pub tax: Option<&'a TaxTreatment>,
    /// The coupon that was asked for.
    pub coupon: Option<CouponFacts<'a>>,
}

/// Decides a creation.
///
/// The billing anchor is where paid time begins: `now`, or the end of the trial, or, when payment comes first, the
/// settlement.
///
/// # Errors
///
/// In order: [`Rejection::Quantity`], [`Rejection::AlreadySubscribed`], [`Rejection::PlanUnavailable`],
/// [`Rejection::MeterTaken`], [`Rejection::PaymentMethodRequired`], what the coupon is refused for, [`Rejection::NoAddOn`], then
/// what opening an invoice refuses.
pub fn create(
    request: &Create,
    facts: &CreateFacts<'_>,
    context: &Context<'_>,
) -> Result<Decision, Rejection> {
    let plan = facts.plan;
    if request.quantity == 0 || request.add_ons.values().any(|quantity| *quantity == 0) {
        return Err(Rejection::Quantity);
    }
    if let Some(id) = facts.live {
        return Err(Rejection::AlreadySubscribed {
            id,
            product: plan.product.clone(),
        });
    }
    available(plan, &request.tenant, facts.siblings)?;
    let trial = plan.trial.as_ref().filter(|_| request.trial && !facts.trial_used);
    if let Some(trial) = trial
        && trial.payment_method_required
        && request.payment_method.is_none()
    {
        return Err(Rejection::PaymentMethodRequired { plan_id: plan.id });
    }

    let now = context.now;
    let blank = Subscription {
        id: request.id,
        tenant_id: request.tenant_id,
        product: plan.product.clone(),
        plan_id: plan.id,
        plan_since: None,
        quantity: request.quantity,
        add_ons: BTreeMap::new(),
        purchases: Vec::new(),
        created_at: now,
        anchor: Anchor {
            at: now,
            zone: request.zone,
            month_end: request.month_end,
        },
        next_index: 0,
        access: AccessTerms::of(plan),
        closing_hours: plan.closing_hours(),
        auto_renew: request.auto_renew,
        payment_method: request.payment_method,
        usage: UsageCursor {
            origin: now,
            from: now,
            watermark: 0,
        },
        credit: Money::zero(plan.currency()),
        grants: Vec::new(),
        discounts: Vec::new(),
        invoices: 0,
        guard: LineGuard {
            day: now.date_naive(),
            lines: 0,
            is_released: false,
        },
        parked_at: None,
        audit: ChainHead::default(),
        version: 0,
        state: State::UNDECIDED,
    };
    let facts = Facts {
        tax: facts.tax,
        coupon: facts.coupon,
        ..Facts::of(plan)
    };
    let mut draft = Draft::new(&blank, CommandKind::Advance, facts, *context);
    let details = Details::new()
        .id("plan", plan.id.uuid())
        .plain("product", plan.product.as_str())
        .plain("zone", request.zone.name())
        .flag("auto_renew", request.auto_renew)
        .number("quantity", request.quantity);
    // What could never be billed is refused now, and not when the trial is over.
    plan.price.checked_mul(request.quantity)?;

    let state = if let Some(trial) = trial {
        let trial_ends_at = calendar::add_days(now, trial.days, request.zone)?;
        draft.grant_trial(trial.family.clone());
        draft.next.anchor.at = trial_ends_at;
        draft.next.usage = UsageCursor {
            origin: trial_ends_at,
            from: trial_ends_at,
            watermark: 0,
        };
        draft.record(AuditAction::Created, details.time("trial_ends_at", trial_ends_at));
        draft.redeem_first(request)?;
        draft.add_first(request)?;
        State::Trial(Trialing {
            trial_starts_at: now,
            trial_ends_at,
            at_end: None,
        })
    } else {
        draft.record(AuditAction::Created, details);
        draft.redeem_first(request)?;
        draft.add_first(request)?;
        let period = draft.next_period()?;
        let lines = draft.advance_lines(period)?;
        match plan.activation {
            Activation::Immediate => draft.begin(InvoiceKind::First, period, lines)?,
            Activation::OnPayment { pay_within_hours } => {
                let opened = draft.open_invoice(InvoiceKind::First, period, period.start, lines)?;
                match opened {
                    // Nothing to pay: there is nothing to wait for.
                    Opened::Paid { debits } => draft.active(period, debits),
                    Opened::Collecting(collection) => {
                        let pay_by = TimeDelta::try_hours(i64::from(pay_within_hours))
                            .and_then(|hours| now.checked_add_signed(hours))
                            .ok_or(CalendarError::OutOfRange {
                                from: now,
                                count: u64::from(pay_within_hours).div_ceil(24),
                                unit: IntervalUnit::Day,
                            })?;
                        State::Pending(Pending { pay_by, collection })
                    }
                }
            }
        }
    };
    Ok(draft.finish(state))
}

impl Draft<'_> {
    /// Redeems the coupon that came with the creation, if one did.
    fn redeem_first(&mut self, request: &Create) -> Result<(), Rejection> {
        if let Some(code) = &request.coupon {
            self.redeem(code)?;
        }
        Ok(())
    }

    /// Takes on the add-ons that came with the creation.
    fn add_first(&mut self, request: &Create) -> Result<(), Rejection> {
        for (add_on, quantity) in &request.add_ons {
            match self.plan.add_ons.get(add_on).map(|sold| sold.charged) {
                Some(AddOnCharge::Once) => self.buy(add_on, *quantity)?,
                Some(AddOnCharge::Recurring) | None => self.hold(add_on, *quantity)?,
            }
        }
        Ok(())
    }
}

/// Whether `tenant` may have `plan` beside its other subscriptions.
pub(super) fn available(
    plan: &Plan,
    tenant: &TenantProfile,
    siblings: &[(SubscriptionId, &Plan)],
) -> Result<(), Rejection> {
    plan.availability(tenant)
        .map_err(|reasons| Rejection::PlanUnavailable {
            plan_id: plan.id,
            reasons,
        })?;
    for (id, sibling) in siblings {
        if let Some(meter) = plan
            .meters
            .keys()
            .find(|meter| sibling.meters.contains_key(meter))
        {
            return Err(Rejection::MeterTaken {
                meter: meter.clone(),
                by: *id,
            });
        }
    }
    Ok(())
}
