use std::string::ToString;
use std::vec;

use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::calendar::Period;
use crate::id::PlanId;
use crate::invoice::{InvoiceKind, LineKind, LineRef};
use crate::money::Currency;

fn money(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").unwrap())
}

fn euro(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("EUR").unwrap())
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn invoice_id(id: u128) -> InvoiceId {
    InvoiceId::new(Uuid::from_u128(id))
}

fn note_id(id: u128) -> CreditNoteId {
    CreditNoteId::new(Uuid::from_u128(id))
}

const INVOICE: u128 = 7;

/// A line of a kind and an amount, pointing at a line of an invoice.
type Line = (LineKind, i64, Option<(u128, u32)>);

const fn charge(minor: i64) -> Line {
    (LineKind::RecurringInAdvance, minor, None)
}

/// What takes something off a line of the same invoice.
const fn off(minor: i64, line: u32) -> Line {
    (LineKind::ProrationCredit, -minor, Some((INVOICE, line)))
}

/// A paid invoice.
fn invoice(lines: &[Line]) -> Invoice {
    let period = Period::new(at(0), at(1)).unwrap();
    let line = |(kind, minor, source): &Line| InvoiceLine {
        kind: *kind,
        plan_id: PlanId::new(Uuid::from_u128(1)),
        meter: None,
        add_on: None,
        cell: None,
        period,
        quantity: Decimal::ONE,
        unit_price: None,
        amount: money(*minor),
        explanation: String::new(),
        source: source.map(|(id, line)| LineRef {
            invoice_id: invoice_id(id),
            line,
        }),
    };
    Invoice {
        id: invoice_id(INVOICE),
        tenant_id: TenantId::new(Uuid::from_u128(2)),
        subscription_id: SubscriptionId::new(Uuid::from_u128(3)),
        number: 1,
        kind: InvoiceKind::Renewal,
        period,
        opened_at: at(0),

        due_at: None,
        serial: None,
        taxes: Vec::new(),
        lines: lines.iter().map(line).collect(),
        total: money(lines.iter().map(|(_, minor, _)| minor).sum()),
        state: InvoiceStatus::Paid {
            paid_at: at(1),
            reference: None,
            covers: None,
        },
    }
}

fn request(scope: CreditNoteScope) -> CreditNoteRequest {
    CreditNoteRequest {
        reason: CreditNoteReason::OrderChange,
        scope,
        disposition: Disposition::Refund,
    }
}

const fn part(line: u32, amount: Money) -> CreditNoteAmount {
    CreditNoteAmount { line, amount }
}

fn of_lines(amounts: &[(u32, i64)]) -> CreditNoteScope {
    let amounts = amounts.iter().map(|(line, minor)| part(*line, money(*minor)));
    CreditNoteScope::Lines(amounts.collect())
}

fn issue(
    invoice: &Invoice,
    earlier: &[CreditNote],
    scope: CreditNoteScope,
) -> Result<CreditNote, CreditNoteRefusal> {
    super::issue(note_id(1), invoice, earlier, &[], &request(scope), at(9))
}

/// Each of `expected` is a line, its amount and its explanation.
#[track_caller]
fn check(note: &CreditNote, expected: &[(u32, i64, &str)]) {
    let found: Vec<_> = note
        .lines
        .iter()
        .map(|line| (line.line, line.amount.minor, &*line.explanation))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(
        note.total.minor,
        expected.iter().map(|(_, minor, _)| minor).sum::<i64>()
    );
}

#[track_caller]
fn check_refused(invoice: &Invoice, earlier: &[CreditNote], scope: CreditNoteScope, expected: &str) {
    assert_eq!(issue(invoice, earlier, scope).unwrap_err().to_string(), expected);
}

#[test]
fn a_note_says_of_which_invoice_it_is_and_counts_on() {
    let invoice = invoice(&[charge(10_000)]);
    let first = issue(&invoice, &[], of_lines(&[(0, 10_00)])).unwrap();
    assert_eq!(
        first,
        CreditNote {
            id: note_id(1),
            invoice_id: invoice.id,
            tenant_id: invoice.tenant_id,
            subscription_id: invoice.subscription_id,
            number: 1,
            issued_at: at(9),
            reason: CreditNoteReason::OrderChange,
            lines: first.lines.clone(),
            total: money(10_00),
            disposition: Disposition::Refund,
        }
    );
    let third = CreditNote {
        number: 3,
        ..first.clone()
    };
    let of_another = CreditNote {
        number: 9,
        invoice_id: invoice_id(INVOICE + 1),
        total: money(10_000),
        lines: vec![CreditNoteLine {
            amount: money(10_000),
            ..first.lines[0].clone()
        }],
        ..first.clone()
    };
    let next = issue(&invoice, &[third, first, of_another], of_lines(&[(0, 80_00)])).unwrap();
    assert_eq!(next.number, 4);
}

#[test]
fn of_a_line_can_be_credited_what_it_cost_net_and_what_is_left() {
    let invoice = invoice(&[
        charge(10_000),
        (LineKind::Usage, 50_00, None),
        off(20_00, 0),
        off(5_00, 0),
        // Credits of lines of another invoice take nothing off these.
        (LineKind::ProrationCredit, -10_00, Some((INVOICE + 1, 0))),
        (LineKind::CreditApplied, -1_00, None),
    ]);
    let first = issue(&invoice, &[], of_lines(&[(1, 10_00), (0, 30_00), (0, 1_00)])).unwrap();
    check(
        &first,
        &[
            (1, 10_00, "10.00 USD of 50.00 USD left: 50.00 USD"),
            (
                0,
                30_00,
                "30.00 USD of 75.00 USD left: 100.00 USD - 25.00 USD off",
            ),
            (
                0,
                1_00,
                "1.00 USD of 45.00 USD left: 100.00 USD - 25.00 USD off - 30.00 USD credited before",
            ),
        ],
    );
    let earlier = [first];
    check_refused(
        &invoice,
        &earlier,
        of_lines(&[(1, 1), (0, 44_01)]),
        "cannot credit 44.01 USD of line 0: 44.00 USD of it is left",
    );
    check_refused(
        &invoice,
        &earlier,
        of_lines(&[(0, 44_00), (0, 1)]),
        "cannot credit 0.01 USD of line 0: 0.00 USD of it is left",
    );
    let second = issue(&invoice, &earlier, of_lines(&[(0, 44_00)])).unwrap();
    assert_eq!(second.total, money(44_00));
}

#[test]
fn what_was_settled_with_credit_is_not_paid_back() {
    let invoice = invoice(&[
        charge(60_00),
        charge(40_00),
        (LineKind::CreditApplied, -30_00, None),
    ]);
    check_refused(
        &invoice,
        &[],
        of_lines(&[(0, 60_00), (1, 10_01)]),
        "cannot credit 70.01 USD: 70.00 USD is left of 70.00 USD that was paid",
    );
    let part = issue(&invoice, &[], of_lines(&[(0, 20_00)])).unwrap();
    let rest = issue(&invoice, core::slice::from_ref(&part), CreditNoteScope::All).unwrap();
    check(
        &rest,
        &[
            (
                0,
                25_00,
                "25.00 USD of 40.00 USD left: 60.00 USD - 20.00 USD credited before; of 80.00 USD left on all lines 50.00 USD was paid",
            ),
            (
                1,
                25_00,
                "25.00 USD of 40.00 USD left: 40.00 USD; of 80.00 USD left on all lines 50.00 USD was paid",
            ),
        ],
    );
    check_refused(
        &invoice,
        &[part, rest],
        CreditNoteScope::All,
        "nothing is left to credit of 70.00 USD that was paid",
    );
}

#[test]
fn what_another_invoice_credits_was_given_back_too() {
    let invoice = invoice(&[charge(60_00), charge(40_00)]);
    let elsewhere = [part(0, money(50_00)), part(9, money(5_00))];
    let issue = |scope| super::issue(note_id(1), &invoice, &[], &elsewhere, &request(scope), at(9));
    assert_eq!(
        issue(of_lines(&[(0, 10_01)])).unwrap_err().to_string(),
        "cannot credit 10.01 USD of line 0: 10.00 USD of it is left"
    );
    assert_eq!(
        issue(of_lines(&[(0, 10_00), (1, 40_00)]))
            .unwrap_err()
            .to_string(),
        "cannot credit 50.00 USD: 45.00 USD is left of 100.00 USD that was paid"
    );
    assert_eq!(issue(CreditNoteScope::All).unwrap().total, money(45_00));
}

#[test]
fn a_line_that_more_points_at_has_no_more_left_and_none_has_less_than_nothing() {
    let invoice = invoice(&[charge(50), (LineKind::UsageAdjustment, 20, Some((INVOICE, 0)))]);
    check_refused(
        &invoice,
        &[],
        of_lines(&[(0, 51)]),
        "cannot credit 0.51 USD of line 0: 0.50 USD of it is left",
    );
    let elsewhere = [part(0, money(60))];
    let request = request(of_lines(&[(0, 1)]));
    let refusal = super::issue(note_id(1), &invoice, &[], &elsewhere, &request, at(9)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "cannot credit 0.01 USD of line 0: 0.00 USD of it is left"
    );
}

#[test]
fn all_leaves_out_lines_of_which_nothing_is_left() {
    let invoice = invoice(&[charge(3), charge(5), off(5, 1), charge(-2), charge(4)]);
    let note = issue(&invoice, &[], CreditNoteScope::All).unwrap();
    let of = "; of 0.07 USD left on all lines 0.05 USD was paid";
    check(
        &note,
        &[
            (0, 2, &std::format!("0.02 USD of 0.03 USD left: 0.03 USD{of}")),
            (4, 3, &std::format!("0.03 USD of 0.04 USD left: 0.04 USD{of}")),
        ],
    );
    let whole = self::invoice(&[charge(3), charge(4)]);
    check(
        &issue(&whole, &[], CreditNoteScope::All).unwrap(),
        &[
            (0, 3, "0.03 USD of 0.03 USD left: 0.03 USD"),
            (1, 4, "0.04 USD of 0.04 USD left: 0.04 USD"),
        ],
    );
}

#[test]
fn a_line_that_moves_credit_is_no_charge() {
    use LineKind::{
        CreditApplied, CreditCarried, CreditRefunded, ProrationCharge, ProrationCredit, RecurringInAdvance,
        RecurringInArrears, Usage, UsageAdjustment,
    };
    for (kind, is_charge) in [
        (RecurringInAdvance, true),
        (RecurringInArrears, true),
        (ProrationCharge, true),
        (Usage, true),
        (UsageAdjustment, true),
        (ProrationCredit, false),
        (CreditApplied, false),
        (CreditCarried, false),
        (CreditRefunded, false),
    ] {
        let invoice = invoice(&[(kind, 5, None)]);
        assert_eq!(
            issue(&invoice, &[], of_lines(&[(0, 1)])).is_ok(),
            is_charge,
            "{kind:?}"
        );
    }
}

/// Everything is wrong at first; each step mends what was told.
#[test]
fn the_first_refusal_that_applies_is_told_with_what_came() {
    let mut invoice = Invoice {
        state: InvoiceStatus::Open,
        ..invoice(&[
            charge(50),
            charge(60),
            (LineKind::CreditApplied, -40, None),
            charge(-5),
        ])
    };
    let mut request = CreditNoteRequest {
        reason: CreditNoteReason::Other(" ".into()),
        ..request(CreditNoteScope::Lines(Vec::new()))
    };
    #[track_caller]
    fn check(invoice: &Invoice, request: &CreditNoteRequest, expected: &str) {
        let refusal = super::issue(note_id(1), invoice, &[], &[], request, at(9)).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    }
    check(
        &invoice,
        &request,
        "expected a reason of 1 to 255 characters, got 1",
    );
    request.reason = CreditNoteReason::Other("x".repeat(256));
    check(
        &invoice,
        &request,
        "expected a reason of 1 to 255 characters, got 256",
    );
    request.reason = CreditNoteReason::Other("x".repeat(255));
    check(
        &invoice,
        &request,
        "expected at least one line to credit, got none",
    );
    request.scope = CreditNoteScope::Lines(vec![part(9, euro(1)), part(9, money(0))]);
    check(&invoice, &request, "cannot combine USD with EUR");
    request.scope = of_lines(&[(9, 61), (8, 0)]);
    check(
        &invoice,
        &request,
        "cannot credit 0.00 USD of line 8, expected an amount above zero",
    );
    request.scope = of_lines(&[(1, 61), (4, 1)]);
    let id = "00000000-0000-0000-0000-000000000007";
    for (state, status) in [
        (InvoiceStatus::Open, "open"),
        (InvoiceStatus::Void { voided_at: at(1) }, "void"),
        (
            InvoiceStatus::Uncollectible { given_up_at: at(1) },
            "uncollectible",
        ),
    ] {
        invoice.state = state;
        check(
            &invoice,
            &request,
            &std::format!("cannot credit invoice `{id}`: it is {status}, expected paid"),
        );
    }
    invoice.state = InvoiceStatus::Paid {
        paid_at: at(1),
        reference: None,
        covers: None,
    };
    check(
        &invoice,
        &request,
        "cannot credit 0.61 USD of line 1: 0.60 USD of it is left",
    );
    request.scope = of_lines(&[(4, 1), (1, 61)]);
    check(
        &invoice,
        &request,
        "cannot credit line 4: the invoice has 4 lines, counted from 0",
    );
    for (line, amount) in [(2, "-0.40"), (3, "-0.05")] {
        request.scope = of_lines(&[(line, 1), (1, 61)]);
        check(
            &invoice,
            &request,
            &std::format!("cannot credit line {line} of {amount} USD: it is no charge"),
        );
    }
    request.scope = of_lines(&[(0, 50), (1, 60)]);
    check(
        &invoice,
        &request,
        "cannot credit 1.10 USD: 0.65 USD is left of 0.65 USD that was paid",
    );
    request.scope = of_lines(&[(0, 5), (1, 60)]);
    assert!(super::issue(note_id(1), &invoice, &[], &[], &request, at(9)).is_ok());
    let nothing = self::invoice(&[charge(5), off(5, 0)]);
    check_refused(
        &nothing,
        &[],
        CreditNoteScope::All,
        "nothing is left to credit of 0.00 USD that was paid",
    );
}

#[cfg(feature = "serde")]
#[test]
fn requests_and_notes_as_json() {
    for json in [
        r#"{"reason":"duplicate","scope":"all","disposition":"refund"}"#,
        r#"{"reason":{"other":"by hand"},"scope":{"lines":[{"line":0,"amount":{"minor":5,"currency":"USD"}}]},"disposition":"credit"}"#,
    ] {
        let request: CreditNoteRequest = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
    }
    let note = issue(&invoice(&[charge(5)]), &[], CreditNoteScope::All).unwrap();
    let json = serde_json::to_string(&note).unwrap();
    assert_eq!(serde_json::from_str::<CreditNote>(&json).unwrap(), note);
    assert!(serde_json::from_str::<CreditNote>(&json.replace("total", "sum")).is_err());
}

/// Charges with what is taken off them, usage that corrects downward, credit applied, and credit carried where the total
/// would be below zero: what the engine makes.
fn invoices() -> impl Strategy<Value = Invoice> {
    let charges = prop::collection::vec((-50_i64..500, 0_i64..200), 1..5);
    (charges, 0_i64..300).prop_map(|(charges, applied)| {
        let mut lines: Vec<Line> = charges.iter().map(|(minor, _)| charge(*minor)).collect();
        for (line, (charged, taken)) in (0..).zip(&charges) {
            lines.push(off((*taken).min((*charged).max(0)), line));
        }
        lines.push((LineKind::CreditApplied, -applied, None));
        let total: i64 = lines.iter().map(|(_, minor, _)| minor).sum();
        lines.push((LineKind::CreditCarried, (-total).max(0), None));
        invoice(&lines)
    })
}

proptest! {
    #[test]
    fn notes_never_exceed_the_total_nor_a_line_and_all_leaves_nothing(
        invoice in invoices(),
        requests in prop::collection::vec(prop::collection::vec((0_u32..12, 1_i64..300), 1..4), 0..12),
    ) {
        let mut notes: Vec<CreditNote> = Vec::new();
        let sum = |notes: &[CreditNote]| notes.iter().map(|note| note.total.minor).sum::<i64>();
        for scope in requests.iter().map(|amounts| of_lines(amounts)).chain([CreditNoteScope::All]) {
            let is_all = matches!(scope, CreditNoteScope::All);
            let issued = issue(&invoice, &notes, scope);
            prop_assert!(
                !is_all || issued.is_ok() || sum(&notes) == invoice.total.minor,
                "all there is can be had: {issued:?}"
            );
            notes.extend(issued);
            prop_assert!(sum(&notes) <= invoice.total.minor);
            for (place, line) in (0..).zip(&invoice.lines) {
                let credited: i64 = notes
                    .iter()
                    .flat_map(|note| &note.lines)
                    .filter(|credited| credited.line == place)
                    .map(|credited| credited.amount.minor)
                    .sum();
                let taken: i64 = invoice
                    .lines
                    .iter()
                    .filter(|taking| taking.source.is_some_and(|source| source.line == place))
                    .map(|taking| taking.amount.minor)
                    .sum();
                prop_assert!(credited <= (line.amount.minor + taken).max(0));
            }
        }
        prop_assert_eq!(sum(&notes), invoice.total.minor);
        for (number, note) in (1..).zip(&notes) {
            prop_assert_eq!(note.number, number);
            prop_assert!(note.lines.iter().all(|line| line.amount.minor > 0));
            prop_assert_eq!(note.lines.iter().map(|line| line.amount.minor).sum::<i64>(), note.total.minor);
        }
        prop_assert!(issue(&invoice, &notes, CreditNoteScope::All).is_err());
    }
}
