//! The answers to commands.

use billing_core::audit::Digest;
use billing_core::id::{IdempotencyKey, TenantId};
use billing_core::ports::{CommandRecord, StoreError};
use rusqlite::{Connection, params};

use crate::column::{instant, micros};
use crate::error::store_error;

pub(crate) const COMMAND: &str =
    "SELECT fingerprint, answer, recorded_at FROM commands WHERE tenant_id = ?1 AND key = ?2";

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
