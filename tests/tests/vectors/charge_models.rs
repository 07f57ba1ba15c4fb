//! What usage of one meter costs in one period.

use std::collections::BTreeMap;

use billing_core::charge::{ChargeModel, RatingError, Used};
use billing_core::money::{Currency, Exact, MoneyError, Rounding};
use billing_core::rating::{PeriodTerms, rate};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeCase {
    #[serde(rename = "name")]
    _name: String,
    model: ChargeModel,
    quantity: Option<Decimal>,
    event_count: Option<u64>,
    events: Option<Vec<Decimal>>,
    cells: Option<Vec<Cell>>,
    #[serde(default)]
    allowance: Decimal,
    minimum: Option<Decimal>,
    maximum: Option<Decimal>,
    currency: Currency,
    #[serde(default)]
    rounding: Rounding,
    expect: ChargeExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cell {
    values: Vec<String>,
    quantity: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeExpectation {
    error: Option<String>,
    exact: Option<String>,
    minor: Option<i64>,
    overage: Option<String>,
    true_up: Option<String>,
    cut_off: Option<String>,
    explanation: Option<String>,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: ChargeCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    case.model.validate().map_err(|faults| faults.to_string())?;
    let mut cells = BTreeMap::new();
    for cell in case.cells.iter().flatten() {
        if cells.insert(cell.values.clone(), cell.quantity).is_some() {
            return Err(format!("{:?} is there twice", cell.values));
        }
    }
    let used = match (case.quantity, &case.events, &case.cells) {
        (Some(quantity), None, None) => Used::Total {
            quantity,
            events: case.event_count.unwrap_or_default(),
        },
        (None, Some(events), None) => Used::Events(events),
        (None, None, Some(_)) => Used::Cells(&cells),
        _ => return Err("expected one of quantity, events and cells".into()),
    };
    let terms = PeriodTerms {
        allowance: case.allowance,
        minimum: case.minimum,
        maximum: case.maximum,
    };
    let expect = case.expect;
    let rated = match rate(&case.model, &used, &terms, case.currency, case.rounding) {
        Ok(rated) => rated,
        Err(error) => {
            let code = match &error {
                RatingError::Money(MoneyError::Overflow { .. }) => "overflow",
                RatingError::Missing { .. } => "missing",
                RatingError::NoPrice { .. } => "no_price",
                _ => "other",
            };
            return same("error", expect.error.as_deref(), Some(code));
        }
    };
    same("error", expect.error.as_deref(), None)?;
    // What a case does not name is not looked at; the amount it must name.
    let number = |field, expected: Option<String>, found: Exact| match expected {
        Some(expected) => same(field, Some(expected.as_str()), Some(found.to_string().as_str())),
        None => Ok(()),
    };
    same(
        "exact",
        expect.exact.as_deref(),
        Some(rated.exact.to_string().as_str()),
    )?;
    same("minor", expect.minor, Some(rated.amount.minor))?;
    number("overage", expect.overage, rated.overage)?;
    number("true_up", expect.true_up, rated.true_up)?;
    number("cut_off", expect.cut_off, rated.cut_off)?;
    if let Some(explanation) = &expect.explanation {
        same("explanation", Some(explanation), Some(&rated.explanation))?;
    }
    if rated.explanation.len() > 1_000 {
        return Err(format!("an explanation of {} bytes", rated.explanation.len()));
    }
    Ok(())
}
