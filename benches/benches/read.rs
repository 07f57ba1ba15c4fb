//! Reading one live subscription through the port, against the same row read by hand from the same file.

use std::hint::black_box;
use std::time::Instant;

use billing::core::id::TenantId;
use billing::core::subscription::Subscription;
use billing::{SqliteStore, Store};
use billing_benches::measure::{SAMPLES_MIN, Sample, Table, Target, micros, take_turns};
use billing_benches::subscribers::{FIRST_DAY, at, fill, plan, tenant_id};
use billing_benches::{Random, Scratch, floor, measuring};
use chrono::TimeDelta;
use criterion::Criterion;
use futures_executor::block_on;
use rusqlite::{Connection, params};

fn main() {
    let (tenants, samples, lookups) = if measuring() {
        (100_000, 2 * SAMPLES_MIN, 10_000)
    } else {
        (100, 1, 100)
    };
    let (scratch, plan) = (
        Scratch::new(env!("CARGO_TARGET_TMPDIR"), "read"),
        plan("standard"),
    );
    let path = scratch.file("billing.db");
    let came: Vec<_> = (0..tenants)
        .map(|number| at(FIRST_DAY) + TimeDelta::seconds(number))
        .collect();
    fill(&path, &plan, &came);

    let (store, connection) = (SqliteStore::open(&path).expect("a store"), floor::connect(&path));
    let product = plan.product.as_str();
    let read = |contestant: usize, tenants: &[TenantId]| {
        let start = Instant::now();
        for tenant in tenants {
            let tenant = black_box(*tenant);
            match contestant {
                0 => {
                    let found = block_on(store.live_subscription(tenant, &plan.product));
                    let found = black_box(found).expect("a read").expect("a subscription");
                    assert_eq!(found.tenant_id, tenant);
                }
                1 => {
                    let found: Subscription = row(&connection, tenant, product, |body| {
                        serde_json::from_str(body).expect("a subscription")
                    });
                    assert_eq!(black_box(found).tenant_id, tenant);
                }
                _ => assert!(row(&connection, tenant, product, |body| black_box(body).len()) > 0),
            }
        }
        Sample {
            elapsed: start.elapsed(),
            elements: u64::try_from(tenants.len()).expect("a number"),
        }
    };
    let drawn = |sample: usize| -> Vec<TenantId> {
        let mut random = Random::new(u64::try_from(sample).expect("a number"));
        let draw = |_| tenant_id(u64::try_from(random.below(came.len())).expect("a number"));
        (0..lookups).map(draw).collect()
    };
    for contestant in 0..3 {
        read(contestant, &drawn(samples));
    }

    let mut criterion = Criterion::default().configure_from_args();
    let names = ["port", "bare row, parsed", "bare row"];
    let [port, parsed, bare] = take_turns(&mut criterion, "read", names, samples, |contestant, sample| {
        read(contestant, &drawn(sample))
    });
    criterion.final_summary();

    let mut table = Table::new(&format!(
        "A live subscription of one of {tenants} tenants, drawn at random"
    ));
    let ours = micros(&port);
    let ratio = |other| port.slower_than(other);
    table.ratio(
        "the port, against the row by hand, parsed",
        ours.clone(),
        micros(&parsed),
        ratio(&parsed),
        Target::AtMost(1.5),
    );
    table.ratio(
        "the port, against the row by hand, not parsed",
        ours,
        micros(&bare),
        ratio(&bare),
        Target::None,
    );
    table.print();
}

/// What `take` makes of the body of a tenant's live subscription.
fn row<T>(connection: &Connection, tenant: TenantId, product: &str, take: impl FnOnce(&str) -> T) -> T {
    let sql = "SELECT body FROM subscriptions WHERE tenant_id = ?1 AND product = ?2 AND is_live = 1";
    let mut statement = connection.prepare_cached(sql).expect("a statement");
    let taken = statement.query_row(params![tenant.uuid().as_bytes(), product], |row| {
        Ok(take(row.get_ref(0)?.as_str()?))
    });
    taken.expect("a row")
}
