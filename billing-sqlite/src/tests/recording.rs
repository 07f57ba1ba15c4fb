//! Usage, plans, audit and paging, as far as they depend on how SQLite keeps them.

use std::collections::BTreeMap;

use billing_core::aggregation::Aggregation;
use billing_core::audit::{self, ChainHead};
use billing_core::calendar::Period;
use billing_core::id::{IdempotencyKey, MeterCode, PlanId};
use billing_core::limit::{Counter, CounterFault, CounterKey};
use billing_core::ports::{DueCursor, PlanStored, Store as _};
use billing_core::subscription::{AtPeriodEnd, Command, State};
use billing_core::usage::{UsageEvent, UsageField, UsageOutcome, UsageQuery, UsageRefusal};
use chrono::TimeDelta;
use futures_executor::block_on;
use rusqlite::Connection;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::error::store_error;

use super::kit::{at, created, days, decided, plan, store, subscription, tenant};

fn event(key: &str, quantity: &str, seconds: i64) -> UsageEvent {
    UsageEvent {
        idempotency_key: IdempotencyKey::new(key).unwrap(),
        tenant_id: tenant(1),
        meter: MeterCode::new("api").unwrap(),
        quantity: quantity.parse().unwrap(),
        occurred_at: at(seconds),
        properties: BTreeMap::new(),
    }
}

#[test]
fn a_known_key_is_compared_also_within_a_batch_and_below_a_microsecond() {
    let store = store();
    let mut precise = event("a", "1.50", 0);
    precise.occurred_at += TimeDelta::nanoseconds(1_234);
    let mut same = precise.clone();
    same.quantity = "1.5".parse().unwrap();
    let mut other = event("a", "1.5", 0);
    other.occurred_at += TimeDelta::microseconds(2);
    let mut elsewhere = event("a", "7", 0);
    elsewhere.tenant_id = tenant(2);
    let mut tagged = event("b", "1", 0);
    tagged.properties.insert("region".into(), "eu".into());
    let events = vec![
        precise,
        same.clone(),
        other,
        elsewhere,
        tagged.clone(),
        event("b", "1", 0),
    ];
    let refused = |key: &str, field| {
        UsageOutcome::Refused(UsageRefusal::KeyReused {
            idempotency_key: IdempotencyKey::new(key).unwrap(),
            field,
        })
    };
    assert_eq!(
        block_on(store.record_usage(events, at(5))).unwrap(),
        [
            UsageOutcome::Accepted,
            UsageOutcome::Duplicate,
            refused("a", UsageField::OccurredAt),
            UsageOutcome::Accepted,
            UsageOutcome::Accepted,
            refused("b", UsageField::Properties),
        ]
    );
    assert_eq!(
        block_on(store.record_usage(vec![same, tagged], at(6))).unwrap(),
        [UsageOutcome::Duplicate, UsageOutcome::Duplicate]
    );
}

#[test]
fn the_watermark_begins_at_zero_and_counts_accepted_events_of_all_tenants() {
    let store = store();
    let watermark = || {
        let query = UsageQuery {
            tenant_id: tenant(9),
            subscription_id: subscription(9),
            plan: &plan(),
            origin: at(0),
            from: at(0),
            until: at(1),
            term: None,
            watermark: 0,
            up_to: None,
        };
        block_on(store.usage(&[query])).unwrap()[0].watermark
    };
    assert_eq!(watermark(), 0);
    block_on(store.record_usage(
        vec![event("a", "1", 0), event("a", "1", 0), event("b", "1", 0)],
        at(0),
    ))
    .unwrap();
    assert_eq!(watermark(), 2);
}

#[test]
fn a_plan_is_kept_by_its_terms_once_it_is_used() {
    let store = store();
    let put = |plan: &billing_core::plan::Plan| block_on(store.put_plan(plan)).unwrap();
    let mut other = plan();
    other.name = "Pro, renamed".into();
    assert_eq!(put(&plan()), PlanStored::Unchanged);
    assert_eq!(put(&other), PlanStored::Replaced);
    let mut second = plan();
    second.id = PlanId::new(Uuid::from_u128(2));
    assert_eq!(put(&second), PlanStored::VersionTaken { by: plan().id });
    second.version = 2;
    assert_eq!(put(&second), PlanStored::Created);
    let code = plan().code;
    assert_eq!(block_on(store.plan_by_code(&code, None)).unwrap(), Some(second));
    assert_eq!(
        block_on(store.plan_by_code(&code, Some(1))).unwrap(),
        Some(other.clone())
    );
    assert_eq!(block_on(store.plan_by_code(&code, Some(3))).unwrap(), None);

    block_on(store.commit(vec![created(1, at(0), true)])).unwrap();
    assert_eq!(put(&plan()), PlanStored::InUse);
    assert!(block_on(store.set_plan_availability(plan().id, false, true)).unwrap());
    assert!(!block_on(store.set_plan_availability(PlanId::new(Uuid::from_u128(3)), false, true)).unwrap());
    // Put again at a start, it does not reopen what was closed.
    assert_eq!(put(&other), PlanStored::Unchanged);
    let found = block_on(store.plan(other.id)).unwrap().unwrap();
    assert_eq!((found.is_active, found.discontinued), (false, true));
    assert!(found.has_same_terms(&other));
}

#[test]
fn what_is_due_comes_page_by_page() {
    let store = store();
    // Three at one instant, two later, one that is not due yet, one that waits for its payment.
    for (number, day) in [(5, 0), (3, 0), (4, 0), (1, 1), (2, 1), (6, 2)] {
        block_on(store.commit(vec![created(number, days(day), true)])).unwrap();
    }
    block_on(store.commit(vec![created(7, days(0), false)])).unwrap();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = block_on(store.due(days(15), after, 2)).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(DueCursor {
            due_at: last.next_due().unwrap(),
            id: last.id,
        });
        seen.extend(page.iter().map(|found| found.id));
    }
    assert_eq!(seen, [3, 4, 5, 1, 2].map(subscription));
    assert_eq!(block_on(store.due(days(15), None, 0)).unwrap(), []);
}

#[test]
fn a_chain_is_read_page_by_page_and_verifies_after_a_clean_up() {
    let store = store();
    let first = created(1, at(0), true);
    let mut current = first.decision.next.clone();
    let mut commits = vec![first];
    for day in 1..6 {
        let commit = decided(&current, &Command::SetAutoRenew { auto_renew: true }, days(day));
        current = commit.decision.next.clone();
        commits.push(commit);
    }
    assert!(block_on(store.commit(commits)).unwrap().iter().all(Result::is_ok));
    let id = subscription(1);
    let entries = |after, limit| block_on(store.audit_entries(id, after, limit)).unwrap();
    let sequences = |after, limit| {
        entries(after, limit)
            .iter()
            .map(|entry| entry.sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (sequences(0, 2), sequences(2, 9), sequences(6, 9)),
        (vec![1, 2], vec![3, 4, 5, 6], vec![])
    );
    assert!(sequences(u64::MAX, 9).is_empty());
    let verify = || {
        let start = block_on(store.audit_checkpoint(id)).unwrap();
        audit::verify(id, start, &entries(0, 100), current.audit).map(|()| start.sequence)
    };
    assert_eq!(verify(), Ok(0));
    let prune = |before| block_on(store.prune_audit(id, before)).unwrap();
    assert_eq!(prune(at(0)), 0);
    assert_eq!(
        block_on(store.audit_checkpoint(id)).unwrap(),
        ChainHead::default()
    );
    // Entries at days 0 to 5: those of days 0 and 1 go, the one at the very instant stays.
    assert_eq!(prune(days(2)), 2);
    assert_eq!(verify(), Ok(2));
    assert_eq!(prune(days(2)), 0);
    // The last one stays in any case.
    assert_eq!(prune(days(100)), 3);
    assert_eq!((verify(), sequences(0, 9)), (Ok(5), vec![6]));
    assert_eq!(
        block_on(store.prune_audit(subscription(2), days(100))).unwrap(),
        0
    );
}

#[test]
fn jobs_come_in_the_order_of_commits_and_from_the_start_after_one_that_is_not_there() {
    let store = store();
    for number in [3, 1, 2] {
        block_on(store.commit(vec![created(number, at(0), false)])).unwrap();
    }
    let jobs = block_on(store.jobs(None, 2)).unwrap();
    let order: Vec<_> = jobs.iter().map(|job| job.subscription_id).collect();
    assert_eq!(order, [subscription(3), subscription(1)]);
    let rest = block_on(store.jobs(Some(jobs[1].id), 2)).unwrap();
    assert_eq!(
        rest.iter().map(|job| job.subscription_id).collect::<Vec<_>>(),
        [subscription(2)]
    );
    let unknown = billing_core::id::JobId::new(Uuid::from_u128(1));
    assert_eq!(block_on(store.jobs(Some(unknown), 9)).unwrap().len(), 3);
}

#[test]
fn a_plan_that_is_scheduled_by_a_step_without_a_command_is_used() {
    let store = store();
    let first = created(1, at(0), true);
    let mut second = plan();
    (second.id, second.version) = (PlanId::new(Uuid::from_u128(2)), 2);
    block_on(store.put_plan(&second)).unwrap();
    let mut scheduled = decided(
        &first.decision.next,
        &Command::SetAutoRenew { auto_renew: true },
        at(1),
    );
    if let State::Trial(trial) = &mut scheduled.decision.next.state {
        trial.at_end = Some(AtPeriodEnd::ChangePlan { plan_id: second.id });
    }
    assert_eq!(
        block_on(store.commit(vec![first, scheduled])).unwrap(),
        [Ok(()), Ok(())]
    );
    second.name = "Pro, renamed".into();
    assert_eq!(block_on(store.put_plan(&second)).unwrap(), PlanStored::InUse);
}

/// Somebody wrote past the store: the recount says so, and puts it right.
#[test]
fn a_recount_finds_a_counter_that_is_wrong() {
    let store = store();
    let window = Period::new(at(0), days(1)).unwrap();
    let key = CounterKey {
        tenant_id: tenant(1),
        meter: MeterCode::new("api").unwrap(),
        window,
        aggregation: Aggregation::Sum,
    };
    let counted = |used: i64, events| Counter {
        used: used.into(),
        reserved: Decimal::ZERO,
        events,
    };
    assert_eq!(block_on(store.counter(&key, at(0))), Ok(counted(0, 0)));
    block_on(store.record_usage(vec![event("a", "7", 5)], at(5))).unwrap();
    assert_eq!(block_on(store.counter(&key, at(0))), Ok(counted(7, 1)));
    let spoil = |connection: &Connection| {
        let sql = "UPDATE usage_counters SET used = '6', events = 2";
        connection.execute(sql, []).map_err(store_error)
    };
    assert_eq!(block_on(store.writer.submit(1, spoil).wait()), Ok(1));
    let fault = CounterFault {
        key: key.clone(),
        found: counted(6, 2),
        expected: counted(7, 1),
    };
    assert_eq!(block_on(store.recount(tenant(2))), Ok(vec![]));
    assert_eq!(block_on(store.recount(tenant(1))), Ok(vec![fault]));
    assert_eq!(block_on(store.recount(tenant(1))), Ok(vec![]));
    assert_eq!(block_on(store.counter(&key, at(0))), Ok(counted(7, 1)));
}
