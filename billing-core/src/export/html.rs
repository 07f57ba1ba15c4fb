//! An invoice as one page of HTML, to read on a screen and to print.
//!
//! The page is whole: no script, no font, no image, nothing is fetched, and it says so to the browser (a content security
//! policy). It prints on A4 and on Letter, since it names margins and no size. It is marked up for screen readers: one
//! language, one main heading, tables with a caption and headers that name their scope.
//!
//! An invoice knows neither who sells nor who buys, nor what a plan is called: [`Page`] says so. All text is escaped, whoever
//! wrote it; what HTML cannot hold (control characters) becomes U+FFFD.
//!
//! For a PDF, print the page by whatever browser is at hand.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;

use chrono::TimeDelta;
use chrono_tz::Tz;

pub use self::labels::Labels;
use self::text::{Date, Small, Text, put};
use crate::calendar::Period;
use crate::credit_note::{CreditNote, CreditNoteReason};
use crate::invoice::{Invoice, InvoiceLine, InvoiceStatus, LineKind};
use crate::money::{Money, MoneyError};
use crate::plan::Plan;
use crate::tax::{TaxAmount, TaxBehavior};

mod labels;
mod text;

const STYLE: &str = include_str!("html/invoice.css");

/// Who sells or who buys.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Party<'a> {
    /// The name, as the law wants it on an invoice.
    pub name: &'a str,
    /// The address, line by line.
    pub address: &'a [&'a str],
    /// The number by which the tax authority knows them.
    pub tax_id: Option<&'a str>,
    /// Where to write to.
    pub email: Option<&'a str>,
}

/// What an invoice does not know.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Who sells.
    pub issuer: Party<'a>,
    /// Who buys.
    pub customer: Party<'a>,
    /// In which zone its dates are: that of the subscription's billing anchor.
    pub zone: Tz,
    /// The plans by which the lines are priced, for their names; a line whose plan is not here goes without.
    pub plans: &'a [Plan],
    /// What was given back of it since; notes of other invoices are left out.
    pub credit_notes: &'a [CreditNote],
    /// What stands below, line by line, such as how to pay, or why there is no tax.
    pub footer: &'a str,
    /// The words.
    pub labels: Labels<'a>,
}

/// The invoice as an HTML page.
///
/// Charges and what is taken back of earlier ones are the table; below it stand their sum, discounts, tax, credit, the total,
/// and what of it is to be paid: nothing when it is paid or void. Tax that is in the prices is told and not added. Amounts are
/// written by [`Money`], dates as ISO 8601, and the last day of a period is its last one inside.
///
/// # Errors
///
/// [`MoneyError`], when the charges have no sum: not for an invoice that [adds up](Invoice::adds_up) to what a customer pays.
///
/// # Example
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use billing_core::export::html::{Labels, Page, Party, page};
/// # let invoice: billing_core::invoice::Invoice = serde_json::from_str(include_str!("example.json")).unwrap();
///
/// let html = page(&invoice, &Page {
///     issuer: Party { name: "Acme Inc.", address: &["1 Main Street", "Springfield"], ..Party::default() },
///     customer: Party { name: "Fish & Chips <Ltd>", email: Some("ap@example.com"), ..Party::default() },
///     zone: chrono_tz::UTC,
///     plans: &[],
///     credit_notes: &[],
///     footer: "Thank you.",
///     labels: Labels { title: "Rechnung", lang: "de", ..Labels::default() },
/// }).unwrap();
/// assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"de\">"));
/// assert!(html.contains("<title>Rechnung EU-2026-17</title>"));
/// assert!(html.contains("Fish &amp; Chips &lt;Ltd&gt;"));
/// # }
/// ```
pub fn page(invoice: &Invoice, page: &Page<'_>) -> Result<String, MoneyError> {
    let labels = &page.labels;
    let number = super::serial(invoice).unwrap_or_else(|| format!("{} / {}", invoice.id, invoice.number));
    let mut out = String::with_capacity(8 * 1024);
    put(
        &mut out,
        format_args!(
            r#"<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title} {number}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
"#,
            lang = Text(labels.lang),
            title = Text(labels.title),
            number = Text(&number),
        ),
    );
    put_facts(&mut out, invoice, page, &number);
    out.push_str("</header>\n<div class=\"parties\">\n");
    put_party(&mut out, labels.issuer, &page.issuer, labels);
    put_party(&mut out, labels.customer, &page.customer, labels);
    out.push_str("</div>\n");
    put_lines(&mut out, invoice, page);
    put_totals(&mut out, invoice, labels)?;
    put_credit_notes(&mut out, invoice, page);
    out.push_str("</main>\n");
    if !page.footer.is_empty() {
        out.push_str("<footer>\n");
        for line in page.footer.lines() {
            put(&mut out, format_args!("<p>{}</p>\n", Text(line)));
        }
        out.push_str("</footer>\n");
    }
    out.push_str("</body>\n</html>\n");
    Ok(out)
}

/// Number, status, dates.
fn put_facts(out: &mut String, invoice: &Invoice, page: &Page<'_>, number: &str) {
    let (labels, zone) = (&page.labels, page.zone);
    let status = match &invoice.state {
        InvoiceStatus::Open => labels.open.to_string(),
        InvoiceStatus::Paid { paid_at, .. } => format!("{} {}", labels.paid, Date(*paid_at, zone)),
        InvoiceStatus::Void { voided_at } => format!("{} {}", labels.void, Date(*voided_at, zone)),
        InvoiceStatus::Uncollectible { given_up_at } => {
            format!("{} {}", labels.uncollectible, Date(*given_up_at, zone))
        }
    };
    let due = match invoice.due_at {
        Some(due_at) => Date(due_at, zone).to_string(),
        None => labels.due_at_once.to_string(),
    };
    out.push_str("<dl>\n");
    for (label, value) in [
        (labels.number, number),
        (labels.status, &status),
        (labels.issued, &Date(invoice.opened_at, zone).to_string()),
        (labels.due, &due),
        (labels.period, &days(invoice.period, zone, labels)),
    ] {
        let (label, value) = (Text(label), Text(value));
        put(out, format_args!("<div><dt>{label}</dt><dd>{value}</dd></div>\n"));
    }
    out.push_str("</dl>\n");
}

fn put_party(out: &mut String, label: &str, party: &Party<'_>, labels: &Labels<'_>) {
    let name = Text(party.name);
    put(
        out,
        format_args!(
            "<section>\n<h2>{}</h2>\n<address>\n<bdi class=\"name\">{name}</bdi>\n",
            Text(label)
        ),
    );
    let tax_id = party.tax_id.map(|id| format!("{}: {id}", labels.tax_id));
    let lines = party.address.iter().copied();
    for line in lines.chain(tax_id.as_deref()).chain(party.email) {
        put(out, format_args!("<bdi>{}</bdi>\n", Text(line)));
    }
    out.push_str("</address>\n</section>\n");
}

/// The table of what is charged and taken back.
fn put_lines(out: &mut String, invoice: &Invoice, page: &Page<'_>) {
    let labels = &page.labels;
    let headers = [
        (labels.description, ""),
        (labels.period, ""),
        (labels.quantity, " class=\"number\""),
        (labels.unit_price, " class=\"number\""),
        (labels.amount, " class=\"number\""),
    ];
    put_table_head(out, "rows items", labels.lines, &headers);
    for line in invoice.lines.iter().filter(|line| is_item(line.kind)) {
        // A proration has the price of the whole period, of which it is a part: its arithmetic says which.
        let is_part = matches!(line.kind, LineKind::ProrationCharge | LineKind::ProrationCredit);
        let quantity = Some(line.quantity).filter(|_| !is_part);
        let unit_price = line.unit_price.filter(|_| !is_part);
        put(
            out,
            format_args!(
                "<tr>\n<th scope=\"row\"><bdi>{}</bdi>{}</th>\n",
                Text(&describe(line, page)),
                Small(&line.explanation),
            ),
        );
        put_cell(out, "", labels.period, &days(line.period, page.zone, labels));
        let quantity = quantity.map(|quantity| quantity.normalize().to_string());
        put_cell(out, "number", labels.quantity, &quantity.unwrap_or_default());
        let unit_price = unit_price.map(|price| price.to_string());
        put_cell(out, "number", labels.unit_price, &unit_price.unwrap_or_default());
        put_cell(out, "number", labels.amount, &line.amount.to_string());
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

/// What follows the lines, down to what is to be paid.
fn put_totals(out: &mut String, invoice: &Invoice, labels: &Labels<'_>) -> Result<(), MoneyError> {
    let currency = invoice.total.currency;
    let items = invoice.lines.iter().filter(|line| is_item(line.kind));
    let subtotal = Money::sum(currency, items.map(|line| line.amount))?;
    let of_kind = |kind| invoice.lines.iter().filter(move |line| line.kind == kind);
    put(
        out,
        format_args!(
            "<table class=\"totals\">\n<caption>{}</caption>\n<tbody>\n",
            Text(labels.totals)
        ),
    );
    put_total(out, "", labels.subtotal, "", subtotal);
    for line in of_kind(LineKind::Discount) {
        put_total(out, "", labels.discount, &line.explanation, line.amount);
    }
    for line in of_kind(LineKind::Tax) {
        let tax = invoice
            .taxes
            .iter()
            .find(|tax| tax.explanation == line.explanation);
        let label = tax.map_or_else(|| labels.tax.to_string(), rate);
        put_total(out, "", &label, &line.explanation, line.amount);
    }
    for tax in &invoice.taxes {
        match tax.behavior {
            // A rate of zero is told, though it has no line.
            TaxBehavior::Exclusive if tax.amount.is_zero() => {
                put_total(out, "", &rate(tax), &tax.explanation, tax.amount);
            }
            TaxBehavior::Exclusive => {}
            TaxBehavior::Inclusive => {
                let label = format!("{} {}", labels.includes, rate(tax));
                put_total(out, " class=\"included\"", &label, &tax.explanation, tax.amount);
            }
        }
    }
    for (kind, label) in [
        (LineKind::PrepaidApplied, labels.prepaid_applied),
        (LineKind::CreditApplied, labels.credit_applied),
        (LineKind::CreditCarried, labels.credit_carried),
        (LineKind::CreditRefunded, labels.credit_refunded),
    ] {
        for line in of_kind(kind) {
            put_total(out, "", label, "", line.amount);
        }
    }
    let due = match invoice.state {
        InvoiceStatus::Open | InvoiceStatus::Uncollectible { .. } => invoice.total,
        InvoiceStatus::Paid { .. } | InvoiceStatus::Void { .. } => Money::zero(currency),
    };
    put_total(out, " class=\"total\"", labels.total, "", invoice.total);
    put_total(out, " class=\"total\"", labels.amount_due, "", due);
    out.push_str("</tbody>\n</table>\n");
    Ok(())
}

fn put_total(out: &mut String, class: &str, label: &str, explanation: &str, amount: Money) {
    let (label, explanation) = (Text(label), Small(explanation));
    put(
        out,
        format_args!(
            "<tr{class}><th scope=\"row\"><bdi>{label}</bdi>{explanation}</th><td class=\"number\">{amount}</td></tr>\n"
        ),
    );
}

fn put_credit_notes(out: &mut String, invoice: &Invoice, page: &Page<'_>) {
    let labels = &page.labels;
    let mut notes = page
        .credit_notes
        .iter()
        .filter(|note| note.invoice_id == invoice.id)
        .peekable();
    if notes.peek().is_none() {
        return;
    }
    let headers = [
        (labels.number, ""),
        (labels.issued, ""),
        (labels.reason, ""),
        (labels.amount, " class=\"number\""),
    ];
    put_table_head(out, "rows notes", labels.credit_notes, &headers);
    for note in notes {
        let reason = match &note.reason {
            CreditNoteReason::Duplicate => labels.duplicate,
            CreditNoteReason::Fraudulent => labels.fraudulent,
            CreditNoteReason::OrderChange => labels.order_change,
            CreditNoteReason::Unsatisfactory => labels.unsatisfactory,
            CreditNoteReason::Other(text) => text,
        };
        put(
            out,
            format_args!(
                "<tr>\n<th scope=\"row\" data-label=\"{}\">{}</th>\n",
                Text(labels.number),
                note.number
            ),
        );
        put_cell(
            out,
            "",
            labels.issued,
            &Date(note.issued_at, page.zone).to_string(),
        );
        put_cell(out, "text", labels.reason, reason);
        put_cell(out, "number", labels.amount, &note.total.to_string());
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

fn put_table_head(out: &mut String, class: &str, caption: &str, headers: &[(&str, &str)]) {
    put(
        out,
        format_args!(
            "<table class=\"{class}\">\n<caption>{}</caption>\n<thead>\n<tr>",
            Text(caption)
        ),
    );
    for (label, class) in headers {
        put(out, format_args!("<th scope=\"col\"{class}>{}</th>", Text(label)));
    }
    out.push_str("</tr>\n</thead>\n<tbody>\n");
}

/// A cell that tells its own header too, for where the page is too narrow for a table.
fn put_cell(out: &mut String, class: &str, label: &str, value: &str) {
    let (label, value) = (Text(label), Text(value));
    out.push_str("<td");
    if !class.is_empty() {
        put(out, format_args!(" class=\"{class}\""));
    }
    put(out, format_args!(" data-label=\"{label}\">"));
    if !value.0.is_empty() {
        put(out, format_args!("<bdi>{value}</bdi>"));
    }
    out.push_str("</td>\n");
}

/// Whether a line stands in the table; the others stand below it.
const fn is_item(kind: LineKind) -> bool {
    kind.is_charge() || matches!(kind, LineKind::ProrationCredit)
}

/// What a line is for: the kind, the plan, the meter and its cell.
fn describe(line: &InvoiceLine, page: &Page<'_>) -> String {
    let labels = &page.labels;
    let mut text = String::from(match line.kind {
        LineKind::RecurringInAdvance | LineKind::RecurringInArrears => labels.recurring,
        LineKind::ProrationCharge => labels.proration_charge,
        LineKind::ProrationCredit => labels.proration_credit,
        LineKind::Usage => labels.usage,
        LineKind::UsageAdjustment => labels.usage_adjustment,
        LineKind::CommitmentTrueUp => labels.commitment_true_up,
        LineKind::AddOn => labels.add_on,
        LineKind::Discount => labels.discount,
        LineKind::Tax => labels.tax,
        LineKind::CreditApplied => labels.credit_applied,
        LineKind::CreditCarried => labels.credit_carried,
        LineKind::CreditRefunded => labels.credit_refunded,
        LineKind::PrepaidApplied => labels.prepaid_applied,
    });
    let plan = page.plans.iter().find(|plan| plan.id == line.plan_id);
    let mut part = |part: &dyn fmt::Display| put(&mut text, format_args!(", {part}"));
    if let Some(plan) = plan {
        part(&plan.name);
    }
    if let Some(meter) = &line.meter {
        part(meter);
    }
    if let Some(add_on) = &line.add_on {
        let sold = plan.and_then(|plan| plan.add_ons.get(add_on));
        part(&sold.map_or(add_on.as_str(), |sold| &sold.name));
    }
    if let Some(cell) = &line.cell {
        if let Some(filter) = &cell.filter {
            part(filter);
        }
        for (name, value) in &cell.group {
            part(&format_args!("{name}: {value}"));
        }
    }
    text
}

/// The name and percentage of a tax.
fn rate(tax: &TaxAmount) -> String {
    format!("{} {}%", tax.rate.name, tax.rate.percent.normalize())
}

/// The first and the last day of a period.
fn days(period: Period, zone: Tz, labels: &Labels<'_>) -> String {
    let inside = period.end.checked_sub_signed(TimeDelta::microseconds(1));
    let last = Date(inside.unwrap_or(period.end), zone);
    format!("{} {} {last}", Date(period.start, zone), labels.until)
}

#[cfg(test)]
mod tests;
