//! Usage events, and what they add up to.

use std::collections::BTreeMap;

use billing_core::id::{IdempotencyKey, MeterCode, TenantId};
use billing_core::ports::StoreError;
use billing_core::usage::{Usage, UsageEvent, UsageOutcome, UsageQuery};
use chrono::{DateTime, Utc};
use rusqlite::{CachedStatement, Connection, Params, Row, params};
use rust_decimal::Decimal;

use crate::column::{counter, instant, json, micros, stored, text, to_json};
use crate::counters::Touched;
use crate::error::{damaged, overflow, store_error};

/// In time: a stretch of the table itself.
pub(crate) const IN_TIME: &str = "SELECT meter, quantity FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at >= ?2 AND occurred_at < ?3";

/// Late: what was recorded since the watermark, seen in the index alone; only what proves late is looked up. The
/// hint is needed because the planner cannot know that this is less than the tenant's history from its origin.
pub(crate) const LATE: &str = "SELECT event.meter, event.quantity \
     FROM usage_events AS recorded INDEXED BY usage_events_recorded \
     CROSS JOIN usage_events AS event ON event.tenant_id = recorded.tenant_id \
         AND event.occurred_at = recorded.occurred_at AND event.sequence = recorded.sequence \
     WHERE recorded.tenant_id = ?1 AND recorded.sequence > ?2 \
         AND recorded.occurred_at >= ?3 AND recorded.occurred_at < ?4";

pub(crate) const WATERMARK: &str = "SELECT last FROM usage_sequence";

const KNOWN: &str = "SELECT meter, quantity, occurred_at, properties FROM usage_events \
     WHERE tenant_id = ?1 AND idempotency_key = ?2";

const INSERT: &str = "INSERT INTO usage_events \
     (tenant_id, occurred_at, sequence, meter, quantity, idempotency_key, recorded_at, properties) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (tenant_id, idempotency_key) DO NOTHING";

/// An event with the text of its columns, which is made before the writer is asked.
#[derive(Debug)]
pub(crate) struct Recordable {
    event: UsageEvent,
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
    let before = watermark(connection)?;
    let mut sequence = before;
    let mut touched = Touched::default();
    let mut insert = connection.prepare_cached(INSERT).map_err(store_error)?;
    let mut outcomes = Vec::new();
    for recordable in events {
        let event = &recordable.event;
        let written = insert
            .execute(params![
                event.tenant_id.uuid().as_bytes(),
                micros(event.occurred_at),
                stored(sequence.saturating_add(1))?,
                event.meter.as_str(),
                recordable.quantity,
                event.idempotency_key.as_str(),
                micros(recorded_at),
                recordable.properties,
            ])
            .map_err(store_error)?;
        outcomes.push(if written == 1 {
            sequence = sequence.saturating_add(1);
            touched.add(connection, event)?;
            UsageOutcome::Accepted
        } else {
            event.compare(&known(connection, event)?)
        });
    }
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

/// The event that has the tenant and key of `event`, which is there.
fn known(connection: &Connection, event: &UsageEvent) -> Result<UsageEvent, StoreError> {
    find(connection, event)?.ok_or_else(|| {
        let what = format!("usage event `{}`", event.idempotency_key);
        damaged(what, "its key is taken by no event")
    })
}

/// Whether an event has the tenant and the key.
pub(crate) fn is_recorded(
    connection: &Connection,
    tenant_id: TenantId,
    key: &IdempotencyKey,
) -> Result<bool, StoreError> {
    connection
        .prepare_cached(KNOWN)
        .map_err(store_error)?
        .exists(params![tenant_id.uuid().as_bytes(), key.as_str()])
        .map_err(store_error)
}

/// The event that has the tenant and key of `event`, if there is one.
pub(crate) fn find(connection: &Connection, event: &UsageEvent) -> Result<Option<UsageEvent>, StoreError> {
    let mut statement = connection.prepare_cached(KNOWN).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            event.tenant_id.uuid().as_bytes(),
            event.idempotency_key.as_str()
        ])
        .map_err(store_error)?;
    let Some(row) = rows.next().map_err(store_error)? else {
        return Ok(None);
    };
    let what = format!("usage event `{}`", event.idempotency_key);
    let properties = match row.get_ref(3).map_err(store_error)? {
        rusqlite::types::ValueRef::Null => BTreeMap::new(),
        _ => json(row, 3, &what)?,
    };
    Ok(Some(UsageEvent {
        idempotency_key: event.idempotency_key.clone(),
        tenant_id: event.tenant_id,
        meter: MeterCode::new(text(row, 0)?).map_err(|error| damaged(&what, error))?,
        quantity: quantity(row, 1)?,
        occurred_at: instant(row, 2)?,
        properties,
    }))
}

/// What each query finds. To be called in one read transaction.
pub(crate) fn usage(connection: &Connection, queries: &[UsageQuery]) -> Result<Vec<Usage>, StoreError> {
    let watermark = watermark(connection)?;
    queries
        .iter()
        .map(|query| {
            let mut usage = Usage {
                watermark,
                ..Usage::default()
            };
            let tenant_id = query.tenant_id.uuid();
            let (origin, from) = (micros(query.origin), micros(query.from));
            let statement = connection.prepare_cached(IN_TIME).map_err(store_error)?;
            let in_time = params![tenant_id.as_bytes(), from, micros(query.until)];
            add_up(&mut usage, statement, in_time, false)?;
            if origin < from && query.watermark < watermark {
                let statement = connection.prepare_cached(LATE).map_err(store_error)?;
                let late = params![tenant_id.as_bytes(), stored(query.watermark)?, origin, from];
                add_up(&mut usage, statement, late, true)?;
            }
            Ok(usage)
        })
        .collect()
}

/// Adds up exactly, here and not in SQL: SQLite would add in floating point.
fn add_up(
    usage: &mut Usage,
    mut statement: CachedStatement<'_>,
    parameters: impl Params,
    late: bool,
) -> Result<(), StoreError> {
    let mut rows = statement.query(parameters).map_err(store_error)?;
    // A tenant has few meters and many events, so the codes are made once.
    let mut meters: Vec<MeterCode> = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let code = text(row, 0)?;
        let known = meters.iter().position(|meter| meter.as_str() == code);
        let meter = match known.and_then(|index| meters.get(index)) {
            Some(meter) => meter,
            None => {
                let meter =
                    MeterCode::new(code).map_err(|error| damaged("a meter of a usage event", error))?;
                meters.push(meter);
                // Just pushed.
                let Some(meter) = meters.last() else { continue };
                meter
            }
        };
        usage.count(meter, quantity(row, 1)?, late).map_err(overflow)?;
    }
    Ok(())
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
