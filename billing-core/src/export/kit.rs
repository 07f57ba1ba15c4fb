//! What the tests of exports are made with: lines, invoices, a plan, and any invoice that may come.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::calendar::{Interval, Period};
use crate::id::{InvoiceId, MeterCode, PlanCode, PlanId, ProductCode, SeriesCode, SubscriptionId, TenantId};
use crate::invoice::{Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineCell, LineKind, LineRef, Serial};
use crate::money::{Currency, Money, Rounding};
use crate::plan::{Plan, ProrationRule};
use crate::retry::RetryPolicy;
use crate::tax::{TaxBehavior, TaxRate, TaxTreatment};

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn money(minor: i64, code: &str) -> Money {
    Money::new(minor, Currency::from_code(code).unwrap())
}

pub(super) fn plan_id(id: u128) -> PlanId {
    PlanId::new(Uuid::from_u128(id))
}

/// The plan of every line here: `Pro`, 29.00 USD a month.
pub(super) fn plan() -> Plan {
    Plan {
        id: plan_id(1),
        code: PlanCode::new("pro").unwrap(),
        version: 1,
        product: ProductCode::new("app").unwrap(),
        name: "Pro".into(),
        price: money(29_00, "USD"),
        interval: Interval::MONTHLY,
        minimum_commitment: None,
        timing: crate::plan::BillingTiming::InAdvance,
        activation: crate::plan::Activation::Immediate,
        trial: None,
        grace_period_days: 0,
        restricted: None,
        retention_days: 30,
        retry: RetryPolicy::default(),
        proration: ProrationRule::Second,
        rounding: Rounding::HalfAwayFromZero,
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1_000,
        regions: [].into(),
        industries: [].into(),
        required_compliance: [].into(),
        is_active: true,
        discontinued: false,
        features: [].into(),
        meters: [].into(),
        add_ons: [].into(),
    }
}

/// A line over one unit without a price.
pub(super) fn line(kind: LineKind, amount: Money) -> InvoiceLine {
    let is_usage = matches!(kind, LineKind::Usage | LineKind::UsageAdjustment);
    InvoiceLine {
        kind,
        plan_id: plan_id(1),
        meter: is_usage.then(|| MeterCode::new("requests").unwrap()),
        add_on: None,
        cell: None,
        period: Period::new(at("2026-05-01T00:00:00Z"), at("2026-06-01T00:00:00Z")).unwrap(),
        quantity: Decimal::ONE,
        unit_price: None,
        amount,
        explanation: "why".into(),
        source: None,
    }
}

/// An open invoice of June 2026 over lines, all in one currency.
pub(super) fn invoice(lines: Vec<InvoiceLine>) -> Invoice {
    let currency = lines
        .first()
        .map_or(money(0, "USD").currency, |line| line.amount.currency);
    Invoice {
        id: InvoiceId::new(Uuid::from_u128(0x10)),
        tenant_id: TenantId::new(Uuid::from_u128(0x20)),
        subscription_id: SubscriptionId::new(Uuid::from_u128(0x30)),
        number: 3,
        kind: InvoiceKind::Renewal,
        period: Period::new(at("2026-06-01T00:00:00Z"), at("2026-07-01T00:00:00Z")).unwrap(),
        opened_at: at("2026-06-01T00:00:00Z"),
        due_at: None,
        serial: None,
        total: Invoice::sum(currency, &lines).unwrap(),
        lines,
        taxes: Vec::new(),
        state: InvoiceStatus::Open,
    }
}

pub(super) fn serial(series: &str, number: u64) -> Option<Serial> {
    Some(Serial {
        series: SeriesCode::new(series).unwrap(),
        number,
    })
}

/// Text as people write it, and as they should not.
pub(super) fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z,;=\"'<>&/!\\-\r\n\t\\\\ ]{1,12}",
        "(<script>|</style>|-->|\"|'|&lt;|&#0;|]]>|\u{0}|\u{1b}|\u{7f}|\u{85}|\u{fffe}|\u{fdd0}|\u{202e}|é){1,4}",
        "\\PC{1,8}",
    ]
}

fn charges() -> impl Strategy<Value = InvoiceLine> {
    let kinds = prop::sample::select(
        &[
            LineKind::RecurringInAdvance,
            LineKind::RecurringInArrears,
            LineKind::ProrationCharge,
            LineKind::ProrationCredit,
            LineKind::Usage,
            LineKind::UsageAdjustment,
        ][..],
    );
    let cells = prop::option::of((texts(), texts()));
    let numbers = (-50_i64..100_000, 0_i64..10_000, any::<Option<u16>>());
    (kinds, numbers, cells, texts()).prop_map(|(kind, (minor, quantity, price), cell, explanation)| {
        let minor = match kind {
            LineKind::ProrationCredit => -minor.abs(),
            LineKind::UsageAdjustment => minor,
            _ => minor.abs(),
        };
        let cell = cell.map(|(name, value)| LineCell {
            filter: Some(name.clone()),
            group: [(name, value)].into(),
        });
        InvoiceLine {
            quantity: Decimal::new(quantity, 1),
            unit_price: price.map(|price| Decimal::new(price.into(), 4)),
            cell: cell.map(Box::new),
            explanation,
            ..line(kind, money(minor, "USD"))
        }
    })
}

/// Any invoice: charges, discounts on some of them, taxes on top or within, credit used, kept or paid back.
pub(super) fn invoices() -> impl Strategy<Value = Invoice> {
    (
        prop::sample::select(&["USD", "JPY", "KWD"][..]),
        prop::collection::vec(charges(), 0..6),
        prop::collection::vec((0_usize..6, 1_i64..=100), 0..3),
        prop::option::of((any::<bool>(), prop::collection::vec(0_i64..30_000, 1..3))),
        (0_i64..50_000, 0_i64..50_000, any::<bool>()),
    )
        .prop_map(|(code, charges, discounts, tax, (prepaid, credit, pays_back))| {
            let mut lines = charges;
            for line in &mut lines {
                line.amount = money(line.amount.minor, code);
            }
            let id = InvoiceId::new(Uuid::from_u128(0x10));
            for (place, percent) in discounts {
                if let Some(charge) = lines.get(place).filter(|line| line.kind.is_charge()) {
                    let off = line(
                        LineKind::Discount,
                        money(-charge.amount.minor.max(0) * percent / 200, code),
                    );
                    let source = Some(LineRef {
                        invoice_id: id,
                        line: u32::try_from(place).unwrap(),
                    });
                    lines.push(InvoiceLine { source, ..off });
                }
            }
            let sum = |lines: &[InvoiceLine]| Invoice::sum(money(0, code).currency, lines).unwrap();
            let mut taxes = Vec::new();
            if let Some((is_exclusive, rates)) = tax {
                let rate = |percent: &i64| TaxRate {
                    name: "VAT".into(),
                    percent: Decimal::new(*percent, 3),
                    jurisdiction: None,
                };
                let behavior = if is_exclusive {
                    TaxBehavior::Exclusive
                } else {
                    TaxBehavior::Inclusive
                };
                let treatment = TaxTreatment {
                    rates: rates.iter().map(rate).collect(),
                    behavior,
                    exemption: None,
                };
                taxes = treatment.assess(sum(&lines), Rounding::default()).unwrap();
                for tax in taxes.iter().filter(|tax| is_exclusive && !tax.amount.is_zero()) {
                    lines.push(InvoiceLine {
                        explanation: tax.explanation.clone(),
                        ..line(LineKind::Tax, tax.amount)
                    });
                }
            }
            let left = sum(&lines).minor;
            if left < 0 {
                let kind = if pays_back {
                    LineKind::CreditRefunded
                } else {
                    LineKind::CreditCarried
                };
                lines.push(line(kind, money(-left, code)));
            } else {
                let prepaid = prepaid.min(left);
                lines.push(line(LineKind::PrepaidApplied, money(-prepaid, code)));
                lines.push(line(
                    LineKind::CreditApplied,
                    money(-credit.min(left - prepaid), code),
                ));
            }
            let invoice = Invoice {
                taxes,
                ..invoice(lines)
            };
            assert!(invoice.adds_up());
            invoice
        })
}
