//! Invoices: lines that show their arithmetic, and a total that is their checked sum.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::calendar::Period;
use crate::id::{AddOnCode, InvoiceId, MeterCode, PlanId, SeriesCode, SubscriptionId, TenantId};
use crate::money::{Currency, Money, MoneyError};
use crate::tax::TaxAmount;

/// What an invoice is for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a kind is added"
)]
pub enum InvoiceKind {
    /// The first period of a subscription or after its trial.
    First,
    /// The period after the one before, and the usage of the one before.
    Renewal,
    /// A period that begins anew, after a suspension or a pause.
    Restart,
    /// A plan change inside a period.
    PlanChange,
    /// A change of the quantity inside a period.
    QuantityChange,
    /// A change of a recurring add-on inside a period.
    AddOnChange,
    /// What is owed when no period follows: usage, and recurring prices in arrears.
    Closing,
}

impl InvoiceKind {
    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Renewal => "renewal",
            Self::Restart => "restart",
            Self::PlanChange => "plan_change",
            Self::QuantityChange => "quantity_change",
            Self::AddOnChange => "add_on_change",
            Self::Closing => "closing",
        }
    }

    /// Whether it pays for time to come, whole periods or parts of one.
    pub const fn pays_for_time(self) -> bool {
        match self {
            Self::First
            | Self::Renewal
            | Self::Restart
            | Self::PlanChange
            | Self::QuantityChange
            | Self::AddOnChange => true,
            Self::Closing => false,
        }
    }

    /// Whether paying it buys a period: First, Renewal and Restart.
    pub const fn buys_period(self) -> bool {
        match self {
            Self::First | Self::Renewal | Self::Restart => true,
            Self::PlanChange | Self::QuantityChange | Self::AddOnChange | Self::Closing => false,
        }
    }

    /// Whether it exchanges paid time of the running period for other: until it is paid, the old is what was paid for.
    pub const fn exchanges_time(self) -> bool {
        match self {
            Self::PlanChange | Self::QuantityChange | Self::AddOnChange => true,
            Self::First | Self::Renewal | Self::Restart | Self::Closing => false,
        }
    }
}

/// Where an invoice stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a status is added"
)]
pub enum InvoiceStatus {
    /// To be paid. A subscription has at most one open invoice.
    Open,
    /// Paid in full, or there was nothing to pay.
    Paid {
        /// When it settled.
        paid_at: DateTime<Utc>,
        /// The payment's reference at its provider; none when there was nothing to pay.
        reference: Option<String>,
        /// The period that the payment bought, when it is another than the invoice's: one that begins at a
        /// settlement after grace.
        covers: Option<Period>,
    },
    /// Withdrawn; its lines that are still owed stand on a later invoice.
    Void {
        /// When.
        voided_at: DateTime<Utc>,
    },
    /// Given up: owed, but not expected.
    Uncollectible {
        /// When.
        given_up_at: DateTime<Utc>,
    },
}

impl InvoiceStatus {
    /// The stable code, as in JSON.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid { .. } => "paid",
            Self::Void { .. } => "void",
            Self::Uncollectible { .. } => "uncollectible",
        }
    }
}

/// What a line is for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a kind is added"
)]
pub enum LineKind {
    /// The recurring price of a period that begins.
    RecurringInAdvance,
    /// The recurring price of time that is over.
    RecurringInArrears,
    /// The price of what is left of a period, after a change into it.
    ProrationCharge,
    /// What was paid for the rest of a period and is not used; negative.
    ProrationCredit,
    /// Usage of a period that is over.
    Usage,
    /// Usage that was recorded after its own period was closed.
    UsageAdjustment,
    /// What was missing from the plan's minimum commitment when the period was over; negative where late usage makes up for
    /// what was charged of it.
    CommitmentTrueUp,
    /// An add-on that was bought once.
    AddOn,
    /// Credit that the subscription held, used up here; negative.
    CreditApplied,
    /// Credit that exceeds the charges, kept for the next invoice; positive, so that the total is zero.
    CreditCarried,
    /// Credit that exceeds the charges, paid back at a cancellation; positive, so that the total is zero.
    CreditRefunded,
    /// What a coupon takes off the line that it points at; negative.
    Discount,
    /// Tax on what stands before it, where prices are without tax.
    Tax,
    /// Prepaid credit, burned here; negative.
    PrepaidApplied,
}

impl LineKind {
    /// Whether the line is owed even when the invoice is withdrawn: for what was delivered, not for what was to come.
    pub(crate) const fn stays_owed(self) -> bool {
        match self {
            Self::RecurringInArrears
            | Self::Usage
            | Self::UsageAdjustment
            | Self::CommitmentTrueUp
            | Self::AddOn => true,
            Self::RecurringInAdvance
            | Self::ProrationCharge
            | Self::ProrationCredit
            | Self::CreditApplied
            | Self::CreditCarried
            | Self::CreditRefunded
            | Self::Discount
            | Self::Tax
            | Self::PrepaidApplied => false,
        }
    }

    /// Whether it charges for something; the others take off, tax, or move credit about.
    pub const fn is_charge(self) -> bool {
        match self {
            Self::RecurringInAdvance
            | Self::RecurringInArrears
            | Self::ProrationCharge
            | Self::Usage
            | Self::UsageAdjustment
            | Self::CommitmentTrueUp
            | Self::AddOn => true,
            Self::ProrationCredit
            | Self::CreditApplied
            | Self::CreditCarried
            | Self::CreditRefunded
            | Self::Discount
            | Self::Tax
            | Self::PrepaidApplied => false,
        }
    }
}

/// A line of another invoice, by its place from 0.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct LineRef {
    /// The invoice.
    pub invoice_id: InvoiceId,
    /// The place of the line in it, from 0.
    pub line: u32,
}

/// One line: one amount, rounded once, with its arithmetic.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct InvoiceLine {
    /// What it is for.
    pub kind: LineKind,
    /// The plan by which it is priced.
    pub plan_id: PlanId,
    /// The meter, on a usage line.
    pub meter: Option<MeterCode>,
    /// The add-on that it is for, if it is for one.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub add_on: Option<AddOnCode>,
    /// What tells the events on a usage line apart from those on other lines of the meter; none when all are on this one.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub cell: Option<Box<LineCell>>,
    /// The time that it pays for.
    pub period: Period,
    /// How much of it; on a usage line the whole quantity, the allowance included.
    pub quantity: Decimal,
    /// The price of one, in major units, if all cost the same.
    pub unit_price: Option<Decimal>,
    /// The amount.
    pub amount: Money,
    /// The arithmetic, such that a customer can check it by hand.
    pub explanation: String,
    /// The line that this one credits or repeats.
    pub source: Option<LineRef>,
}

/// Which events of a meter a usage line is for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a filter and a group")]
pub struct LineCell {
    /// The name of the plan's filter that they matched; none for what matched no filter.
    pub filter: Option<String>,
    /// The properties that the meter groups by, and their values here.
    pub group: BTreeMap<String, String>,
}

/// A number in a series, such as `EU-2026` 17.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a series and a number")]
pub struct Serial {
    /// The series.
    pub series: SeriesCode,
    /// The number, from 1; 0 before the store has given one.
    pub number: u64,
}

/// The text of an [explanation](InvoiceLine::explanation), in one allocation.
#[inline]
pub(crate) fn explain(text: fmt::Arguments<'_>) -> String {
    let mut explanation = String::with_capacity(80);
    let _ = explanation.write_fmt(text);
    explanation
}

/// What a subscription owes at one time.
///
/// An invoice never changes but for its status. Its number is its place among the subscription's invoices, from 1;
/// the pair is unique. So is, among first and renewal invoices that are not void, the pair of subscription and period
/// start: no period is billed twice.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Invoice {
    /// Its id, given by the engine.
    pub id: InvoiceId,
    /// Who owes it.
    pub tenant_id: TenantId,
    /// For what.
    pub subscription_id: SubscriptionId,
    /// Which of the subscription's invoices it is, from 1.
    pub number: u32,
    /// What it is for.
    pub kind: InvoiceKind,
    /// The period that it buys or closes.
    pub period: Period,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// Until when it is to be paid; none for at once.
    #[cfg_attr(feature = "serde", serde(default))]
    pub due_at: Option<DateTime<Utc>>,
    /// The series that numbers it, and its number there: given by the store when it is committed, from 1, without a gap.
    #[cfg_attr(feature = "serde", serde(default))]
    pub serial: Option<Serial>,
    /// The lines: the price of time to come, what is owed for time that is over, discounts, tax, then credit.
    pub lines: Vec<InvoiceLine>,
    /// What tax came to, on top of the lines before it or within them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub taxes: Vec<TaxAmount>,
    /// The checked sum of the lines, never negative.
    pub total: Money,
    /// Where it stands.
    pub state: InvoiceStatus,
}

impl Invoice {
    /// The checked sum of `lines`.
    ///
    /// # Errors
    ///
    /// In order of the lines: [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn sum(currency: Currency, lines: &[InvoiceLine]) -> Result<Money, MoneyError> {
        Money::sum(currency, lines.iter().map(|line| line.amount))
    }

    /// Whether the total is the sum of the lines: what a store or an auditor checks.
    pub fn adds_up(&self) -> bool {
        Self::sum(self.total.currency, &self.lines) == Ok(self.total) && !self.total.is_negative()
    }

    /// Whether it waits for its payment.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, InvoiceStatus::Open)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn money(minor: i64, code: &str) -> Money {
        Money::new(minor, Currency::from_code(code).unwrap())
    }

    fn invoice(total: Money, lines: &[Money]) -> Invoice {
        let start = DateTime::from_timestamp(0, 0).unwrap();
        let period = Period::new(start, DateTime::from_timestamp(1, 0).unwrap()).unwrap();
        let line = |amount: &Money| InvoiceLine {
            kind: LineKind::Usage,
            plan_id: PlanId::new(Uuid::from_u128(1)),
            meter: None,
            add_on: None,
            cell: None,
            period,
            quantity: Decimal::ONE,
            unit_price: None,
            amount: *amount,
            explanation: String::new(),
            source: None,
        };
        Invoice {
            id: InvoiceId::new(Uuid::from_u128(1)),
            tenant_id: TenantId::new(Uuid::from_u128(1)),
            subscription_id: SubscriptionId::new(Uuid::from_u128(1)),
            number: 1,
            kind: InvoiceKind::Closing,
            period,
            opened_at: start,
            due_at: None,
            serial: None,
            taxes: Vec::new(),
            lines: lines.iter().map(line).collect(),
            total,
            state: InvoiceStatus::Open,
        }
    }

    #[test]
    fn a_total_is_the_checked_sum_of_its_lines_and_never_negative() {
        let usd = |minor| money(minor, "USD");
        assert!(invoice(usd(0), &[]).adds_up());
        assert!(invoice(usd(5), &[usd(7), usd(-2)]).adds_up());
        assert!(!invoice(usd(6), &[usd(7), usd(-2)]).adds_up());
        assert!(!invoice(usd(-2), &[usd(-2)]).adds_up());
        assert!(!invoice(usd(7), &[money(7, "EUR")]).adds_up());
        assert!(!invoice(usd(i64::MAX), &[usd(i64::MAX), usd(1)]).adds_up());
    }

    #[test]
    fn what_is_owed_for_what_was_delivered_outlives_its_invoice() {
        use LineKind::{
            AddOn, CommitmentTrueUp, CreditApplied, CreditCarried, CreditRefunded, Discount, PrepaidApplied,
            ProrationCharge, ProrationCredit, RecurringInAdvance, RecurringInArrears, Tax, Usage,
            UsageAdjustment,
        };
        for (kind, stays) in [
            (RecurringInAdvance, false),
            (RecurringInArrears, true),
            (ProrationCharge, false),
            (ProrationCredit, false),
            (Usage, true),
            (UsageAdjustment, true),
            (CommitmentTrueUp, true),
            (AddOn, true),
            (CreditApplied, false),
            (CreditCarried, false),
            (CreditRefunded, false),
            (Discount, false),
            (Tax, false),
            (PrepaidApplied, false),
        ] {
            assert_eq!(kind.stays_owed(), stays, "{kind:?}");
        }
    }

    #[test]
    fn what_buys_a_period_pays_for_time() {
        use InvoiceKind::{AddOnChange, Closing, First, PlanChange, QuantityChange, Renewal, Restart};
        for (kind, code, pays_for_time, buys_period) in [
            (First, "first", true, true),
            (Renewal, "renewal", true, true),
            (Restart, "restart", true, true),
            (PlanChange, "plan_change", true, false),
            (QuantityChange, "quantity_change", true, false),
            (AddOnChange, "add_on_change", true, false),
            (Closing, "closing", false, false),
        ] {
            assert_eq!(
                (kind.code(), kind.pays_for_time(), kind.buys_period()),
                (code, pays_for_time, buys_period)
            );
            assert_eq!(kind.exchanges_time(), pays_for_time && !buys_period, "{kind:?}");
        }
    }
}
