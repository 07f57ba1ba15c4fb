//! A sweep at the month's end that rates the usage of three meters for each subscription, against the same rows written by
//! hand.
//!
//! `BILLING_BENCH_MONTH_END` says how many subscriptions there are, 100,000 by default; each sample is a fifth of them.

use std::sync::Arc;
use std::time::Instant;

use billing::{Billing, SqliteStore, SweepOptions, TestClock};
use billing_benches::floor::{self, Floor, Source};
use billing_benches::measure::{Sample, Series, Table, Target, per_second, take_turns};
use billing_benches::subscribers::{copy, fill};
use billing_benches::sweeping::{Day, renewals, swept_by_hand, swept_until};
use billing_benches::usage::{METERS, fill_usage, metered_plan};
use billing_benches::{Random, Scratch, print, size};
use criterion::Criterion;

/// How many subscriptions there are.
const SUBSCRIPTIONS: &str = "BILLING_BENCH_MONTH_END";

/// How many times a part of them is swept. Criterion wants ten samples and gets each twice.
const SAMPLES: usize = 5;

/// How many events each meter of a subscription has in the month.
const EVENTS_EACH: i32 = 4;

/// What a renewal writes: the subscription, an audit entry, the invoice, a job, and the window of usage.
const ROWS_EACH: usize = 5;

fn main() {
    let day = Day {
        due: (size(SUBSCRIPTIONS, 100_000, 500) / SAMPLES).max(100),
    };
    let all = SAMPLES * day.due;
    let scratch = Scratch::new(env!("CARGO_TARGET_TMPDIR"), "month-end");
    let [ours, twin] = ["ours.db", "twin.db"].map(|name| scratch.file(name));
    let start = Instant::now();
    let mut came: Vec<_> = (0..all).map(|place| day.came_at(place)).collect();
    Random::new(1).shuffle(&mut came);
    fill(&ours, &metered_plan("metered"), &came);
    fill_usage(&ours, &came, EVENTS_EACH);
    copy(&ours, &twin);
    let megabytes = std::fs::metadata(&ours).expect("a file").len() >> 20;
    let set_up = start.elapsed();
    print(&format!(
        "{all} subscriptions with {EVENTS_EACH} events for each of {} meters in {megabytes} MiB, set up in {set_up:.0?}",
        METERS.len()
    ));

    let store = Arc::new(SqliteStore::open(&ours).expect("a store"));
    let billing = Billing::new(store, Arc::new(TestClock::at(day.due_at(all))));
    let (source, target) = (floor::connect(&ours), floor::connect(&twin));
    let (mut source_rows, mut floor) = (Source::new(&source), Floor::new(&target));
    let elements = u64::try_from(day.due).expect("a number");
    let mut with_reads = Series::default();
    let mut criterion = Criterion::default().configure_from_args();
    let names = ["sweep", "bare SQLite in batches"];
    let [swept, bare] = take_turns(
        &mut criterion,
        "month_end",
        names,
        SAMPLES,
        |contestant, sample| {
            let until = day.due_at((sample + 1) * day.due - 1);
            let elapsed = match contestant {
                0 => swept_until(&billing, until, elements),
                _ => {
                    let by_hand = swept_by_hand(&mut floor, &mut source_rows, until, elements, ROWS_EACH);
                    let elapsed = by_hand.writing + by_hand.usage;
                    with_reads.push(Sample { elapsed, elements });
                    by_hand.writing
                }
            };
            Sample { elapsed, elements }
        },
    );
    criterion.final_summary();

    assert_eq!(
        Ok(renewals(&source)),
        i64::try_from(all),
        "each has the invoice of its renewal"
    );
    floor::assert_twins(&source, &target);
    let page = SweepOptions::default().page;
    let mut table = Table::new(&format!(
        "Invoicing {all} subscriptions with {} meters: {ROWS_EACH} rows each, {page} subscriptions a transaction",
        METERS.len()
    ));
    let ours = per_second(&swept, "subscriptions");
    table.ratio(
        "sweep, against bare rows",
        ours.clone(),
        per_second(&bare, "subscriptions"),
        swept.slower_than(&bare),
        Target::AtMost(2.0),
    );
    table.ratio(
        "sweep, against bare rows, the events read by hand too",
        ours,
        per_second(&with_reads, "subscriptions"),
        swept.slower_than(&with_reads),
        Target::None,
    );
    table.print();
}
