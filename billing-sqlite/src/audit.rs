//! The audit chains and their checkpoints.

use std::net::IpAddr;

use billing_core::audit::{Actor, AuditEntry, ChainHead, Digest};
use billing_core::id::{ActorName, SubscriptionId};
use billing_core::ports::StoreError;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::column::{coded, counter, instant, limit, micros, stored, text};
use crate::error::{damaged, store_error};

pub(crate) const ENTRIES: &str = "SELECT sequence, at, actor_kind, actor_name, ip, action, details, hash FROM audit_entries \
     WHERE subscription_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";

pub(crate) fn entries(
    connection: &Connection,
    subscription_id: SubscriptionId,
    after: u64,
    rows: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    // Beyond what a column can hold there is nothing.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(ENTRIES).map_err(store_error)?;
    let mut rows = statement
        .query(params![subscription_id.uuid().as_bytes(), after, limit(rows)])
        .map_err(store_error)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        entries.push(entry_in(subscription_id, row)?);
    }
    Ok(entries)
}

fn entry_in(subscription_id: SubscriptionId, row: &Row<'_>) -> Result<AuditEntry, StoreError> {
    let sequence = counter(row, 0)?;
    let what = format_args!("audit entry {sequence} of subscription `{subscription_id}`").to_string();
    let name = || {
        let name: Option<String> = row.get(3).map_err(store_error)?;
        ActorName::new(&name.unwrap_or_default()).map_err(|error| damaged(&what, error))
    };
    let actor = match text(row, 2)? {
        "system" => Actor::System,
        "user" => Actor::User(name()?),
        "operator" => Actor::Operator(name()?),
        "service" => Actor::Service(name()?),
        other => return Err(damaged(&what, format_args!("actor of kind `{other}`"))),
    };
    let ip: Option<String> = row.get(4).map_err(store_error)?;
    Ok(AuditEntry {
        subscription_id,
        sequence,
        at: instant(row, 1)?,
        actor,
        ip: ip
            .map(|ip| ip.parse::<IpAddr>())
            .transpose()
            .map_err(|error| damaged(&what, error))?,
        action: coded(row, 5, &what)?,
        details: text(row, 6)?.to_owned(),
        hash: Digest(row.get(7).map_err(store_error)?),
    })
}

pub(crate) fn insert(connection: &Connection, entry: &AuditEntry) -> Result<(), StoreError> {
    let (kind, name) = match &entry.actor {
        Actor::System => ("system", None),
        Actor::User(name) => ("user", Some(name)),
        Actor::Operator(name) => ("operator", Some(name)),
        Actor::Service(name) => ("service", Some(name)),
    };
    let sql = "INSERT INTO audit_entries \
         (subscription_id, sequence, at, actor_kind, actor_name, ip, action, details, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    statement
        .execute(params![
            entry.subscription_id.uuid().as_bytes(),
            stored(entry.sequence)?,
            micros(entry.at),
            kind,
            name.map(ActorName::as_str),
            entry.ip.map(|ip| ip.to_string()),
            entry.action.code(),
            entry.details,
            entry.hash.0,
        ])
        .map(drop)
        .map_err(store_error)
}

pub(crate) fn checkpoint(
    connection: &Connection,
    subscription_id: SubscriptionId,
) -> Result<ChainHead, StoreError> {
    let sql = "SELECT sequence, hash FROM audit_checkpoints WHERE subscription_id = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement
        .query([subscription_id.uuid().as_bytes()])
        .map_err(store_error)?;
    match rows.next().map_err(store_error)? {
        None => Ok(ChainHead::default()),
        Some(row) => head_in(row),
    }
}

fn head_in(row: &Row<'_>) -> Result<ChainHead, StoreError> {
    Ok(ChainHead {
        sequence: counter(row, 0)?,
        hash: Digest(row.get(1).map_err(store_error)?),
    })
}

/// Removes what stands before the first entry at or after `before`; the last entry always stays.
pub(crate) fn prune(
    connection: &Connection,
    subscription_id: SubscriptionId,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let id = subscription_id.uuid();
    // A walk along the chain from its kept start, over no more than what is removed.
    let first_kept = connection
        .prepare_cached(
            "SELECT sequence FROM audit_entries WHERE subscription_id = ?1 AND at >= ?2 ORDER BY sequence LIMIT 1",
        )
        .map_err(store_error)?
        .query_row(params![id.as_bytes(), micros_up(before)], |row| row.get::<_, i64>(0))
        .optional()
        .map_err(store_error)?;
    let first_kept = match first_kept {
        Some(sequence) => Some(sequence),
        None => connection
            .prepare_cached("SELECT max(sequence) FROM audit_entries WHERE subscription_id = ?1")
            .map_err(store_error)?
            .query_row([id.as_bytes()], |row| row.get(0))
            .map_err(store_error)?,
    };
    let Some(first_kept) = first_kept else {
        return Ok(0);
    };
    let sql = "SELECT sequence, hash FROM audit_entries WHERE subscription_id = ?1 AND sequence < ?2 \
         ORDER BY sequence DESC LIMIT 1";
    let last_removed = connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .query_row(params![id.as_bytes(), first_kept], |row| Ok(head_in(row)))
        .optional()
        .map_err(store_error)?
        .transpose()?;
    let Some(last_removed) = last_removed else {
        return Ok(0);
    };
    let sql = "INSERT INTO audit_checkpoints (subscription_id, sequence, hash) VALUES (?1, ?2, ?3) \
         ON CONFLICT (subscription_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            id.as_bytes(),
            stored(last_removed.sequence)?,
            last_removed.hash.0
        ])
        .map_err(store_error)?;
    let removed = connection
        .prepare_cached("DELETE FROM audit_entries WHERE subscription_id = ?1 AND sequence < ?2")
        .map_err(store_error)?
        .execute(params![id.as_bytes(), first_kept])
        .map_err(store_error)?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

/// The first whole microsecond at or after `at`: an entry is at or after `at` exactly when it is at or after this.
fn micros_up(at: DateTime<Utc>) -> i64 {
    let whole = micros(at);
    match at.timestamp_subsec_nanos() % 1_000 {
        0 => whole,
        _ => whole.saturating_add(1),
    }
}
