//! The SQLite store beside the memory store: whatever is asked, both answer the same and end the same.

use std::cell::RefCell;
use std::collections::BTreeMap;

use billing::MemoryStore;
use billing_core::audit::verify;
use billing_core::calendar::{Interval, IntervalUnit};
use billing_core::id::SubscriptionId;
use billing_core::invoice::{InvoiceKind, InvoiceStatus};
use billing_core::plan::{Activation, BillingTiming, Plan, TenantProfile, TrialEnd};
use billing_core::ports::{Commit, CommitRefusal, DueCursor, PlanStored, Store};
use billing_core::retry::{DeclineClass, RetryPolicy};
use billing_core::subscription::{
    Command, Create, Decision, InvoiceClosed, Subscription, UnusedOnCancel, UnusedOnPause, When,
};
use billing_core::usage::{UsageEvent, UsageOutcome, UsageQuery};
use billing_sqlite::SqliteStore;
use billing_tests::kit::{
    Kit, decide, decimal, event, failed, family, key, load, operator, plan, plan_id, product, request,
    settled, start, tenant, usd, wait, with_meter, with_trial,
};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

const TENANTS: u128 = 3;
const PLANS: u128 = 6;
const KEYS: u8 = 12;

/// One thing that is asked of both stores. Numbers pick from what is there.
#[derive(Clone, Debug)]
enum Op {
    PutPlan {
        slot: u128,
        terms: u8,
    },
    SetAvailability {
        slot: u128,
        is_active: bool,
        discontinued: bool,
    },
    Commit(Vec<Step>),
    Usage(Vec<Used>),
    Prune {
        which: usize,
        entry: usize,
        micros: i64,
    },
    PassToDue,
    Pass {
        hours: i64,
    },
    Sweep {
        page: usize,
    },
    Reopen,
}

/// One commit of a batch, decided from what was there before the batch.
#[derive(Clone, Debug)]
struct Step {
    what: What,
    key: Option<u8>,
    tamper: Option<Tamper>,
}

#[derive(Clone, Debug)]
enum What {
    /// `blind`: as if nothing were known of the tenant.
    Create {
        tenant: u128,
        slot: u128,
        method: bool,
        auto_renew: bool,
        trial: bool,
        blind: bool,
    },
    Command {
        which: usize,
        command: u8,
        slot: u128,
    },
    /// A commit of before, once more.
    Again {
        which: usize,
    },
}

/// What a core that is at fault might decide.
#[derive(Clone, Copy, Debug)]
enum Tamper {
    Number,
    Period,
    Closed,
    Version,
    Job,
}

#[derive(Clone, Debug)]
struct Used {
    tenant: u128,
    key: u8,
    meter: bool,
    quantity: i64,
    scale: u32,
    hours_ago: i64,
    property: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let create = (
        1..=TENANTS,
        0..PLANS,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.6),
    )
        .prop_map(|(tenant, slot, method, auto_renew, trial, blind)| What::Create {
            tenant,
            slot,
            method,
            auto_renew,
            trial,
            blind,
        });
    let command = (any::<usize>(), 0_u8..46, 0..PLANS).prop_map(|(which, command, slot)| What::Command {
        which,
        command,
        slot,
    });
    let again = any::<usize>().prop_map(|which| What::Again { which });
    let what = prop_oneof![3 => create, 9 => command, 1 => again];
    let tamper = prop_oneof![
        Just(Tamper::Number),
        Just(Tamper::Period),
        Just(Tamper::Closed),
        Just(Tamper::Version),
        Just(Tamper::Job)
    ];
    (
        what,
        prop::option::weighted(0.3, 0..KEYS),
        prop::option::weighted(0.2, tamper),
    )
        .prop_map(|(what, key, tamper)| Step { what, key, tamper })
}

fn used() -> impl Strategy<Value = Used> {
    (
        1..=TENANTS,
        0_u8..40,
        any::<bool>(),
        0_i64..5_000,
        0_u32..=12,
        -1_i64..2_000,
        any::<bool>(),
    )
        .prop_map(
            |(tenant, key, meter, quantity, scale, hours_ago, property)| Used {
                tenant,
                key,
                meter,
                quantity,
                scale,
                hours_ago,
                property,
            },
        )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..PLANS, 0_u8..4).prop_map(|(slot, terms)| Op::PutPlan { slot, terms }),
        1 => (0..PLANS, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(slot, is_active, discontinued)| Op::SetAvailability { slot, is_active, discontinued }),
        14 => prop::collection::vec(step(), 1..5).prop_map(Op::Commit),
        3 => prop::collection::vec(used(), 0..6).prop_map(Op::Usage),
        1 => (any::<usize>(), any::<usize>(), -1_i64..=1)
            .prop_map(|(which, entry, micros)| Op::Prune { which, entry, micros }),
        2 => Just(Op::PassToDue),
        4 => prop_oneof![(-30_i64..100), (300_i64..1_000)].prop_map(|hours| Op::Pass { hours }),
        3 => (1_usize..4).prop_map(|page| Op::Sweep { page }),
        1 => Just(Op::Reopen),
    ]
}

/// Plans that differ in what makes a difference to what is stored.
fn plan_of(slot: u128, terms: u8) -> Plan {
    let base = with_meter(plan(slot, &format!("plan-{}", slot % 4)), "api");
    let base = Plan {
        version: u32::try_from(slot / 4 + 1).unwrap(),
        product: product("main"),
        ..base
    };
    let base = match slot {
        0 => with_trial(base, "family"),
        1 => Plan {
            activation: Activation::OnPayment { pay_within_hours: 48 },
            ..base
        },
        2 => Plan {
            timing: BillingTiming::InArrears,
            interval: Interval::new(IntervalUnit::Week, 1.try_into().unwrap()),
            ..with_trial(base, "family")
        },
        3 => Plan {
            product: product("side"),
            meters: BTreeMap::new(),
            ..base
        },
        4 => Plan {
            price: usd(0),
            retry: RetryPolicy::IntervalsHours(vec![]),
            retention_days: 10,
            ..base
        },
        _ => {
            let mut moves = with_trial(base, "other-family");
            if let Some(trial) = &mut moves.trial {
                trial.without_payment_method = TrialEnd::MoveTo { plan_id: plan_id(4) };
            }
            moves
        }
    };
    match terms {
        0 => base,
        1 => Plan {
            name: "renamed".into(),
            ..base
        },
        // The name of another plan.
        2 => Plan {
            version: 1,
            code: plan(0, "plan-0").code,
            ..base
        },
        _ => Plan {
            price: usd(2_500),
            grace_period_days: 0,
            ..base
        },
    }
}

fn command_of(kit: &Kit<'_>, current: &Subscription, command: u8, slot: u128) -> Option<Command> {
    let now = kit.now();
    let cancel = |when, unused| {
        Some(Command::Cancel {
            when,
            reason: format!("reason {command}"),
            unused,
        })
    };
    let pause = |when, resume_at, unused| {
        Some(Command::Pause {
            when,
            resume_at,
            unused,
        })
    };
    let change = |when| {
        Some(Command::ChangePlan {
            plan_id: plan_id(slot),
            when,
            tenant: TenantProfile::default(),
        })
    };
    // Up, down and as it is.
    let seats = |when| {
        Some(Command::ChangeQuantity {
            quantity: u32::try_from(slot).unwrap() + 1,
            when,
        })
    };
    let resume_at = Some(now + TimeDelta::days(40));
    match command {
        0..=5 => Some(Command::Advance),
        6 | 7 => Some(Command::Renew),
        8 | 40 | 41 => cancel(When::Now, UnusedOnCancel::None),
        9 => cancel(When::Now, UnusedOnCancel::Credit),
        10 => cancel(When::Now, UnusedOnCancel::Refund),
        11 => cancel(When::AtPeriodEnd, UnusedOnCancel::None),
        12 => Some(Command::UndoCancel),
        13 => Some(Command::Suspend {
            reason: "fraud".into(),
        }),
        14 => Some(Command::Reactivate),
        15 => pause(When::Now, None, UnusedOnPause::Credit),
        16 => pause(When::Now, resume_at, UnusedOnPause::Carry),
        17 => pause(When::AtPeriodEnd, resume_at, UnusedOnPause::Credit),
        18 | 19 => Some(Command::Resume),
        20 => change(Some(When::Now)),
        21 => change(Some(When::AtPeriodEnd)),
        22 => change(None),
        42 => seats(Some(When::Now)),
        43 => seats(Some(When::AtPeriodEnd)),
        44 | 45 => seats(None),
        23 => Some(Command::DropPendingChange),
        24 => Some(Command::SetPaymentMethod {
            payment_method: kit.method(),
        }),
        25 => Some(Command::SetPaymentMethod { payment_method: None }),
        26 => Some(Command::SetAutoRenew {
            auto_renew: !slot.is_multiple_of(3),
        }),
        27 => Some(Command::Unpark),
        28 => failed(current, DeclineClass::Retry),
        29 => failed(current, DeclineClass::AskCustomer),
        30 => failed(current, DeclineClass::Stop),
        31 => failed(current, DeclineClass::Unknown),
        // A payment that comes late, or twice.
        32 => {
            let invoices = wait(kit.store.invoices_of(current.id, 0, 100)).unwrap();
            let invoice = invoices.first()?;
            Some(Command::RecordPayment {
                invoice_id: invoice.id,
                outcome: billing_core::payment::PaymentOutcome::Settled {
                    amount: invoice.total,
                    reference: format!("late-{slot}"),
                    settled_at: now,
                },
            })
        }
        _ => settled(current, &format!("pay-{command}"), now),
    }
}

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
    tally: &'a RefCell<Tally>,
}

impl Pair<'_> {
    fn sqlite(&self) -> &SqliteStore {
        self.sqlite.as_ref().expect("it is open")
    }

    /// Asks both and gives the one answer.
    #[track_caller]
    fn both<T: PartialEq + std::fmt::Debug>(&self, ask: impl Fn(&dyn Store) -> T) -> T {
        let (memory, sqlite) = (ask(self.kit.store), ask(self.sqlite()));
        assert_eq!(memory, sqlite, "memory (left) and SQLite (right) differ");
        memory
    }

    fn pick(&self, which: usize) -> Option<SubscriptionId> {
        self.ids.get(which.checked_rem(self.ids.len())?).copied()
    }

    fn decide(&self, what: &What) -> Option<Decision> {
        match what {
            What::Create {
                tenant: n,
                slot,
                method,
                auto_renew,
                trial,
                blind,
            } => {
                let plan = self.both(|store| wait(store.plan(plan_id(*slot)))).unwrap()?;
                let create = Create {
                    payment_method: self.kit.method().filter(|_| *method),
                    auto_renew: *auto_renew,
                    trial: *trial,
                    ..request(self.kit.new_id(), tenant(*n))
                };
                let decided = if *blind {
                    self.kit.decide_create_as_if(&create, &plan, None, false)
                } else {
                    self.kit.decide_create(&create, &plan)
                };
                decided.ok()
            }
            What::Command { which, command, slot } => {
                let id = self.pick(*which)?;
                let current = self.both(|store| wait(store.subscription(id))).unwrap()?;
                self.decide_command(&current, &command_of(self.kit, &current, *command, *slot)?)
            }
            What::Again { .. } => None,
        }
    }

    fn decide_command(&self, current: &Subscription, command: &Command) -> Option<Decision> {
        let now = self.kit.now();
        let loaded = self.both(|store| load(store, current, command, now)).unwrap()?;
        decide(&loaded, current, command, &self.kit.context(&operator())).ok()
    }

    fn commit_of(&self, step: &Step) -> Option<Commit> {
        if let What::Again { which } = step.what {
            return self.history.get(which.checked_rem(self.history.len())?).cloned();
        }
        let mut commit = self.kit.commit_of(self.decide(&step.what)?);
        let next = &commit.decision.next;
        commit.command = step.key.map(|n| {
            let answer = format!("{{\"version\":{}}}", next.version);
            self.kit.record(next.tenant_id, &format!("key-{n}"), &answer)
        });
        let invoices = wait(self.kit.store.invoices_of(next.id, 0, 100)).unwrap();
        match (step.tamper, &mut commit.decision.opened) {
            (None, _) => {}
            // Far off, so that no other commit of the batch makes it right.
            (Some(Tamper::Version), _) => commit.expected_version += 1_000,
            (Some(Tamper::Job), _) => {
                let known = wait(self.kit.store.jobs(None, 1)).unwrap();
                let again = known.into_iter().map(|job| self.kit.job(next.id, job.effect));
                commit.jobs.extend(again);
                self.tally.borrow_mut().count("a job again");
            }
            (Some(Tamper::Number), Some(opened)) => opened.number = 1,
            (Some(Tamper::Period), Some(opened)) => {
                if let Some(first) = invoices.first() {
                    opened.period = first.period;
                    opened.kind = InvoiceKind::Renewal;
                }
            }
            (Some(Tamper::Closed), _) => {
                let state = InvoiceStatus::Void {
                    voided_at: self.kit.now(),
                };
                let closed = invoices.iter().find(|invoice| !invoice.is_open());
                let closed = closed.map(|invoice| InvoiceClosed {
                    invoice_id: invoice.id,
                    state,
                });
                commit.decision.closed.extend(closed);
            }
            (Some(Tamper::Number | Tamper::Period), None) => {}
        }
        Some(commit)
    }

    fn commit_all(&mut self, commits: Vec<Commit>) {
        if commits.is_empty() {
            return;
        }
        let answers = self.both(|store| wait(store.commit(commits.clone()))).unwrap();
        assert_eq!(answers.len(), commits.len());
        for (answer, commit) in answers.iter().zip(&commits) {
            let label = match answer {
                Ok(()) => format!("status {}", commit.decision.next.status()),
                Err(CommitRefusal::CommandExists { .. }) => "refused: command exists".into(),
                Err(CommitRefusal::VersionConflict { .. }) => "refused: version conflict".into(),
                Err(CommitRefusal::LiveExists { .. }) => "refused: live exists".into(),
                Err(CommitRefusal::TrialExists { .. }) => "refused: trial exists".into(),
                Err(CommitRefusal::InvoiceExists { .. }) => "refused: invoice exists".into(),
                Err(CommitRefusal::InvoiceNotOpen { .. }) => "refused: invoice not open".into(),
                Err(other) => panic!("unknown refusal {other:?}"),
            };
            self.tally.borrow_mut().count(label);
            if answer.is_ok() {
                for entry in &commit.decision.audit {
                    let label = format!("audit {}", entry.action.code());
                    self.tally.borrow_mut().count(label);
                }
            }
        }
        for (commit, answer) in commits.into_iter().zip(answers) {
            let id = commit.decision.next.id;
            self.compare_subscription(id);
            if answer.is_ok() && !self.ids.contains(&id) {
                self.ids.push(id);
            }
            self.history.push(commit);
        }
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
                self.tally.borrow_mut().count(label);
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
            Op::Usage(used) => {
                let now = self.kit.now();
                let events: Vec<_> = used.iter().map(|used| event_of(used, now)).collect();
                let outcomes = self
                    .both(|store| wait(store.record_usage(events.clone(), now)))
                    .unwrap();
                for outcome in outcomes {
                    let label = match outcome {
                        UsageOutcome::Accepted | UsageOutcome::Late { .. } => "usage accepted",
                        UsageOutcome::Duplicate => "usage duplicate",
                        UsageOutcome::Refused(_) => "usage refused",
                    };
                    self.tally.borrow_mut().count(label);
                }
            }
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
                        self.tally.borrow_mut().count("audit entries removed");
                    }
                }
            }
            Op::PassToDue => {
                let due = self
                    .both(|store| wait(store.due(DateTime::<Utc>::MAX_UTC, None, 1)))
                    .unwrap();
                if let Some(due_at) = due.first().and_then(Subscription::next_due) {
                    self.kit.set_now(due_at);
                    self.both(|store| wait(store.due(due_at, None, 1_000))).unwrap();
                    self.tally.borrow_mut().count("due at its very instant");
                }
            }
            Op::Pass { hours } => self.kit.set_now(self.kit.now() + TimeDelta::hours(*hours)),
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
                    self.tally.borrow_mut().count("sweep page");
                    self.commit_all(commits);
                }
            }
            Op::Reopen => {
                self.sqlite = None;
                self.sqlite = Some(open(&self.folder));
                self.tally.borrow_mut().count("reopened");
            }
        }
    }

    fn compare_subscription(&self, id: SubscriptionId) {
        let one = self.both(|store| wait(store.subscription(id))).unwrap();
        let entries = self
            .both(|store| wait(store.audit_entries(id, 0, 1_000)))
            .unwrap();
        let checkpoint = self.both(|store| wait(store.audit_checkpoint(id))).unwrap();
        let invoices = self.both(|store| wait(store.invoices_of(id, 0, 1_000))).unwrap();
        let Some(one) = one else {
            assert!(entries.is_empty() && invoices.is_empty());
            return;
        };
        assert_eq!(verify(id, checkpoint, &entries, one.audit), Ok(()));
        for invoice in &invoices {
            assert_eq!(
                self.both(|store| wait(store.invoice(invoice.id)))
                    .unwrap()
                    .as_ref(),
                Some(invoice)
            );
        }
    }

    fn compare_all(&self) {
        for plan in self.both(|store| wait(store.plans())).unwrap() {
            self.both(|store| wait(store.plan(plan.id))).unwrap();
            self.both(|store| wait(store.plan_by_code(&plan.code, None)))
                .unwrap();
            self.both(|store| wait(store.plan_by_code(&plan.code, Some(plan.version))))
                .unwrap();
        }
        let mut all = 0;
        for n in 1..=TENANTS {
            all += self
                .both(|store| wait(store.subscriptions_of(tenant(n))))
                .unwrap()
                .len();
            for line in ["main", "side"] {
                self.both(|store| wait(store.live_subscription(tenant(n), &product(line))))
                    .unwrap();
            }
            for name in ["family", "other-family"] {
                self.both(|store| wait(store.trial_used(tenant(n), &family(name))))
                    .unwrap();
            }
            for name in 0..KEYS {
                self.both(|store| wait(store.command(tenant(n), &key(&format!("key-{name}")))))
                    .unwrap();
            }
        }
        assert_eq!(all, self.ids.len());
        for id in &self.ids {
            self.compare_subscription(*id);
        }
        self.both(|store| wait(store.due(DateTime::<Utc>::MAX_UTC, None, 1_000)))
            .unwrap();
        let jobs = self.both(|store| wait(store.jobs(None, 10_000))).unwrap();
        for job in jobs.iter().step_by(3) {
            self.both(|store| wait(store.jobs(Some(job.id), 2))).unwrap();
        }
        let now = self.kit.now();
        let measures = with_meter(with_meter(plan(99, "measures"), "api"), "other");
        let queries: Vec<_> = (1..=TENANTS)
            .flat_map(|n| [0, 1, 5].map(|watermark| (n, watermark)))
            .flat_map(|query| self.ids.iter().map(move |id| (query, *id)))
            .map(|((n, watermark), subscription_id)| UsageQuery {
                tenant_id: tenant(n),
                subscription_id,
                plan: &measures,
                origin: start(),
                from: now - TimeDelta::days(20),
                until: now,
                term: None,
                watermark,
                up_to: None,
            })
            .collect();
        self.both(|store| wait(store.usage(&queries))).unwrap();
    }
}

fn event_of(used: &Used, now: DateTime<Utc>) -> UsageEvent {
    let code = if used.meter { "api" } else { "other" };
    let occurred_at = now - TimeDelta::hours(used.hours_ago);
    let mut event = event(
        tenant(used.tenant),
        &format!("use-{}", used.key),
        code,
        "0",
        occurred_at,
    );
    event.quantity = rust_decimal::Decimal::new(used.quantity, used.scale);
    if used.property {
        event.properties.insert("région".into(), format!("{}", used.key));
    }
    // Some keys come with the same content again.
    if used.key.is_multiple_of(3) {
        event.quantity = decimal("1.5");
        event.occurred_at = start() + TimeDelta::hours(i64::from(used.key) * 20);
        event.meter = billing_tests::kit::meter("api");
        event.properties.clear();
    }
    event
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
        tally,
    };
    for slot in 0..PLANS - 1 {
        pair.apply(&Op::PutPlan { slot, terms: 0 });
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
    let outcome = runner.run(&prop::collection::vec(op(), 1..70), |ops| {
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
        48
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
            cases: 64,
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
        "refused: command exists",
        "refused: version conflict",
        "refused: live exists",
        "refused: trial exists",
        "refused: invoice exists",
        "refused: invoice not open",
        "plan created",
        "plan unchanged",
        "plan replaced",
        "plan in use",
        "plan version taken",
        "usage accepted",
        "usage duplicate",
        "usage refused",
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
