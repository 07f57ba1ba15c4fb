//! Subscriptions and the trial ledger.

use billing_core::id::{PlanId, ProductCode, SubscriptionId, TenantId, TrialFamily};
use billing_core::ports::{DueCursor, StoreError};
use billing_core::subscription::{Subscription, TrialGrant};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use crate::column::{counter, json, limit, micros, stored, text, uuid};
use crate::error::store_error;
use crate::plans;
use crate::reader::Reader;

pub(crate) const BY_ID: &str = "SELECT id, version, body FROM subscriptions WHERE id = ?1";
pub(crate) const LIVE: &str =
    "SELECT id, version, body FROM subscriptions WHERE tenant_id = ?1 AND product = ?2 AND is_live = 1";
pub(crate) const OF_TENANT: &str =
    "SELECT id, version, body FROM subscriptions WHERE tenant_id = ?1 ORDER BY created_at, id";
/// The pair is compared as one, so a page begins right where the one before ended.
pub(crate) const DUE: &str = "SELECT id, version, body FROM subscriptions \
     WHERE next_due_at <= ?1 AND (next_due_at, id) > (?2, ?3) \
     ORDER BY next_due_at, id LIMIT ?4";

pub(crate) fn by_id(reader: &Reader, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
    first(reader, BY_ID, [id.uuid().as_bytes()])
}

pub(crate) fn live(
    reader: &Reader,
    tenant_id: TenantId,
    product: &ProductCode,
) -> Result<Option<Subscription>, StoreError> {
    first(
        reader,
        LIVE,
        params![tenant_id.uuid().as_bytes(), product.as_str()],
    )
}

pub(crate) fn of_tenant(reader: &Reader, tenant_id: TenantId) -> Result<Vec<Subscription>, StoreError> {
    list(reader, OF_TENANT, [tenant_id.uuid().as_bytes()], |row| {
        remembered(reader, row)
    })
}

pub(crate) fn due(
    connection: &Connection,
    until: DateTime<Utc>,
    after: Option<DueCursor>,
    rows: usize,
) -> Result<Vec<Subscription>, StoreError> {
    // Before every row there can be: the least instant, and no id at all.
    let (due_at, id) = match &after {
        Some(cursor) => (micros(cursor.due_at), Some(cursor.id.uuid())),
        None => (i64::MIN, None),
    };
    let id = id.as_ref().map_or(&[][..], |id| id.as_bytes());
    // A sweep comes by once: to remember what it reads would only forget what is asked for again.
    let parameters = params![micros(until), due_at, id, limit(rows)];
    list(connection, DUE, parameters, subscription_in)
}

fn first(reader: &Reader, sql: &str, parameters: impl Params) -> Result<Option<Subscription>, StoreError> {
    let mut statement = reader.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement.query(parameters).map_err(store_error)?;
    let Some(row) = rows.next().map_err(store_error)? else {
        return Ok(None);
    };
    remembered(reader, row).map(Some)
}

fn list(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl Fn(&Row<'_>) -> Result<Subscription, StoreError>,
) -> Result<Vec<Subscription>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement.query(parameters).map_err(store_error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn remembered(reader: &Reader, row: &Row<'_>) -> Result<Subscription, StoreError> {
    let id = SubscriptionId::new(uuid(row, 0)?);
    reader.remember(id, counter(row, 1)?, || subscription_in(row))
}

fn subscription_in(row: &Row<'_>) -> Result<Subscription, StoreError> {
    let id = uuid(row, 0)?;
    json(row, 2, format_args!("subscription `{id}`"))
}

/// What a commit is checked against.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) version: u64,
    is_live: bool,
    plan_id: PlanId,
    /// Whether tenant and product are those of the decision.
    same_line: bool,
}

impl Standing {
    /// What is there for the subscription of a decision.
    pub(crate) fn of(connection: &Connection, next: &Subscription) -> Result<Option<Self>, StoreError> {
        let sql = "SELECT version, is_live, plan_id, tenant_id, product FROM subscriptions WHERE id = ?1";
        let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement
            .query([next.id.uuid().as_bytes()])
            .map_err(store_error)?;
        let Some(row) = rows.next().map_err(store_error)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            version: counter(row, 0)?,
            is_live: row.get(1).map_err(store_error)?,
            plan_id: PlanId::new(uuid(row, 2)?),
            same_line: uuid(row, 3)? == next.tenant_id.uuid() && text(row, 4)? == next.product.as_str(),
        }))
    }

    /// Whether the subscription that stands here holds the place among the live ones that `next` takes.
    pub(crate) fn holds_place(&self) -> bool {
        self.is_live && self.same_line
    }
}

/// Whether there is a live subscription in the place that `next` takes.
pub(crate) fn place_taken(connection: &Connection, next: &Subscription) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM subscriptions WHERE tenant_id = ?1 AND product = ?2 AND is_live = 1")
        .map_err(store_error)?
        .exists(params![next.tenant_id.uuid().as_bytes(), next.product.as_str()])
        .map_err(store_error)
}

/// Writes a step that changes neither plan nor place, if its subscription has the version `expected`: what most steps
/// are, guard and write in one statement. `false`, and nothing written, when anything is not so.
pub(crate) fn advance(
    connection: &Connection,
    expected: u64,
    next: &Subscription,
    body: &str,
) -> Result<bool, StoreError> {
    let sql = "UPDATE subscriptions SET version = ?2, status = ?3, next_due_at = ?4, body = ?5 \
         WHERE id = ?1 AND version = ?6 AND tenant_id = ?7 AND product = ?8 AND plan_id = ?9 AND is_live = ?10";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    statement
        .execute(params![
            next.id.uuid().as_bytes(),
            stored(next.version)?,
            next.status().code(),
            next.next_due().map(micros),
            body,
            stored(expected)?,
            next.tenant_id.uuid().as_bytes(),
            next.product.as_str(),
            next.plan_id.uuid().as_bytes(),
            next.is_live(),
        ])
        .map(|changed| changed == 1)
        .map_err(store_error)
}

/// Writes a subscription over what stood there. `body` is it as JSON.
pub(crate) fn write(
    connection: &Connection,
    standing: Option<&Standing>,
    next: &Subscription,
    body: &str,
) -> Result<(), StoreError> {
    let id = next.id.uuid();
    let (status, version) = (next.status().code(), stored(next.version)?);
    let next_due_at = next.next_due().map(micros);
    if let Some(plan_id) = next.scheduled_plan() {
        // What was agreed to for later is fixed from now on too.
        plans::mark_used(connection, plan_id, next.id)?;
    }
    match standing {
        // What most steps change. A column that is named is written to its indexes and checked against its foreign
        // key even when it stays the same, so the others are not named.
        Some(standing)
            if standing.same_line && standing.plan_id == next.plan_id && standing.is_live == next.is_live() =>
        {
            let sql = "UPDATE subscriptions SET version = ?2, status = ?3, next_due_at = ?4, body = ?5 WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
            statement.execute(params![id.as_bytes(), version, status, next_due_at, body])
        }
        Some(_) => {
            plans::mark_used(connection, next.plan_id, next.id)?;
            let sql = "UPDATE subscriptions SET version = ?2, status = ?3, next_due_at = ?4, body = ?5, \
                 tenant_id = ?6, product = ?7, plan_id = ?8, is_live = ?9 WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
            statement.execute(params![
                id.as_bytes(),
                version,
                status,
                next_due_at,
                body,
                next.tenant_id.uuid().as_bytes(),
                next.product.as_str(),
                next.plan_id.uuid().as_bytes(),
                next.is_live(),
            ])
        }
        None => {
            plans::mark_used(connection, next.plan_id, next.id)?;
            let sql = "INSERT INTO subscriptions \
                 (id, version, status, next_due_at, body, tenant_id, product, plan_id, is_live, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
            let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
            statement.execute(params![
                id.as_bytes(),
                version,
                status,
                next_due_at,
                body,
                next.tenant_id.uuid().as_bytes(),
                next.product.as_str(),
                next.plan_id.uuid().as_bytes(),
                next.is_live(),
                micros(next.created_at),
            ])
        }
    }
    .map(drop)
    .map_err(store_error)
}

pub(crate) fn trial_used(
    connection: &Connection,
    tenant_id: TenantId,
    family: &TrialFamily,
) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM trial_grants WHERE tenant_id = ?1 AND family = ?2")
        .map_err(store_error)?
        .query_row(params![tenant_id.uuid().as_bytes(), family.as_str()], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
        .map_err(store_error)
}

pub(crate) fn grant_trial(connection: &Connection, grant: &TrialGrant) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO trial_grants (tenant_id, family, granted_at) VALUES (?1, ?2, ?3)")
        .map_err(store_error)?
        .execute(params![
            grant.tenant_id.uuid().as_bytes(),
            grant.family.as_str(),
            micros(grant.granted_at),
        ])
        .map(drop)
        .map_err(store_error)
}
