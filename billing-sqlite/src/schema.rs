//! Opening a store: recognizing what is there, bringing it up to date, setting up connections.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use billing_core::ports::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::{open_error, store_error};
use crate::{Options, keys};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// "bill": what tells our files from other SQLite databases.
const APPLICATION_ID: i32 = 0x6269_6c6c;

/// The newest schema that this program knows: the number of the last migration.
pub(crate) const SUPPORTED: u32 = 8;

/// How often a busy lock is asked for again where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// The statements that a connection keeps prepared: somewhat more than the store has.
const STATEMENTS: usize = 64;

/// Where a database is, and how its connections are set up.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    place: Place,
    options: Options,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    /// A name of SQLite's `memdb` file system: connections of this process that use one name share one database,
    /// under the same locks as a file.
    Memory(PathBuf),
}

impl Database {
    /// A database in a file.
    pub(crate) fn file(path: PathBuf, options: Options) -> Self {
        Self {
            place: Place::File(path),
            options,
        }
    }

    /// A new database in memory.
    pub(crate) fn memory(options: Options) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            place: Place::Memory(PathBuf::from(format!("/billing-{count}"))),
            options,
        }
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// Opens or creates the database and returns the connection for the writer.
    pub(crate) fn open(&self) -> Result<Connection, StoreError> {
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_CREATE)?;
        // Before anything is written: a foreign or newer database stays as it is.
        let found = self.recognize(&connection)?;
        self.set_journal(&connection)
            .map_err(|error| self.error(&error))?;
        if found < SUPPORTED {
            self.migrate(&mut connection)?;
        } else {
            self.try_lock(&connection)?;
        }
        // Not in the migration: what SQL cannot compute stands here.
        keys::move_from_index(&mut connection)?;
        if let Some(pages) = self.options.pages_max {
            connection
                .pragma_update(None, "max_page_count", pages)
                .map_err(store_error)?;
        }
        connection
            .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
            .map_err(store_error)?;
        connection
            .pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)
            .map_err(store_error)?;
        Ok(connection)
    }

    /// Opens a connection that only reads.
    pub(crate) fn open_reader(&self) -> Result<Connection, StoreError> {
        // A file that was removed meanwhile is not made anew.
        let connection = self.connect(OpenFlags::empty())?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(store_error)?;
        Ok(connection)
    }

    fn path(&self) -> &PathBuf {
        match &self.place {
            Place::File(path) | Place::Memory(path) => path,
        }
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        open_error(self.path(), error)
    }

    fn connect(&self, create: OpenFlags) -> Result<Connection, StoreError> {
        let connection = self.connect_bare(create).map_err(|error| self.error(&error))?;
        // Before anything is read: reading makes the files beside the database, read-only like it, and leaves them
        // behind, where they would keep the store read-only after its file was made writable.
        if connection.is_readonly(rusqlite::MAIN_DB).map_err(store_error)? {
            return Err(StoreError::ReadOnly {
                detail: format!("`{}` cannot be written", self.path().display()),
            });
        }
        self.set_up(&connection).map_err(|error| self.error(&error))?;
        Ok(connection)
    }

    fn connect_bare(&self, create: OpenFlags) -> rusqlite::Result<Connection> {
        // No mutex of SQLite's own: a connection is used by one thread at a time.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        match &self.place {
            Place::File(path) => Connection::open_with_flags(path, flags),
            Place::Memory(name) => Connection::open_with_flags_and_vfs(name, flags, c"memdb"),
        }
    }

    fn set_up(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(self.options.busy_timeout)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // A file that came from elsewhere must not run functions out of its schema.
        connection.pragma_update(None, "trusted_schema", false)?;
        // Negative: kibibytes instead of pages.
        let kibibytes = i64::try_from(self.options.cache_bytes / 1024).unwrap_or(i64::MAX);
        connection.pragma_update(None, "cache_size", -kibibytes)?;
        // What is in memory needs no map, and SQLite gives no answer then.
        if let Place::File(_) = &self.place {
            let mapped = i64::try_from(self.options.mmap_bytes).unwrap_or(i64::MAX);
            connection.pragma_update_and_check(None, "mmap_size", mapped, |_| Ok(()))?;
        }
        Ok(())
    }

    /// The schema version that is there; 0 for an empty database, and for a store without a table yet.
    fn recognize(&self, connection: &Connection) -> Result<u32, StoreError> {
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        // One read transaction: another process may be creating the store at this moment.
        let read = || {
            let transaction = connection.unchecked_transaction()?;
            let numbers = (
                number("SELECT count(*) FROM sqlite_schema")?,
                number("PRAGMA application_id")?,
                number("PRAGMA user_version")?,
            );
            transaction.finish()?;
            Ok(numbers)
        };
        let (tables, application_id, found) = self.patiently(read).map_err(|error| self.error(&error))?;
        let is_empty = (tables, application_id, found) == (0, 0, 0);
        if application_id != i64::from(APPLICATION_ID) && !is_empty {
            return Err(StoreError::NotAStore {
                path: self.path().display().to_string(),
                detail: format!(
                    "a database with application id {application_id} and {tables} tables and indexes"
                ),
            });
        }
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found > SUPPORTED {
            return Err(StoreError::NewerSchema {
                path: self.path().display().to_string(),
                found,
                supported: SUPPORTED,
            });
        }
        Ok(found)
    }

    fn set_journal(&self, connection: &Connection) -> rusqlite::Result<()> {
        // The file system in memory has no shared memory of its own, which WAL needs.
        let mode = match &self.place {
            Place::File(_) => "WAL",
            Place::Memory(_) => "MEMORY",
        };
        // Two processes that create one store at once: SQLite does not wait for this lock by itself.
        self.patiently(|| connection.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(())))
    }

    /// Brings the schema up to date, also when another process does so at the same time.
    ///
    /// A migration and its line in refinery's history are one transaction, and the line's number is a primary key:
    /// of two processes one succeeds, the other one changes nothing, and finds the work done when it looks again.
    fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        // Immediate: a transaction that reads first and writes then fails at once when another one came between.
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        // First of all, since refinery makes the table of its history in a transaction of its own: another process,
        // or the next start after a crash, must not take what is half made for something foreign.
        self.patiently(|| connection.pragma_update(None, "application_id", APPLICATION_ID))
            .map_err(|error| self.error(&error))?;
        let runner = embedded::migrations::runner().set_grouped(true);
        let mut tries = 3;
        let migrated = loop {
            match runner.run(connection) {
                Ok(_) => break Ok(()),
                Err(error) => {
                    tries -= 1;
                    if tries == 0 {
                        break Err(self.migration_error(&error));
                    }
                }
            }
        };
        connection.set_transaction_behavior(TransactionBehavior::Deferred);
        migrated
    }

    fn migration_error(&self, error: &refinery::Error) -> StoreError {
        if let refinery::error::Kind::Connection(_, cause) = error.kind()
            && let Some(cause) = cause.downcast_ref::<rusqlite::Error>()
        {
            return self.error(cause);
        }
        StoreError::Internal {
            detail: error.to_string(),
        }
    }

    /// Takes the write lock once, to learn now and not at the first commit that the directory cannot be written.
    fn try_lock(&self, connection: &Connection) -> Result<(), StoreError> {
        // No waiting: whoever holds the lock shows that it can be had.
        connection.busy_timeout(Duration::ZERO).map_err(store_error)?;
        match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => {
                return Err(self.error(&error));
            }
            _ => {}
        }
        connection
            .busy_timeout(self.options.busy_timeout)
            .map_err(store_error)
    }

    /// Does `step` again while it is busy, for as long as the store waits.
    fn patiently<T>(&self, mut step: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let deadline = Instant::now() + self.options.busy_timeout;
        loop {
            match step() {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && Instant::now() < deadline =>
                {
                    thread::sleep(BUSY_PAUSE);
                }
                done => return done,
            }
        }
    }
}

/// After how many pages the log is copied into the file: as many as are kept of it. What is written again and again, the
/// last page of each tenant, is copied once then (measured with 4,000: a quarter fewer events a second).
const CHECKPOINT_PAGES: u32 = 16_000;

/// What a log that was once larger is cut down to.
const WAL_BYTES_KEPT: u32 = 64 * 1024 * 1024;
