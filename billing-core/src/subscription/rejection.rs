//! Why a command is refused.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::command::CommandKind;
use super::state::Status;
use crate::calendar::CalendarError;
use crate::coupon::CouponRefusal;
use crate::credit::CreditRefusal;
use crate::credit_note::CreditNoteRefusal;
use crate::id::{AddOnCode, InvoiceId, MeterCode, PlanId, ProductCode, SubscriptionId};
use crate::money::{Currency, Money, MoneyError};
use crate::plan::{AddOnCharge, Unavailable};

/// Why a command was refused. Nothing has changed. When several apply, the first listed is returned.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A reason is empty or too long.
    #[error("expected a reason of 1 to {max} characters, got {found}")]
    ReasonLength {
        /// The most characters.
        max: usize,
        /// How many came.
        found: usize,
    },
    /// A payment reference or code is empty or too long.
    #[error("expected a payment reference or code of 1 to {max} characters, got {found}")]
    ReferenceLength {
        /// The most characters.
        max: usize,
        /// How many came.
        found: usize,
    },
    /// The quantity is 0.
    #[error("expected a quantity of at least 1, got 0")]
    Quantity,
    /// A pause would resume before it has begun.
    #[error("cannot resume at {resume_at}, the pause begins at {pause_at}")]
    ResumeTooEarly {
        /// What came.
        resume_at: DateTime<Utc>,
        /// When the pause begins.
        pause_at: DateTime<Utc>,
    },
    /// A settlement says that it happened in the future.
    #[error("payment settled at {settled_at}, which is after {now}")]
    SettledInFuture {
        /// What came.
        settled_at: DateTime<Utc>,
        /// The engine's time.
        now: DateTime<Utc>,
    },
    /// The command is not allowed in the subscription's state.
    #[error(
        "cannot {command} subscription `{id}`: it is {status}, expected {}",
        list(allowed)
    )]
    WrongState {
        /// Which subscription.
        id: SubscriptionId,
        /// What was tried.
        command: CommandKind,
        /// Its state.
        status: Status,
        /// Where it is allowed.
        allowed: &'static [Status],
    },
    /// The command is for another kind of suspension.
    #[error("cannot {command} subscription `{id}`: it is {}", if *.paused { "paused" } else { "suspended, not paused" })]
    WrongSuspension {
        /// Which subscription.
        id: SubscriptionId,
        /// What was tried.
        command: CommandKind,
        /// Whether it is paused.
        paused: bool,
    },
    /// Nothing is due.
    #[error("nothing is due for subscription `{id}`{}", due.map_or_else(String::new, |due| alloc::format!(" before {due}")))]
    NotDue {
        /// Which subscription.
        id: SubscriptionId,
        /// When the next step falls due, if one does by time alone.
        due: Option<DateTime<Utc>>,
    },
    /// The subscription was not parked.
    #[error("subscription `{id}` is not parked")]
    NotParked {
        /// Which subscription.
        id: SubscriptionId,
    },
    /// An invoice is being collected; what it is worth must be known first.
    #[error("cannot {command} subscription `{id}` while invoice `{invoice_id}` is being collected")]
    ChargePending {
        /// Which subscription.
        id: SubscriptionId,
        /// What was tried.
        command: CommandKind,
        /// The open invoice.
        invoice_id: InvoiceId,
    },
    /// Something is scheduled for the end of the period already.
    #[error("subscription `{id}` has a change scheduled for the end of its period, drop it first")]
    ChangeScheduled {
        /// Which subscription.
        id: SubscriptionId,
    },
    /// There is nothing of that kind to take back.
    #[error("subscription `{id}` has nothing scheduled that {command} could take back")]
    NothingScheduled {
        /// Which subscription.
        id: SubscriptionId,
        /// What was tried.
        command: CommandKind,
    },
    /// The tenant has a live subscription of the product.
    #[error("tenant has subscription `{id}` of product `{product}` already")]
    AlreadySubscribed {
        /// The live one.
        id: SubscriptionId,
        /// The product.
        product: ProductCode,
    },
    /// The plan is the one in force.
    #[error("subscription is on plan `{plan_id}` already")]
    SamePlan {
        /// The plan.
        plan_id: PlanId,
    },
    /// The quantity is the one in force.
    #[error("subscription has a quantity of {quantity} already")]
    SameQuantity {
        /// The quantity.
        quantity: u32,
    },
    /// As many of the add-on are held already.
    #[error("subscription holds {quantity} of add-on `{add_on}` already")]
    SameAddOn {
        /// Which.
        add_on: AddOnCode,
        /// How many.
        quantity: u32,
    },
    /// The plan is of another product line.
    #[error("plan `{plan_id}` is of product `{found}`, expected `{expected}`")]
    ProductMismatch {
        /// The plan.
        plan_id: PlanId,
        /// The product of the subscription.
        expected: ProductCode,
        /// The product of the plan.
        found: ProductCode,
    },
    /// The plan charges in another currency.
    #[error("plan `{plan_id}` charges in {found}, expected {expected}")]
    CurrencyMismatch {
        /// The plan.
        plan_id: PlanId,
        /// The currency of the subscription.
        expected: Currency,
        /// The currency of the plan.
        found: Currency,
    },
    /// The plan is not to be had for this tenant.
    #[error("plan `{plan_id}` is not available: {}", reasons_text(reasons))]
    PlanUnavailable {
        /// The plan.
        plan_id: PlanId,
        /// Every reason.
        reasons: Vec<Unavailable>,
    },
    /// Another live subscription of the tenant bills the meter: its usage would be charged twice.
    #[error("meter `{meter}` is billed by subscription `{by}` already")]
    MeterTaken {
        /// The meter.
        meter: MeterCode,
        /// Who bills it.
        by: SubscriptionId,
    },
    /// The trial starts only with a payment method.
    #[error("the trial of plan `{plan_id}` requires a payment method")]
    PaymentMethodRequired {
        /// The plan.
        plan_id: PlanId,
    },
    /// The plan does not sell the add-on, or not so: a recurring one is held, one that is charged once is bought.
    #[error("plan `{plan_id}` has no add-on `{add_on}` that is charged {}, {}", charged.code(), if *.otherwise { "but one that is charged otherwise" } else { "nor any of that code" })]
    NoAddOn {
        /// The plan.
        plan_id: PlanId,
        /// Which.
        add_on: AddOnCode,
        /// How it would have to be charged.
        charged: AddOnCharge,
        /// Whether there is one of that code that is charged otherwise.
        otherwise: bool,
    },
    /// The invoice of a payment is of another subscription.
    #[error("invoice `{invoice_id}` is not of subscription `{id}`")]
    ForeignInvoice {
        /// Which subscription.
        id: SubscriptionId,
        /// Which invoice.
        invoice_id: InvoiceId,
    },
    /// A payment is not the invoice's total.
    #[error("payment of {found} does not match invoice `{invoice_id}` over {expected}")]
    AmountMismatch {
        /// Which invoice.
        invoice_id: InvoiceId,
        /// Its total.
        expected: Money,
        /// What came.
        found: Money,
    },
    /// The invoice was paid by this very payment, or a failure came for one that is not open.
    #[error("invoice `{invoice_id}` is {status}")]
    InvoiceClosed {
        /// Which invoice.
        invoice_id: InvoiceId,
        /// Where it stands.
        status: &'static str,
    },
    /// No attempt at the invoice is awaited: its failure was recorded before.
    #[error("no payment attempt of invoice `{invoice_id}` is awaited")]
    NoAttempt {
        /// Which invoice.
        invoice_id: InvoiceId,
    },
    /// The runaway guard: more invoice lines in a day than the plan allows.
    #[error("subscription `{id}` would have {found} invoice lines today, at most {max} are allowed")]
    Runaway {
        /// Which subscription.
        id: SubscriptionId,
        /// How many there would be.
        found: u32,
        /// How many there may be.
        max: u32,
    },
    /// An amount cannot be computed.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// A date cannot be computed.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// The shell did not load what [`needs`](super::needs) asks for: a fault of the shell, not of the command.
    #[error("cannot decide {command} without {fact}")]
    FactMissing {
        /// What was tried.
        command: CommandKind,
        /// What is missing.
        fact: &'static str,
    },
    /// As many purchases wait for the next invoice as may.
    #[error("{max} purchases wait for the next invoice already")]
    TooManyPurchases {
        /// The most.
        max: usize,
    },
    /// The subscription holds as many coupons as it may.
    #[error("the subscription holds {max} coupons already")]
    TooManyCoupons {
        /// The most.
        max: usize,
    },
    /// Credit on a canceled subscription would be lost: no invoice follows.
    #[error("subscription `{id}` is canceled, so credit on it would be lost: expected a refund")]
    NothingToCredit {
        /// Which subscription.
        id: SubscriptionId,
    },
    /// The coupon cannot be redeemed.
    #[error(transparent)]
    Coupon(#[from] CouponRefusal),
    /// Prepaid credit cannot be granted, burned or taken back so.
    #[error(transparent)]
    Credit(#[from] CreditRefusal),
    /// The credit note cannot be issued.
    #[error(transparent)]
    CreditNote(#[from] CreditNoteRefusal),
}

fn list(allowed: &[Status]) -> String {
    let mut text = String::new();
    for (index, status) in allowed.iter().enumerate() {
        let separator = if index == 0 { "" } else { " or " };
        let _ = write!(text, "{separator}{status}");
    }
    text
}

fn reasons_text(reasons: &[Unavailable]) -> String {
    let mut text = String::new();
    for (index, reason) in reasons.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let _ = write!(text, "{separator}{reason}");
    }
    text
}
