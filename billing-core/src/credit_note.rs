//! Credit notes: what is given back of an invoice that was paid, line by line.
//!
//! An invoice never changes, so what was billed wrong is corrected by another document that points at it. All notes of an
//! invoice together never give back more than was paid for it, nor of a line more than it cost.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};

pub use self::refusal::CreditNoteRefusal;
use self::refusal::REASON_MAX;
use self::rest::Rest;
use crate::id::{CreditNoteId, InvoiceId, SubscriptionId, TenantId};
use crate::invoice::{Invoice, InvoiceLine, InvoiceStatus, LineKind, LineRef};
use crate::money::{Money, MoneyError, Rounding};

mod refusal;
mod rest;

/// Why a credit note is issued. The first four are those of Stripe.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a reason is added"
)]
pub enum CreditNoteReason {
    /// The same was billed twice.
    Duplicate,
    /// The customer did not order it.
    Fraudulent,
    /// The customer ordered something else, or less.
    OrderChange,
    /// What was delivered was not as promised.
    Unsatisfactory,
    /// What customers read instead. 1 to 255 characters.
    Other(String),
}

/// Where the money goes.
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
pub enum Disposition {
    /// Back to where it was paid from.
    Refund,
    /// Kept for later invoices: it never expires, and is paid back when the subscription is canceled so.
    Credit,
}

/// What is asked to be credited.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct CreditNoteRequest {
    /// Why.
    pub reason: CreditNoteReason,
    /// How much of what.
    pub scope: CreditNoteScope,
    /// Where the money goes.
    pub disposition: Disposition,
}

/// How much of an invoice is to be credited.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when one is added"
)]
pub enum CreditNoteScope {
    /// All that is left of it.
    All,
    /// So much of each of these lines, at least one. A line may come again.
    Lines(Vec<CreditNoteAmount>),
}

/// How much of a line is to be credited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a line and an amount")]
pub struct CreditNoteAmount {
    /// The line of the invoice, by its place from 0.
    pub line: u32,
    /// How much, above zero, in the invoice's currency.
    pub amount: Money,
}

/// What was given back of an invoice at one time. It never changes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct CreditNote {
    /// Its id, given by the engine.
    pub id: CreditNoteId,
    /// Of which invoice.
    pub invoice_id: InvoiceId,
    /// Who gets it.
    pub tenant_id: TenantId,
    /// Of which subscription the invoice is.
    pub subscription_id: SubscriptionId,
    /// Which of the invoice's notes it is, from 1. The pair is unique, so that of two that are issued at the same time
    /// a store takes one.
    pub number: u32,
    /// When.
    pub issued_at: DateTime<Utc>,
    /// Why.
    pub reason: CreditNoteReason,
    /// How much of what.
    pub lines: Vec<CreditNoteLine>,
    /// The sum of the lines, above zero.
    pub total: Money,
    /// Where the money goes.
    pub disposition: Disposition,
}

/// What is given back of one invoice line.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct CreditNoteLine {
    /// The line of the invoice, by its place from 0.
    pub line: u32,
    /// How much, above zero.
    pub amount: Money,
    /// What of the line was left, such that a customer can check it by hand.
    pub explanation: String,
}

impl CreditNoteLine {
    /// The line and the amount.
    pub const fn credited(&self) -> CreditNoteAmount {
        CreditNoteAmount {
            line: self.line,
            amount: self.amount,
        }
    }
}

/// Credits what `request` asks of `invoice`, of which `earlier` has all credit notes so far.
///
/// `elsewhere` is what other invoices credit of its lines, such as time that was not used after a plan change: that was
/// given back too. The two together are what was credited before.
///
/// Of a line can be credited what it cost, less the discounts and credits of the invoice that point at it, less what was
/// credited of it before. Of the invoice can be credited what was paid, its total, less all that was credited of it
/// before: what was settled with credit that the subscription held was not paid, and is not paid back.
/// [`All`](CreditNoteScope::All) is the lesser of the two sums, split over the lines by what is left of each.
///
/// # Units
///
/// Minor units of the invoice's currency. Nothing is rounded; `All` is split by largest remainder.
///
/// # Errors
///
/// [`CreditNoteRefusal`], in the order in which it lists them: the request by itself, the invoice, the lines, the total.
/// [`CreditNoteRefusal::Money`] instead where a sum is needed that cannot be had; an amount in another currency is told
/// with the request.
///
/// # Source
///
/// DESIGN.md, section 3: credit notes and refunds never exceed what was paid. As Stripe's, the notes of an invoice are at
/// most its total; unlike there, an open invoice is not credited but withdrawn.
///
/// # Example
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use billing_core::credit_note::{CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition, issue};
/// # use billing_core::{id::CreditNoteId, invoice::Invoice};
/// # let id = |id| CreditNoteId::new(uuid::Uuid::from_u128(id));
/// # let now = "2026-06-15T00:00:00Z".parse().unwrap();
/// # let uuid = "00000000-0000-0000-0000-000000000001";
/// # let month = r#"{"start": "2026-06-01T00:00:00Z", "end": "2026-07-01T00:00:00Z"}"#;
/// # let invoice: Invoice = serde_json::from_str(&format!(
/// #     r#"{{"id": "{uuid}", "tenant_id": "{uuid}", "subscription_id": "{uuid}", "number": 1, "kind": "renewal",
/// #     "period": {month}, "opened_at": "2026-06-01T00:00:00Z", "total": {{"minor": 8000, "currency": "USD"}},
/// #     "state": {{"status": "paid", "paid_at": "2026-06-01T00:00:00Z", "reference": "ch_1", "covers": null}},
/// #     "lines": [{{"kind": "recurring_in_advance", "plan_id": "{uuid}", "meter": null, "period": {month},
/// #     "quantity": "1", "unit_price": "80", "amount": {{"minor": 8000, "currency": "USD"}},
/// #     "explanation": "80.00 USD", "source": null}}]}}"#
/// # )).unwrap();
///
/// let request = CreditNoteRequest {
///     reason: CreditNoteReason::Unsatisfactory,
///     scope: CreditNoteScope::All,
///     disposition: Disposition::Refund,
/// };
/// let note = issue(id(1), &invoice, &[], &[], &request, now).unwrap();
/// assert_eq!((note.number, note.total), (1, invoice.total));
/// assert_eq!(
///     issue(id(2), &invoice, &[note], &[], &request, now).unwrap_err().to_string(),
///     "nothing is left to credit of 80.00 USD that was paid"
/// );
/// # }
/// ```
pub fn issue(
    id: CreditNoteId,
    invoice: &Invoice,
    earlier: &[CreditNote],
    elsewhere: &[CreditNoteAmount],
    request: &CreditNoteRequest,
    now: DateTime<Utc>,
) -> Result<CreditNote, CreditNoteRefusal> {
    let currency = invoice.total.currency;
    check(request, Money::zero(currency))?;
    match invoice.state {
        InvoiceStatus::Paid { .. } => {}
        InvoiceStatus::Open | InvoiceStatus::Void { .. } | InvoiceStatus::Uncollectible { .. } => {
            return Err(CreditNoteRefusal::NotPaid {
                invoice_id: invoice.id,
                status: invoice.state.code(),
            });
        }
    }
    let earlier = || earlier.iter().filter(|note| note.invoice_id == invoice.id);
    let noted = earlier().flat_map(|note| note.lines.iter().map(CreditNoteLine::credited));
    let credited: Vec<_> = noted.chain(elsewhere.iter().copied()).collect();
    let tax = TaxOnTop::of(invoice)?;
    let before = Money::sum(currency, elsewhere.iter().map(|part| part.amount))?;
    let sum = Money::sum(currency, credited.iter().map(|part| part.amount))?.checked_add(tax.on(before)?)?;
    let left = at_least_zero(invoice.total.checked_sub(sum)?);
    let mut rests = Rest::of_lines(invoice, &credited)?;
    let mut lines = match &request.scope {
        CreditNoteScope::All => take_all(&rests, tax.net_of(left)?)?,
        CreditNoteScope::Lines(amounts) => amounts
            .iter()
            .map(|asked| take(&invoice.lines, &mut rests, *asked))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let net = Money::sum(currency, lines.iter().map(|line| line.amount))?;
    let asked = match &request.scope {
        CreditNoteScope::All => at_least_zero(left.checked_sub(net)?),
        CreditNoteScope::Lines(_) => tax.on(net)?,
    };
    tax.give_back(asked, &credited, before, &mut lines)?;
    let paid = invoice.total;
    let total = Money::sum(currency, lines.iter().map(|line| line.amount))?;
    if total.is_zero() {
        return Err(CreditNoteRefusal::NothingLeft { paid });
    }
    if total.minor > left.minor {
        return Err(CreditNoteRefusal::TotalExceeded {
            amount: total,
            left,
            paid,
        });
    }
    Ok(CreditNote {
        id,
        invoice_id: invoice.id,
        tenant_id: invoice.tenant_id,
        subscription_id: invoice.subscription_id,
        number: earlier()
            .map(|note| note.number)
            .max()
            .unwrap_or_default()
            .saturating_add(1),
        issued_at: now,
        reason: request.reason.clone(),
        lines,
        total,
        disposition: request.disposition,
    })
}

/// The tax lines of an invoice: what is credited of a charge is credited with the tax on it, and no tax without its charge.
struct TaxOnTop {
    /// Each with its place.
    lines: Vec<(u32, Money)>,
    sum: Money,
    /// What it is computed on.
    taxable: Money,
}

impl TaxOnTop {
    fn of(invoice: &Invoice) -> Result<Self, MoneyError> {
        let currency = invoice.total.currency;
        let tax =
            |(line, place): (&InvoiceLine, u32)| (line.kind == LineKind::Tax).then_some((place, line.amount));
        let lines: Vec<_> = invoice.lines.iter().zip(0_u32..).filter_map(tax).collect();
        let is_taxed = |line: &&InvoiceLine| {
            line.kind.is_charge() || matches!(line.kind, LineKind::Discount | LineKind::ProrationCredit)
        };
        let taxed = invoice.lines.iter().filter(is_taxed).map(|line| line.amount);
        Ok(Self {
            sum: at_least_zero(Money::sum(currency, lines.iter().map(|(_, amount)| *amount))?),
            taxable: at_least_zero(Money::sum(currency, taxed)?),
            lines,
        })
    }

    /// The tax on `net`.
    fn on(&self, net: Money) -> Result<Money, MoneyError> {
        if self.sum.is_zero() || self.taxable.is_zero() {
            return Ok(Money::zero(net.currency));
        }
        let net = net.minor.min(self.taxable.minor);
        self.sum.fraction(net, self.taxable.minor, Rounding::default())
    }

    /// What of `gross` is not tax.
    fn net_of(&self, gross: Money) -> Result<Money, MoneyError> {
        if self.sum.is_zero() || self.taxable.is_zero() {
            return Ok(gross);
        }
        let whole = self.taxable.checked_add(self.sum)?;
        gross.fraction(self.taxable.minor, whole.minor, Rounding::default())
    }

    /// Adds lines that credit `asked`, at most what is left of the tax; `elsewhere` is what was credited otherwise, without tax.
    fn give_back(
        &self,
        asked: Money,
        credited: &[CreditNoteAmount],
        elsewhere: Money,
        lines: &mut Vec<CreditNoteLine>,
    ) -> Result<(), MoneyError> {
        let is_tax = |part: &&CreditNoteAmount| self.lines.iter().any(|(place, _)| *place == part.line);
        let before = credited.iter().filter(is_tax).map(|part| part.amount);
        let before = Money::sum(asked.currency, before)?.checked_add(self.on(elsewhere)?)?;
        let left = at_least_zero(self.sum.checked_sub(before)?);
        let amount = Money::new(asked.minor.min(left.minor), asked.currency);
        if amount.is_zero() {
            return Ok(());
        }
        let weights: Vec<_> = self
            .lines
            .iter()
            .map(|(_, amount)| amount.minor.unsigned_abs())
            .collect();
        for ((line, _), amount) in self.lines.iter().zip(amount.allocate(&weights)?) {
            if !amount.is_zero() {
                lines.push(CreditNoteLine {
                    line: *line,
                    amount,
                    explanation: format!("{amount} of {} tax on {}", self.sum, self.taxable),
                });
            }
        }
        Ok(())
    }
}

/// What other invoices of the subscription credited of the lines of `invoice_id`: unused time, by a plan change or a
/// cancellation. A credit that moved from an invoice that was withdrawn is followed to what it credits.
pub fn credited_elsewhere(invoice_id: InvoiceId, others: &[Invoice]) -> Vec<CreditNoteAmount> {
    let moved_from = |source: LineRef| {
        let invoice = others.iter().find(|invoice| invoice.id == source.invoice_id)?;
        let line = invoice.lines.get(usize::try_from(source.line).ok()?)?;
        line.source.filter(|_| line.kind == LineKind::ProrationCredit)
    };
    let stands = |invoice: &&Invoice| !matches!(invoice.state, InvoiceStatus::Void { .. });
    let lines = others.iter().filter(stands).flat_map(|invoice| &invoice.lines);
    let credits = lines.filter(|line| line.kind == LineKind::ProrationCredit);
    let credited = credits.filter_map(|line| {
        let chain = core::iter::successors(line.source, |source| moved_from(*source));
        let source = chain.into_iter().find(|source| source.invoice_id == invoice_id)?;
        Some(CreditNoteAmount {
            line: source.line,
            amount: line.amount.checked_neg().ok()?,
        })
    });
    credited.collect()
}

/// What can be said of a request without its invoice.
fn check(request: &CreditNoteRequest, zero: Money) -> Result<(), CreditNoteRefusal> {
    match &request.reason {
        CreditNoteReason::Other(text) => {
            let found = text.chars().count();
            if text.trim().is_empty() || found > REASON_MAX {
                return Err(CreditNoteRefusal::Reason { found });
            }
        }
        CreditNoteReason::Duplicate
        | CreditNoteReason::Fraudulent
        | CreditNoteReason::OrderChange
        | CreditNoteReason::Unsatisfactory => {}
    }
    match &request.scope {
        CreditNoteScope::All => {}
        CreditNoteScope::Lines(amounts) if amounts.is_empty() => return Err(CreditNoteRefusal::NoLines),
        CreditNoteScope::Lines(amounts) => {
            for CreditNoteAmount { line, amount } in amounts.iter().copied() {
                if zero.checked_add(amount)?.minor <= 0 {
                    return Err(CreditNoteRefusal::NotPositive { line, amount });
                }
            }
        }
    }
    Ok(())
}

/// Takes what was asked of a line, if that much is left of it.
fn take(
    lines: &[InvoiceLine],
    rests: &mut [Rest],
    asked: CreditNoteAmount,
) -> Result<CreditNoteLine, CreditNoteRefusal> {
    let CreditNoteAmount { line, amount } = asked;
    let place = usize::try_from(line).unwrap_or(usize::MAX);
    let (Some(rest), Some(of)) = (rests.get_mut(place), lines.get(place)) else {
        let lines = lines.len();
        return Err(CreditNoteRefusal::UnknownLine { line, lines });
    };
    if rest.charged.is_zero() {
        return Err(CreditNoteRefusal::NotCharge {
            line,
            kind: of.kind,
            amount: of.amount,
        });
    }
    let left = rest.left()?;
    if amount.minor > left.minor {
        return Err(CreditNoteRefusal::LineExceeded { line, amount, left });
    }
    let explanation = rest.explain(amount)?;
    rest.credited = rest.credited.checked_add(amount)?;
    Ok(CreditNoteLine {
        line,
        amount,
        explanation,
    })
}

/// Takes what is left of all lines, at most `most`; from lines of which nothing is left, nothing.
fn take_all(rests: &[Rest], most: Money) -> Result<Vec<CreditNoteLine>, CreditNoteRefusal> {
    let lefts = rests.iter().map(Rest::left).collect::<Result<Vec<_>, _>>()?;
    let sum = Money::sum(most.currency, lefts.iter().copied())?;
    if sum.is_zero() {
        return Ok(Vec::new());
    }
    let weights: Vec<_> = lefts.iter().map(|left| left.minor.unsigned_abs()).collect();
    let parts = Money::new(most.minor.min(sum.minor), most.currency).allocate(&weights)?;
    let mut lines = Vec::new();
    for ((line, rest), amount) in (0_u32..).zip(rests).zip(parts) {
        if amount.is_zero() {
            continue;
        }
        let mut explanation = rest.explain(amount)?;
        if most.minor < sum.minor {
            explanation.push_str(&format!("; of {sum} left on all lines {most} was paid"));
        }
        lines.push(CreditNoteLine {
            line,
            amount,
            explanation,
        });
    }
    Ok(lines)
}

fn at_least_zero(amount: Money) -> Money {
    Money::new(amount.minor.max(0), amount.currency)
}

#[cfg(test)]
mod tests;
