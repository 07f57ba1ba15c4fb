//! Conformance vectors: inputs and what must come out, in JSON that another implementation can run too.
//!
//! Every file of `vectors/` is run by its `kind`; see `vectors/README.md` for the formats. What is expected there was
//! computed apart from this code.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use billing_core::calendar::{Anchor, Interval, MonthEnd, Period, parse_zone};
use billing_core::charge::{ChargeModel, RatingError, Used};
use billing_core::limit::{self, Counter, LimitWarning};
use billing_core::money::{Currency, Exact, Money, MoneyError, Rounding};
use billing_core::plan::{MeterTerms, ProrationRule};
use billing_core::proration::{self, ShareUnit};
use billing_core::rating::{PeriodTerms, rate};
use chrono::{DateTime, Utc};
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
const KINDS: [(&str, Run, usize); 5] = [
    ("charge_models", charge_model, 250),
    ("periods", periods, 60),
    ("proration", proration, 50),
    ("allocation", allocation, 25),
    ("limits", limits, 50),
];

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodsCase {
    #[serde(rename = "name")]
    _name: String,
    anchor: DateTime<Utc>,
    zone: String,
    #[serde(default)]
    month_end: MonthEnd,
    interval: Interval,
    boundaries: Vec<Boundary>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Boundary {
    index: u32,
    at: DateTime<Utc>,
}

fn periods(case: Value) -> Result<(), String> {
    let case: PeriodsCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let anchor = Anchor {
        at: case.anchor,
        zone: parse_zone(&case.zone).map_err(|error| error.to_string())?,
        month_end: case.month_end,
    };
    for Boundary { index, at } in case.boundaries {
        let found = anchor
            .boundary(case.interval, index)
            .map_err(|error| error.to_string())?;
        same(&format!("boundary {index}"), Some(at), Some(found))?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProrationCase {
    #[serde(rename = "name")]
    _name: String,
    amount: Money,
    period: Period,
    at: DateTime<Utc>,
    rule: ProrationRule,
    zone: String,
    /// Where months are counted from; the start of the period if left out.
    #[serde(default)]
    anchor: Option<DateTime<Utc>>,
    #[serde(default)]
    rounding: Rounding,
    expect: ProrationExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProrationExpectation {
    part: i64,
    whole: i64,
    unit: String,
    unused: i64,
    used: i64,
}

fn proration(case: Value) -> Result<(), String> {
    let case: ProrationCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let zone = parse_zone(&case.zone).map_err(|error| error.to_string())?;
    let share = proration::left(
        case.period,
        case.at,
        case.rule,
        &Anchor {
            zone,
            ..Anchor::utc(case.anchor.unwrap_or(case.period.start))
        },
    );
    let unit = match share.unit {
        ShareUnit::Microsecond => "microsecond",
        ShareUnit::Day => "day",
        ShareUnit::Month => "month",
    };
    let unused = share
        .of(case.amount, case.rounding)
        .map_err(|error| error.to_string())?;
    let used = case
        .amount
        .checked_sub(unused)
        .map_err(|error| error.to_string())?;
    let expect = case.expect;
    same("unit", Some(expect.unit.as_str()), Some(unit))?;
    same(
        "share",
        Some((expect.part, expect.whole)),
        Some((share.part, share.whole)),
    )?;
    same(
        "unused and used",
        Some((expect.unused, expect.used)),
        Some((unused.minor, used.minor)),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllocationCase {
    #[serde(rename = "name")]
    _name: String,
    amount: Money,
    weights: Vec<u64>,
    expect: Vec<i64>,
}

fn allocation(case: Value) -> Result<(), String> {
    let case: AllocationCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let parts = case
        .amount
        .allocate(&case.weights)
        .map_err(|error| error.to_string())?;
    let parts: Vec<i64> = parts.iter().map(|part| part.minor).collect();
    same("parts", Some(case.expect), Some(parts))
}

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

fn limits(case: Value) -> Result<(), String> {
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
