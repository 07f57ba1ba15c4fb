//! What the events of a window add up to, in each charge cell.

use std::collections::BTreeMap;

use billing::MemoryStore;
use billing_core::aggregation::Aggregation;
use billing_core::calendar::Period;
use billing_core::id::{IdempotencyKey, MeterCode};
use billing_core::plan::{MeterTerms, Plan};
use billing_core::ports::Store;
use billing_core::usage::{ChargeCell, UsageEvent, UsageOutcome, UsageQuery, WindowTerm};
use billing_sqlite::SqliteStore;
use billing_tests::kit::{Kit, meter, plan, tenant, wait};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AggregationCase {
    #[serde(rename = "name")]
    _name: String,
    meter: Meter,
    window: Period,
    period: Option<Period>,
    since: Option<DateTime<Utc>>,
    events: Vec<Event>,
    /// Whether what comes out depends on the order in which the events are recorded.
    #[serde(default)]
    in_order: bool,
    expect: AggregationExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meter {
    aggregation: Aggregation,
    #[serde(default)]
    filters: Vec<Map<String, Value>>,
    #[serde(default)]
    group_by: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    key: IdempotencyKey,
    at: DateTime<Utc>,
    quantity: Decimal,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    /// Without one it is an event of the meter of the case.
    meter: Option<MeterCode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AggregationExpectation {
    cells: Vec<CellExpectation>,
    outcomes: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct CellExpectation {
    filter: Option<String>,
    #[serde(default)]
    group: Vec<String>,
    /// As text: zeros at the end would be a fault.
    quantity: String,
    events: u64,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let mut case: AggregationCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let plan = plan_of(std::mem::take(&mut case.meter))?;
    plan.validate().map_err(|faults| faults.to_string())?;
    let sqlite = SqliteStore::in_memory().map_err(|error| error.to_string())?;
    for store in [&MemoryStore::new() as &dyn Store, &sqlite] {
        let outcomes = compare(store, 1, &plan, &case, &case.events)?;
        if let Some(expected) = &case.expect.outcomes {
            same("outcomes", Some(expected), Some(&outcomes))?;
        } else if outcomes.iter().any(|outcome| outcome != "accepted") {
            return Err(format!("outcomes: expected all accepted, got {outcomes:?}"));
        }
        if !case.in_order {
            // The other way round, then all of it once more.
            let mut events: Vec<_> = case.events.iter().rev().cloned().collect();
            events.extend(case.events.iter().cloned());
            compare(store, 2, &plan, &case, &events).map_err(|error| format!("in another order: {error}"))?;
        }
    }
    Ok(())
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            aggregation: Aggregation::Sum,
            filters: vec![],
            group_by: vec![],
        }
    }
}

/// What it costs says nothing of how much it is.
fn plan_of(case: Meter) -> Result<Plan, String> {
    let free = json!({ "per_unit": { "unit_price": "0" } });
    let mut filters = Vec::new();
    for mut filter in case.filters {
        filter.insert("charge".into(), free.clone());
        filters.push(serde_json::from_value(filter.into()).map_err(|error| error.to_string())?);
    }
    let charge = serde_json::from_value(free).map_err(|error| error.to_string())?;
    let terms = MeterTerms {
        aggregation: case.aggregation,
        filters,
        group_by: case.group_by,
        ..MeterTerms::new(charge)
    };
    let mut plan = plan(1, "plan");
    plan.meters.insert(meter("m"), terms);
    Ok(plan)
}

/// Records `events` for tenant `n` and compares what the window adds up to. Answers what became of each event.
fn compare(
    store: &dyn Store,
    n: u128,
    plan: &Plan,
    case: &AggregationCase,
    events: &[Event],
) -> Result<Vec<String>, String> {
    let events = events.iter().cloned().map(|event| UsageEvent {
        idempotency_key: event.key,
        tenant_id: tenant(n),
        meter: event.meter.unwrap_or_else(|| meter("m")),
        quantity: event.quantity,
        occurred_at: event.at,
        properties: event.properties,
    });
    let outcomes = Kit::new(store).use_up(events.collect());
    let query = UsageQuery {
        tenant_id: tenant(n),
        subscription_id: Kit::new(store).new_id(),
        plan,
        origin: case.window.start,
        from: case.window.start,
        until: case.window.end,
        term: case.period.map(|period| WindowTerm {
            since: case.since.unwrap_or(period.start),
            period,
        }),
        watermark: 0,
        up_to: None,
    };
    let usage = wait(store.usage(&[query])).map_err(|error| error.to_string())?;
    let cells = usage.first().and_then(|usage| usage.meters.get(&meter("m")));
    let found = cells.into_iter().flatten().map(|(cell, used)| {
        let ChargeCell { filter, group } = cell.clone();
        CellExpectation {
            filter,
            group,
            quantity: used.quantity.to_string(),
            events: used.events,
        }
    });
    same("cells", Some(&case.expect.cells), Some(&found.collect()))?;
    let code = |outcome: UsageOutcome| match outcome {
        UsageOutcome::Accepted => "accepted".into(),
        UsageOutcome::Duplicate => "duplicate".into(),
        UsageOutcome::Refused(_) => "refused".into(),
        UsageOutcome::Late { .. } => "late".into(),
    };
    Ok(outcomes.into_iter().map(code).collect())
}
