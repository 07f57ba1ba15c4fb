//! What a decision is made from, and what it is.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use chrono::{DateTime, Utc};

use super::rejection::Rejection;
use super::state::State;
use super::{CommandKind, Subscription};
use crate::audit::{Actor, AuditAction, AuditEntry, Details};
use crate::coupon::Coupon;
use crate::credit::LedgerEntry;
use crate::credit_note::{CreditNote, CreditNoteAmount};
use crate::id::{CouponCode, CreditNoteId, InvoiceId, PlanId, SubscriptionId, TenantId, TrialFamily};
use crate::invoice::{Invoice, InvoiceStatus};
use crate::money::Money;
use crate::payment::Spent;
use crate::plan::Plan;
use crate::tax::TaxTreatment;
use crate::usage::{BilledWindow, Usage};

/// When, by whom, and the id for an invoice, should one be opened: what core cannot know.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: DateTime<Utc>,
    /// Who asks.
    pub actor: &'a Actor,
    /// From which address, if known.
    pub ip: Option<IpAddr>,
    /// A fresh id. A decision opens at most one invoice.
    pub invoice_id: InvoiceId,
}

/// What a shell loads before it asks for a decision. [`needs`](super::needs) tells what must be there.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The plan in force.
    pub plan: &'a Plan,
    /// The plan to move to.
    pub target: Option<&'a Plan>,
    /// The usage that is to be billed.
    pub usage: Option<&'a Usage>,
    /// The open invoice, or the one that a payment is for.
    pub invoice: Option<&'a Invoice>,
    /// The plans of the tenant's other live subscriptions.
    pub siblings: &'a [(SubscriptionId, &'a Plan)],
    /// The tax on what is billed; none for no tax.
    pub tax: Option<&'a TaxTreatment>,
    /// The coupon that is to be redeemed.
    pub coupon: Option<CouponFacts<'a>>,
    /// What was credited of the invoice that a credit note is for.
    pub notes: Option<NoteFacts<'a>>,
}

impl<'a> Facts<'a> {
    /// Just the plan in force: enough for a command that bills nothing and moves nowhere.
    pub const fn of(plan: &'a Plan) -> Self {
        Self {
            plan,
            target: None,
            usage: None,
            invoice: None,
            siblings: &[],
            tax: None,
            coupon: None,
            notes: None,
        }
    }
}

/// What follows from a command: the next state and everything that is committed with it, in one transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// The subscription afterwards; its version is one more than before.
    pub next: Subscription,
    /// What happened, in order.
    pub audit: Vec<AuditEntry>,
    /// The invoice that was opened.
    pub opened: Option<Invoice>,
    /// Invoices whose status changed.
    pub closed: Vec<InvoiceClosed>,
    /// The window whose usage was billed, by a plan with meters.
    pub billed: Option<BilledWindow>,
    /// What became of prepaid credit, in order.
    pub ledger: Vec<LedgerEntry>,
    /// A credit note that was issued.
    pub note: Option<CreditNote>,
    /// A coupon that was redeemed.
    pub redemption: Option<CouponRedemption>,
    /// A trial that was granted.
    pub trial: Option<TrialGrant>,
    /// What is to be performed after the commit, in this order.
    pub effects: Vec<Effect>,
}

/// A new status of an invoice that was open or uncollectible.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvoiceClosed {
    /// Which invoice.
    pub invoice_id: InvoiceId,
    /// Where it stands now.
    pub state: InvoiceStatus,
}

/// A redemption of a coupon: its limits are checked in the transaction that commits it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CouponRedemption {
    /// Which.
    pub code: CouponCode,
    /// By whom.
    pub tenant_id: TenantId,
}

/// What is known of a coupon that is to be redeemed.
#[derive(Clone, Copy, Debug)]
pub struct CouponFacts<'a> {
    /// The coupon.
    pub coupon: &'a Coupon,
    /// How often it was redeemed.
    pub redemptions: u32,
    /// Whether the tenant redeemed it before.
    pub redeemed_before: bool,
}

/// What was credited of an invoice before.
#[derive(Clone, Copy, Debug)]
pub struct NoteFacts<'a> {
    /// Its credit notes.
    pub earlier: &'a [CreditNote],
    /// What later invoices credited of its lines; see [`credited_elsewhere`](crate::credit_note::credited_elsewhere).
    pub elsewhere: &'a [CreditNoteAmount],
}

/// An entry of the trial ledger: a tenant has the trial of a family once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrialGrant {
    /// Who had it.
    pub tenant_id: TenantId,
    /// Which.
    pub family: TrialFamily,
    /// When.
    pub granted_at: DateTime<Utc>,
}

/// Something to be done outside, after the commit. A repeated effect has the same [key](Effect::idempotency_key).
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "effect", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an effect is added"
)]
pub enum Effect {
    /// Collect an invoice. Whoever performs it looks first whether the invoice is still open: it may have been withdrawn
    /// since.
    ChargeInvoice {
        /// Which.
        invoice_id: InvoiceId,
        /// Its total.
        amount: Money,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Find out what became of an attempt whose outcome is not known.
    VerifyPayment {
        /// Of which invoice.
        invoice_id: InvoiceId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Pay back what was paid for time that is not used, out of the subscription's settled payments, newest first.
    RefundUnused {
        /// The closing invoice, whose credit lines point at the lines that were paid.
        invoice_id: InvoiceId,
        /// How much.
        amount: Money,
    },
    /// Pay back a payment that was not owed: the invoice was withdrawn, or paid by another payment.
    RefundPayment {
        /// The invoice that it was for.
        invoice_id: InvoiceId,
        /// How much.
        amount: Money,
        /// The payment's reference at its provider.
        reference: String,
    },
    /// Pay back what a credit note credits of a payment.
    RefundNote {
        /// The note.
        note_id: CreditNoteId,
        /// The invoice that was paid.
        invoice_id: InvoiceId,
        /// How much.
        amount: Money,
        /// The payment's reference at its provider.
        reference: String,
    },
}

impl Effect {
    /// The key under which it is performed: the same effect again is the same job, not a second one.
    pub fn idempotency_key(&self) -> String {
        match self {
            Self::ChargeInvoice {
                invoice_id, attempt, ..
            } => alloc::format!("charge:{invoice_id}:{attempt}"),
            Self::VerifyPayment { invoice_id, attempt } => alloc::format!("verify:{invoice_id}:{attempt}"),
            Self::RefundUnused { invoice_id, .. } => alloc::format!("refund-unused:{invoice_id}"),
            Self::RefundPayment {
                invoice_id,
                reference,
                ..
            } => {
                alloc::format!("refund:{invoice_id}:{reference}")
            }
            Self::RefundNote { note_id, .. } => alloc::format!("refund-note:{note_id}"),
        }
    }
}

/// A decision while it is made: the leaves add to it, [`finish`](Self::finish) closes it.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) command: CommandKind,
    pub(super) facts: Facts<'a>,
    pub(super) context: Context<'a>,
    /// The plan in force after the decision.
    pub(super) plan: &'a Plan,
    /// The subscription afterwards, but for its state and version.
    pub(super) next: Subscription,
    /// What the open invoice has used up, and gives back if it is withdrawn.
    pub(super) collected: Option<Spent>,
    /// Whether credit that exceeds the charges is paid back.
    pub(super) pays_back: bool,
    audit: Vec<AuditEntry>,
    pub(super) opened: Option<Invoice>,
    closed: Vec<InvoiceClosed>,
    pub(super) billed: Option<BilledWindow>,
    pub(super) ledger: Vec<LedgerEntry>,
    pub(super) note: Option<CreditNote>,
    pub(super) redemption: Option<CouponRedemption>,
    trial: Option<TrialGrant>,
    effects: Vec<Effect>,
}

impl<'a> Draft<'a> {
    #[inline]
    pub(super) fn new(
        current: &Subscription,
        command: CommandKind,
        facts: Facts<'a>,
        context: Context<'a>,
    ) -> Self {
        Self {
            command,
            facts,
            context,
            plan: facts.plan,
            next: Subscription {
                product: current.product.clone(),
                discounts: current.discounts.clone(),
                add_ons: current.add_ons.clone(),
                purchases: current.purchases.clone(),
                grants: current.grants.clone(),
                state: State::UNDECIDED,
                ..*current
            },
            collected: current
                .state
                .collection()
                .and_then(|collection| collection.spent.as_deref().cloned()),
            pays_back: false,
            audit: Vec::new(),
            opened: None,
            closed: Vec::new(),
            billed: None,
            ledger: Vec::new(),
            note: None,
            redemption: None,
            trial: None,
            effects: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.context.now
    }

    pub(super) fn record(&mut self, action: AuditAction, details: Details) {
        let Context { now, actor, ip, .. } = self.context;
        let (id, head) = (self.next.id, &mut self.next.audit);
        let entry = AuditEntry::seal(head, id, now, (actor, ip), action, details.finish());
        self.audit.push(entry);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn grant_trial(&mut self, family: TrialFamily) {
        let granted_at = self.now();
        self.trial = Some(TrialGrant {
            tenant_id: self.next.tenant_id,
            family,
            granted_at,
        });
    }

    pub(super) fn close(&mut self, invoice_id: InvoiceId, state: InvoiceStatus) {
        self.closed.push(InvoiceClosed { invoice_id, state });
    }

    pub(super) fn missing(&self, fact: &'static str) -> Rejection {
        Rejection::FactMissing {
            command: self.command,
            fact,
        }
    }

    /// The plan that was asked for or scheduled.
    pub(super) fn target(&self, plan_id: PlanId) -> Result<&'a Plan, Rejection> {
        self.facts
            .target
            .filter(|plan| plan.id == plan_id)
            .ok_or_else(|| self.missing("the target plan"))
    }

    /// Puts `plan` in force.
    pub(super) fn adopt(&mut self, plan: &'a Plan) {
        self.plan = plan;
        self.next.plan_id = plan.id;
        self.next.access = super::AccessTerms::of(plan);
        self.next.closing_hours = plan.closing_hours();
    }

    /// Closes the decision with the state that follows.
    #[inline]
    pub(super) fn finish(mut self, state: State) -> Decision {
        self.next.state = state;
        self.next.version = self.next.version.saturating_add(1);
        Decision {
            next: self.next,
            audit: self.audit,
            opened: self.opened,
            closed: self.closed,
            billed: self.billed,
            ledger: self.ledger,
            note: self.note,
            redemption: self.redemption,
            trial: self.trial,
            effects: self.effects,
        }
    }
}
