//! Where the periods of a subscription begin.

use billing_core::calendar::{Anchor, Interval, MonthEnd, parse_zone};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::same;

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

pub(crate) fn run(case: Value) -> Result<(), String> {
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
