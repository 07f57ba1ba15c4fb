//! Counters over windows of usage: made when first asked for, kept by every transaction that records an event.

use std::collections::HashMap;

use billing_core::aggregation::Aggregation;
use billing_core::calendar::Period;
use billing_core::id::{MeterCode, TenantId};
use billing_core::limit::{Counter, CounterFault, CounterKey};
use billing_core::ports::StoreError;
use billing_core::usage::UsageEvent;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use rust_decimal::Decimal;

use crate::column::{counter, instant, json, micros, stored, text, to_json};
use crate::error::{damaged, overflow, store_error};
use crate::leases;
use crate::usage::quantity;

const OF_METER: &str = "SELECT starts_at, ends_at, aggregation, used, events, last_at FROM usage_counters \
     WHERE tenant_id = ?1 AND meter = ?2";

const ONE: &str = "SELECT starts_at, ends_at, aggregation, used, events, last_at FROM usage_counters \
     WHERE tenant_id = ?1 AND meter = ?2 AND starts_at = ?3 AND ends_at = ?4 AND aggregation = ?5";

const EVENTS: &str = "SELECT quantity, occurred_at FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at >= ?2 AND occurred_at < ?3 AND meter = ?4 ORDER BY occurred_at, sequence";

/// The last event of a meter before an instant, of those recorded up to a place.
pub(crate) const LAST_BEFORE: &str = "SELECT quantity, occurred_at FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at < ?2 AND meter = ?3 AND sequence <= ?4 \
     ORDER BY occurred_at DESC, sequence DESC LIMIT 1";

/// For how long a counter is kept after its window, and for as long again as a window is. Events that come later than that
/// are counted when somebody asks for the window again; few are kept, since every event looks through them.
const KEPT_MICROS: i64 = 35 * 24 * 3_600 * 1_000_000;

/// The counter of a window, if it was asked for before; leases that hold at `now` included.
pub(crate) fn known(
    connection: &Connection,
    key: &CounterKey,
    now: DateTime<Utc>,
) -> Result<Option<Counter>, StoreError> {
    Ok(kept(connection, key, now)?.map(|window| window.counter))
}

fn kept(connection: &Connection, key: &CounterKey, now: DateTime<Utc>) -> Result<Option<Window>, StoreError> {
    let found = connection
        .prepare_cached(ONE)
        .map_err(store_error)?
        .query_row(
            params![
                key.tenant_id.uuid().as_bytes(),
                key.meter.as_str(),
                micros(key.window.start),
                micros(key.window.end),
                to_json(&key.aggregation)?,
            ],
            |row| Ok(Window::read(row)),
        )
        .optional()
        .map_err(store_error)?
        .transpose()?;
    found
        .map(|mut window| {
            window.counter.reserved = leases::held(connection, key, now)?;
            Ok(window)
        })
        .transpose()
}

/// The counter of a window, counted from the events if it was not asked for before.
pub(crate) fn open(
    connection: &Connection,
    key: &CounterKey,
    now: DateTime<Utc>,
) -> Result<Window, StoreError> {
    if let Some(window) = kept(connection, key, now)? {
        return Ok(window);
    }
    forget(connection, key)?;
    let mut window = count(connection, key)?;
    let sql = "INSERT INTO usage_counters \
         (tenant_id, meter, starts_at, ends_at, aggregation, used, events, last_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    window.execute(connection, sql, key.tenant_id, &key.meter)?;
    window.counter.reserved = leases::held(connection, key, now)?;
    Ok(window)
}

/// Recounts all counters of a tenant, and puts right those that are wrong.
pub(crate) fn recount(connection: &Connection, tenant_id: TenantId) -> Result<Vec<CounterFault>, StoreError> {
    let sql = "SELECT starts_at, ends_at, aggregation, used, events, last_at, meter FROM usage_counters \
         WHERE tenant_id = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement
        .query([tenant_id.uuid().as_bytes()])
        .map_err(store_error)?;
    let mut kept = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let meter = MeterCode::new(text(row, 6)?).map_err(|error| damaged("a usage counter", error))?;
        kept.push((meter, Window::read(row)?));
    }
    let mut faults = Vec::new();
    for (meter, window) in kept {
        let key = CounterKey {
            tenant_id,
            meter,
            window: window.period,
            aggregation: window.aggregation.clone(),
        };
        let right = count(connection, &key)?;
        if right != window {
            right.write(connection, key.tenant_id, &key.meter)?;
            let (found, expected) = (window.counter, right.counter);
            faults.push(CounterFault { key, found, expected });
        }
    }
    Ok(faults)
}

/// What the events of a window add up to.
fn count(connection: &Connection, key: &CounterKey) -> Result<Window, StoreError> {
    let mut window = Window {
        period: key.window,
        aggregation: key.aggregation.clone(),
        counter: Counter::default(),
        last_at: None,
    };
    if key.aggregation.carries_over()
        && let Some((level, at)) =
            last_before(connection, key.tenant_id, &key.meter, key.window.start, u64::MAX)?
    {
        window.counter.used = level;
        window.last_at = Some(at);
    }
    let mut statement = connection.prepare_cached(EVENTS).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            key.tenant_id.uuid().as_bytes(),
            micros(key.window.start),
            micros(key.window.end),
            key.meter.as_str(),
        ])
        .map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        window.take(quantity(row, 0)?, instant(row, 1)?)?;
    }
    Ok(window)
}

/// The quantity and time of the last event of a meter before `before`, of those recorded up to `sequence`.
pub(crate) fn last_before(
    connection: &Connection,
    tenant_id: TenantId,
    meter: &MeterCode,
    before: DateTime<Utc>,
    sequence: u64,
) -> Result<Option<(Decimal, DateTime<Utc>)>, StoreError> {
    let mut statement = connection.prepare_cached(LAST_BEFORE).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            tenant_id.uuid().as_bytes(),
            micros(before),
            meter.as_str(),
            i64::try_from(sequence).unwrap_or(i64::MAX),
        ])
        .map_err(store_error)?;
    let row = rows.next().map_err(store_error)?;
    row.map(|row| Ok((quantity(row, 0)?, instant(row, 1)?)))
        .transpose()
}

/// Removes the counters of the meter whose windows ended long before this one.
fn forget(connection: &Connection, key: &CounterKey) -> Result<(), StoreError> {
    let kept = key.window.microseconds().saturating_add(KEPT_MICROS);
    connection
        .prepare_cached(
            "DELETE FROM usage_counters WHERE tenant_id = ?1 AND meter = ?2 AND starts_at < ?3 AND ends_at < ?3",
        )
        .map_err(store_error)?
        .execute(params![
            key.tenant_id.uuid().as_bytes(),
            key.meter.as_str(),
            micros(key.window.start).saturating_sub(kept),
        ])
        .map(drop)
        .map_err(store_error)
}

/// A counter as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Window {
    pub(crate) period: Period,
    pub(crate) aggregation: Aggregation,
    pub(crate) counter: Counter,
    /// When the last event occurred that counts.
    last_at: Option<DateTime<Utc>>,
}

impl Window {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let period = Period::new(instant(row, 0)?, instant(row, 1)?)
            .map_err(|error| damaged("the window of a usage counter", error))?;
        let counter = Counter {
            used: quantity(row, 3)?,
            reserved: Decimal::ZERO,
            events: counter(row, 4)?,
        };
        let last_at = match row.get_ref(5).map_err(store_error)? {
            rusqlite::types::ValueRef::Null => None,
            _ => Some(instant(row, 5)?),
        };
        Ok(Self {
            period,
            aggregation: json(row, 2, "the aggregation of a usage counter")?,
            counter,
            last_at,
        })
    }

    /// Counts an event if it counts here; whether it does.
    pub(crate) fn take(&mut self, quantity: Decimal, occurred_at: DateTime<Utc>) -> Result<bool, StoreError> {
        let is_latest = self.last_at.is_none_or(|last_at| occurred_at >= last_at);
        let is_held = self.aggregation.carries_over() && is_latest && occurred_at < self.period.start;
        if self.period.contains(occurred_at) {
            self.counter
                .record(&self.aggregation, quantity, is_latest)
                .map_err(overflow)?;
        } else if is_held {
            self.counter.used = quantity;
        } else {
            return Ok(false);
        }
        if is_latest {
            self.last_at = Some(occurred_at);
        }
        Ok(true)
    }

    fn write(
        &self,
        connection: &Connection,
        tenant_id: TenantId,
        meter: &MeterCode,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE usage_counters SET used = ?6, events = ?7, last_at = ?8 \
             WHERE tenant_id = ?1 AND meter = ?2 AND starts_at = ?3 AND ends_at = ?4 AND aggregation = ?5";
        self.execute(connection, sql, tenant_id, meter)
    }

    fn execute(
        &self,
        connection: &Connection,
        sql: &str,
        tenant_id: TenantId,
        meter: &MeterCode,
    ) -> Result<(), StoreError> {
        connection
            .prepare_cached(sql)
            .map_err(store_error)?
            .execute(params![
                tenant_id.uuid().as_bytes(),
                meter.as_str(),
                micros(self.period.start),
                micros(self.period.end),
                to_json(&self.aggregation)?,
                self.counter.used.to_string(),
                stored(self.counter.events)?,
                self.last_at.map(micros),
            ])
            .map(drop)
            .map_err(store_error)
    }
}

/// The counters that the events of one request touch: read once per meter, written once at the end.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    meters: HashMap<(TenantId, MeterCode), Vec<(Window, bool)>>,
}

impl Touched {
    /// Counts an event that was recorded.
    pub(crate) fn add(&mut self, connection: &Connection, event: &UsageEvent) -> Result<(), StoreError> {
        let key = (event.tenant_id, event.meter.clone());
        if !self.meters.contains_key(&key) {
            let windows = of_meter(connection, event.tenant_id, &event.meter)?;
            self.meters.insert(key.clone(), windows);
        }
        for (window, is_changed) in self.meters.get_mut(&key).into_iter().flatten() {
            *is_changed |= window.take(event.quantity, event.occurred_at)?;
        }
        Ok(())
    }

    /// Writes what has changed.
    pub(crate) fn write(&self, connection: &Connection) -> Result<(), StoreError> {
        for ((tenant_id, meter), windows) in &self.meters {
            for (window, is_changed) in windows {
                if *is_changed {
                    window.write(connection, *tenant_id, meter)?;
                }
            }
        }
        Ok(())
    }
}

fn of_meter(
    connection: &Connection,
    tenant_id: TenantId,
    meter: &MeterCode,
) -> Result<Vec<(Window, bool)>, StoreError> {
    let mut statement = connection.prepare_cached(OF_METER).map_err(store_error)?;
    let mut rows = statement
        .query(params![tenant_id.uuid().as_bytes(), meter.as_str()])
        .map_err(store_error)?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        windows.push((Window::read(row)?, false));
    }
    Ok(windows)
}
