//! Files of older schemas that hold data.

use std::collections::BTreeMap;
use std::path::Path;

use billing_core::id::{IdempotencyKey, MeterCode};
use billing_core::ports::Store as _;
use billing_core::subscription::Command;
use billing_core::usage::{ChargeCell, UsageEvent, UsageField, UsageOutcome, UsageQuery, UsageRefusal};
use chrono::TimeDelta;
use futures_executor::block_on;
use rusqlite::Connection;

use super::kit::{at, created, days, decided, paid, plan, subscription, tenant};
use crate::SqliteStore;

/// Takes the newest migrations back, as far as they can be, so that the file is what an older program left.
fn downgrade(path: &Path, schema: u32) {
    let connection = Connection::open(path).unwrap();
    let mut sql = String::from(
        "DROP TABLE payment_methods; DROP INDEX jobs_run; DROP INDEX jobs_parked; ALTER TABLE jobs DROP COLUMN run_at; \
         ALTER TABLE jobs DROP COLUMN leases; ALTER TABLE jobs DROP COLUMN ended_at; \
         ALTER TABLE jobs DROP COLUMN is_parked; ALTER TABLE jobs DROP COLUMN note; DROP TABLE usage_keys; CREATE UNIQUE INDEX usage_events_key ON usage_events (tenant_id, idempotency_key);",
    );
    if schema < 3 {
        sql += "DROP TABLE usage_windows; DROP TABLE usage_counters;";
    } else if schema < 5 {
        sql += "ALTER TABLE usage_windows DROP COLUMN currency; ALTER TABLE usage_windows DROP COLUMN usage_minimum;";
    }
    if schema < 4 {
        sql += "DROP INDEX invoices_serial; ALTER TABLE invoices DROP COLUMN serial; \
             ALTER TABLE invoices DROP COLUMN series; DROP TABLE invoice_series; DROP TABLE coupon_redemptions; \
             DROP TABLE coupons; DROP TABLE credit_ledger; DROP TABLE credit_notes;";
    }
    if schema < 2 {
        sql += "DROP TABLE usage_leases;";
    }
    if schema == 2 {
        let v2 = include_str!("../../migrations/V2__limits.sql");
        let counters = v2.find("CREATE TABLE usage_counters").unwrap();
        let end = v2[counters..].find(';').unwrap();
        sql += &v2[counters..=counters + end];
    }
    sql += &format!(
        "DELETE FROM refinery_schema_history WHERE version > {schema}; PRAGMA user_version = {schema};"
    );
    connection.execute_batch(&sql).unwrap();
}

fn event(key: &str, quantity: i64, seconds: i64) -> UsageEvent {
    UsageEvent {
        idempotency_key: IdempotencyKey::new(key).unwrap(),
        tenant_id: tenant(1),
        meter: MeterCode::new("api").unwrap(),
        quantity: quantity.into(),
        occurred_at: at(seconds) + TimeDelta::microseconds(1),
        properties: BTreeMap::new(),
    }
}

/// What was billed before is one window, to the microsecond, so that what comes late for it is not lost.
#[test]
fn a_file_of_each_older_schema_keeps_its_usage_and_bills_what_comes_late() {
    for schema in [1, 2, 3, 4, 5] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let start = at(0) + TimeDelta::microseconds(1);
        let store = SqliteStore::open(&path).unwrap();
        block_on(store.put_plan(&plan())).unwrap();
        let first = created(1, start, false);
        let settled = paid(&first, start);
        let renewed = decided(
            &settled.decision.next,
            &Command::Advance,
            days(30) + TimeDelta::microseconds(1),
        );
        let current = renewed.decision.next.clone();
        assert_eq!(
            (current.usage.origin, current.usage.from),
            (start, start + TimeDelta::days(30))
        );
        for commit in [first, settled, renewed] {
            assert_eq!(block_on(store.commit(vec![commit])).unwrap(), [Ok(())]);
        }
        // Another that has billed nothing yet.
        block_on(store.commit(vec![created(2, start, false)])).unwrap();
        block_on(store.record_usage(vec![event("seen", 5, 0)], at(0))).unwrap();
        drop(store);
        downgrade(&path, schema);

        let store = SqliteStore::open(&path).unwrap();
        block_on(store.record_usage(vec![event("late", 7, 0), event("new", 1, 30 * 86_400)], at(0))).unwrap();
        let query = UsageQuery {
            tenant_id: tenant(1),
            subscription_id: subscription(1),
            plan: &plan(),
            origin: current.usage.origin,
            from: current.usage.from,
            until: days(60),
            term: None,
            watermark: 1,
            up_to: None,
        };
        let found = block_on(store.usage(&[query])).unwrap().remove(0);
        let api = MeterCode::new("api").unwrap();
        let quantity = |meters: &BTreeMap<MeterCode, BTreeMap<ChargeCell, _>>| {
            let cell: &billing_core::usage::CellUsage = &meters[&api][&ChargeCell::default()];
            cell.quantity.to_string()
        };
        assert_eq!(quantity(&found.meters), "1");
        let [late] = &found.late[..] else {
            panic!("{:?}", found.late)
        };
        assert_eq!(
            (late.billed.window.start, late.billed.window.end),
            (start, current.usage.from)
        );
        assert_eq!(
            (quantity(&late.before), quantity(&late.after)),
            ("5".into(), "12".into())
        );
        let windows: u32 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM usage_windows", [], |row| row.get(0))
            .unwrap();
        assert_eq!(windows, 1, "schema {schema}");
    }
}

/// Keys of an older file stand for their events as before, also when the process was killed between the migration and the
/// move of the keys.
#[test]
fn a_file_of_an_older_schema_keeps_its_keys() {
    for was_killed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let ordered = "019aaf00-0000-7000-8000-000000000001";
        let record = |store: &SqliteStore, events| block_on(store.record_usage(events, at(9))).unwrap();
        let store = SqliteStore::open(&path).unwrap();
        record(&store, vec![event("any", 5, 0), event(ordered, 6, 1)]);
        drop(store);
        if was_killed {
            // Between the migration and the moving of the keys.
            let sql = "DELETE FROM usage_keys; \
                 CREATE UNIQUE INDEX usage_events_key ON usage_events (tenant_id, idempotency_key);";
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        } else {
            downgrade(&path, 5);
        }

        let store = SqliteStore::open(&path).unwrap();
        let again = vec![event("any", 5, 0), event(ordered, 7, 1), event("new", 1, 2)];
        let outcomes = record(&store, again);
        assert_eq!(outcomes[0], UsageOutcome::Duplicate);
        assert!(
            matches!(
                &outcomes[1],
                UsageOutcome::Refused(UsageRefusal::KeyReused {
                    field: UsageField::Quantity,
                    ..
                })
            ),
            "{outcomes:?}"
        );
        assert_eq!(outcomes[2], UsageOutcome::Accepted);
        let connection = Connection::open(&path).unwrap();
        let keys: u32 = connection
            .query_row("SELECT count(*) FROM usage_keys", [], |row| row.get(0))
            .unwrap();
        assert_eq!(keys, 3);
    }
}
