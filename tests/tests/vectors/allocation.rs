//! An amount split by weights.

use billing_core::money::Money;
use serde::Deserialize;
use serde_json::Value;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllocationCase {
    #[serde(rename = "name")]
    _name: String,
    amount: Money,
    weights: Vec<u64>,
    expect: Vec<i64>,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: AllocationCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let parts = case
        .amount
        .allocate(&case.weights)
        .map_err(|error| error.to_string())?;
    let parts: Vec<i64> = parts.iter().map(|part| part.minor).collect();
    same("parts", Some(case.expect), Some(parts))
}
