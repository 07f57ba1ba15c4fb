//! Counters over windows of usage: made when first asked for, kept by every transaction that records an event.

use std::collections::HashMap;

use billing_core::calendar::Period;
use billing_core::id::{MeterCode, TenantId};
use billing_core::limit::{Counter, CounterFault, CounterKey};
use billing_core::ports::StoreError;
use billing_core::usage::{UsageEvent, add_quantities};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use rust_decimal::Decimal;

use crate::column::{counter, instant, micros, stored, text};
use crate::error::{damaged, overflow, store_error};
use crate::leases;
use crate::usage::quantity;

const OF_METER: &str =
    "SELECT starts_at, ends_at, used, events FROM usage_counters WHERE tenant_id = ?1 AND meter = ?2";

const ONE: &str = "SELECT starts_at, ends_at, used, events FROM usage_counters \
     WHERE tenant_id = ?1 AND meter = ?2 AND starts_at = ?3 AND ends_at = ?4";

const EVENTS: &str = "SELECT quantity FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at >= ?2 AND occurred_at < ?3 AND meter = ?4";

/// For how long a counter is kept after its window, and for as long again as a window is. Events that come later than that
/// are counted when somebody asks for the window again; few are kept, since every event looks through them.
const KEPT_MICROS: i64 = 35 * 24 * 3_600 * 1_000_000;

/// The counter of a window, if it was asked for before; leases that hold at `now` included.
pub(crate) fn known(
    connection: &Connection,
    key: &CounterKey,
    now: DateTime<Utc>,
) -> Result<Option<Counter>, StoreError> {
    let found = connection
        .prepare_cached(ONE)
        .map_err(store_error)?
        .query_row(
            params![
                key.tenant_id.uuid().as_bytes(),
                key.meter.as_str(),
                micros(key.window.start),
                micros(key.window.end),
            ],
            |row| Ok(Window::read(row)),
        )
        .optional()
        .map_err(store_error)?
        .transpose()?;
    found
        .map(|window| {
            Ok(Counter {
                reserved: leases::held(connection, key, now)?,
                ..window.counter
            })
        })
        .transpose()
}

/// The counter of a window, counted from the events if it was not asked for before.
pub(crate) fn open(
    connection: &Connection,
    key: &CounterKey,
    now: DateTime<Utc>,
) -> Result<Counter, StoreError> {
    if let Some(counter) = known(connection, key, now)? {
        return Ok(counter);
    }
    forget(connection, key)?;
    let counter = count(connection, key)?;
    let sql = "INSERT INTO usage_counters (tenant_id, meter, starts_at, ends_at, used, events) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            key.tenant_id.uuid().as_bytes(),
            key.meter.as_str(),
            micros(key.window.start),
            micros(key.window.end),
            counter.used.to_string(),
            stored(counter.events)?,
        ])
        .map_err(store_error)?;
    Ok(Counter {
        reserved: leases::held(connection, key, now)?,
        ..counter
    })
}

/// Recounts all counters of a tenant, and puts right those that are wrong.
pub(crate) fn recount(connection: &Connection, tenant_id: TenantId) -> Result<Vec<CounterFault>, StoreError> {
    let sql = "SELECT starts_at, ends_at, used, events, meter FROM usage_counters WHERE tenant_id = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement
        .query([tenant_id.uuid().as_bytes()])
        .map_err(store_error)?;
    let mut kept = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let meter = MeterCode::new(text(row, 4)?).map_err(|error| damaged("a usage counter", error))?;
        kept.push((meter, Window::read(row)?));
    }
    let mut faults = Vec::new();
    for (meter, window) in kept {
        let key = CounterKey {
            tenant_id,
            meter,
            window: window.period,
        };
        let (found, expected) = (window.counter, count(connection, &key)?);
        if found != expected {
            let right = Window {
                counter: expected,
                ..window
            };
            right.write(connection, key.tenant_id, &key.meter)?;
            faults.push(CounterFault { key, found, expected });
        }
    }
    Ok(faults)
}

/// What the events of a window add up to.
fn count(connection: &Connection, key: &CounterKey) -> Result<Counter, StoreError> {
    let mut statement = connection.prepare_cached(EVENTS).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            key.tenant_id.uuid().as_bytes(),
            micros(key.window.start),
            micros(key.window.end),
            key.meter.as_str(),
        ])
        .map_err(store_error)?;
    let mut counter = Counter::default();
    while let Some(row) = rows.next().map_err(store_error)? {
        counter.used = add_quantities(counter.used, quantity(row, 0)?).map_err(overflow)?;
        counter.events = counter.events.saturating_add(1);
    }
    Ok(counter)
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
#[derive(Clone, Copy, Debug)]
struct Window {
    period: Period,
    counter: Counter,
}

impl Window {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let period = Period::new(instant(row, 0)?, instant(row, 1)?)
            .map_err(|error| damaged("the window of a usage counter", error))?;
        let counter = Counter {
            used: quantity(row, 2)?,
            reserved: Decimal::ZERO,
            events: counter(row, 3)?,
        };
        Ok(Self { period, counter })
    }

    fn write(
        &self,
        connection: &Connection,
        tenant_id: TenantId,
        meter: &MeterCode,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE usage_counters SET used = ?5, events = ?6 \
             WHERE tenant_id = ?1 AND meter = ?2 AND starts_at = ?3 AND ends_at = ?4";
        connection
            .prepare_cached(sql)
            .map_err(store_error)?
            .execute(params![
                tenant_id.uuid().as_bytes(),
                meter.as_str(),
                micros(self.period.start),
                micros(self.period.end),
                self.counter.used.to_string(),
                stored(self.counter.events)?,
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
            if window.period.contains(event.occurred_at) {
                let used = add_quantities(window.counter.used, event.quantity).map_err(overflow)?;
                window.counter.used = used;
                window.counter.events = window.counter.events.saturating_add(1);
                *is_changed = true;
            }
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
