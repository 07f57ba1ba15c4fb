//! An invoice as a page. Open `tests/golden/invoice.html` in a browser, and print it, when it changes.

use billing_core::calendar::Period;
use billing_core::credit_note::{CreditNote, CreditNoteLine, CreditNoteReason, Disposition};
use billing_core::export::html::{Labels, Page, Party, page};
use billing_core::id::{CreditNoteId, PlanId, SeriesCode};
use billing_core::invoice::{
    Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineCell, LineKind, LineRef, Serial,
};
use billing_core::money::{Money, Rounding};
use billing_core::tax::{TaxBehavior, TaxRate, TaxTreatment};
use billing_tests::kit::{at, decimal, meter, plan, plan_id, tenant, usd};
use uuid::Uuid;

use super::{invoice_id, path, subscription_id};

/// Compares `text` with the file, byte by byte.
#[track_caller]
fn same_as_page(file: &str, text: &str) {
    let path = path("x").with_file_name(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the file is written");
    }
    let kept = std::fs::read_to_string(&path).expect("the golden file is there");
    assert!(
        kept == text,
        "golden/{file} differs: what is written now is\n{text}\nif that is meant, run with UPDATE_GOLDEN=1"
    );
}

fn line(kind: LineKind, minor: i64, explanation: &str) -> InvoiceLine {
    InvoiceLine {
        kind,
        plan_id: plan_id(1),
        meter: None,
        add_on: None,
        cell: None,
        period: Period::new(at("2026-05-31T22:00:00Z"), at("2026-06-30T22:00:00Z")).expect("June"),
        quantity: decimal("1"),
        unit_price: None,
        amount: usd(minor),
        explanation: explanation.into(),
        source: None,
    }
}

/// A renewal with usage, a discount, tax and credit, of which a part was given back.
fn invoice() -> Invoice {
    let recurring = InvoiceLine {
        unit_price: Some(decimal("149.00")),
        ..line(LineKind::RecurringInAdvance, 14_900, "149.00 USD for every month")
    };
    let may = Period::new(at("2026-04-30T22:00:00Z"), at("2026-05-31T22:00:00Z")).expect("May");
    let requests = InvoiceLine {
        meter: Some(meter("requests")),
        period: may,
        quantity: decimal("1250000"),
        unit_price: Some(decimal("0.00004")),
        ..line(LineKind::Usage, 10_00, "(1250000 - 1000000) x 0.00004 = 10 USD")
    };
    let storage = InvoiceLine {
        meter: Some(meter("storage")),
        add_on: None,
        cell: Some(Box::new(LineCell {
            filter: Some("Cold <archive>".into()),
            group: [("region".into(), "eu-central".into())].into(),
        })),
        period: may,
        quantity: decimal("812.5"),
        ..line(LineKind::Usage, 13_75, "500 x 0.02 + 312.5 x 0.012 = 13.75 USD")
    };
    let late = InvoiceLine {
        meter: Some(meter("requests")),
        period: Period::new(at("2026-03-31T22:00:00Z"), may.start).expect("April"),
        quantity: decimal("100000"),
        ..line(
            LineKind::UsageAdjustment,
            4_00,
            "late: 24.00 USD less 20.00 USD billed",
        )
    };
    let discount = InvoiceLine {
        source: Some(LineRef {
            invoice_id: invoice_id(1),
            line: 0,
        }),
        ..line(LineKind::Discount, -14_90, "coupon `PARTNER`: 10% of 149.00 USD")
    };
    let mut lines = vec![recurring, requests, storage, late, discount];
    let vat = TaxTreatment {
        rates: vec![TaxRate {
            name: "VAT".into(),
            percent: 19.into(),
            jurisdiction: Some("DE".into()),
        }],
        behavior: TaxBehavior::Exclusive,
        exemption: None,
    };
    let taxable = Invoice::sum(usd(0).currency, &lines).expect("a sum");
    let taxes = vat.assess(taxable, Rounding::default()).expect("a tax");
    lines.push(line(LineKind::Tax, taxes[0].amount.minor, &taxes[0].explanation));
    lines.push(line(
        LineKind::PrepaidApplied,
        -25_00,
        "prepaid credit used: -25.00 USD",
    ));
    let total = Invoice::sum(usd(0).currency, &lines).expect("a sum");
    Invoice {
        id: invoice_id(1),
        tenant_id: tenant(1),
        subscription_id: subscription_id(),
        number: 3,
        kind: InvoiceKind::Renewal,
        period: lines[0].period,
        opened_at: at("2026-05-31T22:00:00Z"),
        due_at: Some(at("2026-06-14T22:00:00Z")),
        serial: Some(Serial {
            series: SeriesCode::new("EU-2026").expect("a series"),
            number: 17,
        }),
        lines,
        taxes,
        total,
        state: InvoiceStatus::Paid {
            paid_at: at("2026-06-04T08:00:00Z"),
            reference: Some("ch_1".into()),
            covers: None,
        },
    }
}

fn credit_note(invoice: &Invoice, total: Money) -> CreditNote {
    CreditNote {
        id: CreditNoteId::new(Uuid::from_u128(1)),
        invoice_id: invoice.id,
        tenant_id: invoice.tenant_id,
        subscription_id: invoice.subscription_id,
        number: 1,
        issued_at: at("2026-06-20T10:00:00Z"),
        reason: CreditNoteReason::Other("Two days without service & no notice".into()),
        lines: vec![CreditNoteLine {
            line: 0,
            amount: total,
            explanation: "8.94 USD of 134.10 USD".into(),
        }],
        total,
        disposition: Disposition::Refund,
    }
}

#[test]
fn an_invoice_as_a_page() {
    let invoice = invoice();
    assert!(invoice.adds_up());
    let mut business = plan(1, "business");
    business.name = "Business".into();
    assert_eq!(business.id, PlanId::new(Uuid::from_u128(1)));
    let with = Page {
        issuer: Party {
            name: "Acme Cloud GmbH",
            address: &["Beispielstraße 1", "10115 Berlin", "Germany"],
            tax_id: Some("DE123456789"),
            email: Some("billing@acme.example"),
        },
        customer: Party {
            name: "O'Neill & Søns <Ltd>",
            address: &["12 \"Old\" Road", "Dublin 2", "Ireland"],
            tax_id: Some("IE1234567T"),
            email: Some("ap@oneill.example"),
        },
        zone: chrono_tz::Europe::Berlin,
        plans: &[business],
        credit_notes: &[credit_note(&invoice, usd(8_94))],
        footer: "Acme Cloud GmbH, Amtsgericht Berlin HRB 12345.\nThank you for your business.",
        labels: Labels::default(),
    };
    same_as_page("invoice.html", &page(&invoice, &with).expect("it adds up"));
}
