//! How SQLite carries out the reads: by an index, in the order of the index, without a sort of its own.

use super::kit::store;
use crate::reader::Reader;
use crate::{audit, commands, counters, invoices, keys, outbox, plans, subscriptions, usage, windows};

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let store = store();
    let read = |connection: &Reader| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let unbound = vec![rusqlite::types::Null; statement.parameter_count()];
        let steps = statement
            .query_map(rusqlite::params_from_iter(unbound), |row| row.get::<_, String>(3))
            .unwrap();
        Ok(steps.map(Result::unwrap).collect::<Vec<_>>())
    };
    assert_eq!(store.readers.read(read).unwrap(), expected);
}

#[test]
fn every_read_uses_an_index_and_none_sorts() {
    check(
        subscriptions::DUE,
        &["SEARCH subscriptions USING INDEX subscriptions_due ((next_due_at,id)>(?,?) AND next_due_at<?)"],
    );
    check(
        subscriptions::LIVE,
        &["SEARCH subscriptions USING INDEX subscriptions_live (tenant_id=? AND product=?)"],
    );
    check(
        subscriptions::OF_TENANT,
        &["SEARCH subscriptions USING INDEX subscriptions_of_tenant (tenant_id=?)"],
    );
    check(
        subscriptions::BY_ID,
        &["SEARCH subscriptions USING INDEX sqlite_autoindex_subscriptions_1 (id=?)"],
    );
    check(
        invoices::BY_ID,
        &["SEARCH invoices USING INDEX sqlite_autoindex_invoices_1 (id=?)"],
    );
    check(
        invoices::OF_SUBSCRIPTION,
        &["SEARCH invoices USING INDEX sqlite_autoindex_invoices_2 (subscription_id=? AND number>?)"],
    );
    check(
        audit::ENTRIES,
        &[
            "SEARCH audit_entries USING INDEX sqlite_autoindex_audit_entries_1 (subscription_id=? AND sequence>?)",
        ],
    );
    check(outbox::JOBS, &["SEARCH jobs USING INTEGER PRIMARY KEY (rowid>?)"]);
    check(
        outbox::JOB_PLACE,
        &["SEARCH jobs USING COVERING INDEX sqlite_autoindex_jobs_1 (id=?)"],
    );
    check(
        outbox::RUNNABLE,
        &["SEARCH jobs USING COVERING INDEX jobs_run (run_at<?)"],
    );
    check(
        commands::COMMAND,
        &["SEARCH commands USING INDEX sqlite_autoindex_commands_1 (tenant_id=? AND key=?)"],
    );
    for in_time in [usage::IN_TIME, usage::IN_TIME_WITH_PROPERTIES] {
        check(
            in_time,
            &["SEARCH usage_events USING PRIMARY KEY (tenant_id=? AND occurred_at>? AND occurred_at<?)"],
        );
    }
    // Late events: the index alone.
    check(
        usage::LATE,
        &[
            "SEARCH usage_events USING COVERING INDEX usage_events_recorded (tenant_id=? AND sequence>? AND sequence<?)",
        ],
    );
    // A key: a number first, then the event itself.
    check(
        keys::AT_PLACE,
        &["SEARCH usage_keys USING INTEGER PRIMARY KEY (rowid=?)"],
    );
    for of_key in [keys::IS_OF_KEY, usage::KNOWN] {
        check(
            of_key,
            &["SEARCH usage_events USING PRIMARY KEY (tenant_id=? AND occurred_at=? AND sequence=?)"],
        );
    }
    check(
        counters::LAST_BEFORE,
        &["SEARCH usage_events USING PRIMARY KEY (tenant_id=? AND occurred_at<?)"],
    );
    check(
        windows::SINCE,
        &[
            "SEARCH usage_windows USING PRIMARY KEY (subscription_id=? AND starts_at>?)",
            "SCALAR SUBQUERY 1",
            "SEARCH usage_windows USING PRIMARY KEY (subscription_id=? AND starts_at<?)",
        ],
    );
    check(
        plans::BY_ID,
        &["SEARCH plans USING INDEX sqlite_autoindex_plans_1 (id=?)"],
    );
    check(
        plans::BY_VERSION,
        &["SEARCH plans USING INDEX sqlite_autoindex_plans_2 (code=? AND version=?)"],
    );
    check(
        plans::NEWEST,
        &["SEARCH plans USING INDEX sqlite_autoindex_plans_2 (code=?)"],
    );
    check(plans::ALL, &["SCAN plans USING INDEX sqlite_autoindex_plans_2"]);
}
