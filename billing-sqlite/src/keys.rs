//! The keys of usage events: a key of a tenant stands for one event, for good.
//!
//! What it costs to record an event is the pages that it touches, since each of them is written; with the keys that
//! callers draw at random, most of those were pages of the index over tenant and key. So the table of keys is narrow, one
//! number for a key and where its event is, and a request's keys are looked up and written in the order of those numbers,
//! which touches a page once (measured by hand on a busy machine, 300,000 events of 1,000 tenants, 10,000 a request: 39,000
//! events a second instead of 27,000).
//!
//! The number, the *place*, is 64 bits of a hash of tenant and key. Of a key that is a UUID of version 7 it begins with
//! the 48 bits of its time, so that keys that come in the order of time are written at the end of the table, those of all
//! tenants side by side. Who knows a key by its place alone could take it for another one, so what stands there is always
//! compared with the event itself; a place that another event has means that the next one is looked at.

use billing_core::audit::Digest;
use billing_core::id::{IdempotencyKey, TenantId};
use billing_core::ports::StoreError;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use uuid::Uuid;

use crate::column::{counter, instant, micros, stored, text, uuid};
use crate::error::{damaged, store_error};

/// What stands at a place.
pub(crate) const AT_PLACE: &str = "SELECT occurred_at, sequence FROM usage_keys WHERE place = ?1";

/// Whether the event that stands at a place has the tenant and key.
pub(crate) const IS_OF_KEY: &str = "SELECT 1 FROM usage_events \
     WHERE tenant_id = ?1 AND occurred_at = ?2 AND sequence = ?3 AND idempotency_key = ?4";

const TAKE: &str = "INSERT INTO usage_keys (place, occurred_at, sequence) VALUES (?1, ?2, ?3) ON CONFLICT (place) DO NOTHING";

/// How many places are tried beside the time of a key. Keys of one millisecond share 65,536 places; whoever makes so many
/// that those fill up is sent to where the hash alone says, and not along all of them.
const NEAR_MAX: usize = 16;

/// How many keys of an older file are moved at once.
const MOVED: usize = 50_000;

/// The places that a key may have, from the first that is tried on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Places {
    /// Beside its time.
    near: Option<i64>,
    hash: i64,
}

impl Places {
    /// Those of a tenant's key.
    pub(crate) fn of(tenant_id: TenantId, key: &IdempotencyKey) -> Self {
        let digest = Digest::of(&[tenant_id.uuid().as_bytes(), key.as_str().as_bytes()].concat());
        let [a, b, c, d, e, f, g, h, i, j, ..] = digest.0;
        let time = Uuid::try_parse(key.as_str())
            .ok()
            .filter(|id| id.get_version_num() == 7)
            .map(Uuid::into_bytes);
        Self {
            near: time.map(|[first, second, third, fourth, fifth, sixth, ..]| {
                i64::from_be_bytes([first, second, third, fourth, fifth, sixth, i, j])
            }),
            hash: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        }
    }

    /// The first that is tried.
    pub(crate) fn first(self) -> i64 {
        self.near.unwrap_or(self.hash)
    }

    /// All of them, in the order in which they are tried.
    fn all(self) -> impl Iterator<Item = i64> {
        let near = self.near.into_iter();
        near.flat_map(|near| following(near).take(NEAR_MAX))
            .chain(following(self.hash))
    }
}

fn following(first: i64) -> impl Iterator<Item = i64> {
    (0..).map(move |step| first.wrapping_add(step))
}

/// When the event occurred that has the key, and its place in the order of commits; none when none has.
pub(crate) fn find(
    connection: &Connection,
    places: Places,
    tenant_id: TenantId,
    key: &IdempotencyKey,
) -> Result<Option<(DateTime<Utc>, u64)>, StoreError> {
    let mut at_place = connection.prepare_cached(AT_PLACE).map_err(store_error)?;
    for place in places.all() {
        let found = at_place
            .query_row([place], |row| {
                Ok(instant(row, 0).and_then(|at| Ok((at, counter(row, 1)?))))
            })
            .optional()
            .map_err(store_error)?
            .transpose()?;
        let Some((occurred_at, sequence)) = found else {
            return Ok(None);
        };
        let is_of_key = connection
            .prepare_cached(IS_OF_KEY)
            .map_err(store_error)?
            .exists(params![
                tenant_id.uuid().as_bytes(),
                micros(occurred_at),
                stored(sequence)?,
                key.as_str()
            ])
            .map_err(store_error)?;
        if is_of_key {
            return Ok(Some((occurred_at, sequence)));
        }
    }
    Ok(None)
}

/// A key that no event had, and where the one is that has it now.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Added {
    pub(crate) places: Places,
    pub(crate) occurred_at: i64,
    pub(crate) sequence: i64,
}

/// Writes keys, each at the first of its places that is free.
pub(crate) fn add(connection: &Connection, added: &mut [Added]) -> Result<(), StoreError> {
    added.sort_unstable_by_key(|added| added.places.first());
    let mut take = connection.prepare_cached(TAKE).map_err(store_error)?;
    for added in added {
        for place in added.places.all() {
            let taken = take
                .execute([place, added.occurred_at, added.sequence])
                .map_err(store_error)?;
            if taken == 1 {
                break;
            }
        }
    }
    Ok(())
}

/// Moves the keys of a file of an older schema out of the index that held them. All of it is one transaction: a crash
/// leaves the index, and the next start begins again.
pub(crate) fn move_from_index(connection: &mut Connection) -> Result<(), StoreError> {
    let is_there = |connection: &Connection| {
        connection
            .prepare("SELECT 1 FROM sqlite_schema WHERE name = 'usage_events_key'")
            .and_then(|mut statement| statement.exists([]))
            .map_err(store_error)
    };
    if !is_there(connection)? {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    // Another process may have done it meanwhile.
    if is_there(&transaction)? {
        move_all(&transaction)?;
        transaction
            .execute_batch("DROP INDEX usage_events_key")
            .map_err(store_error)?;
    }
    transaction.commit().map_err(store_error)
}

fn move_all(connection: &Connection) -> Result<(), StoreError> {
    let sql = "SELECT tenant_id, idempotency_key, occurred_at, sequence FROM usage_events";
    let mut statement = connection.prepare(sql).map_err(store_error)?;
    let mut rows = statement.query([]).map_err(store_error)?;
    let mut moved = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let key = IdempotencyKey::new(text(row, 1)?).map_err(|error| damaged("a usage event", error))?;
        moved.push(Added {
            places: Places::of(TenantId::new(uuid(row, 0)?), &key),
            occurred_at: row.get(2).map_err(store_error)?,
            sequence: row.get(3).map_err(store_error)?,
        });
        if moved.len() == MOVED {
            add(connection, &mut moved)?;
            moved.clear();
        }
    }
    add(connection, &mut moved)
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use billing_core::id::MeterCode;
    use billing_core::ports::Store as _;
    use billing_core::usage::{UsageEvent, UsageOutcome};

    use super::*;
    use crate::SqliteStore;
    use crate::tests::kit::{at, tenant};

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::new(text).unwrap()
    }

    const ORDERED: &str = "019aaf00-0000-7abc-8000-000000000001";

    #[test]
    fn keys_with_a_time_stand_in_its_order_beside_each_other() {
        let first = |tenant_of, text: &str| Places::of(tenant(tenant_of), &key(text)).first();
        let ordered: i64 = 0x019a_af00_0000_0000;
        for tenant_of in [1, 2] {
            assert_eq!(first(tenant_of, ORDERED) >> 16, ordered >> 16);
            let next = first(tenant_of, "019aaf00-0001-7000-8000-000000000000");
            assert!(first(tenant_of, ORDERED) < next);
        }
        assert_ne!(first(1, ORDERED), first(2, ORDERED));
        let places = Places::of(tenant(1), &key(ORDERED));
        assert_eq!(places.all().nth(NEAR_MAX), Some(places.hash), "and no farther");
        // Version 4: its first digits mean nothing, and many count up in the last ones.
        assert_ne!(
            first(1, "019aaf00-0000-4abc-8000-000000000001") >> 16,
            ordered >> 16
        );
    }

    /// Whatever else stands at the places of a key, it is found and never taken for what it is not.
    #[test]
    fn a_place_that_another_event_has_is_passed_over() {
        for (text, taken) in [
            ("any", 1),
            ("any", 40),
            (ORDERED, 1),
            (ORDERED, NEAR_MAX),
            (ORDERED, NEAR_MAX + 1),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store.db");
            let store = SqliteStore::open(&path).unwrap();
            let record = |events| block_on(store.record_usage(events, at(9))).unwrap();
            let event = |text: &str, quantity: i64| UsageEvent {
                idempotency_key: key(text),
                tenant_id: tenant(1),
                meter: MeterCode::new("api").unwrap(),
                quantity: quantity.into(),
                occurred_at: at(quantity),
                properties: [].into(),
            };
            // One that is there, of the same tenant, and ones that are not.
            assert_eq!(record(vec![event("other", 1)]), [UsageOutcome::Accepted]);
            let places: Vec<_> = Places::of(tenant(1), &key(text)).all().take(taken).collect();
            let connection = Connection::open(&path).unwrap();
            for (sequence, place) in (1_i64..).zip(&places) {
                connection
                    .execute(TAKE, params![place, micros(at(1)), sequence])
                    .unwrap();
            }
            assert_eq!(record(vec![event(text, 2)]), [UsageOutcome::Accepted]);
            let outcomes = record(vec![
                event("other", 1),
                event(text, 2),
                event(text, 3),
                event("third", 1),
            ]);
            assert_eq!(outcomes[..2], [UsageOutcome::Duplicate, UsageOutcome::Duplicate]);
            assert!(matches!(outcomes[2], UsageOutcome::Refused(_)), "{outcomes:?}");
            assert_eq!(outcomes[3], UsageOutcome::Accepted);
            let place = Places::of(tenant(1), &key(text)).all().nth(taken).unwrap();
            let found: i64 = connection
                .query_row(
                    "SELECT sequence FROM usage_keys WHERE place = ?1",
                    [place],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(found, 2, "`{text}` stands at the first place that was free");
        }
    }
}
