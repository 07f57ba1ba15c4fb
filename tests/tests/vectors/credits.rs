//! What becomes of prepaid credit, step by step.

use billing_core::credit::PRIORITY_DEFAULT;
use billing_core::credit::{CreditGrant, CreditRefusal, Credits, GrantSource, LedgerEntry, LedgerKind};
use billing_core::id::{GrantId, InvoiceId};
use billing_core::money::{Currency, Money};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreditCase {
    #[serde(rename = "name")]
    _name: String,
    currency: Currency,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: DateTime<Utc>,
    grant: Option<Granted>,
    burn: Option<Burned>,
    give_back: Option<GivenBack>,
    expire: Option<Expired>,
    void: Option<Voided>,
    expect: StepExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Granted {
    id: u128,
    amount: i64,
    priority: Option<u8>,
    expires_at: Option<DateTime<Utc>>,
    source: Option<GrantSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Burned {
    invoice: u128,
    amount: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenBack {
    invoice: u128,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expired {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Voided {
    grant: u128,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepExpectation {
    entries: Option<Vec<Entry>>,
    error: Option<String>,
    balance: i64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Entry {
    grant: u128,
    kind: String,
    amount: i64,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: CreditCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let mut credits = Credits::new(case.currency);
    let mut ledger: Vec<LedgerEntry> = Vec::new();
    for (index, step) in case.steps.iter().enumerate() {
        let at_step = |error: String| format!("step {index}: {error}");
        let before = credits.clone();
        match take(&mut credits, &ledger, step, case.currency) {
            Ok(entries) => {
                let found = entries.iter().map(entry_of).collect();
                same("entries", step.expect.entries.as_ref(), Some(&found)).map_err(at_step)?;
                same("error", step.expect.error.as_deref(), None).map_err(at_step)?;
                ledger.extend(entries);
            }
            Err(refusal) => {
                let code = code_of(&refusal)?;
                same("error", step.expect.error.as_deref(), Some(code)).map_err(at_step)?;
                same("what is there", Some(&before), Some(&credits)).map_err(at_step)?;
            }
        }
        check(&credits, &ledger, step).map_err(at_step)?;
    }
    Ok(())
}

fn take(
    credits: &mut Credits,
    ledger: &[LedgerEntry],
    step: &Step,
    currency: Currency,
) -> Result<Vec<LedgerEntry>, CreditRefusal> {
    let money = |minor| Money::new(minor, currency);
    let invoice = |id| InvoiceId::new(Uuid::from_u128(id));
    match step {
        Step {
            grant: Some(granted), ..
        } => {
            let source = granted.source.unwrap_or(GrantSource::Prepaid);
            let id = GrantId::new(Uuid::from_u128(granted.id));
            let grant = CreditGrant {
                priority: granted.priority.unwrap_or(PRIORITY_DEFAULT),
                expires_at: granted.expires_at,
                ..CreditGrant::new(id, money(granted.amount), source, step.at)
            };
            credits.grant(grant).map(|entry| vec![entry])
        }
        Step {
            burn: Some(burned), ..
        } => credits
            .burn(money(burned.amount), invoice(burned.invoice), step.at)
            .map(|burn| burn.entries),
        Step {
            give_back: Some(given),
            ..
        } => credits.give_back(invoice(given.invoice), ledger, step.at),
        Step {
            void: Some(voided), ..
        } => credits.void(GrantId::new(Uuid::from_u128(voided.grant)), step.at),
        Step {
            expire: Some(Expired {}),
            ..
        } => Ok(credits.expire(step.at)),
        _ => Ok(vec![]),
    }
}

/// What holds after every step: nothing is below zero, and the ledger adds up to what is left.
fn check(credits: &Credits, ledger: &[LedgerEntry], step: &Step) -> Result<(), String> {
    let balance = credits.balance(step.at).minor;
    same("balance", Some(step.expect.balance), Some(balance))?;
    for grant in credits.grants() {
        let of_grant = ledger.iter().filter(|entry| entry.grant_id == grant.id);
        let sum: i64 = of_grant.map(|entry| entry.amount.minor).sum();
        same(
            "the sum of the ledger of a grant",
            Some(grant.remaining.minor),
            Some(sum),
        )?;
        if sum < 0 {
            return Err(format!("grant {} has {sum} left", grant.id));
        }
    }
    Ok(())
}

fn entry_of(entry: &LedgerEntry) -> Entry {
    let kind = match entry.kind {
        LedgerKind::Granted => "granted",
        LedgerKind::Burned { .. } => "burned",
        LedgerKind::Returned { .. } => "returned",
        LedgerKind::Expired => "expired",
        LedgerKind::Voided => "voided",
    };
    Entry {
        grant: entry.grant_id.uuid().as_u128(),
        kind: kind.into(),
        amount: entry.amount.minor,
    }
}

fn code_of(refusal: &CreditRefusal) -> Result<&'static str, String> {
    match refusal {
        CreditRefusal::UnknownGrant { .. } => Ok("unknown_grant"),
        CreditRefusal::DuplicateGrant { .. } => Ok("duplicate_grant"),
        CreditRefusal::TooLittle { .. } => Ok("too_little"),
        CreditRefusal::Remaining { .. } => Ok("remaining"),
        CreditRefusal::Expiry { .. } => Ok("expiry"),
        CreditRefusal::Money(_) => Ok("money"),
        other => Err(format!("no code for: {other}")),
    }
}
