//! From lines to an invoice: discounts, tax, credit, and what is left to pay; and withdrawing it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use super::decision::{Draft, Effect};
use super::rejection::Rejection;
use super::{CommandKind, LineGuard};
use crate::calendar::{self, Period};
use crate::coupon;
use crate::credit::{Credits, LedgerEntry, LedgerKind};
use crate::id::{CouponCode, InvoiceId};
use crate::invoice::{Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineKind, LineRef, Serial, explain};
use crate::money::Money;
use crate::payment::{Collection, CollectionPhase, Debit, Spent};
use crate::tax::{TaxAmount, TaxBehavior};

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

impl Draft<'_> {
    /// Opens an invoice over `lines`: takes off discounts, adds tax, uses up credit, and starts to collect it.
    ///
    /// Credit that exceeds the charges is kept for the next invoice, or paid back when the subscription ends so, and a total
    /// is never negative. An invoice over nothing is paid at once. Nothing is opened when there is nothing to write down: no
    /// lines and no period that is bought.
    pub(super) fn open_invoice(
        &mut self,
        kind: InvoiceKind,
        period: Period,
        unpaid_from: DateTime<Utc>,
        mut lines: Vec<InvoiceLine>,
    ) -> Result<Opened, Rejection> {
        self.bill_purchases(&mut lines)?;
        let pays_back = self.pays_back && !self.next.credit.is_zero();
        if lines.is_empty() && !kind.buys_period() && !pays_back {
            return Ok(Opened::Paid { debits: Vec::new() });
        }
        let (id, now, currency) = (self.context.invoice_id, self.now(), self.plan.currency());
        let coupons = self.take_discounts(&mut lines)?;
        let taxes = self.add_tax(period, &mut lines)?;
        let subtotal = Invoice::sum(currency, &lines)?;
        let burned = self.settle_credit(period, subtotal, &mut lines)?;
        self.guard_lines(lines.len())?;
        let total = Invoice::sum(currency, &lines)?;
        self.next.invoices = self.next.invoices.saturating_add(1);
        let mut debits = debits(id, &lines)?;
        self.forgive_promotion(&burned, subtotal, &mut debits)?;
        let state = if total.is_zero() {
            InvoiceStatus::Paid {
                paid_at: now,
                reference: None,
                covers: None,
            }
        } else {
            InvoiceStatus::Open
        };
        let due_at = match self.plan.net_terms_days {
            0 => None,
            days => Some(calendar::add_days(now, days, self.next.anchor.zone)?),
        };
        self.opened = Some(Invoice {
            id,
            tenant_id: self.next.tenant_id,
            subscription_id: self.next.id,
            number: self.next.invoices,
            kind,
            period,
            opened_at: now,
            due_at,
            serial: self
                .plan
                .invoice_series
                .clone()
                .map(|series| Serial { series, number: 0 }),
            lines,
            taxes,
            total,
            state,
        });
        if total.is_zero() {
            return Ok(Opened::Paid { debits });
        }
        self.effect(Effect::ChargeInvoice {
            invoice_id: id,
            amount: total,
            attempt: 1,
        });
        let is_spent = !burned.is_empty() || !coupons.is_empty();
        Ok(Opened::Collecting(Collection {
            invoice_id: id,
            kind,
            amount: total,
            unpaid_from,
            attempts: 1,
            phase: CollectionPhase::Charging,
            debits,
            spent: is_spent.then(|| Box::new(Spent { burned, coupons })),
        }))
    }

    /// Adds a line for what each discount takes off each charge, and counts the invoice for those that took something.
    fn take_discounts(&mut self, lines: &mut Vec<InvoiceLine>) -> Result<Vec<CouponCode>, Rejection> {
        let plan = self.plan;
        let live =
            |discount: &&coupon::Discount| discount.invoices_left != Some(0) && discount.is_for(&plan.code);
        let live: Vec<_> = self.next.discounts.iter().filter(live).cloned().collect();
        if live.is_empty() {
            return Ok(Vec::new());
        }
        let zero = Money::zero(plan.currency());
        let charge = |line: &InvoiceLine| if line.kind.is_charge() { line.amount } else { zero };
        let mut charges: Vec<_> = lines.iter().map(charge).collect();
        net_of_commitment(lines, &mut charges);
        let mut coupons: Vec<CouponCode> = Vec::new();
        for applied in coupon::apply(&live, &charges, plan.currency(), plan.rounding)? {
            let Some(period) = lines.get(applied.line).map(|line| line.period) else {
                continue;
            };
            let source = LineRef {
                invoice_id: self.context.invoice_id,
                line: u32::try_from(applied.line).unwrap_or(u32::MAX),
            };
            lines.push(InvoiceLine {
                explanation: applied.explanation,
                source: Some(source),
                ..self.plain_line(LineKind::Discount, period, applied.amount.checked_neg()?)
            });
            if !coupons.contains(&applied.code) {
                coupons.push(applied.code);
            }
        }
        for discount in &mut self.next.discounts {
            if coupons.contains(&discount.code) {
                discount.invoices_left = discount.invoices_left.map(|left| left.saturating_sub(1));
            }
        }
        Ok(coupons)
    }

    /// What tax comes to on `lines`; adds a line for each that is on top of them.
    fn add_tax(&self, period: Period, lines: &mut Vec<InvoiceLine>) -> Result<Vec<TaxAmount>, Rejection> {
        let Some(treatment) = self.facts.tax.filter(|treatment| !treatment.rates.is_empty()) else {
            return Ok(Vec::new());
        };
        let taxable = Invoice::sum(self.plan.currency(), lines)?;
        let taxes = treatment.assess(taxable, self.plan.rounding)?;
        for tax in &taxes {
            match tax.behavior {
                TaxBehavior::Exclusive if !tax.amount.is_zero() => lines.push(InvoiceLine {
                    explanation: tax.explanation.clone(),
                    ..self.plain_line(LineKind::Tax, period, tax.amount)
                }),
                TaxBehavior::Exclusive | TaxBehavior::Inclusive => {}
            }
        }
        Ok(taxes)
    }

    /// Pays for `subtotal` with prepaid credit, then with credit for unused time; keeps what the customer has coming, or pays
    /// it back. Returns what was burned.
    fn settle_credit(
        &mut self,
        period: Period,
        subtotal: Money,
        lines: &mut Vec<InvoiceLine>,
    ) -> Result<Vec<LedgerEntry>, Rejection> {
        let held = self.next.credit;
        let zero = Money::zero(subtotal.currency);
        let (coming, owed) = if subtotal.is_negative() {
            (subtotal.checked_neg()?, zero)
        } else {
            (zero, subtotal)
        };
        let (burned, left) = self.burn(period, owed, lines)?;
        let used = Money::new(left.minor.min(held.minor), left.currency);
        let kept = held.checked_sub(used)?.checked_add(coming)?;
        if self.pays_back && !kept.is_zero() {
            if !held.is_zero() {
                lines.push(self.credit_line(
                    LineKind::CreditApplied,
                    period,
                    held.checked_neg()?,
                    "credit used",
                ));
            }
            lines.push(self.credit_line(LineKind::CreditRefunded, period, kept, "paid back"));
            self.next.credit = zero;
            self.effect(Effect::RefundUnused {
                invoice_id: self.context.invoice_id,
                amount: kept,
            });
            return Ok(burned);
        }
        if !coming.is_zero() {
            lines.push(self.credit_line(
                LineKind::CreditCarried,
                period,
                coming,
                "kept for the next invoice",
            ));
        }
        if !used.is_zero() {
            let amount = used.checked_neg()?;
            lines.push(self.credit_line(LineKind::CreditApplied, period, amount, "credit used"));
        }
        self.next.credit = kept;
        Ok(burned)
    }

    /// Burns prepaid credit for as much of `asked` as there is, one line per grant; what was burned, and what is left to pay.
    fn burn(
        &mut self,
        period: Period,
        asked: Money,
        lines: &mut Vec<InvoiceLine>,
    ) -> Result<(Vec<LedgerEntry>, Money), Rejection> {
        if self.next.grants.is_empty() || asked.is_zero() {
            return Ok((Vec::new(), asked));
        }
        let (id, now) = (self.context.invoice_id, self.now());
        let mut credits = Credits::load(asked.currency, core::mem::take(&mut self.next.grants))?;
        let burn = credits.burn(asked, id, now)?;
        let is_burned = |entry: &&LedgerEntry| entry.kind == (LedgerKind::Burned { invoice_id: id });
        let burned: Vec<_> = burn.entries.iter().filter(is_burned).copied().collect();
        self.ledger.extend(burn.entries);
        for entry in &burned {
            lines.push(self.credit_line(
                LineKind::PrepaidApplied,
                period,
                entry.amount,
                "prepaid credit used",
            ));
        }
        // What is spent is kept for as long as this invoice may be withdrawn.
        self.next.grants = credits.into_grants();
        self.next.grants.retain(|grant| {
            !grant.remaining.is_zero() || burned.iter().any(|entry| entry.grant_id == grant.id)
        });
        Ok((burned, asked.checked_sub(burn.burned)?))
    }

    /// What promotional credit paid for was not paid: its share of each debit is not credited later on.
    fn forgive_promotion(
        &self,
        burned: &[LedgerEntry],
        subtotal: Money,
        debits: &mut Vec<Debit>,
    ) -> Result<(), Rejection> {
        let is_promotion = |entry: &&LedgerEntry| {
            let grant = self.next.grants.iter().find(|grant| grant.id == entry.grant_id);
            grant.is_some_and(|grant| !grant.source.is_paid())
        };
        let promotions = burned.iter().filter(is_promotion).map(|entry| entry.amount);
        let given = Money::sum(subtotal.currency, promotions)?.checked_neg()?;
        if given.is_zero() {
            return Ok(());
        }
        for debit in debits.iter_mut() {
            let share = debit
                .amount
                .fraction(given.minor, subtotal.minor, self.plan.rounding)?;
            debit.amount = debit.amount.checked_sub(share)?;
        }
        debits.retain(|debit| !debit.amount.is_zero());
        Ok(())
    }

    pub(super) fn credit_line(
        &self,
        kind: LineKind,
        period: Period,
        amount: Money,
        why: &str,
    ) -> InvoiceLine {
        InvoiceLine {
            explanation: explain(format_args!("{why}: {amount}")),
            ..self.plain_line(kind, period, amount)
        }
    }

    /// A line of one amount, not explained yet.
    pub(super) fn plain_line(&self, kind: LineKind, period: Period, amount: Money) -> InvoiceLine {
        InvoiceLine {
            kind,
            plan_id: self.plan.id,
            meter: None,
            add_on: None,
            cell: None,
            period,
            quantity: rust_decimal::Decimal::ONE,
            unit_price: None,
            amount,
            explanation: alloc::string::String::new(),
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
        // A cancellation ends the running away; it must not be held up by it. Nor is what a human has released.
        if found > max && self.command != CommandKind::Cancel && !self.next.guard.is_released {
            return Err(Rejection::Runaway {
                id: self.next.id,
                found,
                max,
            });
        }
        self.next.guard = LineGuard {
            day,
            lines: found,
            is_released: false,
        };
        Ok(())
    }

    /// Withdraws the open invoice of `collection` and returns the lines that stand all the same: what is owed for what
    /// was delivered, and credit for paid time that the customer gave up. Not the credit of a change inside the
    /// period: until that is paid, the term keeps what the credit was computed from.
    ///
    /// Credit that it had used comes back, and coupons count it no more. Discounts and tax are computed anew on whatever
    /// invoice the lines move to.
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
        if let Some(spent) = &collection.spent {
            self.give_back(invoice.id, spent)?;
        }
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

    fn give_back(&mut self, invoice_id: InvoiceId, spent: &Spent) -> Result<(), Rejection> {
        if !spent.burned.is_empty() {
            let grants = core::mem::take(&mut self.next.grants);
            let mut credits = Credits::load(self.next.credit.currency, grants)?;
            let entries = credits.give_back(invoice_id, &spent.burned, self.now())?;
            self.ledger.extend(entries);
            self.next.grants = credits.into_grants();
        }
        for discount in &mut self.next.discounts {
            if spent.coupons.contains(&discount.code) {
                discount.invoices_left = discount.invoices_left.map(|left| left.saturating_add(1));
            }
        }
        Ok(())
    }
}

/// Takes what late usage made up for of a minimum off the charges for that usage: what was paid for before is not discounted
/// now.
fn net_of_commitment(lines: &[InvoiceLine], charges: &mut [Money]) {
    for line in lines {
        if line.kind != LineKind::CommitmentTrueUp || !line.amount.is_negative() {
            continue;
        }
        let mut made_up = line.amount.minor.saturating_neg();
        for (other, charge) in lines.iter().zip(charges.iter_mut()) {
            let is_late = other.kind == LineKind::UsageAdjustment;
            if is_late
                && other.plan_id == line.plan_id
                && other.period.end >= line.period.end
                && other.period.start <= line.period.start
            {
                let taken = made_up.min(charge.minor).max(0);
                charge.minor = charge.minor.saturating_sub(taken);
                made_up = made_up.saturating_sub(taken);
            }
        }
    }
}

/// The lines of an invoice that pay for time to come, less the discounts on them, and net of the credit that paid for them.
///
/// Credit is money that was paid before, so what it paid for is debited all the same.
fn debits(invoice_id: InvoiceId, lines: &[InvoiceLine]) -> Result<Vec<Debit>, Rejection> {
    let mut debits: Vec<_> = lines
        .iter()
        .zip(0_u32..)
        .filter(|(line, _)| {
            matches!(
                line.kind,
                LineKind::RecurringInAdvance | LineKind::ProrationCharge
            )
        })
        .map(|(line, index)| Debit {
            source: LineRef {
                invoice_id,
                line: index,
            },
            period: line.period,
            amount: line.amount,
            add_on: line.add_on.clone(),
        })
        .collect();
    for line in lines.iter().filter(|line| line.kind == LineKind::Discount) {
        if let Some(debit) = debits.iter_mut().find(|debit| Some(debit.source) == line.source) {
            debit.amount = debit.amount.checked_add(line.amount)?;
        }
    }
    debits.retain(|debit| !debit.amount.is_zero());
    Ok(debits)
}
