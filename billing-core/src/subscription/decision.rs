//! What a decision is made from, and what it is.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use chrono::{DateTime, Utc};

use super::rejection::Rejection;
use super::state::State;
use super::{CommandKind, LineGuard, Subscription};
use crate::audit::{Actor, AuditAction, AuditEntry, Details};
use crate::calendar::Period;
use crate::id::{InvoiceId, PlanId, SubscriptionId, TenantId, TrialFamily};
use crate::invoice::{Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineKind, LineRef, explain};
use crate::money::Money;
use crate::payment::{Collection, CollectionPhase, Debit};
use crate::plan::Plan;
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
    audit: Vec<AuditEntry>,
    opened: Option<Invoice>,
    closed: Vec<InvoiceClosed>,
    pub(super) billed: Option<BilledWindow>,
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
                state: State::UNDECIDED,
                ..*current
            },
            audit: Vec::new(),
            opened: None,
            closed: Vec::new(),
            billed: None,
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
    }

    /// Opens an invoice over `lines`, uses up credit, and starts to collect it.
    ///
    /// Credit that exceeds the charges is kept for the next invoice, so a total is never negative. An invoice over
    /// nothing is paid at once. `None` when there is nothing to write down: no lines and no period that is bought.
    pub(super) fn open_invoice(
        &mut self,
        kind: InvoiceKind,
        period: Period,
        unpaid_from: DateTime<Utc>,
        mut lines: Vec<InvoiceLine>,
    ) -> Result<Opened, Rejection> {
        if lines.is_empty() && !kind.buys_period() {
            return Ok(Opened::Paid { debits: Vec::new() });
        }
        let currency = self.plan.currency();
        let subtotal = Invoice::sum(currency, &lines)?;
        if subtotal.is_negative() {
            let kept = subtotal.checked_neg()?;
            lines.push(self.credit_line(LineKind::CreditCarried, period, kept, "kept for the next invoice"));
            self.next.credit = self.next.credit.checked_add(kept)?;
        } else if !self.next.credit.is_zero() && !subtotal.is_zero() {
            let used = Money::new(subtotal.minor.min(self.next.credit.minor), currency);
            let amount = used.checked_neg()?;
            lines.push(self.credit_line(LineKind::CreditApplied, period, amount, "credit used"));
            self.next.credit = self.next.credit.checked_sub(used)?;
        }
        self.guard_lines(lines.len())?;
        let total = Invoice::sum(currency, &lines)?;
        self.next.invoices = self.next.invoices.saturating_add(1);
        let id = self.context.invoice_id;
        let debits = debits(id, &lines);
        let now = self.now();
        let state = if total.is_zero() {
            InvoiceStatus::Paid {
                paid_at: now,
                reference: None,
                covers: None,
            }
        } else {
            InvoiceStatus::Open
        };
        self.opened = Some(Invoice {
            id,
            tenant_id: self.next.tenant_id,
            subscription_id: self.next.id,
            number: self.next.invoices,
            kind,
            period,
            opened_at: now,
            lines,
            total,
            state,
        });
        if total.is_zero() {
            return Ok(Opened::Paid { debits });
        }
        self.effects.push(Effect::ChargeInvoice {
            invoice_id: id,
            amount: total,
            attempt: 1,
        });
        Ok(Opened::Collecting(Collection {
            invoice_id: id,
            kind,
            amount: total,
            unpaid_from,
            attempts: 1,
            phase: CollectionPhase::Charging,
            debits,
        }))
    }

    pub(super) fn credit_line(
        &self,
        kind: LineKind,
        period: Period,
        amount: Money,
        why: &str,
    ) -> InvoiceLine {
        InvoiceLine {
            kind,
            plan_id: self.plan.id,
            meter: None,
            cell: None,
            period,
            quantity: rust_decimal::Decimal::ONE,
            unit_price: None,
            amount,
            explanation: explain(format_args!("{why}: {amount}")),
            source: None,
        }
    }

    /// The runaway guard: counts `lines` into today's and refuses when they are more than the plan allows.
    fn guard_lines(&mut self, lines: usize) -> Result<(), Rejection> {
        let day = self.now().date_naive();
        let before = if self.next.guard.day == day {
            self.next.guard.lines
        } else {
            0
        };
        let found = before.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        let max = self.plan.invoice_lines_per_day_max;
        // A cancellation ends the running away; it must not be held up by it.
        if found > max && self.command != CommandKind::Cancel {
            return Err(Rejection::Runaway {
                id: self.next.id,
                found,
                max,
            });
        }
        self.next.guard = LineGuard { day, lines: found };
        Ok(())
    }

    /// Withdraws the open invoice of `collection` and returns the lines that stand all the same: what is owed for what
    /// was delivered, and credit for paid time that the customer gave up. Not the credit of a change inside the
    /// period: until that is paid, the term keeps what the credit was computed from.
    ///
    /// Credit that it had used comes back.
    pub(super) fn withdraw(
        &mut self,
        collection: Option<&Collection>,
    ) -> Result<Vec<InvoiceLine>, Rejection> {
        let Some(collection) = collection else {
            return Ok(Vec::new());
        };
        let invoice = self
            .facts
            .invoice
            .filter(|invoice| invoice.id == collection.invoice_id)
            .ok_or_else(|| self.missing("the open invoice"))?;
        let voided_at = self.now();
        self.close(invoice.id, InvoiceStatus::Void { voided_at });
        let mut owed = Vec::new();
        for (line, index) in invoice.lines.iter().zip(0_u32..) {
            let given_up = line.kind == LineKind::ProrationCredit && !invoice.kind.exchanges_time();
            if line.kind.stays_owed() || given_up {
                let source = Some(LineRef {
                    invoice_id: invoice.id,
                    line: index,
                });
                owed.push(InvoiceLine {
                    source,
                    ..line.clone()
                });
            }
            if line.kind == LineKind::CreditApplied {
                self.next.credit = self.next.credit.checked_sub(line.amount)?;
            }
        }
        Ok(owed)
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
            trial: self.trial,
            effects: self.effects,
        }
    }
}

/// What came of opening an invoice.
#[derive(Debug)]
pub(super) enum Opened {
    /// There was nothing to pay, so what it debits for time to come is paid.
    Paid {
        /// What it debits.
        debits: Vec<Debit>,
    },
    /// It is being collected.
    Collecting(Collection),
}

impl Opened {
    /// How it is collected, if there is something to pay.
    pub(super) fn collection(self) -> Option<Collection> {
        match self {
            Self::Paid { .. } => None,
            Self::Collecting(collection) => Some(collection),
        }
    }
}

/// The lines of an invoice that pay for time to come, net of the credit that paid for them.
///
/// Credit is money that was paid before, so what it paid for is debited all the same.
fn debits(invoice_id: InvoiceId, lines: &[InvoiceLine]) -> Vec<Debit> {
    lines
        .iter()
        .zip(0_u32..)
        .filter(|(line, _)| {
            matches!(
                line.kind,
                LineKind::RecurringInAdvance | LineKind::ProrationCharge
            )
        })
        .filter(|(line, _)| !line.amount.is_zero())
        .map(|(line, index)| Debit {
            source: LineRef {
                invoice_id,
                line: index,
            },
            period: line.period,
            amount: line.amount,
        })
        .collect()
}
