//! What SQLite says, as what the port says.

use std::borrow::Borrow;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

use billing_core::ports::StoreError;
use billing_core::usage::UsageOverflow;
use rusqlite::{ErrorCode, ffi};

/// A sum of quantities that does not fit.
pub(crate) fn overflow(error: UsageOverflow) -> StoreError {
    StoreError::Internal {
        detail: error.to_string(),
    }
}

/// Maps an error of the driver by its extended result code.
///
/// Source: <https://sqlite.org/rescode.html>.
pub(crate) fn store_error(error: impl Borrow<rusqlite::Error>) -> StoreError {
    let error = error.borrow();
    let detail = error.to_string();
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => by_code(*failure, detail),
        // A stored value has another type than its column has: somebody wrote past the schema.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Damaged { detail },
        _ => StoreError::Internal { detail },
    }
}

fn by_code(failure: ffi::Error, detail: String) -> StoreError {
    match failure.extended_code {
        // The shared-memory file beside the database could not be made larger: the disk is full.
        ffi::SQLITE_IOERR_SHMSIZE => return StoreError::Full { detail },
        // Somebody moved or removed the file while it was open.
        ffi::SQLITE_READONLY_DBMOVED => return StoreError::Io { detail },
        _ => {}
    }
    match failure.code {
        // A protocol error is a lost race for a lock in WAL mode; another try may win it.
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            StoreError::Busy { detail }
        }
        ErrorCode::DiskFull => StoreError::Full { detail },
        ErrorCode::ReadOnly => StoreError::ReadOnly { detail },
        ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::NoLargeFileSupport
        | ErrorCode::PermissionDenied => StoreError::Io { detail },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Damaged { detail },
        ErrorCode::InternalMalfunction
        | ErrorCode::OperationAborted
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::NotFound
        | ErrorCode::SchemaChanged
        | ErrorCode::TooBig
        | ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::ApiMisuse
        | ErrorCode::AuthorizationForStatementDenied
        | ErrorCode::ParameterOutOfRange
        | ErrorCode::Unknown => StoreError::Internal { detail },
        // The driver's enum may grow.
        _ => StoreError::Internal { detail },
    }
}

/// Whether an error is about the very request, so that the others of its group may stand.
pub(crate) fn is_of_one_request(error: &StoreError) -> bool {
    match error {
        StoreError::Internal { .. } | StoreError::Damaged { .. } => true,
        StoreError::Busy { .. }
        | StoreError::Full { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::Io { .. }
        | StoreError::NotAStore { .. }
        | StoreError::NewerSchema { .. }
        | StoreError::Closed => false,
        _ => false,
    }
}

/// Maps an error while a store is opened, when more can be told than from the code alone.
///
/// SQLite answers "unable to open" for a directory that is missing, that is read-only and that is full.
pub(crate) fn open_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    match (code, store_error(error)) {
        (Some(ErrorCode::NotADatabase), StoreError::Damaged { detail }) => StoreError::NotAStore {
            path: path.display().to_string(),
            detail,
        },
        (Some(ErrorCode::CannotOpen), StoreError::Io { detail }) => match probe(path) {
            Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                StoreError::ReadOnly { detail }
            }
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => StoreError::Full { detail },
            _ => StoreError::Io { detail },
        },
        (_, other) => other,
    }
}

/// What the system says to writing the file, or to making one beside it, as SQLite must.
fn probe(path: &Path) -> Option<ErrorKind> {
    if path.exists()
        && let Err(error) = OpenOptions::new().read(true).write(true).open(path)
    {
        return Some(error.kind());
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!("-probe-{}", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&beside) {
        Ok(file) => {
            drop(file);
            // It is empty and named for this process; left behind it does no harm.
            let _ = std::fs::remove_file(&beside);
            None
        }
        Err(error) => Some(error.kind()),
    }
}

/// What is stored under `what` cannot be read back.
pub(crate) fn damaged(what: impl Display, why: impl Display) -> StoreError {
    StoreError::Damaged {
        detail: format!("{what}: {why}"),
    }
}
