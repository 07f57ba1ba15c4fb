//! The outbox, and the answers to commands.

use billing_core::audit::Digest;
use billing_core::id::{IdempotencyKey, JobId, SubscriptionId, TenantId};
use billing_core::ports::{CommandRecord, Job, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::column::{instant, json, limit, micros, uuid};
use crate::error::store_error;

pub(crate) const JOBS: &str = "SELECT id, subscription_id, created_at, effect FROM jobs \
     WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
pub(crate) const JOB_PLACE: &str = "SELECT sequence FROM jobs WHERE id = ?1";
pub(crate) const COMMAND: &str =
    "SELECT fingerprint, answer, recorded_at FROM commands WHERE tenant_id = ?1 AND key = ?2";

/// To be called in one read transaction.
///
/// After a job that is not there (any more) the list begins at the start: a job that comes twice is performed once,
/// by its key; one that is passed over is not performed at all.
pub(crate) fn jobs(
    connection: &Connection,
    after: Option<JobId>,
    rows: usize,
) -> Result<Vec<Job>, StoreError> {
    let place = match after {
        None => None,
        Some(id) => connection
            .prepare_cached(JOB_PLACE)
            .map_err(store_error)?
            .query_row([id.uuid().as_bytes()], |row| row.get::<_, i64>(0))
            .optional()
            .map_err(store_error)?,
    };
    let mut statement = connection.prepare_cached(JOBS).map_err(store_error)?;
    let mut rows = statement
        .query(params![place.unwrap_or(0), limit(rows)])
        .map_err(store_error)?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        jobs.push(job_in(row)?);
    }
    Ok(jobs)
}

fn job_in(row: &Row<'_>) -> Result<Job, StoreError> {
    let id = JobId::new(uuid(row, 0)?);
    Ok(Job {
        id,
        subscription_id: SubscriptionId::new(uuid(row, 1)?),
        created_at: instant(row, 2)?,
        effect: json(row, 3, format_args!("job `{id}`"))?,
    })
}

/// Writes a job, unless there is one with its key. `effect` is its effect as JSON.
pub(crate) fn insert(connection: &Connection, job: &Job, key: &str, effect: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO jobs (id, key, subscription_id, created_at, effect) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (key) DO NOTHING";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    statement
        .execute(params![
            job.id.uuid().as_bytes(),
            key,
            job.subscription_id.uuid().as_bytes(),
            micros(job.created_at),
            effect,
        ])
        .map(drop)
        .map_err(store_error)
}

pub(crate) fn command(
    connection: &Connection,
    tenant_id: TenantId,
    key: &IdempotencyKey,
) -> Result<Option<CommandRecord>, StoreError> {
    let mut statement = connection.prepare_cached(COMMAND).map_err(store_error)?;
    let mut rows = statement
        .query(params![tenant_id.uuid().as_bytes(), key.as_str()])
        .map_err(store_error)?;
    let Some(row) = rows.next().map_err(store_error)? else {
        return Ok(None);
    };
    Ok(Some(CommandRecord {
        tenant_id,
        key: key.clone(),
        fingerprint: Digest(row.get(0).map_err(store_error)?),
        answer: row.get(1).map_err(store_error)?,
        recorded_at: instant(row, 2)?,
    }))
}

/// Whether a command's key was recorded.
pub(crate) fn command_exists(connection: &Connection, command: &CommandRecord) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM commands WHERE tenant_id = ?1 AND key = ?2")
        .map_err(store_error)?
        .exists(params![command.tenant_id.uuid().as_bytes(), command.key.as_str()])
        .map_err(store_error)
}

/// Writes the answer to a command. `false`, and nothing written, when its key was recorded before.
pub(crate) fn insert_command(connection: &Connection, command: &CommandRecord) -> Result<bool, StoreError> {
    let sql = "INSERT INTO commands (tenant_id, key, fingerprint, answer, recorded_at) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (tenant_id, key) DO NOTHING";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    statement
        .execute(params![
            command.tenant_id.uuid().as_bytes(),
            command.key.as_str(),
            command.fingerprint.0,
            command.answer,
            micros(command.recorded_at),
        ])
        .map(|written| written == 1)
        .map_err(store_error)
}

/// Takes back an answer that was written a moment ago.
pub(crate) fn take_back_command(connection: &Connection, command: &CommandRecord) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM commands WHERE tenant_id = ?1 AND key = ?2")
        .map_err(store_error)?
        .execute(params![command.tenant_id.uuid().as_bytes(), command.key.as_str()])
        .map(drop)
        .map_err(store_error)
}
