//! The SQLite store beside the memory store: whatever is asked, both answer the same and end the same.

use std::cell::RefCell;
use std::collections::BTreeMap;

use billing::MemoryStore;
use billing_core::id::SubscriptionId;
use billing_core::ports::{Commit, DueCursor, PlanStored, Store};
use billing_core::subscription::{Command, Subscription};
use billing_sqlite::SqliteStore;
use billing_tests::kit::{Kit, plan_id, start, wait};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

use crate::catalogue::{coupon_of, plan_of};
use crate::operation::{COUPONS, Op, PLANS, op};

mod catalogue;
mod command;
mod commit;
mod comparison;
mod operation;
mod usage;

/// What was reached, so that nothing is compared in vain.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, usize>);

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

struct Pair<'a> {
    kit: &'a Kit<'a>,
    folder: TempDir,
    sqlite: Option<SqliteStore>,
    ids: Vec<SubscriptionId>,
    history: Vec<Commit>,
    /// The latest time that there was: it may be set back.
    latest: DateTime<Utc>,
    tally: &'a RefCell<Tally>,
}

impl Pair<'_> {
    fn sqlite(&self) -> &SqliteStore {
        self.sqlite.as_ref().expect("it is open")
    }

    /// Asks both and gives the one answer.
    #[track_caller]
    pub(crate) fn both<T: PartialEq + std::fmt::Debug>(&self, ask: impl Fn(&dyn Store) -> T) -> T {
        let (memory, sqlite) = (ask(self.kit.store), ask(self.sqlite()));
        assert_eq!(memory, sqlite, "memory (left) and SQLite (right) differ");
        memory
    }

    pub(crate) fn pick(&self, which: usize) -> Option<SubscriptionId> {
        self.ids.get(which.checked_rem(self.ids.len())?).copied()
    }

    fn count(&self, what: &str) {
        self.tally.borrow_mut().count(what);
    }

    fn set_now(&mut self, now: DateTime<Utc>) {
        self.kit.set_now(now);
        self.latest = self.latest.max(now);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::PutPlan { slot, terms } => {
                let stored = self
                    .both(|store| wait(store.put_plan(&plan_of(*slot, *terms))))
                    .unwrap();
                let label = match stored {
                    PlanStored::Created => "plan created",
                    PlanStored::Unchanged => "plan unchanged",
                    PlanStored::Replaced => "plan replaced",
                    PlanStored::InUse => "plan in use",
                    PlanStored::VersionTaken { .. } => "plan version taken",
                };
                self.count(label);
                self.both(|store| wait(store.plans())).unwrap();
            }
            Op::SetAvailability {
                slot,
                is_active,
                discontinued,
            } => {
                self.both(|store| {
                    wait(store.set_plan_availability(plan_id(*slot), *is_active, *discontinued))
                })
                .unwrap();
            }
            Op::Commit(steps) => {
                let commits = steps.iter().filter_map(|step| self.commit_of(step)).collect();
                self.commit_all(commits);
            }
            Op::PutCoupon { slot, terms } => {
                self.both(|store| wait(store.put_coupon(&coupon_of(*slot, *terms))))
                    .unwrap();
            }
            Op::Usage(used) => self.record(used),
            Op::Limits(limited) => limited.iter().for_each(|one| self.ask(one)),
            // At an entry, or right beside it.
            Op::Prune { which, entry, micros } => {
                if let Some(id) = self.pick(*which) {
                    let entries = self
                        .both(|store| wait(store.audit_entries(id, 0, 1_000)))
                        .unwrap();
                    let at = entries[entry % entries.len()].at;
                    let before = at + TimeDelta::microseconds(*micros);
                    let removed = self.both(|store| wait(store.prune_audit(id, before))).unwrap();
                    self.compare_subscription(id);
                    if removed > 0 {
                        self.count("audit entries removed");
                    }
                }
            }
            Op::PassToDue => {
                let due = self
                    .both(|store| wait(store.due(DateTime::<Utc>::MAX_UTC, None, 1)))
                    .unwrap();
                if let Some(due_at) = due.first().and_then(Subscription::next_due) {
                    self.set_now(due_at);
                    self.both(|store| wait(store.due(due_at, None, 1_000))).unwrap();
                    self.count("due at its very instant");
                }
            }
            Op::Pass { hours } => self.set_now(self.kit.now() + TimeDelta::hours(*hours)),
            Op::Sweep { page } => {
                let (now, mut after) = (self.kit.now(), None);
                loop {
                    let due = self.both(|store| wait(store.due(now, after, *page))).unwrap();
                    let Some(last) = due.last() else { break };
                    let next = last.next_due().map(|due_at| DueCursor { due_at, id: last.id });
                    assert_ne!(after, next, "the pages do not end");
                    after = next;
                    let decisions = due
                        .iter()
                        .filter_map(|one| self.decide_command(one, &Command::Advance));
                    let commits = decisions.map(|decision| self.kit.commit_of(decision)).collect();
                    self.count("sweep page");
                    self.commit_all(commits);
                }
            }
            Op::Reopen => {
                self.sqlite = None;
                self.sqlite = Some(open(&self.folder));
                self.count("reopened");
            }
        }
    }
}

fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path().join("billing.db")).expect("the store opens")
}

fn run(ops: &[Op], tally: &RefCell<Tally>) {
    let memory = MemoryStore::new();
    let kit = Kit::new(&memory);
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Some(open(&folder));
    let mut pair = Pair {
        kit: &kit,
        folder,
        sqlite,
        ids: vec![],
        history: vec![],
        latest: start(),
        tally,
    };
    for slot in 0..PLANS - 1 {
        pair.apply(&Op::PutPlan { slot, terms: 0 });
    }
    // One coupon is put by chance only.
    for slot in 0..COUPONS - 1 {
        pair.apply(&Op::PutCoupon { slot, terms: 0 });
    }
    for op in ops {
        pair.apply(op);
    }
    pair.compare_all();
    pair.apply(&Op::Reopen);
    pair.compare_all();
}

fn compare(mut runner: TestRunner) -> Tally {
    let tally = RefCell::new(Tally::default());
    let outcome = runner.run(&prop::collection::vec(op(), 1..140), |ops| {
        run(&ops, &tally);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    tally.into_inner()
}

/// Few cases by default, for the disk's sake; `PROPTEST_CASES` asks for more.
fn config() -> Config {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() {
        Config::default().cases
    } else {
        24
    };
    Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 600,
        ..Config::default()
    }
}

/// Other sequences at each run.
#[test]
fn whatever_is_asked_both_stores_answer_the_same() {
    compare(TestRunner::new(config()));
}

/// The same sequences at each run, which reach every refusal, outcome and state.
#[test]
fn the_sequences_reach_everything() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let tally = compare(TestRunner::new_with_rng(
        Config {
            cases: 48,
            ..config()
        },
        rng,
    ));
    let reached = [
        "status pending",
        "status trial",
        "status active",
        "status expired",
        "status suspended",
        "status canceled",
        "audit quantity_change_scheduled",
        "audit quantity_changed",
        "audit coupon_redeemed",
        "audit credit_granted",
        "audit credit_voided",
        "audit credit_note_issued",
        "refused: command exists",
        "refused: version conflict",
        "refused: live exists",
        "refused: trial exists",
        "refused: coupon spent",
        "refused: invoice exists",
        "refused: credit note exists",
        "refused: invoice not open",
        "plan created",
        "plan unchanged",
        "plan replaced",
        "plan in use",
        "plan version taken",
        "usage accepted",
        "usage duplicate",
        "usage refused",
        "counter with leases",
        "consumed",
        "consumed duplicate",
        "consumed over limit",
        "consumed refused",
        "consumed withheld",
        "lease held",
        "lease duplicate",
        "lease ended",
        "lease key reused",
        "lease over limit",
        "lease released",
        "settled",
        "settled duplicate",
        "settled refused",
        "settled released",
        "settled unknown",
        "audit entries removed",
        "sweep page",
        "due at its very instant",
        "a job again",
        "reopened",
    ];
    for what in reached {
        assert!(
            tally.0.contains_key(what),
            "never reached: {what}; reached: {tally:?}"
        );
    }
}
