//! What can be given back of a paid invoice, note by note.

use billing_core::credit_note::{
    CreditNoteAmount, CreditNoteReason, CreditNoteRefusal, CreditNoteRequest, CreditNoteScope, Disposition,
    issue,
};
use billing_core::id::CreditNoteId;
use billing_core::invoice::{Invoice, LineKind};
use billing_core::money::{Currency, Money};
use billing_tests::kit::start;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteCase {
    #[serde(rename = "name")]
    _name: String,
    currency: Currency,
    status: String,
    lines: Vec<Line>,
    #[serde(default)]
    elsewhere: Vec<Part>,
    notes: Vec<Note>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    kind: LineKind,
    amount: i64,
    /// The line of the same invoice that it takes something off.
    of: Option<u32>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Part {
    line: u32,
    amount: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// All that is left without it.
    lines: Option<Vec<Part>>,
    expect: NoteExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteExpectation {
    lines: Option<Vec<Part>>,
    total: Option<i64>,
    error: Option<String>,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: NoteCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let invoice = invoice_of(&case)?;
    let amount = |part: &Part| CreditNoteAmount {
        line: part.line,
        amount: Money::new(part.amount, case.currency),
    };
    let elsewhere: Vec<_> = case.elsewhere.iter().map(amount).collect();
    let mut earlier = Vec::new();
    for (index, note) in (1..).zip(&case.notes) {
        let at_note = |error: String| format!("note {index}: {error}");
        let request = CreditNoteRequest {
            reason: CreditNoteReason::OrderChange,
            scope: match &note.lines {
                None => CreditNoteScope::All,
                Some(parts) => CreditNoteScope::Lines(parts.iter().map(amount).collect()),
            },
            disposition: Disposition::Refund,
        };
        let id = CreditNoteId::new(Uuid::from_u128(index));
        let issued = issue(id, &invoice, &earlier, &elsewhere, &request, start());
        let (lines, total, error) = match &issued {
            Ok(note) => {
                let part = |line: &billing_core::credit_note::CreditNoteLine| Part {
                    line: line.line,
                    amount: line.amount.minor,
                };
                let lines: Vec<_> = note.lines.iter().map(part).collect();
                (Some(lines), Some(note.total.minor), None)
            }
            Err(refusal) => (None, None, Some(code_of(refusal)?)),
        };
        same("error", note.expect.error.as_deref(), error).map_err(at_note)?;
        same("lines", note.expect.lines.as_ref(), lines.as_ref()).map_err(at_note)?;
        same("total", note.expect.total, total).map_err(at_note)?;
        earlier.extend(issued.ok());
    }
    Ok(())
}

fn invoice_of(case: &NoteCase) -> Result<Invoice, String> {
    let id = Uuid::from_u128(1);
    let period = json!({ "start": "2026-06-01T00:00:00Z", "end": "2026-07-01T00:00:00Z" });
    let money = |minor: i64| json!({ "minor": minor, "currency": case.currency });
    let line = |line: &Line| {
        json!({
            "kind": line.kind, "plan_id": id, "meter": null, "period": period, "quantity": "1", "unit_price": null,
            "amount": money(line.amount), "explanation": "",
            "source": line.of.map(|of| json!({ "invoice_id": id, "line": of })),
        })
    };
    let at = "2026-06-01T00:00:00Z";
    let state = match case.status.as_str() {
        "paid" => json!({ "status": "paid", "paid_at": at, "reference": "ch_1", "covers": null }),
        "void" => json!({ "status": "void", "voided_at": at }),
        status => json!({ "status": status }),
    };
    let invoice = json!({
        "id": id, "tenant_id": id, "subscription_id": id, "number": 1, "kind": "renewal", "period": period,
        "opened_at": at, "state": state, "lines": case.lines.iter().map(line).collect::<Vec<_>>(),
        "total": money(case.lines.iter().map(|line| line.amount).sum()),
    });
    serde_json::from_value(invoice).map_err(|error| error.to_string())
}

fn code_of(refusal: &CreditNoteRefusal) -> Result<&'static str, String> {
    match refusal {
        CreditNoteRefusal::NoLines => Ok("no_lines"),
        CreditNoteRefusal::NotPositive { .. } => Ok("not_positive"),
        CreditNoteRefusal::NotPaid { .. } => Ok("not_paid"),
        CreditNoteRefusal::UnknownLine { .. } => Ok("unknown_line"),
        CreditNoteRefusal::NotCharge { .. } => Ok("not_charge"),
        CreditNoteRefusal::LineExceeded { .. } => Ok("line_exceeded"),
        CreditNoteRefusal::TotalExceeded { .. } => Ok("total_exceeded"),
        CreditNoteRefusal::NothingLeft { .. } => Ok("nothing_left"),
        other => Err(format!("no code for: {other}")),
    }
}
