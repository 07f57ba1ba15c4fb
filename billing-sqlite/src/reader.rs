//! The pool of connections that read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use billing_core::id::SubscriptionId;
use billing_core::ports::StoreError;
use billing_core::subscription::Subscription;
use rusqlite::Connection;

use crate::error::store_error;
use crate::schema::Database;

/// Connections that read, opened as they are needed.
#[derive(Debug)]
pub(crate) struct Readers {
    database: Database,
    pool: Mutex<Pool>,
    returned: Condvar,
}

/// A connection that reads, and the subscriptions that it has read lately.
///
/// A version of a subscription is committed once and never changes. So when a row has the version that is remembered
/// its JSON need not be read again, which takes three times as long as finding the row (measured: 28 of 38 microseconds
/// on a busy machine). Nothing is ever stale: the version comes from the store each time.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    recent: RefCell<HashMap<SubscriptionId, Subscription>>,
}

/// How many subscriptions a reader remembers: about a megabyte.
const RECENT_MAX: usize = 1_024;

impl Reader {
    /// The subscription `id` as of `version`: the one that is remembered, or else what `read` gives.
    pub(crate) fn remember(
        &self,
        id: SubscriptionId,
        version: u64,
        read: impl FnOnce() -> Result<Subscription, StoreError>,
    ) -> Result<Subscription, StoreError> {
        let mut recent = self.recent.borrow_mut();
        if let Some(found) = recent.get(&id).filter(|found| found.version == version) {
            return Ok(found.clone());
        }
        let found = read()?;
        if recent.len() >= RECENT_MAX {
            // Which one goes matters little: what is read often is soon back.
            recent.clear();
        }
        recent.insert(id, found.clone());
        Ok(found)
    }
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Reader>,
    /// How many there are, idle or lent.
    open: usize,
}

impl Readers {
    /// A pool without a connection yet.
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs `read` on a connection: each statement for itself sees one state of the store.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lent = self.lend()?;
        match &lent.reader {
            Some(reader) => read(reader),
            None => Err(StoreError::Closed),
        }
    }

    /// Runs `read` in one transaction: all its statements see the same state of the store.
    pub(crate) fn snapshot<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read(|reader| {
            // Rolled back when it is dropped, which for a read is as good as any end.
            let transaction = reader.unchecked_transaction().map_err(store_error)?;
            let found = read(reader)?;
            transaction.finish().map_err(store_error)?;
            Ok(found)
        })
    }

    /// Takes a connection, opens one while there are fewer than the most, else waits for one.
    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let most = self.database.options().readers_max.max(1);
        let mut pool = self.lock();
        loop {
            if let Some(reader) = pool.idle.pop() {
                return Ok(Lent {
                    readers: self,
                    reader: Some(reader),
                });
            }
            if pool.open < most {
                pool.open += 1;
                break;
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        drop(pool);
        // From here on the place in the pool is given back on drop, also when opening fails.
        let mut lent = Lent {
            readers: self,
            reader: None,
        };
        lent.reader = Some(Reader {
            connection: self.database.open_reader()?,
            recent: RefCell::default(),
        });
        Ok(lent)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // A panic under this lock is not possible but for a failed allocation, and leaves the pool whole.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes back on drop, or a place in the pool for one.
struct Lent<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.lock();
        match self.reader.take() {
            Some(reader) => pool.idle.push(reader),
            None => pool.open -= 1,
        }
        drop(pool);
        self.readers.returned.notify_one();
    }
}
