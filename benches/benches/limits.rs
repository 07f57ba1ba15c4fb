//! Limits: core's check of a counter in memory, a check through the store, and durable consumption by one caller and by
//! many.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use billing::core::id::{MeterCode, TenantId};
use billing::core::limit::{Counter, LimitAnswer, check};
use billing::core::plan::MeterTerms;
use billing::core::usage::UsageEvent;
use billing::{Billing, ConsumeOutcome, SqliteStore, TestClock};
use billing_benches::callers::{CALLERS, THREADS, all_at_once, one_after_the_other};
use billing_benches::measure::{
    SAMPLES_MIN, Sample, Table, Target, criterion_for_fastest, fastest, micros, per_second, take_turns,
};
use billing_benches::subscribers::{FIRST_DAY, at, copy, fill, tenant_id};
use billing_benches::usage::{Keys, METERS, event, meter, metered_plan};
use billing_benches::{Random, Scratch, floor, measuring, print};
use chrono::{DateTime, TimeDelta, Utc};
use criterion::Criterion;
use futures_executor::block_on;
use rusqlite::{Connection, params};

/// Nanoseconds for a check in core.
const CHECK: Target = Target::AtMost(100.0);

/// How large a run is.
struct Size {
    samples: usize,
    tenants: usize,
    /// How many checks a sample has.
    checks: usize,
    /// How many events the single caller consumes in a sample.
    alone: usize,
    /// How many events each of the callers consumes in a sample.
    each: usize,
}

fn main() {
    let size = if measuring() {
        Size {
            samples: 2 * SAMPLES_MIN,
            tenants: 1_000,
            checks: 10_000,
            alone: 256,
            each: 32,
        }
    } else {
        Size {
            samples: 1,
            tenants: 100,
            checks: 100,
            alone: 8,
            each: 2,
        }
    };
    let in_core = in_core();

    let scratch = Scratch::new(env!("CARGO_TARGET_TMPDIR"), "limits");
    let [alone, shared] = ["alone.db", "shared.db"].map(|name| scratch.file(name));
    let plan = metered_plan("metered");
    let came: Vec<_> = (0..size.tenants)
        .map(|number| at(FIRST_DAY) + TimeDelta::seconds(i64::try_from(number).expect("a number")))
        .collect();
    fill(&shared, &plan, &came);
    let now = at(FIRST_DAY) + TimeDelta::days(10);
    let code = meter(METERS[0]);
    // From the first check on the store keeps a counter.
    let (_, engine) = open(&shared, now);
    for number in 0..size.tenants {
        assert!(checked(&engine, tenant(number), &code).allowed);
    }
    let mut criterion = Criterion::default().configure_from_args();
    let through_the_store = through_the_store(&mut criterion, &engine, &shared, &size, &code);
    drop(engine);
    copy(&shared, &alone);

    let (shared_store, shared) = open(&shared, now);
    let (_, alone) = open(&alone, now);
    let block = CALLERS * size.each;
    let events = |sample: usize, count: usize| -> Vec<UsageEvent> {
        let mut random = Random::new(u64::try_from(sample).expect("a number"));
        let event_of = |number: usize| {
            let number = u64::try_from(number % size.tenants).expect("a number");
            event(number, &code, Keys::Random, &mut random, now)
        };
        (sample * block..sample * block + count).map(event_of).collect()
    };
    let run = |contestant: usize, sample: usize| match contestant {
        0 => one_after_the_other(events(sample, size.alone), async |event| {
            consumed(&alone, event).await;
        }),
        _ => all_at_once(events(sample, block), async |event| {
            consumed(&shared, event).await;
        }),
    };
    for contestant in 0..2 {
        run(contestant, size.samples);
    }
    let before = shared_store.transactions();
    let names = ["1 caller", "64 callers"];
    let [one, many] = take_turns(&mut criterion, "consume", names, size.samples, run);
    criterion.final_summary();
    let transactions = shared_store.transactions() - before;

    in_core.print();
    through_the_store.print();
    let mut table = Table::new(&format!(
        "Durable consumption within a limit, {} tenants with a counter each",
        size.tenants
    ));
    table.ratio(
        &format!("{CALLERS} callers on {THREADS} threads, against 1"),
        per_second(&many, "events"),
        per_second(&one, "events"),
        many.slower_than(&one).inverse(),
        Target::AtLeast(5.0),
    );
    table.print();
    let shared = (size.samples * block) as f64 / transactions as f64;
    print(&format!(
        "{CALLERS} callers shared a transaction by {shared:.1} events"
    ));
}

/// What core takes, with everything that a meter may have.
fn in_core() -> Table {
    let mut criterion = criterion_for_fastest(1);
    let mut table =
        Table::new("Checking a limit, the counter in memory: the fastest of 50 samples (median - slowest)");
    let mut plan = metered_plan("metered");
    let metered = plan.meters.pop_first().expect("a meter").1;
    let hard = MeterTerms {
        allowance: 0.into(),
        hard_limit: Some(1_000.into()),
        ..metered
    };
    let all = MeterTerms {
        allowance: 100.into(),
        soft_limit: Some(500.into()),
        ..hard.clone()
    };
    let unlimited = MeterTerms {
        hard_limit: None,
        ..hard.clone()
    };
    let mut group = criterion.benchmark_group("check");
    for (name, terms, used, is_allowed) in [
        ("no limit", &unlimited, "90.5", true),
        ("hard limit", &hard, "90.5", true),
        ("hard limit, 80 % reached", &hard, "900.5", true),
        ("hard limit, refused", &hard, "999.5", false),
        ("allowance, soft and hard limit", &all, "90.5", true),
        (
            "allowance, soft and hard limit, four marks reached",
            &all,
            "999",
            true,
        ),
    ] {
        let counter = Counter {
            used: used.parse().expect("a quantity"),
            reserved: "0.5".parse().expect("a quantity"),
            events: 100,
        };
        let quantity = "0.5".parse().expect("a quantity");
        let run = || {
            let (terms, counter, quantity) = black_box((terms, &counter, quantity));
            check(terms, counter, quantity)
        };
        assert_eq!(run().map(|answer| answer.allowed), Ok(is_allowed), "{name}");
        fastest(&mut group, &mut table, name, CHECK, run);
    }
    group.finish();
    table
}

/// What a check takes through the engine and the store, against reading the same rows by hand.
fn through_the_store(
    criterion: &mut Criterion,
    engine: &Billing,
    path: &Path,
    size: &Size,
    code: &MeterCode,
) -> Table {
    let connection = floor::connect(path);
    let run = |contestant: usize, sample: usize| {
        let mut random = Random::new(u64::try_from(sample).expect("a number"));
        let drawn: Vec<_> = (0..size.checks)
            .map(|_| tenant(random.below(size.tenants)))
            .collect();
        let start = Instant::now();
        for tenant in &drawn {
            let tenant = black_box(*tenant);
            match contestant {
                0 => assert!(black_box(checked(engine, tenant, code)).allowed),
                _ => assert_eq!(rows_by_hand(&connection, tenant, code), [1, 1, 0]),
            }
        }
        Sample {
            elapsed: start.elapsed(),
            elements: u64::try_from(drawn.len()).expect("a number"),
        }
    };
    for contestant in 0..2 {
        run(contestant, size.samples);
    }
    let names = ["engine", "bare rows"];
    let [engine, bare] = take_turns(criterion, "check_limit", names, size.samples, run);
    let mut table = Table::new(&format!(
        "Checking a limit of one of {} tenants, drawn at random, in the store",
        size.tenants
    ));
    table.ratio(
        "the engine, against the three reads by hand, not parsed",
        micros(&engine),
        micros(&bare),
        engine.slower_than(&bare),
        Target::None,
    );
    table
}

/// How many rows there are of what a check reads: subscriptions, counters, leases.
fn rows_by_hand(connection: &Connection, tenant: TenantId, meter: &MeterCode) -> [usize; 3] {
    let tenant = tenant.uuid();
    [
        "SELECT body FROM subscriptions WHERE tenant_id = ?1 AND ?2 <> ''",
        "SELECT used FROM usage_counters WHERE tenant_id = ?1 AND meter = ?2",
        "SELECT quantity FROM usage_leases WHERE tenant_id = ?1 AND meter = ?2 AND state = 'held'",
    ]
    .map(|sql| {
        let mut statement = connection.prepare_cached(sql).expect("a statement");
        let parameters = params![tenant.as_bytes(), meter.as_str()];
        let mut rows = statement.query(parameters).expect("a query");
        let mut count = 0;
        while let Some(row) = rows.next().expect("a row") {
            black_box(row.get_ref(0).expect("a column"));
            count += 1;
        }
        count
    })
}

fn open(path: &Path, now: DateTime<Utc>) -> (Arc<SqliteStore>, Billing) {
    let store = Arc::new(SqliteStore::open(path).expect("a store"));
    let engine = Billing::new(store.clone(), Arc::new(TestClock::at(now)));
    (store, engine)
}

fn tenant(number: usize) -> TenantId {
    tenant_id(u64::try_from(number).expect("a number"))
}

fn checked(engine: &Billing, tenant: TenantId, meter: &MeterCode) -> LimitAnswer {
    let checked = block_on(engine.check_limit(tenant, meter, 1.into()));
    checked.expect("a check").answer
}

async fn consumed(engine: &Billing, event: UsageEvent) {
    let outcomes = engine.consume(vec![event]).await.expect("a transaction");
    assert!(
        matches!(outcomes.as_slice(), [ConsumeOutcome::Accepted(_)]),
        "it is new and within the limit"
    );
}
