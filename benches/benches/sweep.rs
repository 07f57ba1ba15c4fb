//! Sweeping a day of a large store, against the same rows written by hand, and what memory that takes.
//!
//! `BILLING_BENCH_SUBSCRIPTIONS` says how many subscriptions there are, 1,000,000 by default. A tenth of them is due on
//! each of ten days. A bit more than the first day is for the memory runs, then each sample is one day.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use billing::{Billing, SqliteStore, SweepOptions, TestClock};
use billing_benches::floor::{self, Floor, Source};
use billing_benches::measure::{Sample, Table, Target, per_second, take_turns};
use billing_benches::subscribers::{FIRST_DAY, UNTIL_DUE, at, copy, fill, plan};
use billing_benches::{Random, Scratch, measuring, print};
use chrono::{DateTime, TimeDelta, Utc};
use criterion::Criterion;
use futures_executor::block_on;
use rusqlite::Connection;

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
    let subscriptions: usize = match std::env::var(SUBSCRIPTIONS) {
        Ok(number) => number.parse().expect("a number of subscriptions"),
        Err(_) if measuring() => 1_000_000,
        Err(_) => 1_000,
    };
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
    let memory = [first, second].map(|place| measured_apart(&ours, day.due_at(place - 1)));
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
            _ => swept_by_hand(&mut floor, &mut source_rows, until, elements),
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
        match memory {
            Some([before, peak]) => print(&format!(
                "a process that sweeps {due:>6}: {before} KiB before, {peak} KiB at its peak, {} KiB more",
                peak.saturating_sub(before)
            )),
            None => print("memory is read from /proc/self/status, which is not here"),
        }
    }
}

/// A day on which so many fall due, evenly spread.
struct Day {
    due: usize,
}

impl Day {
    fn came_at(&self, place: usize) -> DateTime<Utc> {
        let micros = 86_400_000_000 / i64::try_from(self.due).expect("a number");
        at(FIRST_DAY) + TimeDelta::microseconds(micros * i64::try_from(place).expect("a number"))
    }

    fn due_at(&self, place: usize) -> DateTime<Utc> {
        self.came_at(place) + UNTIL_DUE
    }
}

fn swept_until(billing: &Billing, until: DateTime<Utc>, due: u64) -> Duration {
    let start = Instant::now();
    let report = block_on(billing.sweep(until, &SweepOptions::default(), |_| ControlFlow::Continue(())));
    let elapsed = start.elapsed();
    let report = report.expect("a sweep");
    assert_eq!(
        (report.steps, report.invoices, report.conflicts, report.failed),
        (due, due, 0, 0),
        "all that is due"
    );
    elapsed
}

/// The same day on the twin. What is to be written is looked up between the pages, which is not counted.
fn swept_by_hand(floor: &mut Floor<'_>, source: &mut Source<'_>, until: DateTime<Utc>, due: u64) -> Duration {
    let page_size = SweepOptions::default().page;
    let (mut elapsed, mut found, mut after) = (Duration::ZERO, 0, None);
    loop {
        let (mut page, reading) = floor.due_page(until.timestamp_micros(), after, page_size);
        elapsed += reading;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        found += page.len();
        // In the order of the keys, as the sweep writes.
        page.sort_by_key(|(_, id)| *id);
        let rows: Vec<_> = page.iter().map(|(_, id)| source.rows(*id)).collect();
        assert!(
            rows.iter().all(|rows| rows.len() == 4),
            "a renewal by a sweep writes four rows"
        );
        elapsed += floor.write(&rows);
    }
    assert_eq!(u64::try_from(found), Ok(due), "all that is due");
    elapsed
}

fn renewals(connection: &Connection) -> i64 {
    let sql = "SELECT count(*) FROM invoices WHERE number = 2 AND kind = 'renewal' AND status = 'open'";
    connection.query_row(sql, [], |row| row.get(0)).expect("a count")
}

/// Resident memory before and at the peak, in KiB, of a process that sweeps `path` until `until` and nothing else.
fn measured_apart(path: &Path, until: DateTime<Utc>) -> Option<[u64; 2]> {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .env(MEMORY_FILE, path)
        .env(MEMORY_UNTIL, until.to_rfc3339())
        .output()
        .expect("a process");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??])
}

fn memory_run(path: &Path, until: DateTime<Utc>) {
    let store = Arc::new(SqliteStore::open(path).expect("a store"));
    let billing = Billing::new(store, Arc::new(TestClock::at(until)));
    let before = resident("VmRSS:");
    let report = block_on(billing.sweep(until, &SweepOptions::default(), |_| ControlFlow::Continue(())));
    assert!(report.is_ok_and(|report| report.steps > 0 && report.failed == 0));
    print(&format!("{before} {}", resident("VmHWM:")));
}

/// A line of `/proc/self/status`, in KiB; "-" where there is no such thing.
fn resident(line: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.split_whitespace().next());
    found.unwrap_or("-").into()
}
