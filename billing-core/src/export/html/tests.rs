use std::vec;
use std::vec::Vec;

use chrono_tz::UTC;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::kit::{at, decimal, invoice, invoices, line, money, plan, serial, texts};
use super::*;
use crate::credit_note::Disposition;
use crate::id::CreditNoteId;
use crate::invoice::LineCell;
use crate::tax::TaxRate;

fn plain<'a>() -> Page<'a> {
    Page {
        issuer: Party::default(),
        customer: Party::default(),
        zone: UTC,
        plans: &[],
        credit_notes: &[],
        footer: "",
        labels: Labels::default(),
    }
}

/// The text of a page, without tags, style and line breaks, each element set apart by a blank.
fn text_of(html: &str) -> String {
    let body = html.split_once("<body>").unwrap().1;
    let mut text = String::new();
    for part in body.split('<').skip(1) {
        let (_, after) = part.split_once('>').unwrap();
        text.push_str(after.trim());
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(invoice: &Invoice, with: &Page<'_>, expected: &[&str]) {
    let text = text_of(&page(invoice, with).unwrap());
    let mut rest = &*text;
    for expected in expected {
        let Some((_, after)) = rest.split_once(expected) else {
            panic!("`{expected}` is not in `{rest}`");
        };
        rest = after;
    }
}

#[test]
fn a_status_says_what_is_to_be_paid() {
    let charge = vec![line(LineKind::Usage, money(5_00, "USD"))];
    let open = invoice(charge);
    let when = at("2026-06-03T00:00:00Z");
    let paid = InvoiceStatus::Paid {
        paid_at: when,
        reference: None,
        covers: None,
    };
    for (state, status, due) in [
        (InvoiceStatus::Open, "Status Open Issued", "Amount due 5.00 USD"),
        (paid, "Status Paid 2026-06-03 Issued", "Amount due 0.00 USD"),
        (
            InvoiceStatus::Void { voided_at: when },
            "Status Void 2026-06-03 Issued",
            "Amount due 0.00 USD",
        ),
        (
            InvoiceStatus::Uncollectible { given_up_at: when },
            "Status Uncollectible 2026-06-03 Issued",
            "Amount due 5.00 USD",
        ),
    ] {
        check(
            &Invoice {
                state,
                ..open.clone()
            },
            &plain(),
            &[status, "Total 5.00 USD", due],
        );
    }
    check(&open, &plain(), &["Issued 2026-06-01 Due On receipt"]);
    let due_at = Some(at("2026-06-15T00:00:00Z"));
    check(&Invoice { due_at, ..open }, &plain(), &["Due 2026-06-15 Period"]);
}

#[test]
fn an_invoice_goes_by_its_serial_or_its_id() {
    let open = invoice(vec![]);
    let id = "00000000-0000-0000-0000-000000000010 / 3";
    for (serial, expected) in [(None, id), (serial("EU", 0), id), (serial("EU", 9), "EU-9")] {
        let numbered = Invoice {
            serial,
            ..open.clone()
        };
        check(&numbered, &plain(), &["Number", expected, "Status"]);
        let title = format!("<title>Invoice {expected}</title>");
        assert!(page(&numbered, &plain()).unwrap().contains(&title));
    }
}

#[test]
fn dates_are_those_of_the_zone_and_the_last_day_is_inside() {
    let mut june = invoice(vec![]);
    june.period = Period::new(at("2026-05-31T22:00:00Z"), at("2026-06-30T22:00:00Z")).unwrap();
    june.opened_at = at("2026-05-31T22:00:00Z");
    let berlin = Page {
        zone: chrono_tz::Europe::Berlin,
        ..plain()
    };
    check(
        &june,
        &berlin,
        &["Issued 2026-06-01", "Period 2026-06-01 to 2026-06-30"],
    );
    check(
        &june,
        &plain(),
        &["Issued 2026-05-31", "Period 2026-05-31 to 2026-06-30"],
    );
}

#[test]
fn a_line_shows_its_arithmetic() {
    let cell = LineCell {
        filter: Some("EU".into()),
        group: [("project".into(), "a".into())].into(),
    };
    let usage = crate::invoice::InvoiceLine {
        cell: Some(cell.into()),
        quantity: decimal("150.0"),
        unit_price: Some(decimal("0.010")),
        explanation: "(150 - 100) x 0.01 = 0.5 USD".into(),
        ..line(LineKind::Usage, money(50, "USD"))
    };
    let part = crate::invoice::InvoiceLine {
        unit_price: Some(decimal("29.00")),
        explanation: "29.00 USD x 15/30 days".into(),
        ..line(LineKind::ProrationCharge, money(14_50, "USD"))
    };
    let unused = crate::invoice::InvoiceLine {
        kind: LineKind::ProrationCredit,
        amount: money(-3_00, "USD"),
        ..part.clone()
    };
    let with = Page {
        plans: &[plan()],
        ..plain()
    };
    check(
        &invoice(vec![usage.clone()]),
        &plain(),
        &["Usage, requests, EU, project: a"],
    );
    check(
        &invoice(vec![usage, part, unused]),
        &with,
        &[
            "Items Description Period Quantity Unit price Amount",
            "Usage, Pro, requests, EU, project: a (150 - 100) x 0.01 = 0.5 USD 2026-05-01 to 2026-05-31 150 0.010 0.50 USD",
            "Rest of the period, Pro 29.00 USD x 15/30 days 2026-05-01 to 2026-05-31 14.50 USD",
            "Unused time, Pro 29.00 USD x 15/30 days 2026-05-01 to 2026-05-31 -3.00 USD",
            "Subtotal 12.00 USD",
        ],
    );
}

#[test]
fn totals_follow_in_the_order_in_which_they_add_up() {
    let kinds = [
        (LineKind::RecurringInAdvance, 10_000),
        (LineKind::Discount, -10_00),
        (LineKind::Tax, 17_10),
        (LineKind::PrepaidApplied, -1_00),
        (LineKind::CreditApplied, -2_00),
        (LineKind::CreditCarried, 3_00),
        (LineKind::CreditRefunded, 4_00),
    ];
    let tax = |percent: i64, behavior, minor| TaxAmount {
        rate: TaxRate {
            name: "VAT".into(),
            percent: percent.into(),
            jurisdiction: None,
        },
        behavior,
        taxable: money(90_00, "USD"),
        amount: money(minor, "USD"),
        explanation: if minor == 17_10 {
            "why".into()
        } else {
            format!("{percent}% why")
        },
    };
    let mut full = invoice(kinds.map(|(kind, minor)| line(kind, money(minor, "USD"))).into());
    full.taxes = vec![
        tax(19, TaxBehavior::Exclusive, 17_10),
        tax(0, TaxBehavior::Exclusive, 0),
        tax(7, TaxBehavior::Inclusive, 5_89),
    ];
    check(
        &full,
        &plain(),
        &[
            "Totals Subtotal 100.00 USD Discount why -10.00 USD VAT 19% why 17.10 USD VAT 0% 0% why 0.00 USD \
             Includes VAT 7% 7% why 5.89 USD Prepaid credit used -1.00 USD Credit used -2.00 USD \
             Kept for the next invoice 3.00 USD Paid back 4.00 USD Total 111.10 USD Amount due 111.10 USD",
        ],
    );
    full.taxes.clear();
    check(&full, &plain(), &["Tax why 17.10 USD"]);
}

#[test]
fn parties_and_footer_are_shown_line_by_line() {
    let with = Page {
        issuer: Party {
            name: "Acme",
            address: &["1 Main Street", "Springfield"],
            tax_id: Some("DE1"),
            email: Some("a@b.c"),
        },
        customer: Party {
            name: "Buyer",
            ..Party::default()
        },
        footer: "one\ntwo",
        ..plain()
    };
    check(
        &invoice(vec![]),
        &with,
        &["From Acme 1 Main Street Springfield Tax ID: DE1 a@b.c Bill to Buyer Items"],
    );
    let html = page(&invoice(vec![]), &with).unwrap();
    assert!(
        html.contains("<footer>\n<p>one</p>\n<p>two</p>\n</footer>"),
        "{html}"
    );
}

fn note(number: u32, reason: CreditNoteReason) -> CreditNote {
    let invoice = invoice(vec![]);
    CreditNote {
        id: CreditNoteId::new(Uuid::from_u128(1)),
        invoice_id: invoice.id,
        tenant_id: invoice.tenant_id,
        subscription_id: invoice.subscription_id,
        number,
        issued_at: at("2026-06-20T00:00:00Z"),
        reason,
        lines: vec![],
        total: money(1_00, "USD"),
        disposition: Disposition::Refund,
    }
}

#[test]
fn credit_notes_of_the_invoice_follow() {
    let mut foreign = note(9, CreditNoteReason::Duplicate);
    foreign.invoice_id = crate::id::InvoiceId::new(Uuid::from_u128(99));
    let reasons = [
        (CreditNoteReason::Duplicate, "Duplicate"),
        (CreditNoteReason::Fraudulent, "Fraudulent"),
        (CreditNoteReason::OrderChange, "Order change"),
        (CreditNoteReason::Unsatisfactory, "Unsatisfactory"),
        (CreditNoteReason::Other("slow".into()), "slow"),
    ];
    for (reason, text) in reasons {
        let with = Page {
            credit_notes: &[foreign.clone(), note(2, reason)],
            ..plain()
        };
        let row = format!("Credit notes Number Issued Reason Amount 2 2026-06-20 {text} 1.00 USD");
        check(&invoice(vec![]), &with, &["Amount due", &row]);
    }
    let with = Page {
        credit_notes: &[foreign],
        ..plain()
    };
    assert!(!page(&invoice(vec![]), &with).unwrap().contains("Credit notes"));
}

/// On a page too narrow for a table the head of it is not seen.
#[test]
fn each_cell_names_its_own_header() {
    let invoice = invoice(vec![line(LineKind::Usage, money(5_00, "USD"))]);
    let notes = [note(1, CreditNoteReason::Duplicate)];
    let with = Page {
        credit_notes: &notes,
        labels: Labels {
            quantity: "\"Menge\"",
            ..Labels::default()
        },
        ..plain()
    };
    let html = page(&invoice, &with).unwrap();
    let body = html.split_once("<body>").unwrap().1;
    let named = body.split("data-label=\"").skip(1);
    let labels: Vec<_> = named.map(|rest| rest.split_once('"').unwrap().0).collect();
    let line = ["Period", "&quot;Menge&quot;", "Unit price", "Amount"];
    let note = ["Number", "Issued", "Reason", "Amount"];
    assert_eq!(labels, [line, note].concat());
}

#[test]
fn text_stays_text() {
    for (text, expected) in [
        ("a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;"),
        ("é\t\n日", "é\t\n日"),
        (
            "\0\r\u{1b}\u{7f}\u{85}\u{fdd0}\u{fffe}\u{10ffff}",
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
        ),
        ("\u{fdcf}\u{fdf0}\u{fffd}", "\u{fdcf}\u{fdf0}\u{fffd}"),
    ] {
        assert_eq!(Text(text).to_string(), expected);
    }
}

/// All that is not text: what stands between `<` and `>`.
fn tags(html: &str) -> Vec<&str> {
    html.split('<')
        .skip(1)
        .map(|part| part.split_once('>').expect("a tag ends").0)
        .collect()
}

/// The same text without any character that means something in HTML, in as many lines.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if ['\r', '\n'].contains(&c) { c } else { 'x' })
        .collect()
}

proptest! {
    #[test]
    fn no_input_breaks_out(
        mut invoice in invoices(),
        texts in prop::collection::vec(texts(), 8),
    ) {
        for line in &mut invoice.lines {
            if let Some(cell) = &mut line.cell {
                cell.filter = Some(texts[7].clone());
            }
        }
        for tax in &mut invoice.taxes {
            tax.rate.name.clone_from(&texts[6]);
        }
        let render = |texts: &[String], invoice: &Invoice| {
            let party = Party {
                name: &texts[0],
                address: &[&texts[1]],
                tax_id: Some(&texts[2]),
                email: Some(&texts[3]),
            };
            let plan = Plan { name: texts[4].clone(), ..plan() };
            let with = Page {
                issuer: party,
                customer: party,
                plans: &[plan],
                credit_notes: &[note(1, CreditNoteReason::Other(texts[5].clone()))],
                footer: &texts[6],
                labels: Labels { title: &texts[7], description: &texts[5], ..Labels::default() },
                ..plain()
            };
            page(invoice, &with).unwrap()
        };
        let html = render(&texts, &invoice);
        let mut calm = invoice.clone();
        for line in &mut calm.lines {
            line.explanation = harmless(&line.explanation);
            line.cell = None;
        }
        for tax in &mut calm.taxes {
            tax.explanation = harmless(&tax.explanation);
        }
        let harmless: Vec<_> = texts.iter().map(|text| harmless(text)).collect();
        let expected = render(&harmless, &calm);
        prop_assert_eq!(tags(&html), tags(&expected));
        // Every `&` begins a reference that we wrote, and nothing stands where HTML forbids it.
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        for (at, _) in html.match_indices('&') {
            prop_assert!(known.iter().any(|known| html[at..].starts_with(known)));
        }
        prop_assert!(html.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
        prop_assert_eq!(html.matches('"').count(), expected.matches('"').count());
    }

    #[test]
    fn a_page_can_be_made_of_any_invoice(invoice in invoices()) {
        let html = page(&invoice, &plain()).unwrap();
        let total = format!("<bdi>Total</bdi></th><td class=\"number\">{}</td>", invoice.total);
        prop_assert!(html.contains(&total));
        prop_assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"));
    }
}
