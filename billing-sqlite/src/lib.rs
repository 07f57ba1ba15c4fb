//! The billing store on SQLite: one file, no server.
#![doc = include_str!("../README.md")]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_arithmetic
)]

mod audit;
mod column;
mod commands;
mod commit;
mod concessions;
mod consumption;
mod counters;
mod error;
mod invoices;
mod keys;
mod leases;
mod outbox;
mod plans;
mod reader;
mod schema;
mod seal;
mod subscriptions;
#[cfg(test)]
mod tests;
mod usage;
mod vault;
mod windows;
mod writer;

use std::path::Path;
use std::time::Duration;

use billing_core::audit::{AuditEntry, ChainHead};
use billing_core::coupon::Coupon;
use billing_core::credit::LedgerEntry;
use billing_core::credit_note::CreditNote;
use billing_core::id::{
    CouponCode, IdempotencyKey, InvoiceId, JobId, PlanCode, PlanId, ProductCode, SubscriptionId, TenantId,
    TrialFamily,
};
use billing_core::invoice::Invoice;
use billing_core::limit::{
    Consumed, Consumption, Counter, CounterFault, CounterKey, Lease, Reserved, Settled,
};
use billing_core::outbox::{Job, JobResult, JobStatus, LeasedJob};
use billing_core::plan::Plan;
use billing_core::ports::{
    CommandRecord, Commit, CommitRefusal, CouponState, DueCursor, PlanStored, PortFuture, Store, StoreError,
};
use billing_core::subscription::Subscription;
use billing_core::usage::{Usage, UsageEvent, UsageOutcome, UsageQuery};
use chrono::{DateTime, Utc};
use rusqlite::Connection;
use rust_decimal::Decimal;

use commit::Prepared;
pub use seal::KeyRing;
pub use vault::SqliteVault;

use reader::{Reader, Readers};
use schema::Database;
use usage::Recordable;
use writer::{Answer, Writer};

/// A store in an SQLite file.
///
/// Share it as an `Arc`. Dropping it commits what was asked for, then closes the file; that may take as long as one
/// write to the disk.
#[derive(Debug)]
pub struct SqliteStore {
    // Before the readers, so that it is dropped first: the last connection to close tidies up the log.
    writer: Writer,
    readers: Readers,
}

/// How a store uses the machine. None of these changes an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// For how long to wait for another process that writes, before the answer is [`StoreError::Busy`].
    ///
    /// Five seconds by default: longer than any transaction of a store, shorter than the patience of a caller.
    pub busy_timeout: Duration,
    /// How many connections read at once, at least 1. When all are in use a read waits for one.
    ///
    /// Eight by default: a read takes microseconds, so more are needed only when that many threads do nothing else.
    pub readers_max: usize,
    /// How many bytes of pages each connection keeps at most, rounded down to whole kibibytes.
    ///
    /// 16 MiB by default: the pages that one full transaction touches. With fewer, some are written twice.
    pub cache_bytes: u64,
    /// How many bytes of the file are mapped into memory for reading; 0, the default, for none.
    ///
    /// It saves a copy when a page is not in the cache. In exchange an I/O error on a mapped page, or another process
    /// that cuts the file short, ends the process by a signal instead of giving [`StoreError::Io`].
    pub mmap_bytes: u64,
    /// The most pages of 4096 bytes that the file may grow to, then the answer is [`StoreError::Full`]; none by
    /// default. The log beside it is not counted.
    pub pages_max: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            readers_max: 8,
            cache_bytes: 16 * 1024 * 1024,
            mmap_bytes: 0,
            pages_max: None,
        }
    }
}

impl SqliteStore {
    /// Opens the store in the file at `path`, with the default [`Options`]; creates it when there is none.
    ///
    /// An older schema is brought up to date, also when several processes open the file at once. Beside the file
    /// there are two more while it is open, named like it with `-wal` and `-shm`; they belong to it.
    ///
    /// # Errors
    ///
    /// In order: [`StoreError::Io`] when the directory is missing or the file cannot be opened,
    /// [`StoreError::ReadOnly`] when the file or its directory cannot be written (a store is never opened for reading
    /// alone, since even a reader writes to the files beside it), [`StoreError::NotAStore`] when the file is something
    /// else, [`StoreError::NewerSchema`] when a newer program wrote it; then [`StoreError::Busy`],
    /// [`StoreError::Full`] and [`StoreError::Io`] while the schema is written. Nothing has changed after any of them.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Options::default())
    }

    /// Opens the store in the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        // Absolute, so that readers that are opened later find the same file wherever the process went meanwhile.
        let path = std::path::absolute(path).map_err(|error| StoreError::Io {
            detail: error.to_string(),
        })?;
        Self::start(Database::file(path, options))
    }

    /// A new store in memory, gone when it is dropped: for tests.
    ///
    /// All but the journal is as with a file. Readers wait while a transaction is written, which with a file they do
    /// not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Internal`] when there is no memory or no thread to be had.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::start(Database::memory(Options::default()))
    }

    fn start(database: Database) -> Result<Self, StoreError> {
        let writer = Writer::start(database.open()?)?;
        Ok(Self {
            writer,
            readers: Readers::new(database),
        })
    }

    /// How many write transactions this store has committed since it was opened: with many callers fewer than there
    /// were calls.
    pub fn transactions(&self) -> u64 {
        self.writer.transactions()
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'a,
    ) -> PortFuture<'a, Result<T, StoreError>> {
        Box::pin(async move { self.readers.read(read) })
    }

    fn snapshot<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'a,
    ) -> PortFuture<'a, Result<T, StoreError>> {
        Box::pin(async move { self.readers.snapshot(read) })
    }
}

/// The answer that the writer will give, or the reason why it was not asked.
fn answer<'a, T: Send + 'a>(asked: Result<Answer<T>, StoreError>) -> PortFuture<'a, Result<T, StoreError>> {
    Box::pin(async move { asked?.wait().await })
}

impl Store for SqliteStore {
    fn commit(
        &self,
        commits: Vec<Commit>,
    ) -> PortFuture<'_, Result<Vec<Result<(), CommitRefusal>>, StoreError>> {
        let prepared: Result<Vec<_>, _> = commits.into_iter().map(Prepared::new).collect();
        answer(prepared.map(|prepared| {
            let rows = prepared.iter().map(Prepared::rows).sum();
            self.writer.submit(rows, move |connection| {
                prepared
                    .iter()
                    .map(|prepared| commit::apply(connection, prepared))
                    .collect()
            })
        }))
    }

    fn command<'a>(
        &'a self,
        tenant_id: TenantId,
        key: &'a IdempotencyKey,
    ) -> PortFuture<'a, Result<Option<CommandRecord>, StoreError>> {
        self.read(move |reader| commands::command(reader, tenant_id, key))
    }

    fn put_plan<'a>(&'a self, plan: &'a Plan) -> PortFuture<'a, Result<PlanStored, StoreError>> {
        let plan = plan.clone();
        answer(Ok(self
            .writer
            .submit(1, move |connection| plans::put(connection, &plan))))
    }

    fn set_plan_availability(
        &self,
        id: PlanId,
        is_active: bool,
        discontinued: bool,
    ) -> PortFuture<'_, Result<bool, StoreError>> {
        let set =
            move |connection: &Connection| plans::set_availability(connection, id, is_active, discontinued);
        answer(Ok(self.writer.submit(1, set)))
    }

    fn plan(&self, id: PlanId) -> PortFuture<'_, Result<Option<Plan>, StoreError>> {
        self.read(move |reader| plans::by_id(reader, id))
    }

    fn plan_by_code<'a>(
        &'a self,
        code: &'a PlanCode,
        version: Option<u32>,
    ) -> PortFuture<'a, Result<Option<Plan>, StoreError>> {
        self.read(move |reader| plans::by_code(reader, code, version))
    }

    fn plans(&self) -> PortFuture<'_, Result<Vec<Plan>, StoreError>> {
        self.read(|reader| plans::all(reader))
    }

    fn subscription(&self, id: SubscriptionId) -> PortFuture<'_, Result<Option<Subscription>, StoreError>> {
        self.read(move |reader| subscriptions::by_id(reader, id))
    }

    fn live_subscription<'a>(
        &'a self,
        tenant_id: TenantId,
        product: &'a ProductCode,
    ) -> PortFuture<'a, Result<Option<Subscription>, StoreError>> {
        self.read(move |reader| subscriptions::live(reader, tenant_id, product))
    }

    fn subscriptions_of(&self, tenant_id: TenantId) -> PortFuture<'_, Result<Vec<Subscription>, StoreError>> {
        self.read(move |reader| subscriptions::of_tenant(reader, tenant_id))
    }

    fn due(
        &self,
        until: DateTime<Utc>,
        after: Option<DueCursor>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<Subscription>, StoreError>> {
        self.read(move |reader| subscriptions::due(reader, until, after, limit))
    }

    fn trial_used<'a>(
        &'a self,
        tenant_id: TenantId,
        family: &'a TrialFamily,
    ) -> PortFuture<'a, Result<bool, StoreError>> {
        self.read(move |reader| subscriptions::trial_used(reader, tenant_id, family))
    }

    fn invoice(&self, id: InvoiceId) -> PortFuture<'_, Result<Option<Invoice>, StoreError>> {
        self.read(move |reader| invoices::by_id(reader, id))
    }

    fn invoices_of(
        &self,
        subscription_id: SubscriptionId,
        after: u32,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<Invoice>, StoreError>> {
        self.read(move |reader| invoices::of_subscription(reader, subscription_id, after, limit))
    }

    fn audit_entries(
        &self,
        subscription_id: SubscriptionId,
        after: u64,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<AuditEntry>, StoreError>> {
        self.read(move |reader| audit::entries(reader, subscription_id, after, limit))
    }

    fn audit_checkpoint(
        &self,
        subscription_id: SubscriptionId,
    ) -> PortFuture<'_, Result<ChainHead, StoreError>> {
        self.read(move |reader| audit::checkpoint(reader, subscription_id))
    }

    fn prune_audit(
        &self,
        subscription_id: SubscriptionId,
        before: DateTime<Utc>,
    ) -> PortFuture<'_, Result<u64, StoreError>> {
        let prune = move |connection: &Connection| audit::prune(connection, subscription_id, before);
        // How many rows go is not known yet; the next request may well go along.
        answer(Ok(self.writer.submit(1, prune)))
    }

    fn record_usage(
        &self,
        events: Vec<UsageEvent>,
        recorded_at: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Vec<UsageOutcome>, StoreError>> {
        let events: Result<Vec<_>, _> = events.into_iter().map(Recordable::new).collect();
        answer(events.map(|events| {
            self.writer.submit(events.len(), move |connection| {
                usage::record(connection, &events, recorded_at)
            })
        }))
    }

    fn counter<'a>(
        &'a self,
        key: &'a CounterKey,
        now: DateTime<Utc>,
    ) -> PortFuture<'a, Result<Counter, StoreError>> {
        Box::pin(async move {
            let known = self
                .readers
                .snapshot(|reader| counters::known(reader, key, now))?;
            match known {
                Some(counter) => Ok(counter),
                None => {
                    let key = key.clone();
                    let open =
                        move |connection: &Connection| Ok(counters::open(connection, &key, now)?.counter);
                    self.writer.submit(1, open).wait().await
                }
            }
        })
    }

    fn consume(
        &self,
        batch: Vec<Consumption>,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Vec<Consumed>, StoreError>> {
        let batch: Result<Vec<_>, _> = batch.into_iter().map(consumption::Prepared::new).collect();
        answer(batch.map(|batch| {
            self.writer.submit(batch.len(), move |connection| {
                consumption::consume(connection, &batch, now)
            })
        }))
    }

    fn reserve(
        &self,
        lease: Lease,
        hard_limit: Option<Decimal>,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<Reserved, StoreError>> {
        let reserve = move |connection: &Connection| leases::reserve(connection, &lease, hard_limit, now);
        answer(Ok(self.writer.submit(1, reserve)))
    }

    fn settle(&self, event: UsageEvent, now: DateTime<Utc>) -> PortFuture<'_, Result<Settled, StoreError>> {
        answer(Recordable::new(event).map(|event| {
            self.writer
                .submit(2, move |connection| leases::settle(connection, &event, now))
        }))
    }

    fn release<'a>(
        &'a self,
        tenant_id: TenantId,
        key: &'a IdempotencyKey,
    ) -> PortFuture<'a, Result<bool, StoreError>> {
        let key = key.clone();
        answer(Ok(self.writer.submit(1, move |connection| {
            leases::release(connection, tenant_id, &key)
        })))
    }

    fn recount(&self, tenant_id: TenantId) -> PortFuture<'_, Result<Vec<CounterFault>, StoreError>> {
        answer(Ok(self.writer.submit(1, move |connection| {
            counters::recount(connection, tenant_id)
        })))
    }

    fn put_coupon<'a>(&'a self, coupon: &'a Coupon) -> PortFuture<'a, Result<(), StoreError>> {
        let coupon = coupon.clone();
        let put = move |connection: &Connection| concessions::put_coupon(connection, &coupon);
        answer(Ok(self.writer.submit(1, put)))
    }

    fn coupon<'a>(
        &'a self,
        code: &'a CouponCode,
        tenant_id: TenantId,
    ) -> PortFuture<'a, Result<Option<CouponState>, StoreError>> {
        self.snapshot(move |reader| concessions::coupon(reader, code, tenant_id))
    }

    fn credit_ledger(
        &self,
        subscription_id: SubscriptionId,
        after: u64,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
        self.snapshot(move |reader| concessions::ledger(reader, subscription_id, after, limit))
    }

    fn credit_notes_of(&self, invoice_id: InvoiceId) -> PortFuture<'_, Result<Vec<CreditNote>, StoreError>> {
        self.snapshot(move |reader| concessions::notes_of(reader, invoice_id))
    }

    fn usage<'a>(&'a self, queries: &'a [UsageQuery<'a>]) -> PortFuture<'a, Result<Vec<Usage>, StoreError>> {
        self.snapshot(move |reader| usage::usage(reader, queries))
    }

    fn jobs(&self, after: Option<JobId>, limit: usize) -> PortFuture<'_, Result<Vec<Job>, StoreError>> {
        self.snapshot(move |reader| outbox::jobs(reader, after, limit))
    }

    fn lease_jobs(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<LeasedJob>, StoreError>> {
        let lease = move |connection: &Connection| outbox::lease(connection, now, until, limit);
        answer(Ok(self.writer.submit(limit, lease)))
    }

    fn extend_lease(
        &self,
        id: JobId,
        lease: u32,
        until: DateTime<Utc>,
    ) -> PortFuture<'_, Result<bool, StoreError>> {
        let extend = move |connection: &Connection| outbox::extend(connection, id, lease, until);
        answer(Ok(self.writer.submit(1, extend)))
    }

    fn finish_job(
        &self,
        id: JobId,
        lease: u32,
        result: JobResult,
        now: DateTime<Utc>,
    ) -> PortFuture<'_, Result<bool, StoreError>> {
        let finish = move |connection: &Connection| outbox::finish(connection, id, lease, &result, now);
        answer(Ok(self.writer.submit(1, finish)))
    }

    fn job(&self, id: JobId) -> PortFuture<'_, Result<Option<JobStatus>, StoreError>> {
        self.snapshot(move |reader| outbox::status(reader, id))
    }

    fn parked_jobs(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> PortFuture<'_, Result<Vec<JobStatus>, StoreError>> {
        self.snapshot(move |reader| outbox::parked(reader, after, limit))
    }

    fn unpark_job(&self, id: JobId, now: DateTime<Utc>) -> PortFuture<'_, Result<bool, StoreError>> {
        let unpark = move |connection: &Connection| outbox::unpark(connection, id, now);
        answer(Ok(self.writer.submit(1, unpark)))
    }

    fn prune_jobs(&self, before: DateTime<Utc>) -> PortFuture<'_, Result<u64, StoreError>> {
        let prune = move |connection: &Connection| outbox::prune(connection, before);
        // How many rows go is not known yet; the next request may well go along.
        answer(Ok(self.writer.submit(1, prune)))
    }
}
