//! What can be asked of a subscription, and in which state.

use alloc::string::String;

use chrono::{DateTime, Utc};

use super::state::Status;
use crate::credit::GrantSource;
use crate::credit_note::CreditNoteRequest;
use crate::id::{AddOnCode, CouponCode, CreditNoteId, GrantId, InvoiceId, PaymentMethodId, PlanId};
use crate::money::Money;
use crate::payment::PaymentOutcome;
use crate::plan::TenantProfile;

/// Something asked of a subscription that exists; [`create`](super::create()) makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a command is added"
)]
pub enum Command {
    /// Takes the next step that time has made due, one at a time.
    Advance,
    /// Asks for the next period of an expired subscription, or for another attempt at its open invoice.
    Renew,
    /// Ends the subscription.
    Cancel {
        /// Now, or when the period is over. Where no period runs there is nothing to wait for: it is now.
        when: When,
        /// Why, 1 to 500 characters.
        reason: String,
        /// What becomes of paid time that is not used, when it ends now.
        unused: UnusedOnCancel,
    },
    /// Takes back a cancellation that was scheduled.
    UndoCancel,
    /// Stops the subscription by an operator's decision.
    Suspend {
        /// Why, 1 to 500 characters.
        reason: String,
    },
    /// Puts a suspended subscription back.
    Reactivate,
    /// Stops billing and access at the customer's request.
    Pause {
        /// Now, or when the period is over.
        when: When,
        /// When it resumes by itself; only by command if none.
        resume_at: Option<DateTime<Utc>>,
        /// What becomes of paid time that is not used, when it pauses now.
        unused: UnusedOnPause,
    },
    /// Ends a pause.
    Resume,
    /// Moves to another plan of the same product and currency.
    ChangePlan {
        /// The version of the plan.
        plan_id: PlanId,
        /// Now, or when the period is over; by default now, unless the new plan costs less over a year.
        when: Option<When>,
        /// Who asks, for the plan's availability.
        tenant: TenantProfile,
    },
    /// Takes more or fewer of the plan: seats.
    ChangeQuantity {
        /// How many there are to be, at least 1.
        quantity: u32,
        /// Now, or when the period is over; by default more now, fewer when the period is over. A trial has nothing that
        /// was paid for, so there it is now by default either way.
        when: Option<When>,
    },
    /// Holds more or fewer of a recurring add-on of the plan, or none.
    ChangeAddOn {
        /// Which.
        add_on: AddOnCode,
        /// How many there are to be; 0 for none.
        quantity: u32,
        /// Now, or when the period is over; by default more now, fewer when the period is over, in a trial now either way.
        when: Option<When>,
    },
    /// Buys an add-on of the plan that is charged once: with the next invoice, whatever that is for. What was bought in a
    /// trial is not charged if no paid period follows.
    BuyAddOn {
        /// Which.
        add_on: AddOnCode,
        /// How many, at least 1.
        quantity: u32,
    },
    /// Takes back a change of plan, quantity or add-on, or a pause, that was scheduled.
    DropPendingChange,
    /// Sets or removes the payment method.
    SetPaymentMethod {
        /// The method, if there is one now.
        payment_method: Option<PaymentMethodId>,
    },
    /// Switches automatic renewal.
    SetAutoRenew {
        /// On or off.
        auto_renew: bool,
    },
    /// Tells what became of a payment.
    RecordPayment {
        /// Of which invoice.
        invoice_id: InvoiceId,
        /// What became of it.
        outcome: PaymentOutcome,
    },
    /// Lets a subscription that the runaway guard parked bill again.
    Unpark,
    /// Redeems a coupon: it takes off from the next invoice on.
    RedeemCoupon {
        /// Which.
        code: CouponCode,
    },
    /// Grants prepaid credit: invoices that are opened from now on burn it.
    GrantCredit(GrantCredit),
    /// Takes back what is left of a grant of credit.
    VoidCredit {
        /// Which.
        grant_id: GrantId,
    },
    /// Gives back what was paid of an invoice, whole or in part.
    IssueCreditNote {
        /// The id of the note.
        id: CreditNoteId,
        /// The invoice, which was paid.
        invoice_id: InvoiceId,
        /// What of it, why, and as what.
        request: CreditNoteRequest,
    },
}

/// Prepaid credit that is granted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "the fields of a command")]
pub struct GrantCredit {
    /// The id of the grant.
    pub id: GrantId,
    /// How much, in the currency of the plan.
    pub amount: Money,
    /// Where it comes from.
    pub source: GrantSource,
    /// The lower burns first.
    #[cfg_attr(feature = "serde", serde(default = "priority"))]
    pub priority: u8,
    /// From when on what is left of it is lost; none for never.
    #[cfg_attr(feature = "serde", serde(default))]
    pub expires_at: Option<DateTime<Utc>>,
}

#[cfg(feature = "serde")]
const fn priority() -> u8 {
    crate::credit::PRIORITY_DEFAULT
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when one is added"
)]
pub enum When {
    /// At once.
    Now,
    /// When the period, or the trial, is over.
    AtPeriodEnd,
}

/// What becomes of paid time that is not used when a subscription is canceled now. Usage so far is billed always.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a policy is added"
)]
pub enum UnusedOnCancel {
    /// It is forfeited.
    None,
    /// It pays for the usage so far; what is left stays as credit on the subscription.
    Credit,
    /// It pays for the usage so far; what is left is paid back.
    Refund,
}

/// What becomes of paid time that is not used when a subscription is paused now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a policy is added"
)]
pub enum UnusedOnPause {
    /// It becomes credit for the next invoice.
    Credit,
    /// It is served after the pause.
    Carry,
}

/// The plain name of a command.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(clippy::exhaustive_enums, reason = "one per command")]
pub enum CommandKind {
    /// See [`Command::Advance`].
    Advance,
    /// See [`Command::Renew`].
    Renew,
    /// See [`Command::Cancel`].
    Cancel,
    /// See [`Command::UndoCancel`].
    UndoCancel,
    /// See [`Command::Suspend`].
    Suspend,
    /// See [`Command::Reactivate`].
    Reactivate,
    /// See [`Command::Pause`].
    Pause,
    /// See [`Command::Resume`].
    Resume,
    /// See [`Command::ChangePlan`].
    ChangePlan,
    /// See [`Command::ChangeQuantity`].
    ChangeQuantity,
    /// See [`Command::ChangeAddOn`].
    ChangeAddOn,
    /// See [`Command::BuyAddOn`].
    BuyAddOn,
    /// See [`Command::DropPendingChange`].
    DropPendingChange,
    /// See [`Command::SetPaymentMethod`].
    SetPaymentMethod,
    /// See [`Command::SetAutoRenew`].
    SetAutoRenew,
    /// See [`Command::RecordPayment`].
    RecordPayment,
    /// See [`Command::Unpark`].
    Unpark,
    /// See [`Command::RedeemCoupon`].
    RedeemCoupon,
    /// See [`Command::GrantCredit`].
    GrantCredit,
    /// See [`Command::VoidCredit`].
    VoidCredit,
    /// See [`Command::IssueCreditNote`].
    IssueCreditNote,
}

impl CommandKind {
    /// Every kind, in the order of the table.
    pub const ALL: [Self; 21] = [
        Self::Advance,
        Self::Renew,
        Self::Cancel,
        Self::UndoCancel,
        Self::Suspend,
        Self::Reactivate,
        Self::Pause,
        Self::Resume,
        Self::ChangePlan,
        Self::ChangeQuantity,
        Self::ChangeAddOn,
        Self::BuyAddOn,
        Self::DropPendingChange,
        Self::SetPaymentMethod,
        Self::SetAutoRenew,
        Self::RecordPayment,
        Self::Unpark,
        Self::RedeemCoupon,
        Self::GrantCredit,
        Self::VoidCredit,
        Self::IssueCreditNote,
    ];

    /// In which states it is allowed; in any other it is refused as
    /// [`Rejection::WrongState`](super::Rejection::WrongState).
    ///
    /// This is the transition table of DESIGN, section 3, read by command.
    pub const fn allowed(self) -> &'static [Status] {
        use Status::{Active, Canceled, Expired, Pending, Suspended, Trial};
        match self {
            Self::Advance | Self::RecordPayment | Self::Unpark | Self::IssueCreditNote => {
                &[Pending, Trial, Active, Expired, Suspended, Canceled]
            }
            Self::Cancel
            | Self::SetPaymentMethod
            | Self::SetAutoRenew
            | Self::BuyAddOn
            | Self::RedeemCoupon
            | Self::GrantCredit
            | Self::VoidCredit => &[Pending, Trial, Active, Expired, Suspended],
            Self::Renew => &[Expired],
            Self::UndoCancel
            | Self::ChangePlan
            | Self::ChangeQuantity
            | Self::ChangeAddOn
            | Self::DropPendingChange => &[Trial, Active],
            Self::Suspend => &[Trial, Active, Expired],
            Self::Reactivate | Self::Resume => &[Suspended],
            Self::Pause => &[Active],
        }
    }

    /// Whether the steps that time has made due are taken first, so that it meets the state that a sweep on time would
    /// have left. All but the outcome of a payment: it belongs to the state in which the payment was asked for.
    pub const fn comes_after_due_steps(self) -> bool {
        match self {
            Self::RecordPayment => false,
            Self::Advance
            | Self::Renew
            | Self::Cancel
            | Self::UndoCancel
            | Self::Suspend
            | Self::Reactivate
            | Self::Pause
            | Self::Resume
            | Self::ChangePlan
            | Self::ChangeQuantity
            | Self::ChangeAddOn
            | Self::BuyAddOn
            | Self::DropPendingChange
            | Self::SetPaymentMethod
            | Self::SetAutoRenew
            | Self::Unpark
            | Self::RedeemCoupon
            | Self::GrantCredit
            | Self::VoidCredit
            | Self::IssueCreditNote => true,
        }
    }

    /// Whether it may open an invoice.
    pub const fn may_bill(self) -> bool {
        match self {
            Self::Advance
            | Self::Renew
            | Self::Cancel
            | Self::Reactivate
            | Self::Pause
            | Self::Resume
            | Self::ChangePlan
            | Self::ChangeQuantity
            | Self::ChangeAddOn => true,
            Self::UndoCancel
            | Self::BuyAddOn
            | Self::Suspend
            | Self::DropPendingChange
            | Self::SetPaymentMethod
            | Self::SetAutoRenew
            | Self::RecordPayment
            | Self::Unpark
            | Self::RedeemCoupon
            | Self::GrantCredit
            | Self::VoidCredit
            | Self::IssueCreditNote => false,
        }
    }

    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Advance => "advance",
            Self::Renew => "renew",
            Self::Cancel => "cancel",
            Self::UndoCancel => "undo_cancel",
            Self::Suspend => "suspend",
            Self::Reactivate => "reactivate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::ChangePlan => "change_plan",
            Self::ChangeQuantity => "change_quantity",
            Self::ChangeAddOn => "change_add_on",
            Self::BuyAddOn => "buy_add_on",
            Self::DropPendingChange => "drop_pending_change",
            Self::SetPaymentMethod => "set_payment_method",
            Self::SetAutoRenew => "set_auto_renew",
            Self::RecordPayment => "record_payment",
            Self::Unpark => "unpark",
            Self::RedeemCoupon => "redeem_coupon",
            Self::GrantCredit => "grant_credit",
            Self::VoidCredit => "void_credit",
            Self::IssueCreditNote => "issue_credit_note",
        }
    }
}

impl core::fmt::Display for CommandKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.code())
    }
}

impl Command {
    /// The plain name.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Advance => CommandKind::Advance,
            Self::Renew => CommandKind::Renew,
            Self::Cancel { .. } => CommandKind::Cancel,
            Self::UndoCancel => CommandKind::UndoCancel,
            Self::Suspend { .. } => CommandKind::Suspend,
            Self::Reactivate => CommandKind::Reactivate,
            Self::Pause { .. } => CommandKind::Pause,
            Self::Resume => CommandKind::Resume,
            Self::ChangePlan { .. } => CommandKind::ChangePlan,
            Self::ChangeQuantity { .. } => CommandKind::ChangeQuantity,
            Self::ChangeAddOn { .. } => CommandKind::ChangeAddOn,
            Self::BuyAddOn { .. } => CommandKind::BuyAddOn,
            Self::DropPendingChange => CommandKind::DropPendingChange,
            Self::SetPaymentMethod { .. } => CommandKind::SetPaymentMethod,
            Self::SetAutoRenew { .. } => CommandKind::SetAutoRenew,
            Self::RecordPayment { .. } => CommandKind::RecordPayment,
            Self::Unpark => CommandKind::Unpark,
            Self::RedeemCoupon { .. } => CommandKind::RedeemCoupon,
            Self::GrantCredit(_) => CommandKind::GrantCredit,
            Self::VoidCredit { .. } => CommandKind::VoidCredit,
            Self::IssueCreditNote { .. } => CommandKind::IssueCreditNote,
        }
    }
}
