//! Windows of usage that were billed.

use billing_core::calendar::Period;
use billing_core::id::{PlanId, SubscriptionId};
use billing_core::money::Money;
use billing_core::ports::StoreError;
use billing_core::usage::{BilledWindow, WindowTerm};
use chrono::{DateTime, Utc};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::column::{coded, instant, micros, uuid};
use crate::error::{damaged, store_error};

pub(crate) const SINCE: &str = "SELECT starts_at, ends_at, plan_id, since, period_start, period_end, usage_minimum, currency FROM usage_windows \
     WHERE subscription_id = ?1 AND starts_at >= \
         coalesce((SELECT max(starts_at) FROM usage_windows WHERE subscription_id = ?1 AND starts_at <= ?2), ?2) \
     ORDER BY starts_at";

pub(crate) fn insert(
    connection: &Connection,
    subscription_id: SubscriptionId,
    billed: &BilledWindow,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO usage_windows \
         (subscription_id, starts_at, ends_at, plan_id, since, period_start, period_end, usage_minimum, currency) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            subscription_id.uuid().as_bytes(),
            micros(billed.window.start),
            micros(billed.window.end),
            billed.plan_id.uuid().as_bytes(),
            billed.term.map(|term| micros(term.since)),
            billed.term.map(|term| micros(term.period.start)),
            billed.term.map(|term| micros(term.period.end)),
            billed.usage_minimum.map(|minimum| minimum.minor),
            billed.usage_minimum.map(|minimum| minimum.currency.code()),
        ])
        .map(drop)
        .map_err(store_error)
}

/// The window that holds `at`, if one does, and all that come after it, by their time.
pub(crate) fn since(
    connection: &Connection,
    subscription_id: SubscriptionId,
    at: DateTime<Utc>,
) -> Result<Vec<BilledWindow>, StoreError> {
    let mut statement = connection.prepare_cached(SINCE).map_err(store_error)?;
    let mut rows = statement
        .query(params![subscription_id.uuid().as_bytes(), micros(at)])
        .map_err(store_error)?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        windows.push(billed(row)?);
    }
    Ok(windows)
}

fn billed(row: &Row<'_>) -> Result<BilledWindow, StoreError> {
    let period = |start, end| {
        Period::new(instant(row, start)?, instant(row, end)?)
            .map_err(|error| damaged("a billed window", error))
    };
    let term = match row.get_ref(3).map_err(store_error)? {
        ValueRef::Null => None,
        _ => Some(WindowTerm {
            since: instant(row, 3)?,
            period: period(4, 5)?,
        }),
    };
    let usage_minimum = match row.get_ref(6).map_err(store_error)? {
        ValueRef::Null => None,
        _ => Some(Money::new(
            row.get(6).map_err(store_error)?,
            coded(row, 7, "the currency of a billed window")?,
        )),
    };
    Ok(BilledWindow {
        window: period(0, 1)?,
        plan_id: PlanId::new(uuid(row, 2)?),
        term,
        usage_minimum,
    })
}
