//! What a meter answers to a quantity more.

use billing_core::limit::{self, Counter, LimitWarning};
use billing_core::plan::MeterTerms;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitCase {
    #[serde(rename = "name")]
    _name: String,
    terms: serde_json::Map<String, Value>,
    used: Decimal,
    reserved: Decimal,
    quantity: Decimal,
    expect: LimitExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitExpectation {
    allowed: bool,
    remaining: Option<Decimal>,
    fraction: Option<Decimal>,
    warnings: Vec<LimitWarning>,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let mut case: LimitCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    // What it costs says nothing of its limits.
    let free = serde_json::json!({ "per_unit": { "unit_price": "0" } });
    case.terms.insert("charge".into(), free);
    let terms: MeterTerms = serde_json::from_value(case.terms.into()).map_err(|error| error.to_string())?;
    let counter = Counter {
        used: case.used,
        reserved: case.reserved,
        events: 0,
    };
    let answer = limit::check(&terms, &counter, case.quantity).map_err(|error| error.to_string())?;
    let expect = case.expect;
    same("allowed", Some(expect.allowed), Some(answer.allowed))?;
    same("remaining", Some(expect.remaining), Some(answer.remaining))?;
    same("fraction", Some(expect.fraction), Some(answer.fraction))?;
    same("warnings", Some(expect.warnings), Some(answer.warnings))
}
