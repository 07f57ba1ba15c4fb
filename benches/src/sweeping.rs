//! Sweeping what falls due, by the engine and by hand.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use billing::{Billing, SweepOptions};
use chrono::{DateTime, TimeDelta, Utc};
use futures_executor::block_on;
use rusqlite::Connection;

use crate::floor::{Floor, Source};
use crate::subscribers::{FIRST_DAY, UNTIL_DUE, at};

/// A day on which so many fall due, evenly spread.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    /// How many.
    pub due: usize,
}

impl Day {
    /// When the one came who is so many places behind the first.
    pub fn came_at(&self, place: usize) -> DateTime<Utc> {
        let micros = 86_400_000_000 / i64::try_from(self.due).expect("a number");
        at(FIRST_DAY) + TimeDelta::microseconds(micros * i64::try_from(place).expect("a number"))
    }

    /// When that one is due.
    pub fn due_at(&self, place: usize) -> DateTime<Utc> {
        self.came_at(place) + UNTIL_DUE
    }
}

/// Lets the engine sweep until `until`, when so many are due; how long that took.
pub fn swept_until(billing: &Billing, until: DateTime<Utc>, due: u64) -> Duration {
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

/// What a sweep by hand took.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand {
    /// To read what is due and to write all rows.
    pub writing: Duration,
    /// To read the usage of what is due.
    pub usage: Duration,
}

/// The same on the twin, where each has so many rows. What is to be written is looked up between the pages, which is not
/// counted.
pub fn swept_by_hand(
    floor: &mut Floor<'_>,
    source: &mut Source<'_>,
    until: DateTime<Utc>,
    due: u64,
    rows_each: usize,
) -> ByHand {
    let page_size = SweepOptions::default().page;
    let (mut by_hand, mut found, mut after) = (ByHand::default(), 0, None);
    loop {
        let (mut page, reading) = floor.due_page(until.timestamp_micros(), after, page_size);
        by_hand.writing += reading;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        found += page.len();
        by_hand.usage += floor.usage(&page);
        // In the order of the keys, as the sweep writes.
        page.sort_by_key(|(_, id)| *id);
        let rows: Vec<_> = page.iter().map(|(_, id)| source.rows(*id)).collect();
        assert!(
            rows.iter().all(|rows| rows.len() == rows_each),
            "a renewal by a sweep writes {rows_each} rows"
        );
        by_hand.writing += floor.write(&rows);
    }
    assert_eq!(u64::try_from(found), Ok(due), "all that is due");
    by_hand
}

/// How many renewals there were in a database.
pub fn renewals(connection: &Connection) -> i64 {
    let sql = "SELECT count(*) FROM invoices WHERE number = 2 AND kind = 'renewal' AND status = 'open'";
    connection.query_row(sql, [], |row| row.get(0)).expect("a count")
}
