//! The outbox.

use billing_core::id::{JobId, SubscriptionId};
use billing_core::outbox::{Job, JobResult, JobState, JobStatus, LeasedJob};
use billing_core::ports::StoreError;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::column::{instant, json, limit, micros, uuid};
use crate::error::store_error;

pub(crate) const JOBS: &str = "SELECT id, subscription_id, created_at, effect FROM jobs \
     WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
pub(crate) const JOB_PLACE: &str = "SELECT sequence FROM jobs WHERE id = ?1";

/// To be called in one read transaction.
///
/// After a job that is not there (any more) the list begins at the start: a job that comes twice is performed once,
/// by its key; one that is passed over is not performed at all.
pub(crate) fn jobs(
    connection: &Connection,
    after: Option<JobId>,
    rows: usize,
) -> Result<Vec<Job>, StoreError> {
    let place = place_of(connection, after)?;
    let mut statement = connection.prepare_cached(JOBS).map_err(store_error)?;
    let mut rows = statement
        .query(params![place, limit(rows)])
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
    let sql = "INSERT INTO jobs (id, key, subscription_id, created_at, effect, run_at) VALUES (?1, ?2, ?3, ?4, ?5, ?4) \
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

pub(crate) const RUNNABLE: &str =
    "SELECT sequence FROM jobs WHERE run_at <= ?1 ORDER BY run_at, sequence LIMIT ?2";
const TAKE: &str = "UPDATE jobs SET run_at = ?2, leases = leases + 1 WHERE sequence = ?1 \
     RETURNING id, subscription_id, created_at, effect, leases";
const STATUS: &str =
    "SELECT id, subscription_id, created_at, effect, leases, run_at, ended_at, is_parked, note FROM jobs";

/// Takes jobs whose time has come and keeps them from others until `until`.
pub(crate) fn lease(
    connection: &Connection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    rows: usize,
) -> Result<Vec<LeasedJob>, StoreError> {
    let mut runnable = connection.prepare_cached(RUNNABLE).map_err(store_error)?;
    let places = runnable
        .query_map(params![micros(now), limit(rows)], |row| row.get::<_, i64>(0))
        .map_err(store_error)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(store_error)?;
    let mut take = connection.prepare_cached(TAKE).map_err(store_error)?;
    let mut leased = Vec::new();
    for place in places {
        let mut rows = take.query(params![place, micros(until)]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            leased.push(LeasedJob {
                job: job_in(row)?,
                lease: row.get(4).map_err(store_error)?,
            });
        }
    }
    Ok(leased)
}

/// Moves the end of a lease; `false` when it was lost.
pub(crate) fn extend(
    connection: &Connection,
    id: JobId,
    lease: u32,
    until: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let sql = "UPDATE jobs SET run_at = ?3 WHERE id = ?1 AND leases = ?2 AND run_at IS NOT NULL";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![id.uuid().as_bytes(), lease, micros(until)])
        .map(|written| written == 1)
        .map_err(store_error)
}

/// Writes what a worker made of a job; `false`, and nothing written, when its lease was lost.
pub(crate) fn finish(
    connection: &Connection,
    id: JobId,
    lease: u32,
    result: &JobResult,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let (run_at, ended_at, is_parked, note) = match result {
        JobResult::Done { note } => (None, Some(now), false, note),
        JobResult::Again { at, because } => (Some(*at), None, false, because),
        JobResult::Parked { because } => (None, Some(now), true, because),
    };
    let sql = "UPDATE jobs SET run_at = ?3, ended_at = ?4, is_parked = ?5, note = ?6 \
         WHERE id = ?1 AND leases = ?2 AND run_at IS NOT NULL";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            id.uuid().as_bytes(),
            lease,
            run_at.map(micros),
            ended_at.map(micros),
            is_parked,
            note,
        ])
        .map(|written| written == 1)
        .map_err(store_error)
}

/// Lets a parked job be taken again from `now` on; `false` when it is not parked.
pub(crate) fn unpark(connection: &Connection, id: JobId, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let sql = "UPDATE jobs SET run_at = ?2, ended_at = NULL, is_parked = 0 WHERE id = ?1 AND is_parked = 1";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![id.uuid().as_bytes(), micros(now)])
        .map(|written| written == 1)
        .map_err(store_error)
}

/// Removes jobs that were performed before `before`; how many.
pub(crate) fn prune(connection: &Connection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let sql = "DELETE FROM jobs WHERE run_at IS NULL AND is_parked = 0 AND ended_at < ?1";
    let removed = connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute([micros(before)])
        .map_err(store_error)?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

pub(crate) fn status(connection: &Connection, id: JobId) -> Result<Option<JobStatus>, StoreError> {
    let sql = format!("{STATUS} WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(store_error)?;
    let mut rows = statement.query([id.uuid().as_bytes()]).map_err(store_error)?;
    let row = rows.next().map_err(store_error)?;
    row.map(status_in).transpose()
}

/// Parked jobs in the order of their commits, beginning after `after`. To be called in one read transaction.
pub(crate) fn parked(
    connection: &Connection,
    after: Option<JobId>,
    rows: usize,
) -> Result<Vec<JobStatus>, StoreError> {
    let place = place_of(connection, after)?;
    let sql = format!("{STATUS} WHERE is_parked = 1 AND sequence > ?1 ORDER BY sequence LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql).map_err(store_error)?;
    let mut rows = statement
        .query(params![place, limit(rows)])
        .map_err(store_error)?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        jobs.push(status_in(row)?);
    }
    Ok(jobs)
}

fn status_in(row: &Row<'_>) -> Result<JobStatus, StoreError> {
    let ended = |index| instant(row, index);
    let is_parked: bool = row.get(7).map_err(store_error)?;
    let state = match (row.get_ref(5).map_err(store_error)?, is_parked) {
        (rusqlite::types::ValueRef::Null, true) => JobState::Parked { parked_at: ended(6)? },
        (rusqlite::types::ValueRef::Null, false) => JobState::Done { done_at: ended(6)? },
        (_, _) => JobState::Waiting {
            until: instant(row, 5)?,
        },
    };
    Ok(JobStatus {
        job: job_in(row)?,
        leases: row.get(4).map_err(store_error)?,
        state,
        note: row.get(8).map_err(store_error)?,
    })
}

/// The place of a job in the order of commits; 0 for none, and for one that is not there any more.
fn place_of(connection: &Connection, id: Option<JobId>) -> Result<i64, StoreError> {
    let Some(id) = id else { return Ok(0) };
    let place = connection
        .prepare_cached(JOB_PLACE)
        .map_err(store_error)?
        .query_row([id.uuid().as_bytes()], |row| row.get::<_, i64>(0))
        .optional()
        .map_err(store_error)?;
    Ok(place.unwrap_or(0))
}
