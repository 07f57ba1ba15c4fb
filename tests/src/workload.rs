//! Work for a process that is killed or runs out of space, and what must hold of its store afterwards.
//!
//! Every commit carries a command record that says what the commit holds, so that whoever opens the store later can
//! tell whether all of it is there. An acknowledgement is a line, written only after the commit was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use billing_core::audit::{ChainHead, verify};
use billing_core::id::{SubscriptionId, TenantId};
use billing_core::outbox::Job;
use billing_core::plan::Plan;
use billing_core::ports::{Commit, CommitRefusal, Store, StoreError};
use billing_core::subscription::{self, Command, Create, CreateFacts, Decision, Subscription};
use billing_core::usage::{UsageEvent, UsageOutcome, UsageQuery};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kit::{
    Kit, cancel_now, decide, event, key, load, operator, plan, request, settled, start, tenant, wait,
    with_meter,
};

/// How many threads work at once.
pub const THREADS: u32 = 4;

/// How many events a batch of usage has.
const BATCH: usize = 5;

/// The plan that everybody is on.
pub fn the_plan() -> Plan {
    with_meter(plan(1, "basic"), "api")
}

/// Tenant number `n` of a space; two spaces share none.
pub fn tenant_of(space: u32, n: u32) -> TenantId {
    tenant((u128::from(space) << 32) | u128::from(n))
}

/// A line that a worker writes when something is committed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// The store is open.
    Ready,
    /// A version of the subscription of a tenant.
    Version {
        /// Whose space.
        space: u32,
        /// Which tenant of it.
        n: u32,
        /// Which subscription.
        id: SubscriptionId,
        /// The version.
        version: u64,
    },
    /// A batch of usage of a tenant.
    Usage {
        /// Whose space.
        space: u32,
        /// Which tenant of it.
        n: u32,
        /// Which batch, from 0.
        batch: u32,
    },
    /// A write failed.
    Failed {
        /// How: the name of the error.
        error: String,
    },
    /// What was acknowledged is still read after the failure, or why not.
    Reads {
        /// The error.
        error: Option<String>,
    },
    /// What a write answers after the failure.
    Again {
        /// The error.
        error: Option<String>,
    },
}

impl Ack {
    /// Writes the line, whole, at once.
    ///
    /// # Panics
    ///
    /// When nobody reads it.
    pub fn write(&self) {
        let mut line = serde_json::to_string(self).expect("an acknowledgement is JSON");
        line.push('\n');
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .expect("somebody reads");
    }

    /// The whole lines of what a worker wrote; a last one that was cut short is not acknowledged.
    ///
    /// # Panics
    ///
    /// When a whole line is something else.
    pub fn read_all(text: &str) -> Vec<Self> {
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(|line| serde_json::from_str(line).expect("an acknowledgement"))
            .collect()
    }
}

/// The name of an error, without what the driver said.
pub fn name_of(error: &StoreError) -> String {
    let name = match error {
        StoreError::Busy { .. } => "busy",
        StoreError::Full { .. } => "full",
        StoreError::ReadOnly { .. } => "read_only",
        StoreError::Io { .. } => "io",
        StoreError::Closed => "closed",
        other => return format!("{other:?}"),
    };
    name.into()
}

/// What a commit says of itself: everything that must be there when it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Said {
    id: SubscriptionId,
    version: u64,
    audit: u64,
    invoices: u32,
    jobs: Vec<Job>,
    opened: Option<Uuid>,
    closed: Vec<Uuid>,
    /// Created by the same call: both are there or none.
    twin: Option<TenantId>,
    padding: String,
}

/// The commit of a decision, with its record under the key of its version.
fn saying(kit: &Kit<'_>, decision: Decision, twin: Option<TenantId>, padding: usize) -> Commit {
    let commit = kit.commit_of(decision);
    let decision = &commit.decision;
    let next = &decision.next;
    let said = Said {
        id: next.id,
        version: next.version,
        audit: next.audit.sequence,
        invoices: next.invoices,
        jobs: commit.jobs.clone(),
        opened: decision.opened.as_ref().map(|invoice| invoice.id.uuid()),
        closed: decision
            .closed
            .iter()
            .map(|closed| closed.invoice_id.uuid())
            .collect(),
        twin,
        padding: "x".repeat(padding),
    };
    let answer = serde_json::to_string(&said).expect("it is JSON");
    let record = kit.record(next.tenant_id, &format!("v{}", next.version), &answer);
    Commit {
        command: Some(record),
        ..commit
    }
}

/// A creation from no facts but the plan: the tenant is new.
fn creation(kit: &Kit<'_>, tenant_id: TenantId) -> Decision {
    let plan = the_plan();
    let create = Create {
        payment_method: kit.method(),
        ..request(kit.new_id(), tenant_id)
    };
    let facts = CreateFacts {
        plan: &plan,
        live: None,
        trial_used: false,
        siblings: &[],
        tax: None,
        coupon: None,
    };
    subscription::create(&create, &facts, &kit.context(&operator())).expect("a creation")
}

fn batch_of(tenant_id: TenantId, batch: u32, occurred_at: DateTime<Utc>) -> Vec<UsageEvent> {
    (0..BATCH)
        .map(|n| event(tenant_id, &format!("u-{batch}-{n}"), "api", "30", occurred_at))
        .collect()
}

/// One worker of a process that is to be killed: it goes on until then.
///
/// # Panics
///
/// When the store fails, or refuses what it must take.
pub fn work(store: &dyn Store, run: u32, thread: u32) {
    let space = run * 16 + thread;
    let kit = Kit::in_space(store, space + 1);
    let shared = tenant_of(run * 16 + THREADS, 0);
    for n in (0..).step_by(2) {
        kit.set_now(start() + TimeDelta::hours(i64::from(n)));
        // Two at once, in one transaction.
        let (left, right) = (tenant_of(space, n), tenant_of(space, n + 1));
        let (one, two) = (creation(&kit, left), creation(&kit, right));
        let (id, other) = (one.next.id, two.next.id);
        let commits = vec![
            saying(&kit, one, Some(right), 0),
            saying(&kit, two, Some(left), 0),
        ];
        assert_eq!(kit.commit_all(commits), [Ok(()), Ok(())]);
        Ack::Version {
            space,
            n,
            id,
            version: 1,
        }
        .write();
        Ack::Version {
            space,
            n: n + 1,
            id: other,
            version: 1,
        }
        .write();

        step(&kit, (space, n), id, |current| {
            settled(current, "first", kit.now())
        });
        for round in 0..3 {
            let batch = batch_of(left, round, kit.now());
            assert_eq!(kit.use_up(batch), vec![UsageOutcome::Accepted; BATCH]);
            Ack::Usage {
                space,
                n,
                batch: round,
            }
            .write();
            if let Some(due) = kit.read(id).next_due() {
                kit.set_now(due);
                step(&kit, (space, n), id, |_| Some(Command::Advance));
                step(&kit, (space, n), id, |current| {
                    settled(current, "renewal", kit.now())
                });
            }
            toggle(&kit, run, shared);
        }
        step(&kit, (space, n + 1), other, |_| Some(cancel_now()));
    }
}

/// Creates what all workers of a run change.
///
/// # Panics
///
/// As [`work`].
pub fn begin(store: &dyn Store, run: u32) {
    let kit = Kit::in_space(store, run * 16 + THREADS + 1);
    kit.put_plans(&[&the_plan()]);
    let space = run * 16 + THREADS;
    let decision = creation(&kit, tenant_of(space, 0));
    let id = decision.next.id;
    kit.commit(saying(&kit, decision, None, 0)).expect("a commit");
    Ack::Version {
        space,
        n: 0,
        id,
        version: 1,
    }
    .write();
}

fn step(
    kit: &Kit<'_>,
    (space, n): (u32, u32),
    id: SubscriptionId,
    command: impl Fn(&Subscription) -> Option<Command>,
) {
    let current = kit.read(id);
    let command = command(&current).expect("a command");
    let decision = kit.decide(&current, &command).expect("a decision");
    let version = decision.next.version;
    kit.commit(saying(kit, decision, None, 0)).expect("a commit");
    Ack::Version {
        space,
        n,
        id,
        version,
    }
    .write();
}

/// All workers change the same subscription: who loses the race reads again.
fn toggle(kit: &Kit<'_>, run: u32, shared: TenantId) {
    let current = wait(kit.store.subscriptions_of(shared)).expect("reads").remove(0);
    let mut current = current;
    loop {
        let command = Command::SetAutoRenew {
            auto_renew: !current.auto_renew,
        };
        let loaded = load(kit.store, &current, &command, kit.now())
            .expect("loads")
            .expect("the plan");
        let decision = decide(&loaded, &current, &command, &kit.context(&operator())).expect("a decision");
        let version = decision.next.version;
        match kit.commit(saying(kit, decision, None, 0)) {
            Ok(()) => {
                Ack::Version {
                    space: run * 16 + THREADS,
                    n: 0,
                    id: current.id,
                    version,
                }
                .write();
                return;
            }
            Err(CommitRefusal::VersionConflict { .. } | CommitRefusal::CommandExists { .. }) => {
                current = kit.read(current.id);
            }
            Err(refusal) => panic!("{refusal}"),
        }
    }
}

/// Creates subscriptions until a write fails, then says what still works, after `make_room` if there is one.
///
/// # Panics
///
/// When the store never fails.
pub fn fill(store: &dyn Store, space: u32, make_room: Option<&Path>) {
    let kit = Kit::in_space(store, space + 1);
    let create = |n: u32| -> Result<Ack, StoreError> {
        let decision = creation(&kit, tenant_of(space, n));
        let (id, version) = (decision.next.id, decision.next.version);
        let answers = wait(store.commit(vec![saying(&kit, decision, None, 20_000)]))?;
        assert_eq!(answers, [Ok(())]);
        let batch = batch_of(tenant_of(space, n), 0, kit.now());
        // Usage is written in its own transaction; its failure is a failure too.
        Ack::Version {
            space,
            n,
            id,
            version,
        }
        .write();
        wait(store.record_usage(batch, kit.now()))?;
        Ok(Ack::Usage { space, n, batch: 0 })
    };
    match wait(store.put_plan(&the_plan())) {
        Ok(_) => {}
        Err(error) => {
            return Ack::Failed {
                error: name_of(&error),
            }
            .write();
        }
    }
    let mut acknowledged = 0;
    let failed = (0..100_000).find_map(|n| match create(n) {
        Ok(ack) => {
            ack.write();
            acknowledged = n + 1;
            None
        }
        Err(error) => Some(error),
    });
    let failed = failed.expect("the store never failed");
    Ack::Failed {
        error: name_of(&failed),
    }
    .write();
    let reads = (0..acknowledged).find_map(|n| match wait(store.subscriptions_of(tenant_of(space, n))) {
        Ok(found) if found.len() == 1 => None,
        Ok(found) => Some(format!("{} of tenant {n}", found.len())),
        Err(error) => Some(name_of(&error)),
    });
    Ack::Reads { error: reads }.write();
    if let Some(path) = make_room {
        std::fs::remove_file(path).expect("room is made");
    }
    // A tenant apart, so that the numbers above stay without a hole.
    match create(1_000_000) {
        Ok(ack) => {
            ack.write();
            Ack::Again { error: None }.write();
        }
        Err(error) => Ack::Again {
            error: Some(name_of(&error)),
        }
        .write(),
    }
}

/// How much a check has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Subscriptions.
    pub subscriptions: u64,
    /// Commits.
    pub commits: u64,
    /// Batches of usage that were acknowledged.
    pub usage: u64,
}

/// The spaces of a run of [`work`].
pub fn spaces_of(run: u32) -> impl Iterator<Item = u32> {
    run * 16..=run * 16 + THREADS
}

/// Checks that all that was acknowledged is there, and that all that is there is whole: in `spaces`, where somebody
/// may have committed without having acknowledged anything.
///
/// # Panics
///
/// When something is not as it must be.
pub fn check(store: &dyn Store, acks: &[Ack], spaces: impl IntoIterator<Item = u32>) -> Seen {
    let mut seen = Seen::default();
    let mut versions: BTreeMap<(u32, u32), BTreeSet<u64>> = BTreeMap::new();
    let mut last: BTreeMap<u32, u32> = spaces.into_iter().map(|space| (space, 0)).collect();
    for ack in acks {
        match ack {
            Ack::Version {
                space, n, version, ..
            } => {
                let fresh = versions.entry((*space, *n)).or_default().insert(*version);
                assert!(
                    fresh,
                    "version {version} of tenant {n} in space {space} was acknowledged twice"
                );
                let last = last.entry(*space).or_default();
                *last = (*n).max(*last);
            }
            Ack::Usage { space, n, batch } => {
                let events = batch_again(store, *space, *n, *batch);
                assert_eq!(
                    events,
                    vec![UsageOutcome::Duplicate; BATCH],
                    "acknowledged: {ack:?}"
                );
                seen.usage += 1;
            }
            Ack::Ready | Ack::Failed { .. } | Ack::Reads { .. } | Ack::Again { .. } => {}
        }
    }
    let mut outbox: BTreeMap<SubscriptionId, Vec<Job>> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = wait(store.jobs(after, 500)).expect("jobs");
        let Some(end) = page.last() else { break };
        assert_ne!(after, Some(end.id), "the pages do not end");
        after = Some(end.id);
        for job in page {
            outbox.entry(job.subscription_id).or_default().push(job);
        }
    }
    // Each worker goes one tenant, or a pair of them, beyond what it has acknowledged.
    let mut tenants: BTreeSet<(u32, u32)> = versions.keys().copied().collect();
    for (space, n) in last {
        tenants.extend((0..n.min(100_000) + 4).map(|n| (space, n)));
    }
    for (space, n) in tenants {
        let found = wait(store.subscriptions_of(tenant_of(space, n))).expect("reads");
        assert!(found.len() <= 1);
        let acknowledged = versions
            .get(&(space, n))
            .and_then(|versions| versions.last())
            .copied();
        let Some(one) = found.first() else {
            assert_eq!(
                acknowledged, None,
                "tenant {n} of space {space} was acknowledged and is lost"
            );
            let record = wait(store.command(tenant_of(space, n), &key("v1"))).expect("reads");
            assert_eq!(record, None, "a half commit");
            continue;
        };
        assert!(
            Some(one.version) >= acknowledged,
            "version {acknowledged:?} is lost, {} is there",
            one.version
        );
        check_whole(store, one, outbox.remove(&one.id).unwrap_or_default());
        seen.subscriptions += 1;
        seen.commits += one.version;
    }
    assert!(outbox.is_empty(), "jobs of unknown subscriptions: {outbox:?}");
    seen
}

fn batch_again(store: &dyn Store, space: u32, n: u32, batch: u32) -> Vec<UsageOutcome> {
    let tenant_id = tenant_of(space, n);
    // When it occurred is known to the worker alone; a duplicate that differs just there is there all the same.
    let events = batch_of(tenant_id, batch, start());
    let outcomes = wait(store.record_usage(events, start())).expect("records");
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            UsageOutcome::Refused(billing_core::usage::UsageRefusal::KeyReused {
                field: billing_core::usage::UsageField::OccurredAt,
                ..
            }) => UsageOutcome::Duplicate,
            other => other,
        })
        .collect()
}

/// Whether everything that its commits said is there, and nothing else.
fn check_whole(store: &dyn Store, one: &Subscription, jobs: Vec<Job>) {
    let id = one.id;
    let mut said = Vec::new();
    for version in 1..=one.version {
        let record = wait(store.command(one.tenant_id, &key(&format!("v{version}"))))
            .expect("reads")
            .unwrap_or_else(|| {
                panic!(
                    "subscription {id} has version {}, command {version} is lost",
                    one.version
                )
            });
        let record: Said = serde_json::from_str(&record.answer).expect("a record");
        assert_eq!((record.id, record.version), (id, version));
        said.push(record);
    }
    let beyond = wait(store.command(one.tenant_id, &key(&format!("v{}", one.version + 1)))).expect("reads");
    assert_eq!(beyond, None, "a half commit");
    let newest = said.last().expect("a version");
    assert_eq!(
        (newest.audit, newest.invoices),
        (one.audit.sequence, one.invoices)
    );

    let entries = wait(store.audit_entries(id, 0, 10_000)).expect("entries");
    assert_eq!(verify(id, ChainHead::default(), &entries, one.audit), Ok(()));

    let invoices = wait(store.invoices_of(id, 0, 10_000)).expect("invoices");
    let numbers: Vec<_> = invoices.iter().map(|invoice| invoice.number).collect();
    assert_eq!(numbers, Vec::from_iter(1..=one.invoices));
    let opened: Vec<_> = said.iter().filter_map(|said| said.opened).collect();
    assert_eq!(
        invoices
            .iter()
            .map(|invoice| invoice.id.uuid())
            .collect::<Vec<_>>(),
        opened
    );
    let closed: BTreeSet<_> = said.iter().flat_map(|said| said.closed.clone()).collect();
    for invoice in &invoices {
        assert!(invoice.adds_up(), "{invoice:?}");
        // One over nothing was never open.
        let was_open = !invoice.total.is_zero();
        assert_eq!(
            !invoice.is_open(),
            closed.contains(&invoice.id.uuid()) || !was_open,
            "{invoice:?}"
        );
    }
    let open: Vec<_> = invoices
        .iter()
        .filter(|invoice| invoice.is_open())
        .map(|invoice| invoice.id)
        .collect();
    let collected: Vec<_> = one
        .state
        .collection()
        .map(|collection| collection.invoice_id)
        .into_iter()
        .collect();
    assert_eq!(open, collected);

    let expected: Vec<_> = said.iter().flat_map(|said| said.jobs.clone()).collect();
    assert_eq!(jobs, expected);
    if let Some(twin) = said[0].twin {
        let twins = wait(store.subscriptions_of(twin)).expect("reads");
        assert_eq!(twins.len(), 1, "created by the same call as {id}");
    }
    let everything = UsageQuery {
        tenant_id: one.tenant_id,
        subscription_id: one.id,
        plan: &with_meter(plan(9, "measures"), "api"),
        origin: DateTime::<Utc>::MIN_UTC,
        from: DateTime::<Utc>::MIN_UTC,
        until: DateTime::<Utc>::MAX_UTC,
        term: None,
        watermark: 0,
        up_to: None,
    };
    let usage = wait(store.usage(&[everything])).expect("usage").remove(0);
    for total in usage.meters.values().flat_map(BTreeMap::values) {
        assert_eq!(
            total.events % u64::try_from(BATCH).expect("fits"),
            0,
            "half a batch of usage"
        );
    }
}

/// What SQLite itself says of the file.
///
/// # Panics
///
/// When it is not sound.
pub fn check_file(path: &Path) {
    let connection = rusqlite::Connection::open(path).expect("the file opens");
    let sound: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("an integrity check");
    assert_eq!(sound, "ok");
    let mut statement = connection
        .prepare("PRAGMA foreign_key_check")
        .expect("a foreign key check");
    let dangling = statement
        .query_map([], |_| Ok(()))
        .expect("a foreign key check")
        .count();
    assert_eq!(dangling, 0, "rows that point nowhere");
}
