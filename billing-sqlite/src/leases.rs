//! Leases: quantities that are held until they are settled, released, or their time is over.

use billing_core::id::{IdempotencyKey, MeterCode, TenantId};
use billing_core::limit::{CounterKey, Lease, Reserved, Settled};
use billing_core::ports::StoreError;
use billing_core::usage::{UsageField, UsageOutcome, UsageRefusal, add_quantities};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use rust_decimal::Decimal;

use crate::column::{instant, micros, text};
use crate::counters;
use crate::error::{damaged, overflow, store_error};
use crate::usage::{Recordable, find, is_recorded, quantity, record};

/// How long a lease is remembered after it was over.
const REMEMBERED_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Held,
    Settled,
    Released,
}

impl State {
    const fn code(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Settled => "settled",
            Self::Released => "released",
        }
    }
}

/// What is asked of a lease that is there.
#[derive(Debug)]
struct Kept {
    meter: MeterCode,
    quantity: Decimal,
    expires_at: DateTime<Utc>,
}

/// What is held of a window at `now`.
pub(crate) fn held(
    connection: &Connection,
    key: &CounterKey,
    now: DateTime<Utc>,
) -> Result<Decimal, StoreError> {
    // In every window in which it can still be settled, not just in that in which it was asked for.
    let sql = "SELECT quantity FROM usage_leases WHERE tenant_id = ?1 AND meter = ?2 AND state = 'held' \
         AND expires_at > max(?3, ?4) AND starts_at < ?5";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            key.tenant_id.uuid().as_bytes(),
            key.meter.as_str(),
            micros(now),
            micros(key.window.start),
            micros(key.window.end),
        ])
        .map_err(store_error)?;
    let mut sum = Decimal::ZERO;
    while let Some(row) = rows.next().map_err(store_error)? {
        sum = add_quantities(sum, quantity(row, 0)?).map_err(overflow)?;
    }
    Ok(sum)
}

pub(crate) fn reserve(
    connection: &Connection,
    lease: &Lease,
    hard_limit: Option<Decimal>,
    now: DateTime<Utc>,
) -> Result<Reserved, StoreError> {
    let key = CounterKey {
        tenant_id: lease.tenant_id,
        meter: lease.meter.clone(),
        window: lease.window,
        aggregation: lease.aggregation.clone(),
    };
    let counter = counters::open(connection, &key, now)?.counter;
    if let Some((known, state)) = known(connection, lease.tenant_id, &lease.key)? {
        let is_same = (&known.meter, known.quantity) == (&lease.meter, lease.quantity);
        return Ok(match state {
            _ if !is_same => Reserved::KeyReused,
            State::Held if known.expires_at > now => Reserved::Duplicate(counter),
            State::Held | State::Settled | State::Released => Reserved::Ended,
        });
    }
    if is_recorded(connection, lease.tenant_id, &lease.key)? {
        return Ok(Reserved::KeyReused);
    }
    if !counter
        .admits(&lease.aggregation, lease.quantity, hard_limit)
        .map_err(overflow)?
    {
        return Ok(Reserved::OverLimit(counter));
    }
    forget(connection, lease, now)?;
    let sql = "INSERT INTO usage_leases \
         (tenant_id, key, meter, starts_at, ends_at, quantity, expires_at, state) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'held')";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            lease.tenant_id.uuid().as_bytes(),
            lease.key.as_str(),
            lease.meter.as_str(),
            micros(lease.window.start),
            micros(lease.window.end),
            lease.quantity.to_string(),
            micros(lease.expires_at),
        ])
        .map_err(store_error)?;
    Ok(Reserved::Held(counter))
}

pub(crate) fn settle(
    connection: &Connection,
    event: &Recordable,
    now: DateTime<Utc>,
) -> Result<Settled, StoreError> {
    let (tenant_id, key) = event.key();
    match known(connection, tenant_id, key)? {
        // The lease may be forgotten by now, or never was.
        None => match find(connection, event)? {
            Some(recorded) => Ok(Settled::Recorded(event.event().compare(&recorded))),
            None => Ok(Settled::Unknown),
        },
        Some((lease, _)) if lease.meter != event.event().meter => Ok(Settled::Recorded(
            UsageOutcome::Refused(UsageRefusal::KeyReused {
                idempotency_key: key.clone(),
                field: UsageField::Meter,
            }),
        )),
        Some((_, State::Released)) => Ok(Settled::Released),
        Some((_, State::Held | State::Settled)) => {
            let outcomes = record(connection, [event], now)?;
            let outcome = outcomes.into_iter().next().ok_or_else(|| StoreError::Internal {
                detail: "an event that was recorded has no outcome".into(),
            })?;
            match outcome {
                UsageOutcome::Accepted | UsageOutcome::Late { .. } | UsageOutcome::Duplicate => {
                    end(connection, tenant_id, key, State::Settled)?;
                }
                UsageOutcome::Refused(_) => {}
            }
            Ok(Settled::Recorded(outcome))
        }
    }
}

pub(crate) fn release(
    connection: &Connection,
    tenant_id: TenantId,
    key: &IdempotencyKey,
) -> Result<bool, StoreError> {
    match known(connection, tenant_id, key)? {
        Some((_, State::Held)) => end(connection, tenant_id, key, State::Released).map(|()| true),
        Some((_, State::Settled | State::Released)) | None => Ok(false),
    }
}

fn known(
    connection: &Connection,
    tenant_id: TenantId,
    key: &IdempotencyKey,
) -> Result<Option<(Kept, State)>, StoreError> {
    let sql = "SELECT meter, quantity, expires_at, state FROM usage_leases \
         WHERE tenant_id = ?1 AND key = ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement
        .query(params![tenant_id.uuid().as_bytes(), key.as_str()])
        .map_err(store_error)?;
    let Some(row) = rows.next().map_err(store_error)? else {
        return Ok(None);
    };
    let what = || format!("usage lease `{key}`");
    let lease = Kept {
        meter: MeterCode::new(text(row, 0)?).map_err(|error| damaged(what(), error))?,
        quantity: quantity(row, 1)?,
        expires_at: instant(row, 2)?,
    };
    let code = text(row, 3)?;
    let state = [State::Held, State::Settled, State::Released]
        .into_iter()
        .find(|state| state.code() == code)
        .ok_or_else(|| damaged(what(), format_args!("unknown state `{code}`")))?;
    Ok(Some((lease, state)))
}

fn end(
    connection: &Connection,
    tenant_id: TenantId,
    key: &IdempotencyKey,
    state: State,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE usage_leases SET state = ?3 WHERE tenant_id = ?1 AND key = ?2")
        .map_err(store_error)?
        .execute(params![tenant_id.uuid().as_bytes(), key.as_str(), state.code()])
        .map(drop)
        .map_err(store_error)
}

/// Removes what was over long ago, of the same tenant and meter.
fn forget(connection: &Connection, lease: &Lease, now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = "DELETE FROM usage_leases WHERE tenant_id = ?1 AND meter = ?2 \
         AND state IN ('held', 'settled', 'released') AND expires_at < ?3";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            lease.tenant_id.uuid().as_bytes(),
            lease.meter.as_str(),
            micros(now).saturating_sub(REMEMBERED_MICROS),
        ])
        .map(drop)
        .map_err(store_error)
}
