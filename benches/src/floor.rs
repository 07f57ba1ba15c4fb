//! Bare SQLite: the same rows, written and read by prepared statements with nothing around them.
//!
//! What is written is read from a database that the store has written, so both write the same bytes to the same tables
//! and indexes, on a connection that is set up in the same way. The floor checks nothing, decides nothing and makes no
//! JSON.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use billing::core::id::SubscriptionId;
use billing::core::usage::UsageEvent;
use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Statement, params, params_from_iter};
use uuid::Uuid;

use crate::subscribers::{UNTIL_DUE, renewal_key};

/// What billing-sqlite sets on its writing connection and has no option for: see its `schema.rs`.
const WAL_AUTOCHECKPOINT: u32 = 16_000;
const JOURNAL_SIZE_LIMIT: u32 = 64 * 1024 * 1024;

/// A connection that is set up as the store sets up its own.
pub fn connect(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).expect("a database");
    let kibibytes =
        i64::try_from(billing_sqlite::Options::default().cache_bytes / 1024).expect("a cache size");
    let set = |name: &str, value: &dyn rusqlite::ToSql| {
        connection.pragma_update(None, name, value).expect("a setting");
    };
    set("synchronous", &"FULL");
    set("foreign_keys", &true);
    set("trusted_schema", &false);
    set("cache_size", &-kibibytes);
    let limit = |name: &str, value: u32| {
        connection
            .pragma_update_and_check(None, name, value, |_| Ok(()))
            .expect("a limit");
    };
    limit("wal_autocheckpoint", WAL_AUTOCHECKPOINT);
    limit("journal_size_limit", JOURNAL_SIZE_LIMIT);
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .expect("a mode");
    assert_eq!(mode, "wal", "the store leaves its file in this mode");
    connection
}

/// A table that a renewal writes to: how its row is found in the one database and written to the other.
const TABLES: [(&str, &str); 6] = [
    (
        "SELECT id, version, status, next_due_at, body FROM subscriptions WHERE id = ?1",
        "UPDATE subscriptions SET version = ?2, status = ?3, next_due_at = ?4, body = ?5 WHERE id = ?1",
    ),
    (
        "SELECT subscription_id, sequence, at, actor_kind, actor_name, ip, action, details, hash FROM audit_entries \
         WHERE subscription_id = ?1 ORDER BY sequence DESC LIMIT 1",
        "INSERT INTO audit_entries (subscription_id, sequence, at, actor_kind, actor_name, ip, action, details, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    ),
    (
        "SELECT id, subscription_id, number, kind, status, buys_from, total_minor, currency, state, body FROM invoices \
         WHERE subscription_id = ?1 ORDER BY number DESC LIMIT 1",
        "INSERT INTO invoices (id, subscription_id, number, kind, status, buys_from, total_minor, currency, state, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    ),
    (
        "SELECT id, key, subscription_id, created_at, effect FROM jobs WHERE key = ?1",
        "INSERT INTO jobs (id, key, subscription_id, created_at, effect) VALUES (?1, ?2, ?3, ?4, ?5)",
    ),
    (
        "SELECT tenant_id, key, fingerprint, answer, recorded_at FROM commands WHERE tenant_id = ?1 AND key = ?2",
        "INSERT INTO commands (tenant_id, key, fingerprint, answer, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    ),
    (
        "SELECT subscription_id, starts_at, ends_at, plan_id, since, period_start, period_end FROM usage_windows \
         WHERE subscription_id = ?1 ORDER BY starts_at DESC LIMIT 1",
        "INSERT INTO usage_windows (subscription_id, starts_at, ends_at, plan_id, since, period_start, period_end) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    ),
];

const INVOICES: usize = 2;
const JOBS: usize = 3;
const COMMANDS: usize = 4;

/// The table after those: of usage events, which are not read back but made by [`usage_row`].
const USAGE_EVENTS: usize = TABLES.len();

const USAGE_EVENT: &str = "INSERT INTO usage_events \
     (tenant_id, occurred_at, sequence, meter, quantity, idempotency_key, recorded_at, properties) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// The table after that: of the keys of usage events, which the store computes.
const USAGE_KEYS: usize = USAGE_EVENTS + 1;

const USAGE_KEY: &str = "INSERT INTO usage_keys (place, occurred_at, sequence) VALUES (?1, ?2, ?3)";

/// Rows, such as those that one renewal wrote: the place of each one's table, and its values.
pub type Rows = Vec<(usize, Vec<Value>)>;

/// The row of a usage event without properties.
pub fn usage_row(event: &UsageEvent, sequence: i64, recorded_at: DateTime<Utc>) -> (usize, Vec<Value>) {
    assert!(event.properties.is_empty(), "the floor makes no JSON");
    let values = vec![
        Value::Blob(event.tenant_id.uuid().as_bytes().to_vec()),
        Value::Integer(event.occurred_at.timestamp_micros()),
        Value::Integer(sequence),
        Value::Text(event.meter.as_str().into()),
        Value::Text(event.quantity.to_string()),
        Value::Text(event.idempotency_key.as_str().into()),
        Value::Integer(recorded_at.timestamp_micros()),
        Value::Null,
    ];
    (USAGE_EVENTS, values)
}

/// The rows of keys of the events that the store has recorded at some places in the order of commits, in that order.
pub fn key_rows(connection: &Connection, sequences: Range<i64>) -> Rows {
    let sql = "SELECT place, occurred_at, sequence FROM usage_keys WHERE sequence >= ?1 AND sequence < ?2 ORDER BY sequence";
    let mut statement = connection.prepare(sql).expect("a statement");
    let rows = statement
        .query_map([sequences.start, sequences.end], |row| {
            let values = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok((USAGE_KEYS, values.map(Value::Integer).to_vec()))
        })
        .expect("a query");
    rows.map(|row| row.expect("a row")).collect()
}

/// Finds the rows of renewals in a database that the store has written.
#[derive(Debug)]
pub struct Source<'a> {
    statements: [Statement<'a>; TABLES.len()],
    tenant: Statement<'a>,
}

impl<'a> Source<'a> {
    /// Looks in the database of `connection`.
    pub fn new(connection: &'a Connection) -> Self {
        let prepare = |sql| connection.prepare(sql).expect("a statement");
        Self {
            statements: TABLES.map(|(select, _)| prepare(select)),
            tenant: prepare("SELECT tenant_id FROM subscriptions WHERE id = ?1"),
        }
    }

    /// The rows of the newest renewal of `id`; the answer to the command only when there was one, and the window of usage
    /// only when the plan has meters.
    pub fn rows(&mut self, id: Uuid) -> Rows {
        let mut rows = Rows::new();
        let tenant: Value = self
            .tenant
            .query_row([id.as_bytes()], |row| row.get(0))
            .expect("a subscription");
        let mut charge = String::new();
        for (table, statement) in self.statements.iter_mut().enumerate() {
            let parameters: Vec<Value> = match table {
                JOBS => vec![Value::Text(std::mem::take(&mut charge))],
                COMMANDS => vec![tenant.clone(), Value::Text(renewal_key(SubscriptionId::new(id)))],
                _ => vec![Value::Blob(id.as_bytes().to_vec())],
            };
            let columns = statement.column_count();
            let found = statement
                .query_map(params_from_iter(parameters), |row| {
                    (0..columns)
                        .map(|column| row.get::<_, Value>(column))
                        .collect::<Result<Vec<_>, _>>()
                })
                .expect("a query")
                .next();
            let Some(values) = found else {
                assert!(
                    table >= COMMANDS,
                    "a renewal has a row in each table, a command and a window it may have"
                );
                continue;
            };
            let values = values.expect("a row");
            if let (INVOICES, Some(Value::Blob(invoice))) = (table, values.first()) {
                charge = format!("charge:{}:1", Uuid::from_slice(invoice).expect("an id"));
            }
            rows.push((table, values));
        }
        rows
    }
}

/// Writes rows.
#[derive(Debug)]
pub struct Floor<'a> {
    connection: &'a Connection,
    statements: Vec<Statement<'a>>,
    due: Statement<'a>,
    usage: Statement<'a>,
}

impl<'a> Floor<'a> {
    /// Writes to the database of `connection`.
    pub fn new(connection: &'a Connection) -> Self {
        let prepare = |sql| connection.prepare(sql).expect("a statement");
        let due = "SELECT next_due_at, id, body FROM subscriptions \
             WHERE next_due_at <= ?1 AND (next_due_at, id) > (?2, ?3) ORDER BY next_due_at, id LIMIT ?4";
        let usage = "SELECT meter, quantity, occurred_at, sequence \
             FROM subscriptions JOIN usage_events USING (tenant_id) \
             WHERE id = ?1 AND occurred_at >= ?2 AND occurred_at < ?3 ORDER BY occurred_at, sequence";
        let writes = TABLES
            .iter()
            .map(|(_, write)| *write)
            .chain([USAGE_EVENT, USAGE_KEY]);
        Self {
            connection,
            statements: writes.map(prepare).collect(),
            due: prepare(due),
            usage: prepare(usage),
        }
    }

    /// Writes the rows of one batch in one transaction; how long that took.
    pub fn write(&mut self, batch: &[Rows]) -> Duration {
        let start = Instant::now();
        self.connection
            .execute_batch("BEGIN IMMEDIATE")
            .expect("a transaction");
        for (table, values) in batch.iter().flatten() {
            let written = self.statements[*table]
                .execute(params_from_iter(values))
                .expect("a write");
            assert_eq!(written, 1, "one row each");
        }
        self.connection.execute_batch("COMMIT").expect("a commit");
        start.elapsed()
    }

    /// The ids of a page of what is due until `until`, after the row that `after` names, with each body read as the
    /// bytes it is; and how long that took.
    pub fn due_page(
        &mut self,
        until: i64,
        after: Option<(i64, Uuid)>,
        page: usize,
    ) -> (Vec<(i64, Uuid)>, Duration) {
        let start = Instant::now();
        let (due_at, id) = after.unwrap_or((i64::MIN, Uuid::nil()));
        let limit = i64::try_from(page).expect("a number");
        let parameters = params![until, due_at, id.as_bytes(), limit];
        let mut rows = self.due.query(parameters).expect("a query");
        let mut found = Vec::with_capacity(page);
        while let Some(row) = rows.next().expect("a row") {
            std::hint::black_box(row.get_ref(2).expect("a body").as_bytes().expect("text").len());
            found.push((
                row.get(0).expect("an instant"),
                Uuid::from_bytes(row.get(1).expect("an id")),
            ));
        }
        (found, start.elapsed())
    }

    /// Reads the usage of the month before each one of a page is due, as the text and numbers that it is; how long that
    /// took.
    pub fn usage(&mut self, page: &[(i64, Uuid)]) -> Duration {
        let start = Instant::now();
        let month = UNTIL_DUE.num_microseconds().expect("a number");
        for (due_at, id) in page {
            let parameters = params![id.as_bytes(), due_at - month, due_at];
            let mut rows = self.usage.query(parameters).expect("a query");
            while let Some(row) = rows.next().expect("a row") {
                for column in 0..4 {
                    std::hint::black_box(row.get_ref(column).expect("a column"));
                }
            }
        }
        start.elapsed()
    }
}

/// Checks that two databases hold the same in the tables that are written to, so that floor and store did the same.
pub fn assert_twins(left: &Connection, right: &Connection) {
    for (table, bytes) in [
        ("subscriptions", "body"),
        ("audit_entries", "details"),
        ("invoices", "body"),
        ("jobs", "effect"),
        ("commands", "answer"),
        ("usage_windows", "ends_at"),
        ("usage_events", "quantity || idempotency_key"),
        ("usage_keys", "place"),
    ] {
        let sql = format!("SELECT count(*), coalesce(sum(length({bytes})), 0) FROM {table}");
        let sums = |connection: &Connection| -> (i64, i64) {
            let sums = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
            sums.expect("a sum")
        };
        assert_eq!(
            sums(left),
            sums(right),
            "the floor wrote other {table} than the store"
        );
    }
}
