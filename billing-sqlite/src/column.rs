//! How core's values stand in columns: instants, ids, counters, JSON.

use std::fmt::Display;

use billing_core::ports::StoreError;
use chrono::{DateTime, Utc};
use rusqlite::Row;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer as _, value::Error as ValueError};
use uuid::Uuid;

use crate::error::{damaged, store_error};

/// An instant as a column holds it. Parts of a microsecond are cut off, toward the past.
pub(crate) fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

/// The instant in column `index`.
pub(crate) fn instant(row: &Row<'_>, index: usize) -> Result<DateTime<Utc>, StoreError> {
    let micros: i64 = row.get(index).map_err(store_error)?;
    DateTime::from_timestamp_micros(micros).ok_or_else(|| damaged("an instant", micros))
}

/// The id in column `index`, without its kind.
pub(crate) fn uuid(row: &Row<'_>, index: usize) -> Result<Uuid, StoreError> {
    let bytes: [u8; 16] = row.get(index).map_err(store_error)?;
    Ok(Uuid::from_bytes(bytes))
}

/// A counter as a column holds it.
pub(crate) fn stored(counter: u64) -> Result<i64, StoreError> {
    i64::try_from(counter).map_err(|_| StoreError::Internal {
        detail: format!("counter {counter} is too large for SQLite"),
    })
}

/// The counter in column `index`.
pub(crate) fn counter(row: &Row<'_>, index: usize) -> Result<u64, StoreError> {
    let counter: i64 = row.get(index).map_err(store_error)?;
    u64::try_from(counter).map_err(|error| damaged(format_args!("counter {counter}"), error))
}

/// How many rows a statement is asked for.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// `value` as JSON.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal {
        detail: error.to_string(),
    })
}

/// The JSON in column `index`; `what` names the row when it cannot be read.
pub(crate) fn json<T: DeserializeOwned>(
    row: &Row<'_>,
    index: usize,
    what: impl Display,
) -> Result<T, StoreError> {
    serde_json::from_str(text(row, index)?).map_err(|error| damaged(what, error))
}

/// The value with the stable code in column `index`.
pub(crate) fn coded<T: DeserializeOwned>(
    row: &Row<'_>,
    index: usize,
    what: impl Display,
) -> Result<T, StoreError> {
    T::deserialize(text(row, index)?.into_deserializer()).map_err(|error: ValueError| damaged(what, error))
}

/// The text in column `index`, as it lies in SQLite's memory.
pub(crate) fn text<'row>(row: &'row Row<'_>, index: usize) -> Result<&'row str, StoreError> {
    let value = row.get_ref(index).map_err(store_error)?;
    value
        .as_str()
        .map_err(|error| store_error(rusqlite::Error::from(error)))
}
