//! Recording usage events, against the same rows inserted by hand, and what memory that takes; and what it would cost by
//! hand to keep a unique index over tenant and key, as text, instead of the table of keys.
//!
//! `BILLING_BENCH_EVENTS` says how many events there are, 1,000,000 by default. They fill an empty database, a tenth of
//! them in each sample, so what a sample takes grows with what is there before.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use billing::core::aggregation::Aggregation;
use billing::core::calendar::Period;
use billing::core::limit::CounterKey;
use billing::core::usage::UsageEvent;
use billing::{SqliteStore, Store};
use billing_benches::floor::{self, Floor, Rows, usage_row};
use billing_benches::measure::{SAMPLES_MIN, Sample, Table, Target, per_second, take_turns};
use billing_benches::subscribers::{FIRST_DAY, UNTIL_DUE, at, copy, tenant_id};
use billing_benches::usage::{Keys, METERS, assert_accepted, event, meter};
use billing_benches::{Random, Scratch, measuring, memory, size};
use chrono::{DateTime, Utc};
use criterion::Criterion;
use futures_executor::block_on;
use rusqlite::Connection;
use rusqlite::types::Value;

/// How many events there are.
const EVENTS: &str = "BILLING_BENCH_EVENTS";

/// Whose they are. A request holds those of many, as from a collector.
const TENANTS: usize = 1_000;

/// Every so many tenants one has a counter of the month for each meter, since somebody checks a limit of theirs.
const COUNTED: usize = 10;

/// Set for the process that a memory run is: which file to fill, and with how many events.
const MEMORY_FILE: &str = "BILLING_BENCH_MEMORY_FILE";
const MEMORY_EVENTS: &str = "BILLING_BENCH_MEMORY_EVENTS";

/// How many events a request of a memory run has.
const MEMORY_REQUEST: usize = 10_000;

/// What a unique index over the keys is: how the store kept them before it had a table of them.
const INDEX: &str = "CREATE UNIQUE INDEX usage_events_key ON usage_events (tenant_id, idempotency_key)";

fn main() {
    if let (Ok(path), Ok(events)) = (std::env::var(MEMORY_FILE), std::env::var(MEMORY_EVENTS)) {
        memory_run(Path::new(&path), events.parse().expect("a number"));
        return;
    }
    let samples = if measuring() { SAMPLES_MIN } else { 1 };
    let all = size(EVENTS, 1_000_000, 2_000);
    let scratch = Scratch::new(env!("CARGO_TARGET_TMPDIR"), "ingest");
    let mut criterion = Criterion::default().configure_from_args();
    let mut table = Table::new(&format!(
        "Recording {all} events of 3 meters; one tenant of {COUNTED} has counters, a single one has them"
    ));
    let mut indexes =
        Table::new("The same, against the rows by hand with a unique index over tenant and key");
    for (keys, request, tenants) in [
        (Keys::Random, 1_000, TENANTS),
        (Keys::Random, 10_000, TENANTS),
        (Keys::Random, 10_000, 1),
        (Keys::InTimeOrder, 1_000, TENANTS),
        (Keys::InTimeOrder, 10_000, TENANTS),
        (Keys::InTimeOrder, 10_000, 1),
    ] {
        let name = match keys {
            Keys::Random => format!("{tenants} tenants, random keys (UUID v4), {request} a request"),
            Keys::InTimeOrder => {
                format!("{tenants} tenants, keys in time order (UUID v7), {request} a request")
            }
        };
        let requests = Requests {
            keys,
            request,
            tenants,
            all,
        };
        let path = |whose: &str| scratch.file(&format!("{whose}-{keys:?}-{request}-{tenants}.db"));
        let paths @ [ours, twin, indexed] = &["ours", "twin", "indexed"].map(path);
        with_counters(ours);
        copy(ours, twin);
        copy(ours, indexed);
        let store = SqliteStore::open(ours).expect("a store");
        let [source, bare, index] = [ours, twin, indexed].map(|path| floor::connect(path));
        index.execute_batch(INDEX).expect("an index");
        let [mut floor, mut index_floor] = [&bare, &index].map(Floor::new);
        let [recorded, by_hand, with_index] = take_turns(
            &mut criterion,
            &name,
            ["store", "bare SQLite", "bare SQLite, index over keys"],
            samples,
            |contestant, sample| {
                let places = sample * all / samples..(sample + 1) * all / samples;
                match contestant {
                    0 => recorded(&store, &requests, places),
                    1 => inserted(&mut floor, &requests, places, Some(&source)),
                    _ => inserted(&mut index_floor, &requests, places, None),
                }
            },
        );
        drop((store, floor, index_floor));
        floor::assert_twins(&source, &bare);
        table.ratio(
            &name,
            per_second(&recorded, "events"),
            per_second(&by_hand, "events"),
            recorded.slower_than(&by_hand),
            Target::AtMost(2.0),
        );
        indexes.ratio(
            &name,
            per_second(&recorded, "events"),
            per_second(&with_index, "events"),
            recorded.slower_than(&with_index),
            Target::None,
        );
        drop((source, bare, index));
        for path in paths {
            std::fs::remove_file(path).expect("a database is removed");
        }
    }
    criterion.final_summary();
    table.print();
    indexes.print();
    for events in [all / 10, all] {
        let path = scratch.file(&format!("memory-{events}.db"));
        let measured = memory::measured_apart(&[
            (MEMORY_FILE, path.to_str().expect("a path in UTF-8").into()),
            (MEMORY_EVENTS, events.to_string()),
        ]);
        memory::print_peak(
            &format!("records {events:>7} events, {MEMORY_REQUEST} a request"),
            measured,
        );
    }
}

/// A new store at `path` that keeps counters of the month of the events.
fn with_counters(path: &Path) {
    let store = SqliteStore::open(path).expect("a new store");
    let (start, end) = (at(FIRST_DAY), at(FIRST_DAY) + UNTIL_DUE);
    for number in (0..TENANTS).step_by(COUNTED) {
        for code in METERS {
            let key = CounterKey {
                tenant_id: tenant_id(u64::try_from(number).expect("a number")),
                meter: meter(code),
                window: Period::new(start, end).expect("a month"),
                aggregation: Aggregation::Sum,
            };
            block_on(store.counter(&key, start)).expect("a counter");
        }
    }
}

/// All events, in requests. They are the same each time that they are asked for, and are made while they are, so that they
/// need no memory.
struct Requests {
    keys: Keys,
    /// How many events one holds.
    request: usize,
    tenants: usize,
    /// How many events there are.
    all: usize,
}

impl Requests {
    /// The requests that hold the events of some places, with the first place of each.
    fn of(&self, places: Range<usize>) -> impl Iterator<Item = (usize, Vec<UsageEvent>)> {
        let step = UNTIL_DUE / i32::try_from(self.all).expect("a number");
        let (start, codes) = (at(FIRST_DAY), METERS.map(meter));
        let mut random = Random::new(u64::try_from(places.start).expect("a number"));
        let end = places.end;
        places.step_by(self.request).map(move |first| {
            let events = (first..end.min(first + self.request)).map(|place| {
                let tenant = u64::try_from(random.below(self.tenants)).expect("a number");
                let code = &codes[random.below(codes.len())];
                let occurred_at = start + step * i32::try_from(place).expect("a number");
                event(tenant, code, self.keys, &mut random, occurred_at)
            });
            (first, events.collect())
        })
    }
}

/// Lets the store record the events of some places, one request after the other.
fn recorded(store: &SqliteStore, requests: &Requests, places: Range<usize>) -> Sample {
    let (mut elapsed, elements) = (Duration::ZERO, u64::try_from(places.len()).expect("a number"));
    for (_, events) in requests.of(places) {
        let recorded_at = recorded_at(&events);
        let start = Instant::now();
        let outcomes = block_on(store.record_usage(events, recorded_at));
        elapsed += start.elapsed();
        assert_accepted(&outcomes.expect("events are recorded"));
    }
    Sample { elapsed, elements }
}

/// The same rows by hand, each request a transaction, with the rows of their keys as the store has written them to
/// `source`.
fn inserted(
    floor: &mut Floor<'_>,
    requests: &Requests,
    places: Range<usize>,
    source: Option<&Connection>,
) -> Sample {
    let (mut elapsed, elements) = (Duration::ZERO, u64::try_from(places.len()).expect("a number"));
    let sequence = |place: usize| i64::try_from(place + 1).expect("a number");
    let key_rows = source.map(|source| floor::key_rows(source, sequence(places.start)..sequence(places.end)));
    let mut key_rows = key_rows.unwrap_or_default().into_iter();
    for (first, events) in requests.of(places) {
        let recorded_at = recorded_at(&events);
        let mut rows: Rows = events
            .iter()
            .zip(sequence(first)..)
            .map(|(event, sequence)| usage_row(event, sequence, recorded_at))
            .collect();
        let mut keys: Rows = key_rows.by_ref().take(events.len()).collect();
        // In the order in which the store writes them.
        keys.sort_by_key(|(_, values)| match values.first() {
            Some(Value::Integer(place)) => *place,
            _ => unreachable!("a place is a number"),
        });
        rows.append(&mut keys);
        elapsed += floor.write(&[rows]);
    }
    Sample { elapsed, elements }
}

fn recorded_at(events: &[UsageEvent]) -> DateTime<Utc> {
    events.last().expect("a request has events").occurred_at
}

fn memory_run(path: &Path, events: usize) {
    with_counters(path);
    let store = SqliteStore::open(path).expect("a store");
    memory::run_measured(|| {
        let requests = Requests {
            keys: Keys::Random,
            request: MEMORY_REQUEST,
            tenants: TENANTS,
            all: events,
        };
        recorded(&store, &requests, 0..events);
    });
}
