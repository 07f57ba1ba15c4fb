//! Conformance vectors: inputs and what must come out, in JSON that another implementation can run too.
//!
//! Every file of `vectors/` is run by its `kind`; see `vectors/README.md` for the formats. What is expected there was
//! computed apart from this code.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use billing_core::charge::{ChargeModel, RatingError, Used};
use billing_core::money::{Currency, Exact, MoneyError, Rounding};
use billing_core::rating::{PeriodTerms, rate};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

/// The kind of a file, its cases, and how one is run: what is wrong, if anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    cases: Vec<Value>,
}

type Run = fn(Value) -> Result<(), String>;

/// The formats there are, and how many cases of each there are at least, so that none is lost unseen.
const KINDS: [(&str, Run, usize); 1] = [("charge_models", charge_model, 250)];

#[test]
fn every_vector_holds() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut counts = BTreeMap::<String, usize>::new();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&folder).expect("the folder of vectors") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a vector file");
        let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let (_, run, _) = KINDS
            .iter()
            .find(|(kind, ..)| *kind == file.kind)
            .unwrap_or_else(|| panic!("{path:?}: no such kind: {}", file.kind));
        *counts.entry(file.kind).or_default() += file.cases.len();
        for case in file.cases {
            let name = case["name"].as_str().unwrap_or_default().to_owned();
            if let Err(error) = run(case) {
                wrong.push(format!("{}: {name}: {error}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} vectors fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for (kind, _, least) in KINDS {
        let count = counts.get(kind).copied().unwrap_or_default();
        assert!(count >= least, "{kind}: {count} cases, expected {least}");
    }
}

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

fn charge_model(case: Value) -> Result<(), String> {
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

fn same<T: PartialEq + std::fmt::Debug>(
    field: &str,
    expected: Option<T>,
    found: Option<T>,
) -> Result<(), String> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("{field}: expected {expected:?}, got {found:?}"))
    }
}
