//! Sweeping a day of a large store, against the same rows written by hand, and what memory that takes.
//!
//! `BILLING_BENCH_SUBSCRIPTIONS` says how many subscriptions there are, 1,000,000 by default. A tenth of them is due on
//! each of ten days. A bit more than the first day is for the memory runs, then each sample is one day.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use billing::{Billing, SqliteStore, SweepOptions, TestClock};
use billing_benches::floor::{self, Floor, Source};
use billing_benches::measure::{Sample, Table, Target, per_second, take_turns};
use billing_benches::subscribers::{at, copy, fill, plan};
use billing_benches::sweeping::{Day, renewals, swept_by_hand, swept_until};
use billing_benches::{Random, Scratch, memory, print, size};
use chrono::{DateTime, Utc};
use criterion::Criterion;
use futures_executor::block_on;

/// How many subscriptions there are.
const SUBSCRIPTIONS: &str = "BILLING_BENCH_SUBSCRIPTIONS";

/// How many days are measured, so that all of it takes a few minutes. Criterion wants ten samples and gets each twice.
const DAYS: usize = 5;

/// Set for the process that a memory run is: which file to sweep, and until when.
const MEMORY_FILE: &str = "BILLING_BENCH_MEMORY_FILE";
const MEMORY_UNTIL: &str = "BILLING_BENCH_MEMORY_UNTIL";

fn main() {
    if let (Ok(path), Ok(until)) = (std::env::var(MEMORY_FILE), std::env::var(MEMORY_UNTIL)) {
        memory_run(Path::new(&path), at(&until));
        return;
    }
    let subscriptions = size(SUBSCRIPTIONS, 1_000_000, 1_000);
    let day = Day {
        due: (subscriptions / 10).max(100),
    };
    let small = day.due / 10;
    // By the order in which they fall due: the two memory runs, then the days that are measured.
    let (first, second) = (small, small + day.due);
    let end_of = |sample: usize| second + (sample + 1) * day.due;

    let (scratch, plan) = (
        Scratch::new(env!("CARGO_TARGET_TMPDIR"), "sweep"),
        plan("standard"),
    );
    let [ours, twin] = ["ours.db", "twin.db"].map(|name| scratch.file(name));
    let start = Instant::now();
    let all = 10 * day.due;
    let all_swept = end_of(DAYS - 1);
    let mut came: Vec<_> = (0..all).map(|place| day.came_at(place)).collect();
    Random::new(1).shuffle(&mut came);
    fill(&ours, &plan, &came);
    let memory = [first, second].map(|place| {
        let file = ours.to_str().expect("a path in UTF-8");
        memory::measured_apart(&[
            (MEMORY_FILE, file.into()),
            (MEMORY_UNTIL, day.due_at(place - 1).to_rfc3339()),
        ])
    });
    copy(&ours, &twin);
    let megabytes = std::fs::metadata(&ours).expect("a file").len() >> 20;
    let set_up = start.elapsed();
    print(&format!(
        "{all} subscriptions in {megabytes} MiB, set up in {set_up:.0?}"
    ));

    let store = Arc::new(SqliteStore::open(&ours).expect("a store"));
    let billing = Billing::new(store, Arc::new(TestClock::at(day.due_at(all))));
    let (source, target) = (floor::connect(&ours), floor::connect(&twin));
    let (mut source_rows, mut floor) = (Source::new(&source), Floor::new(&target));
    let elements = u64::try_from(day.due).expect("a number");
    let mut criterion = Criterion::default().configure_from_args();
    let names = ["sweep", "bare SQLite in batches"];
    let [swept, bare] = take_turns(&mut criterion, "sweep", names, DAYS, |contestant, sample| {
        let until = day.due_at(end_of(sample) - 1);
        let elapsed = match contestant {
            0 => swept_until(&billing, until, elements),
            _ => swept_by_hand(&mut floor, &mut source_rows, until, elements, 4).writing,
        };
        Sample { elapsed, elements }
    });
    criterion.final_summary();

    assert_eq!(
        Ok(renewals(&source)),
        i64::try_from(all_swept),
        "each that was due has the invoice of its renewal"
    );
    floor::assert_twins(&source, &target);
    let page = SweepOptions::default().page;
    let mut table = Table::new(&format!(
        "Renewing {} of {all} subscriptions: four rows each, {page} subscriptions a transaction",
        day.due
    ));
    table.ratio(
        "sweep, against bare rows",
        per_second(&swept, "renewals"),
        per_second(&bare, "renewals"),
        swept.slower_than(&bare),
        Target::AtMost(2.0),
    );
    table.print();
    print(&format!(
        "{:.0} rows/s, {:.0} by hand",
        4.0 * swept.rate(),
        4.0 * bare.rate()
    ));
    for (due, memory) in [small, day.due].into_iter().zip(memory) {
        memory::print_peak(&format!("sweeps {due:>6}"), memory);
    }
}

fn memory_run(path: &Path, until: DateTime<Utc>) {
    let store = Arc::new(SqliteStore::open(path).expect("a store"));
    let billing = Billing::new(store, Arc::new(TestClock::at(until)));
    memory::run_measured(|| {
        let report = block_on(billing.sweep(until, &SweepOptions::default(), |_| ControlFlow::Continue(())));
        assert!(report.is_ok_and(|report| report.steps > 0 && report.failed == 0));
    });
}
