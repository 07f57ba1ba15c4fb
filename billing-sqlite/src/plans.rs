//! Plan versions.

use billing_core::id::{PlanCode, PlanId, SubscriptionId};
use billing_core::plan::Plan;
use billing_core::ports::{PlanStored, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::column::{json, to_json, uuid};
use crate::error::store_error;

/// What a plan is read from: [`plan_in`].
macro_rules! select_plan {
    ($rest:literal) => {
        concat!("SELECT id, is_active, discontinued, body FROM plans ", $rest)
    };
}

pub(crate) const BY_ID: &str = select_plan!("WHERE id = ?1");
pub(crate) const BY_VERSION: &str = select_plan!("WHERE code = ?1 AND version = ?2");
pub(crate) const NEWEST: &str = select_plan!("WHERE code = ?1 ORDER BY version DESC LIMIT 1");
pub(crate) const ALL: &str = select_plan!("ORDER BY code, version");

pub(crate) fn by_id(connection: &Connection, id: PlanId) -> Result<Option<Plan>, StoreError> {
    let mut statement = connection.prepare_cached(BY_ID).map_err(store_error)?;
    let mut rows = statement.query([id.uuid().as_bytes()]).map_err(store_error)?;
    rows.next().map_err(store_error)?.map(plan_in).transpose()
}

pub(crate) fn by_code(
    connection: &Connection,
    code: &PlanCode,
    version: Option<u32>,
) -> Result<Option<Plan>, StoreError> {
    let sql = if version.is_some() { BY_VERSION } else { NEWEST };
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = match version {
        Some(version) => statement.query(params![code.as_str(), version]),
        None => statement.query([code.as_str()]),
    }
    .map_err(store_error)?;
    rows.next().map_err(store_error)?.map(plan_in).transpose()
}

pub(crate) fn all(connection: &Connection) -> Result<Vec<Plan>, StoreError> {
    let mut statement = connection.prepare_cached(ALL).map_err(store_error)?;
    let mut rows = statement.query([]).map_err(store_error)?;
    let mut plans = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        plans.push(plan_in(row)?);
    }
    Ok(plans)
}

fn plan_in(row: &Row<'_>) -> Result<Plan, StoreError> {
    let id = uuid(row, 0)?;
    Ok(Plan {
        is_active: row.get(1).map_err(store_error)?,
        discontinued: row.get(2).map_err(store_error)?,
        ..json(row, 3, format_args!("plan `{id}`"))?
    })
}

/// Keeps a plan version.
///
/// In order: another plan has its code and version; it is there and used, with other terms; it is there. Who may come
/// in to a plan in use is not changed here: a catalogue that is put again at every start must not reopen what an
/// operator has closed since.
pub(crate) fn put(connection: &Connection, plan: &Plan) -> Result<PlanStored, StoreError> {
    let taken = connection
        .prepare_cached("SELECT id FROM plans WHERE code = ?1 AND version = ?2 AND id <> ?3")
        .map_err(store_error)?
        .query_row(
            params![plan.code.as_str(), plan.version, plan.id.uuid().as_bytes()],
            |row| Ok(uuid(row, 0)),
        )
        .optional()
        .map_err(store_error)?
        .transpose()?;
    if let Some(by) = taken {
        return Ok(PlanStored::VersionTaken { by: PlanId::new(by) });
    }
    let Some(found) = by_id(connection, plan.id)? else {
        let sql = "INSERT INTO plans (id, code, version, is_active, discontinued, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        write(connection, sql, plan)?;
        return Ok(PlanStored::Created);
    };
    if found == *plan {
        return Ok(PlanStored::Unchanged);
    }
    if is_used(connection, plan.id)? == Some(true) {
        return Ok(if found.has_same_terms(plan) {
            PlanStored::Unchanged
        } else {
            PlanStored::InUse
        });
    }
    let sql = "UPDATE plans SET code = ?2, version = ?3, is_active = ?4, discontinued = ?5, body = ?6 WHERE id = ?1";
    write(connection, sql, plan)?;
    Ok(PlanStored::Replaced)
}

fn write(connection: &Connection, sql: &str, plan: &Plan) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    statement
        .execute(params![
            plan.id.uuid().as_bytes(),
            plan.code.as_str(),
            plan.version,
            plan.is_active,
            plan.discontinued,
            to_json(plan)?,
        ])
        .map(drop)
        .map_err(store_error)
}

pub(crate) fn set_availability(
    connection: &Connection,
    id: PlanId,
    is_active: bool,
    discontinued: bool,
) -> Result<bool, StoreError> {
    connection
        .prepare_cached("UPDATE plans SET is_active = ?2, discontinued = ?3 WHERE id = ?1")
        .map_err(store_error)?
        .execute(params![id.uuid().as_bytes(), is_active, discontinued])
        .map(|changed| changed > 0)
        .map_err(store_error)
}

/// Marks a plan as used by a subscription: from now on its terms are fixed.
pub(crate) fn mark_used(connection: &Connection, id: PlanId, by: SubscriptionId) -> Result<(), StoreError> {
    match is_used(connection, id)? {
        Some(true) => Ok(()),
        Some(false) => connection
            .prepare_cached("UPDATE plans SET used = 1 WHERE id = ?1")
            .map_err(store_error)?
            .execute([id.uuid().as_bytes()])
            .map(drop)
            .map_err(store_error),
        None => Err(StoreError::Internal {
            detail: format!("subscription `{by}` is of plan `{id}`, which is not in the store"),
        }),
    }
}

fn is_used(connection: &Connection, id: PlanId) -> Result<Option<bool>, StoreError> {
    connection
        .prepare_cached("SELECT used FROM plans WHERE id = ?1")
        .map_err(store_error)?
        .query_row([id.uuid().as_bytes()], |row| row.get(0))
        .optional()
        .map_err(store_error)
}
