//! Usage events, and what they add up to.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use billing_core::calendar::Period;
use billing_core::id::{IdempotencyKey, MeterCode, PlanId, TenantId};
use billing_core::plan::Plan;
use billing_core::ports::StoreError;
use billing_core::usage::{LateUsage, Metering, Usage, UsageEvent, UsageOutcome, UsageQuery};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};
use rust_decimal::Decimal;

use crate::column::{counter, instant, json, micros, stored, text, to_json};
use crate::counters::{self, Touched};
use crate::error::{damaged, overflow, store_error};
use crate::keys::{self, Added, Places};
use crate::{plans, windows};

/// The events of a stretch of time, in their order: a stretch of the table itself.
pub(crate) const IN_TIME: &str = "SELECT meter, quantity, occurred_at, sequence FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at >= ?2 AND occurred_at < ?3 AND sequence <= ?4 \
     ORDER BY occurred_at, sequence";

/// The same with what tells events apart.
pub(crate) const IN_TIME_WITH_PROPERTIES: &str = "SELECT meter, quantity, occurred_at, sequence, properties FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at >= ?2 AND occurred_at < ?3 AND sequence <= ?4 \
     ORDER BY occurred_at, sequence";

/// When what came late occurred: what was recorded since the watermark, seen in the index alone. The hint is needed because the
/// planner cannot know that this is less than the tenant's history from its origin.
pub(crate) const LATE: &str = "SELECT occurred_at FROM usage_events INDEXED BY usage_events_recorded \
     WHERE tenant_id = ?1 AND sequence > ?2 AND sequence <= ?3 AND occurred_at < ?4";

pub(crate) const WATERMARK: &str = "SELECT last FROM usage_sequence";

pub(crate) const KNOWN: &str = "SELECT meter, quantity, occurred_at, properties FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at = ?2 AND sequence = ?3";

const INSERT: &str = "INSERT INTO usage_events \
     (tenant_id, occurred_at, sequence, meter, quantity, idempotency_key, recorded_at, properties) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// An event with the text of its columns, which is made before the writer is asked.
#[derive(Debug)]
pub(crate) struct Recordable {
    event: UsageEvent,
    places: Places,
    quantity: String,
    properties: Option<String>,
}

impl Recordable {
    /// An event is kept to the microsecond, so it is cut to that before it is compared: the same event again is then
    /// the same, however precise its sender's clock is.
    pub(crate) fn new(mut event: UsageEvent) -> Result<Self, StoreError> {
        let cut = DateTime::from_timestamp_micros(micros(event.occurred_at));
        event.occurred_at = cut.unwrap_or(event.occurred_at);
        let properties = if event.properties.is_empty() {
            None
        } else {
            Some(to_json(&event.properties)?)
        };
        Ok(Self {
            places: Places::of(event.tenant_id, &event.idempotency_key),
            quantity: event.quantity.to_string(),
            properties,
            event,
        })
    }

    pub(crate) const fn event(&self) -> &UsageEvent {
        &self.event
    }

    /// What names it.
    pub(crate) const fn key(&self) -> (TenantId, &IdempotencyKey) {
        (self.event.tenant_id, &self.event.idempotency_key)
    }
}

pub(crate) fn record<'a>(
    connection: &Connection,
    events: impl IntoIterator<Item = &'a Recordable>,
    recorded_at: DateTime<Utc>,
) -> Result<Vec<UsageOutcome>, StoreError> {
    let events: Vec<_> = events.into_iter().collect();
    let known = known(connection, &events)?;
    let before = watermark(connection)?;
    let mut sequence = before;
    let mut touched = Touched::default();
    let mut insert = connection.prepare_cached(INSERT).map_err(store_error)?;
    let mut outcomes = Vec::with_capacity(events.len());
    let mut accepted: HashMap<_, &UsageEvent> = HashMap::with_capacity(events.len());
    let mut added = Vec::with_capacity(events.len());
    for (recordable, known) in events.into_iter().zip(&known) {
        let event = &recordable.event;
        if let Some(known) = known
            .as_ref()
            .or_else(|| accepted.get(&recordable.key()).copied())
        {
            outcomes.push(event.compare(known));
            continue;
        }
        sequence = sequence.saturating_add(1);
        let (occurred_at, place) = (micros(event.occurred_at), stored(sequence)?);
        insert
            .execute(params![
                event.tenant_id.uuid().as_bytes(),
                occurred_at,
                place,
                event.meter.as_str(),
                recordable.quantity,
                event.idempotency_key.as_str(),
                micros(recorded_at),
                recordable.properties,
            ])
            .map_err(store_error)?;
        added.push(Added {
            places: recordable.places,
            occurred_at,
            sequence: place,
        });
        accepted.insert(recordable.key(), event);
        touched.add(connection, event)?;
        outcomes.push(UsageOutcome::Accepted);
    }
    keys::add(connection, &mut added)?;
    touched.write(connection)?;
    if sequence != before {
        connection
            .prepare_cached("UPDATE usage_sequence SET last = ?1")
            .map_err(store_error)?
            .execute([stored(sequence)?])
            .map_err(store_error)?;
    }
    Ok(outcomes)
}

/// Of each event the one that was recorded under its key before. They are looked up in the order of their places, so that
/// no page is read twice.
fn known(connection: &Connection, events: &[&Recordable]) -> Result<Vec<Option<UsageEvent>>, StoreError> {
    let mut known = vec![None; events.len()];
    let mut in_order: Vec<_> = events.iter().zip(&mut known).collect();
    in_order.sort_unstable_by_key(|(event, _)| event.places.first());
    for (event, known) in in_order {
        *known = find(connection, event)?;
    }
    Ok(known)
}

/// Whether an event has the tenant and the key.
pub(crate) fn is_recorded(
    connection: &Connection,
    tenant_id: TenantId,
    key: &IdempotencyKey,
) -> Result<bool, StoreError> {
    let found = keys::find(connection, Places::of(tenant_id, key), tenant_id, key)?;
    Ok(found.is_some())
}

/// The event that was recorded under the tenant and key of `recordable`, if there is one.
pub(crate) fn find(
    connection: &Connection,
    recordable: &Recordable,
) -> Result<Option<UsageEvent>, StoreError> {
    let (tenant_id, key) = recordable.key();
    let Some((occurred_at, sequence)) = keys::find(connection, recordable.places, tenant_id, key)? else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(KNOWN).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            tenant_id.uuid().as_bytes(),
            micros(occurred_at),
            stored(sequence)?
        ])
        .map_err(store_error)?;
    let what = format!("usage event `{key}`");
    let row = rows.next().map_err(store_error)?;
    let row = row.ok_or_else(|| damaged(&what, "it is not where its key says"))?;
    let properties = properties(row, 3)?.unwrap_or_default();
    Ok(Some(UsageEvent {
        idempotency_key: key.clone(),
        tenant_id,
        meter: MeterCode::new(text(row, 0)?).map_err(|error| damaged(&what, error))?,
        quantity: quantity(row, 1)?,
        occurred_at: instant(row, 2)?,
        properties,
    }))
}

/// What each query finds. To be called in one read transaction.
pub(crate) fn usage(connection: &Connection, queries: &[UsageQuery<'_>]) -> Result<Vec<Usage>, StoreError> {
    let last = watermark(connection)?;
    queries
        .iter()
        .map(|query| answer(connection, query, last))
        .collect()
}

fn answer(connection: &Connection, query: &UsageQuery<'_>, last: u64) -> Result<Usage, StoreError> {
    let watermark = query.up_to.map_or(last, |up_to| up_to.min(last));
    let mut usage = Usage {
        watermark,
        ..Usage::default()
    };
    if let Ok(window) = Period::new(query.from, query.until)
        && !query.plan.meters.is_empty()
    {
        let mut meterings = [Metering::new(query.plan, window, query.term)];
        add_up(connection, query.tenant_id, window, &mut meterings, &[watermark])?;
        let [metering] = meterings;
        usage.meters = metering.finish().map_err(overflow)?;
    }
    if query.origin < query.from && query.watermark < watermark {
        usage.late = late(connection, query, watermark)?;
    }
    Ok(usage)
}

/// The billed windows of which something else is known now than at the query's watermark.
fn late(
    connection: &Connection,
    query: &UsageQuery<'_>,
    watermark: u64,
) -> Result<Vec<LateUsage>, StoreError> {
    let recorded = recorded_late(connection, query, watermark)?;
    let Some(first) = recorded.first() else {
        return Ok(Vec::new());
    };
    let mut plans: HashMap<PlanId, Plan> = HashMap::new();
    let mut found = Vec::new();
    let billed = windows::since(connection, query.subscription_id, *first)?;
    for billed in billed.into_iter().filter(|billed| query.is_before(billed)) {
        let plan = match plans.entry(billed.plan_id) {
            Entry::Occupied(plan) => plan.into_mut(),
            Entry::Vacant(place) => place.insert(
                plans::by_id(connection, billed.plan_id)?
                    .ok_or_else(|| damaged(format_args!("plan `{}`", billed.plan_id), "it is not there"))?,
            ),
        };
        let next = recorded.partition_point(|at| *at < billed.window.start);
        let holds_one = recorded.get(next).is_some_and(|at| *at < billed.window.end);
        let mut meterings = [billed.metering(plan), billed.metering(plan)];
        // What is held reaches into the windows after its own.
        let [metering, _] = &meterings;
        if !holds_one && metering.carried().next().is_none() {
            continue;
        }
        let seen = [query.watermark, watermark];
        add_up(connection, query.tenant_id, billed.window, &mut meterings, &seen)?;
        let [before, after] = meterings;
        let before = before.finish().map_err(overflow)?;
        let after = after.finish().map_err(overflow)?;
        if before != after {
            found.push(LateUsage {
                billed,
                plan: plan.clone(),
                before,
                after,
            });
        }
    }
    Ok(found)
}

/// When that occurred which was recorded after the time before `from` was billed; earliest first. Also from before the origin:
/// what is held since then reaches into what was billed.
fn recorded_late(
    connection: &Connection,
    query: &UsageQuery<'_>,
    watermark: u64,
) -> Result<Vec<DateTime<Utc>>, StoreError> {
    let mut statement = connection.prepare_cached(LATE).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            query.tenant_id.uuid().as_bytes(),
            stored(query.watermark)?,
            stored(watermark)?,
            micros(query.from),
        ])
        .map_err(store_error)?;
    let mut late = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        late.push(instant(row, 0)?);
    }
    late.sort_unstable();
    Ok(late)
}

/// Counts the events of a window into each metering, those that were recorded up to the place that is `seen` by it.
///
/// Exactly, here and not in SQL: SQLite would add in floating point.
fn add_up(
    connection: &Connection,
    tenant_id: TenantId,
    window: Period,
    meterings: &mut [Metering<'_>],
    seen: &[u64],
) -> Result<(), StoreError> {
    let mut reads_properties = false;
    for (metering, seen) in meterings.iter_mut().zip(seen) {
        reads_properties |= metering.reads_properties();
        for meter in metering.carried().collect::<Vec<_>>() {
            let level = counters::last_before(connection, tenant_id, meter, window.start, *seen)?;
            if let Some((quantity, _)) = level {
                metering.carry(meter.as_str(), quantity);
            }
        }
    }
    let sql = if reads_properties {
        IN_TIME_WITH_PROPERTIES
    } else {
        IN_TIME
    };
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let last = seen.iter().max().copied().unwrap_or_default();
    let mut rows = statement
        .query(params![
            tenant_id.uuid().as_bytes(),
            micros(window.start),
            micros(window.end),
            stored(last)?,
        ])
        .map_err(store_error)?;
    let none = BTreeMap::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let (quantity, occurred_at, sequence) = (quantity(row, 1)?, instant(row, 2)?, counter(row, 3)?);
        let properties = if reads_properties {
            properties(row, 4)?
        } else {
            None
        };
        let properties = properties.as_ref().unwrap_or(&none);
        for (metering, seen) in meterings.iter_mut().zip(seen) {
            if sequence <= *seen {
                metering
                    .add(text(row, 0)?, quantity, occurred_at, properties)
                    .map_err(overflow)?;
            }
        }
    }
    Ok(())
}

fn properties(row: &Row<'_>, index: usize) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    match row.get_ref(index).map_err(store_error)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => json(row, index, "the properties of a usage event").map(Some),
    }
}

fn watermark(connection: &Connection) -> Result<u64, StoreError> {
    connection
        .prepare_cached(WATERMARK)
        .map_err(store_error)?
        .query_row([], |row| Ok(counter(row, 0)))
        .map_err(store_error)?
}

/// The quantity in column `index`.
pub(crate) fn quantity(row: &Row<'_>, index: usize) -> Result<Decimal, StoreError> {
    Decimal::from_str_exact(text(row, index)?)
        .map_err(|error| damaged("the quantity of a usage event", error))
}
