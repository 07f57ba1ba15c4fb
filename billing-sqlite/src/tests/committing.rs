//! The writer: group commit, refusals, what becomes of requests when their caller or the store is gone.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use billing_core::audit::Digest;
use billing_core::id::{IdempotencyKey, InvoiceId, PlanId};
use billing_core::invoice::{InvoiceKind, InvoiceStatus};
use billing_core::ports::{CommandRecord, Commit, CommitRefusal, Store as _, StoreError};
use billing_core::subscription::{Command, InvoiceClosed, Subscription, UnusedOnCancel, When};
use futures_executor::block_on;
use futures_util::future::join_all;
use uuid::Uuid;

use super::kit::{at, created, days, decided, dump, paid, plan, store, subscription, tenant};
use crate::SqliteStore;

/// Stops the writer until the returned sender is dropped, so that requests queue up behind.
fn hold(store: &SqliteStore) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel();
    let (began, begun) = mpsc::channel();
    drop(store.writer.submit(0, move |_| {
        let _ = began.send(());
        let _ = held.recv();
        Ok(())
    }));
    begun.recv().unwrap();
    release
}

#[test]
fn what_queues_up_shares_a_transaction() {
    let store = store();
    let held = hold(&store);
    let before = store.transactions();
    let commits: Vec<_> = (0..200)
        .map(|number| store.commit(vec![created(number, at(0), false)]))
        .collect();
    drop(held);
    for answer in block_on(join_all(commits)) {
        assert_eq!(answer, Ok(vec![Ok(())]));
    }
    // They came while the one that was held ran, so they go with it.
    assert_eq!(store.transactions() - before, 1);
}

#[test]
fn concurrent_callers_need_fewer_transactions_than_commits() {
    let store = Arc::new(store());
    let before = store.transactions();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let commits =
                    (0..50).map(|number| store.commit(vec![created(thread * 100 + number, at(0), false)]));
                for answer in block_on(join_all(commits)) {
                    assert_eq!(answer, Ok(vec![Ok(())]));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(store.transactions() - before < 200);
    assert_eq!(block_on(store.jobs(None, 1000)).unwrap().len(), 400);
}

#[test]
fn a_group_ends_when_it_has_enough_rows() {
    let store = store();
    let held = hold(&store);
    let before = store.transactions();
    // Each writes four rows: subscription, audit entry, invoice, job.
    let commits: Vec<_> = (0..2_000)
        .map(|number| store.commit(vec![created(number, at(0), false)]))
        .collect();
    drop(held);
    block_on(join_all(commits));
    assert_eq!(store.transactions() - before, 2);
}

#[test]
fn each_refusal_in_its_order_without_a_trace() {
    let store = store();
    let command = CommandRecord {
        tenant_id: tenant(1),
        key: IdempotencyKey::new("key").unwrap(),
        fingerprint: Digest::of(b"asked"),
        answer: "{}".into(),
        recorded_at: at(0),
    };
    let mut first = created(1, at(0), true);
    first.command = Some(command.clone());
    assert_eq!(block_on(store.commit(vec![first.clone()])).unwrap(), [Ok(())]);
    let paying = created(2, at(0), false);
    assert_eq!(block_on(store.commit(vec![paying.clone()])).unwrap(), [Ok(())]);
    let bought = paying.decision.opened.clone().unwrap();

    // Everything is wrong at first; then one fault after the other is put right.
    let mut wrong = first.clone();
    wrong.expected_version = 7;
    let mut opened = bought.clone();
    opened.id = InvoiceId::new(Uuid::from_u128(99));
    wrong.decision.opened = Some(opened);
    wrong.decision.closed = vec![InvoiceClosed {
        invoice_id: InvoiceId::new(Uuid::from_u128(98)),
        state: InvoiceStatus::Void { voided_at: at(1) },
    }];
    let before = dump(&store);
    let refusal = |commit: &Commit| {
        let answers = block_on(store.commit(vec![commit.clone()])).unwrap();
        assert_eq!(dump(&store), before);
        answers.into_iter().next().unwrap().unwrap_err()
    };
    assert_eq!(refusal(&wrong), CommitRefusal::CommandExists { key: command.key });
    wrong.command = None;
    let version_conflict = |expected, found| CommitRefusal::VersionConflict {
        id: subscription(1),
        expected,
        found,
    };
    assert_eq!(refusal(&wrong), version_conflict(7, 1));
    wrong.expected_version = 0;
    assert_eq!(refusal(&wrong), version_conflict(0, 1));
    wrong.decision.next.id = subscription(3);
    wrong.expected_version = 1;
    assert!(matches!(
        refusal(&wrong),
        CommitRefusal::VersionConflict { found: 0, .. }
    ));
    wrong.expected_version = 0;
    assert!(matches!(refusal(&wrong), CommitRefusal::LiveExists { .. }));
    wrong.decision.next.tenant_id = tenant(3);
    assert!(matches!(refusal(&wrong), CommitRefusal::TrialExists { .. }));
    wrong.decision.trial = None;
    let invoice_exists = |number| CommitRefusal::InvoiceExists {
        subscription_id: subscription(2),
        number,
    };
    assert_eq!(refusal(&wrong), invoice_exists(1));
    // Another number, and the same period.
    wrong.decision.opened.as_mut().unwrap().number = 2;
    assert_eq!(refusal(&wrong), invoice_exists(2));
    wrong.decision.opened = None;
    assert!(matches!(refusal(&wrong), CommitRefusal::InvoiceNotOpen { .. }));
    wrong.decision.closed.clear();
    for entry in &mut wrong.decision.audit {
        entry.subscription_id = subscription(3);
    }
    assert_eq!(block_on(store.commit(vec![wrong])).unwrap(), [Ok(())]);
}

#[test]
fn a_stale_step_of_a_sweep_leaves_no_trace() {
    let store = store();
    let first = created(1, at(0), true);
    let renewed = decided(&first.decision.next, &Command::Advance, days(14));
    assert!(renewed.decision.opened.is_some());
    let conflict = |found| CommitRefusal::VersionConflict {
        id: subscription(1),
        expected: 1,
        found,
    };
    let empty = dump(&store);
    assert_eq!(
        block_on(store.commit(vec![renewed.clone()])).unwrap(),
        [Err(conflict(0))]
    );
    assert_eq!(dump(&store), empty);
    // A step that opens nothing goes before it, read in between: what a reader remembers must not be used again.
    let set = decided(
        &first.decision.next,
        &Command::SetAutoRenew { auto_renew: false },
        at(1),
    );
    for commit in [first, set.clone()] {
        assert_eq!(block_on(store.commit(vec![commit.clone()])).unwrap(), [Ok(())]);
        let found = block_on(store.subscription(subscription(1))).unwrap();
        assert_eq!(found, Some(commit.decision.next));
    }
    let before = dump(&store);
    assert_eq!(block_on(store.commit(vec![renewed])).unwrap(), [Err(conflict(2))]);
    assert_eq!(dump(&store), before);
}

#[test]
fn a_step_by_a_command_is_refused_without_a_trace() {
    let store = store();
    let first = created(1, at(0), true);
    let recorded = |key: &str| {
        Some(CommandRecord {
            tenant_id: tenant(1),
            key: IdempotencyKey::new(key).unwrap(),
            fingerprint: Digest::of(key.as_bytes()),
            answer: "{}".into(),
            recorded_at: at(1),
        })
    };
    let mut renewed = decided(&first.decision.next, &Command::Advance, days(14));
    assert!(renewed.decision.opened.is_some());
    renewed.command = recorded("renew");
    let mut set = decided(
        &first.decision.next,
        &Command::SetAutoRenew { auto_renew: false },
        at(1),
    );
    set.command = recorded("set");
    block_on(store.commit(vec![first, set.clone()])).unwrap();
    let before = dump(&store);
    let refusal = |commit: &Commit| {
        let answers = block_on(store.commit(vec![commit.clone()])).unwrap();
        assert_eq!(dump(&store), before);
        answers.into_iter().next().unwrap().unwrap_err()
    };
    // The key again comes before the version, and its answer stays.
    assert!(matches!(refusal(&set), CommitRefusal::CommandExists { .. }));
    assert!(matches!(
        refusal(&renewed),
        CommitRefusal::VersionConflict {
            expected: 1,
            found: 2,
            ..
        }
    ));
    // That an invoice is taken shows after the command was written.
    let opening = |current: &Subscription, id, key| {
        let mut commit = decided(current, &Command::SetAutoRenew { auto_renew: true }, at(2));
        let mut invoice = renewed.decision.opened.clone().unwrap();
        invoice.id = InvoiceId::new(Uuid::from_u128(id));
        commit.decision.opened = Some(invoice);
        commit.command = recorded(key);
        commit
    };
    let opened = opening(&set.decision.next, 98, "open");
    block_on(store.commit(vec![opened.clone()])).unwrap();
    let before = dump(&store);
    let taken = opening(&opened.decision.next, 99, "open-again");
    let answers = block_on(store.commit(vec![taken])).unwrap();
    assert!(matches!(answers[..], [Err(CommitRefusal::InvoiceExists { .. })]));
    assert_eq!(dump(&store), before);
}

#[test]
fn a_refused_commit_does_not_hinder_the_others_of_its_call() {
    let store = store();
    let answers = block_on(store.commit(vec![
        created(1, at(0), false),
        created(1, at(0), false),
        created(2, at(0), false),
    ]))
    .unwrap();
    assert_eq!(answers[0], Ok(()));
    assert!(matches!(
        answers[1],
        Err(CommitRefusal::VersionConflict { found: 1, .. })
    ));
    assert_eq!(answers[2], Ok(()));
    assert_eq!(store.transactions(), 2);
}

#[test]
fn a_request_that_fails_is_undone_alone() {
    let store = store();
    let mut orphan = created(2, at(0), false);
    orphan.decision.next.plan_id = PlanId::new(Uuid::from_u128(404));
    // Fails at its third row, after two were written.
    let mut doubled = created(3, at(0), false);
    doubled.decision.opened.as_mut().unwrap().id = created(1, at(0), false).decision.opened.unwrap().id;
    let held = hold(&store);
    let answers = join_all([
        store.commit(vec![created(1, at(0), false)]),
        store.commit(vec![created(5, at(0), false), orphan]),
        store.commit(vec![doubled]),
        store.commit(vec![created(4, at(0), false)]),
    ]);
    drop(held);
    let answers = block_on(answers);
    assert_eq!(answers[0], Ok(vec![Ok(())]));
    assert!(
        matches!(&answers[1], Err(StoreError::Internal { detail }) if detail.contains("404") || detail.contains("plan"))
    );
    assert!(
        matches!(&answers[2], Err(StoreError::Internal { .. })),
        "{:?}",
        answers[2]
    );
    assert_eq!(answers[3], Ok(vec![Ok(())]));
    let is_there = |number| {
        block_on(store.subscription(subscription(number)))
            .unwrap()
            .is_some()
    };
    assert_eq!([1, 2, 3, 4, 5].map(is_there), [true, false, false, true, false]);
    assert_eq!(block_on(store.audit_entries(subscription(3), 0, 10)).unwrap(), []);
}

#[test]
fn a_period_is_bought_once_but_for_restarts_and_what_was_voided() {
    let store = store();
    let first = created(1, at(0), false);
    let next = paid(&first, at(1));
    block_on(store.commit(vec![first.clone(), next.clone()])).unwrap();
    let opened = |number: u32, kind| {
        let mut commit = decided(
            &next.decision.next,
            &Command::SetAutoRenew { auto_renew: true },
            at(2),
        );
        let mut invoice = first.decision.opened.clone().unwrap();
        invoice.id = InvoiceId::new(Uuid::from_u128(u128::from(number)));
        (invoice.number, invoice.kind) = (number, kind);
        commit.decision.opened = Some(invoice);
        commit
    };
    let mut commits = vec![
        opened(2, InvoiceKind::First),
        opened(2, InvoiceKind::Renewal),
        opened(2, InvoiceKind::Restart),
    ];
    commits.push(commits[2].clone());
    let answers = block_on(store.commit(commits)).unwrap();
    let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
    // The last only because the version has moved on.
    assert_eq!(refused, [true, true, false, true]);
    assert!(matches!(
        answers[1],
        Err(CommitRefusal::InvoiceExists { number: 2, .. })
    ));

    // An invoice that is voided gives its period free, to another one of the same commit.
    let store = super::kit::store();
    block_on(store.commit(vec![first.clone()])).unwrap();
    let mut swap = opened(2, InvoiceKind::Renewal);
    swap.expected_version = 1;
    let state = InvoiceStatus::Void { voided_at: at(2) };
    let invoice_id = first.decision.opened.as_ref().unwrap().id;
    swap.decision.closed = vec![InvoiceClosed {
        invoice_id,
        state: state.clone(),
    }];
    assert_eq!(block_on(store.commit(vec![swap])).unwrap(), [Ok(())]);
    assert_eq!(block_on(store.invoice(invoice_id)).unwrap().unwrap().state, state);
}

#[test]
fn an_invoice_is_closed_once_and_paid_after_it_was_given_up() {
    let store = store();
    let first = created(1, at(0), false);
    block_on(store.commit(vec![first.clone()])).unwrap();
    let invoice = first.decision.opened.clone().unwrap();
    let mut current = first.decision.next.clone();
    let mut close = |state: InvoiceStatus| {
        let mut commit = decided(&current, &Command::SetAutoRenew { auto_renew: true }, at(2));
        let invoice_id = invoice.id;
        commit.decision.closed = vec![InvoiceClosed { invoice_id, state }];
        let next = commit.decision.next.clone();
        let answer = block_on(store.commit(vec![commit])).unwrap().remove(0);
        if answer.is_ok() {
            current = next;
        }
        answer.is_ok()
    };
    let paid = InvoiceStatus::Paid {
        paid_at: at(3),
        reference: Some("ref".into()),
        covers: None,
    };
    assert!(close(InvoiceStatus::Uncollectible { given_up_at: at(2) }));
    assert!(!close(InvoiceStatus::Uncollectible { given_up_at: at(2) }));
    assert!(!close(InvoiceStatus::Void { voided_at: at(2) }));
    assert!(close(paid.clone()));
    assert!(!close(paid.clone()));
    assert!(!close(InvoiceStatus::Void { voided_at: at(2) }));
    let mut expected = invoice.clone();
    expected.state = paid;
    assert_eq!(block_on(store.invoice(invoice.id)).unwrap(), Some(expected));
}

#[test]
fn an_ended_subscription_gives_its_place_free() {
    let store = store();
    let first = created(1, at(0), false);
    let cancel = Command::Cancel {
        when: When::Now,
        reason: "enough".into(),
        unused: UnusedOnCancel::None,
    };
    let paid = paid(&first, at(1));
    let canceled = decided(&paid.decision.next, &cancel, days(1));
    let mut again = created(2, days(2), false);
    again.decision.next.tenant_id = tenant(1);
    let answers = block_on(store.commit(vec![first, again.clone(), paid, canceled, again.clone()])).unwrap();
    assert!(matches!(answers[1], Err(CommitRefusal::LiveExists { .. })));
    assert_eq!(answers[2..], [Ok(()), Ok(()), Ok(())]);
    let product = plan().product;
    assert_eq!(
        block_on(store.live_subscription(tenant(1), &product)).unwrap(),
        Some(again.decision.next)
    );
    let ids: Vec<_> = block_on(store.subscriptions_of(tenant(1)))
        .unwrap()
        .into_iter()
        .map(|found| found.id)
        .collect();
    assert_eq!(ids, [subscription(1), subscription(2)]);
}

#[test]
fn a_job_with_a_known_key_is_not_kept() {
    let store = store();
    let first = created(1, at(0), false);
    let mut second = decided(
        &first.decision.next,
        &Command::SetAutoRenew { auto_renew: true },
        at(1),
    );
    second.jobs.clone_from(&first.jobs);
    second.jobs[0].id = billing_core::id::JobId::new(Uuid::from_u128(5));
    block_on(store.commit(vec![first.clone(), second])).unwrap();
    assert_eq!(block_on(store.jobs(None, 10)).unwrap(), first.jobs);
}

#[test]
fn a_request_is_carried_out_when_its_caller_is_gone_and_before_the_store_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = SqliteStore::open(&path).unwrap();
    block_on(store.put_plan(&plan())).unwrap();
    let held = hold(&store);
    for number in 0..20 {
        drop(store.commit(vec![created(number, at(0), false)]));
    }
    let releasing = thread::spawn(move || {
        thread::sleep(std::time::Duration::from_millis(50));
        drop(held);
    });
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(block_on(store.jobs(None, 100)).unwrap().len(), 20);
    releasing.join().unwrap();
}

#[test]
fn after_a_panic_of_the_writer_callers_are_told_and_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("store")).unwrap();
    block_on(store.put_plan(&plan())).unwrap();
    block_on(store.commit(vec![created(1, at(0), false)])).unwrap();
    let held = hold(&store);
    let panicking = store
        .writer
        .submit(1, |_| -> Result<(), StoreError> { panic!("for the test") });
    let behind = store.commit(vec![created(2, at(0), false)]);
    drop(held);
    assert_eq!(block_on(panicking.wait()), Err(StoreError::Closed));
    assert_eq!(block_on(behind), Err(StoreError::Closed));
    assert_eq!(block_on(store.commit(Vec::new())), Err(StoreError::Closed));
    assert!(block_on(store.subscription(subscription(1))).unwrap().is_some());
    assert!(block_on(store.subscription(subscription(2))).unwrap().is_none());
}

#[test]
fn a_full_store_keeps_nothing_of_the_group_and_goes_on_when_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let options = crate::Options {
        pages_max: Some(60),
        ..crate::Options::default()
    };
    let store = SqliteStore::open_with(&path, options).unwrap();
    block_on(store.put_plan(&plan())).unwrap();
    let held = hold(&store);
    let answers = join_all(
        (0..100)
            .map(|number| store.commit(vec![created(number, at(0), false)]))
            .collect::<Vec<_>>(),
    );
    drop(held);
    for answer in block_on(answers) {
        assert!(matches!(answer, Err(StoreError::Full { .. })), "{answer:?}");
    }
    assert_eq!(block_on(store.jobs(None, 100)).unwrap(), []);
    // One alone fits.
    assert_eq!(
        block_on(store.commit(vec![created(1, at(0), false)])),
        Ok(vec![Ok(())])
    );
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    let commits = (2..100).map(|number| created(number, at(0), false)).collect();
    assert!(block_on(store.commit(commits)).unwrap().iter().all(Result::is_ok));
}

#[test]
fn another_process_that_writes_for_too_long_makes_the_store_busy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let options = crate::Options {
        busy_timeout: std::time::Duration::from_millis(20),
        ..crate::Options::default()
    };
    let store = SqliteStore::open_with(&path, options).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = block_on(store.put_plan(&plan()));
    assert!(
        matches!(&answer, Err(error @ StoreError::Busy { .. }) if error.is_transient()),
        "{answer:?}"
    );
    // A read does not wait.
    assert_eq!(block_on(store.plans()).unwrap(), []);
    other.execute_batch("COMMIT").unwrap();
    assert!(block_on(store.put_plan(&plan())).is_ok());
}
