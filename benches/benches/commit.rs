//! Durable commits: one caller, many callers at once, and the same rows batched by hand.

use std::path::Path;

use billing::core::ports::Commit;
use billing::core::subscription::Subscription;
use billing::{SqliteStore, Store};
use billing_benches::callers::{CALLERS, THREADS, all_at_once, one_after_the_other};
use billing_benches::floor::{self, Floor, Source};
use billing_benches::measure::{SAMPLES_MIN, Sample, Table, Target, per_second, take_turns};
use billing_benches::subscribers::{FIRST_DAY, at, copy, fill, plan, renewal, standing};
use billing_benches::{Scratch, measuring, print};
use chrono::TimeDelta;
use criterion::Criterion;

/// How many renewals one transaction of the floor has.
const BATCH: usize = 1_024;

/// How large a run is.
struct Size {
    samples: usize,
    /// How many commits the single caller makes in a sample.
    alone: usize,
    /// How many commits each of the callers makes in a sample.
    each: usize,
}

fn main() {
    let size = if measuring() {
        Size {
            samples: 2 * SAMPLES_MIN,
            alone: 256,
            each: 32,
        }
    } else {
        Size {
            samples: 1,
            alone: 8,
            each: 2,
        }
    };
    let block = CALLERS * size.each;
    let (scratch, plan) = (
        Scratch::new(env!("CARGO_TARGET_TMPDIR"), "commit"),
        plan("standard"),
    );
    let [alone, shared, bare] = ["alone.db", "shared.db", "bare.db"].map(|name| scratch.file(name));
    // One block more than samples, to warm up.
    let came: Vec<_> = (0..(size.samples + 1) * block)
        .map(|number| at(FIRST_DAY) + TimeDelta::seconds(i64::try_from(number).expect("a number")))
        .collect();
    fill(&alone, &plan, &came);
    copy(&alone, &shared);
    copy(&alone, &bare);
    let standings: Vec<Subscription> = (0..)
        .zip(&came)
        .map(|(number, at)| standing(number, *at, &plan))
        .collect();
    let commits = |sample: usize, count: usize| -> Vec<Commit> {
        let first = sample * block;
        let standings = &standings[first..first + count];
        let numbers = u64::try_from(first).expect("a number")..;
        numbers
            .zip(standings)
            .map(|(number, standing)| renewal(number, standing, &plan))
            .collect()
    };

    let (alone_store, shared_store) = (open(&alone), open(&shared));
    let (source, target) = (floor::connect(&shared), floor::connect(&bare));
    let (mut source, mut floor) = (Source::new(&source), Floor::new(&target));
    let mut run = |contestant: usize, sample: usize| match contestant {
        0 => one_after_the_other(commits(sample, size.alone), async |commit| {
            committed(&alone_store, commit).await;
        }),
        1 => all_at_once(commits(sample, block), async |commit| {
            committed(&shared_store, commit).await;
        }),
        _ => {
            let ids = &standings[sample * block..(sample + 1) * block];
            let rows: Vec<_> = ids
                .iter()
                .map(|standing| source.rows(standing.id.uuid()))
                .collect();
            assert!(
                rows.iter().all(|rows| rows.len() == 5),
                "a renewal by a command writes five rows"
            );
            let elapsed = rows.chunks(BATCH).map(|batch| floor.write(batch)).sum();
            Sample {
                elapsed,
                elements: u64::try_from(block).expect("a number"),
            }
        }
    };
    for contestant in 0..3 {
        run(contestant, size.samples);
    }
    let before = shared_store.transactions();

    let mut criterion = Criterion::default().configure_from_args();
    let names = ["1 caller", "64 callers", "bare SQLite in batches"];
    let [one, many, batched] = take_turns(&mut criterion, "commit", names, size.samples, run);
    criterion.final_summary();

    let transactions = shared_store.transactions() - before;
    floor::assert_twins(&floor::connect(&shared), &floor::connect(&bare));
    let mut table =
        Table::new("Durable commits of a renewal: subscription, audit entry, invoice, job, answer");
    let ours = per_second(&many, "commits");
    table.ratio(
        &format!("{CALLERS} callers on {THREADS} threads, against 1"),
        ours.clone(),
        per_second(&one, "commits"),
        many.slower_than(&one).inverse(),
        Target::AtLeast(5.0),
    );
    table.ratio(
        &format!("{CALLERS} callers, against bare rows, {BATCH} renewals a transaction"),
        ours,
        per_second(&batched, "commits"),
        many.slower_than(&batched).inverse(),
        Target::AtLeast(0.6),
    );
    table.print();
    let shared = (size.samples * block) as f64 / transactions as f64;
    print(&format!(
        "{CALLERS} callers shared a transaction by {shared:.1} commits"
    ));
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).expect("a store")
}

async fn committed(store: &SqliteStore, commit: Commit) {
    let answers = store.commit(vec![commit]).await.expect("a transaction");
    assert!(
        matches!(answers.as_slice(), [Ok(())]),
        "nobody else changes these"
    );
}
