//! What is left of an amount that pays for a period.

use billing_core::calendar::{Anchor, Period, parse_zone};
use billing_core::money::{Money, Rounding};
use billing_core::plan::ProrationRule;
use billing_core::proration::{self, ShareUnit};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::same;

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

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: ProrationCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let zone = parse_zone(&case.zone).map_err(|error| error.to_string())?;
    let anchor = Anchor {
        zone,
        ..Anchor::utc(case.anchor.unwrap_or(case.period.start))
    };
    let share = proration::left(case.period, case.at, case.rule, &anchor);
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
