//! Subscriptions: their states, what can be asked of them, and what follows.
//!
//! One function decides: [`decide`] takes a subscription, a [`Command`], the [`Facts`] that a shell loaded and the
//! [`Context`] (time, actor), and returns a [`Decision`] or a [`Rejection`]. It reads nothing and changes nothing.
//! [`needs`] says which facts must be loaded, [`Subscription::next_due`] when to ask for [`Command::Advance`].
//!
//! # The transition table
//!
//! | from | command | to |
//! |---|---|---|
//! | - | create | `trial` if the plan has one and the tenant had none; `pending` if payment comes first; else `active` |
//! | pending | payment settled | active, from the settlement on |
//! | pending | not paid in time | canceled (abandoned) |
//! | trial | trial over, payment method known and auto-renew on | active, first invoice collecting |
//! | trial | trial over, otherwise | by the plan: expired without access, canceled, or moved to a named plan |
//! | active | period over, cancel at period end | canceled |
//! | active | period over, pause at period end | suspended (paused) |
//! | active | period over, auto-renew | active, *renewing*; a due change of plan, quantity or add-on is applied first |
//! | active | period over, no auto-renew | expired, in grace |
//! | renewing | payment settled | active |
//! | renewing | payment failed | expired, in grace, dunning begins; suspended when no retry is left |
//! | expired | renew | the invoice for the next period opens, or its open invoice is tried again |
//! | expired | payment settled | active; within grace the new period starts where the old ended, after it at the settlement |
//! | expired | payment failed | expired with the next retry set, or suspended when retries are spent |
//! | suspended, unpaid | payment settled | active, from the settlement on |
//! | suspended, unpaid or by an operator | reactivate | what it was, if that still runs; else active, a new period |
//! | suspended, unpaid or by an operator | retention over | canceled |
//! | suspended, paused | resume, or the resume date | active, a new period |
//! | any but canceled | cancel now / at period end | canceled / flagged |
//! | active, trial | change plan now / at period end | same state, new plan, prorated when now / flagged |
//! | active, trial | change quantity now / at period end | same state, new quantity, prorated when now / flagged |
//! | active, trial, expired | suspend | suspended |
//! | active | pause now / at period end | suspended (paused) / flagged |
//! | active, trial | change add-on now / at period end | same state, prorated when now / flagged |
//! | any but canceled | buy add-on | same state, to be paid with the next invoice |
//! | any but canceled | redeem coupon, grant credit, void credit | same state |
//! | any | issue credit note | same state |
//!
//! What is not in the table is refused with what was tried, the state, and what is allowed.
//!
//! # Invariants
//!
//! - **One open invoice.** A subscription has at most one open invoice. A step that bills while one is open withdraws
//!   it, and what is owed of it all the same (usage, prices in arrears) moves to the new invoice.
//! - **Usage tiles.** The windows of usage that are billed follow each other without a gap or an overlap, from the
//!   end of the trial (or the creation) to the end.
//! - **Advance is idempotent.** A step that was taken is not due any more.

mod add_on;
mod cancel;
mod change;
mod command;
mod concessions;
mod create;
mod decision;
mod invoicing;
mod lines;
mod pause;
mod quantity;
mod rejection;
mod renewal;
mod settlement;
mod standing;
mod state;
mod suspend;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::audit::{AuditAction, ChainHead, Details};
use crate::calendar::{self, Anchor, CalendarError};
use crate::coupon::Discount;
use crate::credit::{CreditGrant, Credits};
use crate::id::{AddOnCode, InvoiceId, PaymentMethodId, PlanId, ProductCode, SubscriptionId, TenantId};
use crate::money::Money;
use crate::plan::{Plan, TrialEnd};
use crate::usage::UsageQuery;

pub use add_on::Purchase;
pub use command::{Command, CommandKind, GrantCredit, UnusedOnCancel, UnusedOnPause, When};
pub use create::{Create, CreateFacts, create};
pub use decision::{
    Context, CouponFacts, CouponRedemption, Decision, Effect, Facts, InvoiceClosed, NoteFacts, TrialGrant,
};
pub use rejection::Rejection;
pub use standing::Standing;
pub use state::{
    Active, AtPeriodEnd, CancelCause, Canceled, Carried, Expired, ExpiredCause, Held, Pending, State, Status,
    Suspended, Suspension, Term, Trialing,
};

use decision::Draft;

/// A tenant's subscription to a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Subscription {
    /// Its id, given by the engine.
    pub id: SubscriptionId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The product line.
    pub product: ProductCode,
    /// The version of the plan in force.
    pub plan_id: PlanId,
    /// Since when that plan has been in force; none since the beginning. What was left of another plan's limit does not roll over.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub plan_since: Option<DateTime<Utc>>,
    /// How many of the plan, seats for example; at least 1. The recurring price is the plan's, times this. Usage, limits
    /// and features do not depend on it.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub quantity: u32,
    /// The recurring add-ons that it holds, and how many of each, at least 1.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
    pub add_ons: BTreeMap<AddOnCode, u32>,
    /// What was bought and is not billed yet, in the order in which it was bought.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub purchases: Vec<Purchase>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Where its periods are counted from, in its billing zone.
    pub anchor: Anchor,
    /// Which period from the anchor is to be bought next.
    pub next_index: u32,
    /// Grace and restricted stage of the plan in force, so that access needs no plan.
    pub access: AccessTerms,
    /// For how many hours the invoice of a period waits for its usage, by the plan in force.
    #[cfg_attr(feature = "serde", serde(default))]
    pub closing_hours: u32,
    /// Whether it renews by itself.
    pub auto_renew: bool,
    /// The payment method, if one is known.
    pub payment_method: Option<PaymentMethodId>,
    /// How far its usage is billed.
    pub usage: UsageCursor,
    /// Credit for later invoices, out of time that was paid and not used; never negative.
    pub credit: Money,
    /// Prepaid credit, in the order in which it burns down. It burns before `credit`, which never expires.
    #[cfg_attr(feature = "serde", serde(default))]
    pub grants: Vec<CreditGrant>,
    /// The coupons that were redeemed, in the order in which they take off.
    #[cfg_attr(feature = "serde", serde(default))]
    pub discounts: Vec<Discount>,
    /// How many invoices it has had.
    pub invoices: u32,
    /// The runaway guard's count.
    pub guard: LineGuard,
    /// Since when it is parked by the runaway guard, if it is.
    pub parked_at: Option<DateTime<Utc>>,
    /// The end of its audit chain.
    pub audit: ChainHead,
    /// Counts its decisions, from 1: what a commit is guarded by.
    pub version: u64,
    /// Where it stands.
    pub state: State,
}

/// The quantity of a subscription that was stored before there were quantities.
#[cfg(feature = "serde")]
const fn one() -> u32 {
    1
}

/// What access needs to know of a plan after paid time is over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct AccessTerms {
    /// For how many days everything stays.
    pub grace_period_days: u32,
    /// For how many days after that the restricted features stay; 0 for no such stage.
    pub restricted_days: u32,
}

impl AccessTerms {
    /// Those of `plan`.
    pub fn of(plan: &Plan) -> Self {
        Self {
            grace_period_days: plan.grace_period_days,
            restricted_days: plan.restricted.as_ref().map_or(0, |restricted| restricted.days),
        }
    }

    /// When grace and the restricted stage end for paid time that ended at `ended_at`.
    pub(crate) fn ends(
        self,
        ended_at: DateTime<Utc>,
        anchor: &Anchor,
    ) -> Result<(DateTime<Utc>, DateTime<Utc>), CalendarError> {
        let grace_ends_at = calendar::add_days(ended_at, self.grace_period_days, anchor.zone)?;
        let restricted_ends_at = calendar::add_days(grace_ends_at, self.restricted_days, anchor.zone)?;
        Ok((grace_ends_at, restricted_ends_at))
    }
}

/// How far the usage of a subscription is billed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct UsageCursor {
    /// From when on usage is charged at all: the end of the trial, or the creation; moved on by plans without meters for as long
    /// as there was none with.
    pub origin: DateTime<Utc>,
    /// From when on usage is not billed yet.
    pub from: DateTime<Utc>,
    /// How far the store's record of events was read at the last billing; what comes later for before is late.
    pub watermark: u64,
}

/// The runaway guard's count of invoice lines.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct LineGuard {
    /// The (UTC) day that is counted.
    pub day: NaiveDate,
    /// How many lines it has seen.
    pub lines: u32,
    /// Whether a human released the subscription: the next invoice is opened however many lines it has.
    #[cfg_attr(feature = "serde", serde(default))]
    pub is_released: bool,
}

impl Subscription {
    /// The plain name of its state. Not whether the tenant has access: see [`standing`](Self::standing).
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// Whether it counts as one of its product line: in every state but canceled.
    pub const fn is_live(&self) -> bool {
        match self.state.status() {
            Status::Pending | Status::Trial | Status::Active | Status::Expired | Status::Suspended => true,
            Status::Canceled => false,
        }
    }

    /// When the next step falls due by time alone, so that [`Command::Advance`] may take it.
    ///
    /// `None` while it waits for something else (a payment, a person) or has ended.
    pub fn step_due(&self) -> Option<DateTime<Utc>> {
        if self.parked_at.is_some() {
            None
        } else {
            self.state.next_due()
        }
    }

    /// When a sweep should take that step: at the end of a period it [waits](crate::plan::Plan::closing_window_hours) for the
    /// usage of the period. A command does not wait, since what it changes comes after the period.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        let due = self.step_due()?;
        let waits = match &self.state {
            State::Active(_) => TimeDelta::try_hours(i64::from(self.closing_hours)),
            State::Pending(_)
            | State::Trial(_)
            | State::Expired(_)
            | State::Suspended(_)
            | State::Canceled(_) => None,
        };
        waits.map_or(Some(due), |hours| due.checked_add_signed(hours))
    }

    /// The plan that is scheduled to take the place of the one in force.
    pub const fn scheduled_plan(&self) -> Option<PlanId> {
        match self.state.at_end() {
            Some(AtPeriodEnd::ChangePlan { plan_id }) => Some(*plan_id),
            Some(
                AtPeriodEnd::Cancel { .. }
                | AtPeriodEnd::Pause { .. }
                | AtPeriodEnd::ChangeQuantity { .. }
                | AtPeriodEnd::ChangeAddOn { .. },
            )
            | None => None,
        }
    }

    /// Whether the end of its trial begins a paid period, and not what the plan says for those who cannot pay.
    pub(crate) const fn pays_after_trial(&self) -> bool {
        self.payment_method.is_some() && self.auto_renew
    }

    /// What prepaid credit there is at `now`.
    pub fn prepaid(&self, now: DateTime<Utc>) -> Money {
        let credits = Credits::load(self.credit.currency, self.grants.iter().copied());
        credits.map_or(Money::zero(self.credit.currency), |credits| credits.balance(now))
    }

    /// The period that runs or was last begun.
    pub const fn term(&self) -> Option<&Term> {
        match &self.state {
            State::Active(active) => Some(&active.term),
            State::Expired(expired) => expired.resumes.as_ref(),
            State::Pending(_) | State::Trial(_) | State::Suspended(_) | State::Canceled(_) => None,
        }
    }
}

impl UsageCursor {
    /// Whether usage was billed before, so that more of it may come late.
    pub fn has_billed(&self) -> bool {
        self.origin < self.from
    }
}

/// What a shell must load before it asks for a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Needs<'a> {
    /// The usage to be billed.
    pub usage: Option<UsageQuery<'a>>,
    /// The plan to move to.
    pub target: Option<PlanId>,
    /// The invoice.
    pub invoice: Option<InvoiceId>,
    /// The plans of the tenant's other live subscriptions.
    pub siblings: bool,
    /// The tax on what may be billed.
    pub tax: bool,
    /// The coupon.
    pub coupon: bool,
    /// What was credited of the invoice before.
    pub notes: bool,
}

/// Tells what must be loaded to decide `command` at `now`; `plan` is the plan in force.
///
/// It may ask for more than a refusal would have needed, never for less than an acceptance does.
pub fn needs<'a>(current: &Subscription, command: &Command, plan: &'a Plan, now: DateTime<Utc>) -> Needs<'a> {
    let until = usage_until(current, command, now).filter(|until| *until > current.usage.from);
    let is_read = !plan.meters.is_empty() || current.usage.has_billed();
    let usage = until.filter(|_| is_read).map(|until| UsageQuery {
        tenant_id: current.tenant_id,
        subscription_id: current.id,
        plan,
        origin: current.usage.origin,
        from: current.usage.from,
        until,
        term: usage_term(current, command).map(Term::window_term),
        watermark: current.usage.watermark,
        up_to: None,
    });
    let scheduled = |at_end: &Option<AtPeriodEnd>| match at_end {
        Some(AtPeriodEnd::ChangePlan { plan_id }) => Some(*plan_id),
        Some(
            AtPeriodEnd::Cancel { .. }
            | AtPeriodEnd::Pause { .. }
            | AtPeriodEnd::ChangeQuantity { .. }
            | AtPeriodEnd::ChangeAddOn { .. },
        )
        | None => None,
    };
    let target = match (command, &current.state) {
        (Command::ChangePlan { plan_id, .. }, _) => Some(*plan_id),
        (Command::Advance, State::Trial(trial)) => {
            match plan.trial.as_ref().map(|terms| terms.without_payment_method) {
                Some(TrialEnd::MoveTo { plan_id }) if !current.pays_after_trial() => Some(plan_id),
                Some(TrialEnd::MoveTo { .. } | TrialEnd::Expire | TrialEnd::Cancel) | None => {
                    scheduled(&trial.at_end)
                }
            }
        }
        (Command::Advance, State::Active(active)) => scheduled(&active.at_end),
        (Command::Renew, State::Expired(expired)) => scheduled(&expired.at_end),
        (Command::Reactivate, State::Suspended(suspended)) => match &suspended.suspension {
            Suspension::Unpaid { held, .. }
            | Suspension::Operator {
                held: Held::Expired(held),
                ..
            } => scheduled(&held.at_end),
            Suspension::Operator {
                held: Held::Active(held),
                ..
            } => scheduled(&held.at_end),
            Suspension::Operator {
                held: Held::Trial(_), ..
            }
            | Suspension::Paused { .. } => None,
        },
        _ => None,
    };
    let open = current.state.collection().map(|collection| collection.invoice_id);
    let invoice = match (command, &current.state) {
        (Command::RecordPayment { invoice_id, .. } | Command::IssueCreditNote { invoice_id, .. }, _) => {
            Some(*invoice_id)
        }
        (Command::Advance, State::Pending(_) | State::Suspended(_)) => open,
        (Command::Advance, _) => None,
        (Command::Renew | Command::Cancel { .. } | Command::Reactivate | Command::Resume, _) => open,
        _ => None,
    };
    Needs {
        usage,
        target,
        invoice,
        siblings: matches!(command, Command::ChangePlan { .. }),
        tax: may_tax(current, command, plan),
        coupon: matches!(command, Command::RedeemCoupon { .. }),
        notes: matches!(command, Command::IssueCreditNote { .. }),
    }
}

/// Whether `command` may open an invoice in this state.
fn may_tax(current: &Subscription, command: &Command, plan: &Plan) -> bool {
    match (command, &current.state) {
        (
            Command::Cancel {
                when: When::AtPeriodEnd,
                ..
            }
            | Command::Pause {
                when: When::AtPeriodEnd,
                ..
            }
            | Command::ChangePlan {
                when: Some(When::AtPeriodEnd),
                ..
            }
            | Command::ChangeQuantity {
                when: Some(When::AtPeriodEnd),
                ..
            }
            | Command::ChangeAddOn {
                when: Some(When::AtPeriodEnd),
                ..
            },
            State::Active(_) | State::Trial(_),
        )
        | (Command::Advance, State::Pending(_) | State::Expired(_) | State::Canceled(_)) => false,
        (Command::Advance, State::Trial(_)) => {
            let otherwise = plan.trial.as_ref().map(|terms| terms.without_payment_method);
            current.pays_after_trial() || matches!(otherwise, Some(TrialEnd::MoveTo { .. }))
        }
        _ => command.kind().may_bill(),
    }
}

/// Until when usage is billed by `command`, if it bills usage.
fn usage_until(current: &Subscription, command: &Command, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match (command, &current.state) {
        (Command::Advance, State::Active(_) | State::Suspended(_)) => current.step_due(),
        (
            Command::Cancel { when: When::Now, .. }
            | Command::Pause { when: When::Now, .. }
            | Command::ChangePlan {
                when: Some(When::Now) | None,
                ..
            },
            State::Active(_),
        )
        | (Command::Cancel { .. }, State::Expired(_) | State::Suspended(_))
        | (Command::Reactivate | Command::Resume, State::Suspended(_)) => Some(now),
        _ => None,
    }
}

/// The term that the usage belongs to which `command` bills, if it belongs to one.
const fn usage_term<'a>(current: &'a Subscription, command: &Command) -> Option<&'a Term> {
    match (&current.state, command) {
        (State::Active(active), _) => Some(&active.term),
        (
            State::Suspended(Suspended {
                suspension:
                    Suspension::Operator {
                        held: Held::Active(active),
                        ..
                    },
                ..
            }),
            Command::Cancel { .. } | Command::Reactivate,
        ) => Some(&active.term),
        _ => None,
    }
}

/// The longest reason, reference or provider code that is kept.
const TEXT_MAX: usize = 500;
const REFERENCE_MAX: usize = 255;

/// Decides `command` for `current`: what follows, or why not.
///
/// # Errors
///
/// In order: the fields of the command ([`Rejection::ReasonLength`] to [`Rejection::SettledInFuture`]), the state
/// ([`Rejection::WrongState`] to [`Rejection::NothingScheduled`]), then what the business forbids, each in the order
/// in which [`Rejection`] lists them.
///
/// # Example
///
/// `Billing::execute` in the crate `billing` is the loop around this function: load what [`needs`] names, decide, commit.
pub fn decide(
    current: &Subscription,
    command: &Command,
    facts: &Facts<'_>,
    context: &Context<'_>,
) -> Result<Decision, Rejection> {
    check_fields(command, context)?;
    let kind = command.kind();
    let (status, allowed) = (current.status(), kind.allowed());
    if !allowed.contains(&status) {
        return Err(Rejection::WrongState {
            id: current.id,
            command: kind,
            status,
            allowed,
        });
    }
    if facts.plan.id != current.plan_id {
        return Err(Rejection::FactMissing {
            command: kind,
            fact: "the plan in force",
        });
    }
    let mut draft = Draft::new(current, kind, *facts, *context);
    match next_state(&mut draft, current, command) {
        Ok(state) => Ok(draft.finish(state)),
        // Time goes on by itself, so nobody would read the refusal: a human has to look.
        Err(Rejection::Runaway { found, max, .. }) if kind == CommandKind::Advance => {
            Ok(park(current, found, max, facts, context))
        }
        Err(rejection) => Err(rejection),
    }
}

fn next_state(draft: &mut Draft<'_>, current: &Subscription, command: &Command) -> Result<State, Rejection> {
    match command {
        Command::Advance => renewal::advance(draft, current),
        Command::Renew => renewal::renew(draft, current),
        Command::Cancel { when, reason, unused } => cancel::cancel(draft, current, *when, reason, *unused),
        Command::UndoCancel => cancel::undo(draft, current),
        Command::Suspend { reason } => suspend::suspend(draft, current, reason),
        Command::Reactivate => suspend::reactivate(draft, current),
        Command::Pause {
            when,
            resume_at,
            unused,
        } => pause::pause(draft, current, *when, *resume_at, *unused),
        Command::Resume => pause::resume(draft, current),
        Command::ChangePlan {
            plan_id,
            when,
            tenant,
        } => change::change(draft, current, *plan_id, *when, tenant),
        Command::ChangeQuantity { quantity, when } => quantity::change(draft, current, *quantity, *when),
        Command::ChangeAddOn {
            add_on,
            quantity,
            when,
        } => add_on::change(draft, current, add_on, *quantity, *when),
        Command::BuyAddOn { add_on, quantity } => add_on::buy(draft, current, add_on, *quantity),
        Command::DropPendingChange => change::drop_pending(draft, current),
        Command::SetPaymentMethod { payment_method } => {
            draft.next.payment_method = *payment_method;
            let details = Details::new().flag("known", payment_method.is_some());
            draft.record(AuditAction::PaymentMethodSet, details);
            Ok(current.state.clone())
        }
        Command::SetAutoRenew { auto_renew } => {
            draft.next.auto_renew = *auto_renew;
            let details = Details::new().flag("auto_renew", *auto_renew);
            draft.record(AuditAction::AutoRenewSet, details);
            Ok(current.state.clone())
        }
        Command::RecordPayment { invoice_id, outcome } => {
            settlement::record(draft, current, *invoice_id, outcome)
        }
        Command::Unpark => {
            if draft.next.parked_at.take().is_none() {
                return Err(Rejection::NotParked { id: current.id });
            }
            draft.next.guard.lines = 0;
            draft.next.guard.is_released = true;
            draft.record(AuditAction::Unparked, Details::new());
            Ok(current.state.clone())
        }
        Command::RedeemCoupon { code } => concessions::redeem(draft, current, code),
        Command::GrantCredit(granted) => concessions::grant(draft, current, granted),
        Command::VoidCredit { grant_id } => concessions::void(draft, current, *grant_id),
        Command::IssueCreditNote {
            id,
            invoice_id,
            request,
        } => concessions::issue_note(draft, current, *id, *invoice_id, request),
    }
}

/// Stops billing until a human looks: the step that would have gone over the limit is not taken.
fn park(current: &Subscription, found: u32, max: u32, facts: &Facts<'_>, context: &Context<'_>) -> Decision {
    let mut draft = Draft::new(current, CommandKind::Advance, *facts, *context);
    draft.next.parked_at = Some(context.now);
    draft.record(
        AuditAction::Parked,
        Details::new().number("lines", found).number("max", max),
    );
    draft.finish(current.state.clone())
}

fn check_fields(command: &Command, context: &Context<'_>) -> Result<(), Rejection> {
    use crate::payment::PaymentOutcome;

    let length = |text: &str, max: usize| {
        let found = text.chars().count();
        if found == 0 || found > max {
            Err(found)
        } else {
            Ok(())
        }
    };
    match command {
        Command::Cancel { reason, .. } | Command::Suspend { reason } => {
            length(reason, TEXT_MAX).map_err(|found| Rejection::ReasonLength { max: TEXT_MAX, found })
        }
        Command::RecordPayment { outcome, .. } => {
            let (PaymentOutcome::Settled { reference: text, .. } | PaymentOutcome::Failed { code: text, .. }) =
                outcome;
            length(text, REFERENCE_MAX).map_err(|found| Rejection::ReferenceLength {
                max: REFERENCE_MAX,
                found,
            })?;
            match outcome {
                PaymentOutcome::Settled { settled_at, .. } if *settled_at > context.now => {
                    Err(Rejection::SettledInFuture {
                        settled_at: *settled_at,
                        now: context.now,
                    })
                }
                PaymentOutcome::Settled { .. } | PaymentOutcome::Failed { .. } => Ok(()),
            }
        }
        Command::ChangeQuantity { quantity: 0, .. } | Command::BuyAddOn { quantity: 0, .. } => {
            Err(Rejection::Quantity)
        }
        // At the end of the period it is checked where that end is known.
        Command::Pause {
            when: When::Now,
            resume_at: Some(resume_at),
            ..
        } if *resume_at <= context.now => Err(Rejection::ResumeTooEarly {
            resume_at: *resume_at,
            pause_at: context.now,
        }),
        Command::Advance
        | Command::Renew
        | Command::UndoCancel
        | Command::Reactivate
        | Command::Pause { .. }
        | Command::Resume
        | Command::ChangePlan { .. }
        | Command::ChangeQuantity { .. }
        | Command::ChangeAddOn { .. }
        | Command::BuyAddOn { .. }
        | Command::DropPendingChange
        | Command::SetPaymentMethod { .. }
        | Command::SetAutoRenew { .. }
        | Command::Unpark
        | Command::RedeemCoupon { .. }
        | Command::GrantCredit(_)
        | Command::VoidCredit { .. }
        | Command::IssueCreditNote { .. } => Ok(()),
    }
}
