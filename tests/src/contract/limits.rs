//! Limits: counters that agree with the events, consumption that passes no limit, leases.

use billing_core::aggregation::{Aggregation, HeldUnit};
use billing_core::calendar::Period;
use billing_core::limit::{Consumed, Consumption, Counter, CounterKey, Lease, Reserved, Settled};
use billing_core::ports::Store;
use billing_core::usage::{UsageEvent, UsageField, UsageOutcome, UsageRefusal};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use crate::kit::{Kit, decimal, event, key, meter, start, tenant, wait};

fn hour(n: i64) -> DateTime<Utc> {
    start() + TimeDelta::hours(n)
}

fn window() -> Period {
    Period::new(hour(0), hour(10)).expect("a period")
}

fn api() -> CounterKey {
    CounterKey {
        tenant_id: tenant(1),
        meter: meter("api"),
        window: window(),
        aggregation: Aggregation::Sum,
    }
}

fn used(name: &str, quantity: &str, hours: i64) -> UsageEvent {
    event(tenant(1), name, "api", quantity, hour(hours))
}

fn counter(used: &str, reserved: &str, events: u64) -> Counter {
    Counter {
        used: decimal(used),
        reserved: decimal(reserved),
        events,
    }
}

#[track_caller]
fn check(store: &dyn Store, key: &CounterKey, expected: Counter) {
    assert_eq!(wait(store.counter(key, hour(5))), Ok(expected));
}

fn consume(store: &dyn Store, limit: &str, events: Vec<UsageEvent>) -> Vec<Consumed> {
    let batch = events.into_iter().map(|event| Consumption {
        event,
        window: window(),
        aggregation: Aggregation::Sum,
        hard_limit: Some(decimal(limit)),
    });
    wait(store.consume(batch.collect(), hour(5))).expect("answers")
}

fn lease(name: &str, quantity: &str, expires_at: DateTime<Utc>) -> Lease {
    Lease {
        tenant_id: tenant(1),
        key: key(name),
        meter: meter("api"),
        window: window(),
        aggregation: Aggregation::Sum,
        quantity: decimal(quantity),
        expires_at,
    }
}

fn reserve(store: &dyn Store, lease: Lease) -> Reserved {
    wait(store.reserve(lease, Some(decimal("10")), hour(5))).expect("an answer")
}

fn settle(store: &dyn Store, event: UsageEvent) -> Settled {
    wait(store.settle(event, hour(5))).expect("an answer")
}

/// Whether it is asked for before the events come or after them; what is of another window, meter or tenant is not in it.
pub fn a_counter_agrees_with_the_events(store: &dyn Store) {
    let kit = Kit::new(store);
    check(store, &api(), Counter::default());
    let micro = TimeDelta::microseconds(1);
    let mut events = vec![
        used("first", "1.5", 0),
        used("end", "100", 10),
        used("again", "1.5", 0),
    ];
    events.push(UsageEvent {
        occurred_at: hour(10) - micro,
        ..used("last", "2", 0)
    });
    events.push(UsageEvent {
        occurred_at: hour(0) - micro,
        ..used("before", "100", 0)
    });
    events.push(event(tenant(2), "other", "api", "100", hour(1)));
    events.push(event(tenant(1), "meter", "gb", "100", hour(1)));
    kit.use_up(events.clone());
    check(store, &api(), counter("5", "0", 3));
    // The same again changes nothing.
    kit.use_up(events);
    check(store, &api(), counter("5", "0", 3));
    // A window that nobody asked for is counted when somebody does.
    let inner = CounterKey {
        window: Period::new(hour(0), hour(1)).expect("a period"),
        ..api()
    };
    check(store, &inner, counter("3", "0", 2));
    // And both are kept from then on.
    kit.use_up(vec![used("late", "4", 0)]);
    check(store, &inner, counter("7", "0", 3));
    check(store, &api(), counter("9", "0", 4));
    assert_eq!(wait(store.recount(tenant(1))), Ok(Vec::new()));
}

/// Exactly at the limit is within it.
pub fn consumption_stops_at_the_limit(store: &dyn Store) {
    assert_eq!(
        consume(store, "10", vec![used("a", "7", 1)]),
        [Consumed::Accepted(counter("0", "0", 0))]
    );
    assert_eq!(
        consume(store, "10", vec![used("b", "3.000000000001", 1)]),
        [Consumed::OverLimit(counter("7", "0", 1))]
    );
    assert_eq!(
        consume(store, "10", vec![used("b", "3", 1)]),
        [Consumed::Accepted(counter("7", "0", 1))]
    );
    // What is known is no new usage, whatever the limit says.
    assert_eq!(
        consume(store, "10", vec![used("a", "7", 1)]),
        [Consumed::Duplicate(counter("10", "0", 2))]
    );
    assert_eq!(
        consume(store, "10", vec![used("c", "0", 1)]),
        [Consumed::Accepted(counter("10", "0", 2))]
    );
    check(store, &api(), counter("10", "0", 3));
}

/// All of a batch, or none of it.
pub fn a_refused_batch_consumes_nothing(store: &dyn Store) {
    assert_eq!(
        consume(
            store,
            "10",
            vec![used("a", "4", 1), used("b", "4", 1), used("c", "4", 1)]
        ),
        [
            Consumed::Withheld,
            Consumed::Withheld,
            Consumed::OverLimit(counter("8", "0", 2))
        ]
    );
    check(store, &api(), Counter::default());
    assert_eq!(
        consume(store, "10", vec![used("a", "4", 1), used("a", "5", 1)]),
        [
            Consumed::Withheld,
            Consumed::Refused(UsageRefusal::KeyReused {
                idempotency_key: key("a"),
                field: UsageField::Quantity,
            })
        ]
    );
    check(store, &api(), Counter::default());
    // An event twice in a batch counts once.
    assert_eq!(
        consume(
            store,
            "10",
            vec![used("a", "6", 1), used("a", "6", 1), used("b", "4", 1)]
        ),
        [
            Consumed::Accepted(counter("0", "0", 0)),
            Consumed::Duplicate(counter("6", "0", 1)),
            Consumed::Accepted(counter("6", "0", 1))
        ]
    );
    check(store, &api(), counter("10", "0", 2));
}

/// However many ask at once.
pub fn racing_consumers_never_pass_a_limit(store: &dyn Store) {
    let asked: Vec<_> = (0..100)
        .map(|n| {
            let consumption = Consumption {
                event: used(&format!("k{n}"), "1", 1),
                window: window(),
                aggregation: Aggregation::Sum,
                hard_limit: Some(decimal("37")),
            };
            store.consume(vec![consumption], hour(5))
        })
        .collect();
    let answers = wait(join_all(asked));
    let accepted = answers
        .into_iter()
        .flat_map(|answer| answer.expect("an answer"))
        .filter(|outcome| matches!(outcome, Consumed::Accepted(_)))
        .count();
    assert_eq!(accepted, 37);
    check(store, &api(), counter("37", "0", 37));
}

/// It counts as taken until its time is over.
pub fn a_lease_is_held_until_it_is_over(store: &dyn Store) {
    assert_eq!(
        reserve(store, lease("a", "6", hour(6))),
        Reserved::Held(Counter::default())
    );
    assert_eq!(
        reserve(store, lease("b", "5", hour(6))),
        Reserved::OverLimit(counter("0", "6", 0))
    );
    assert_eq!(
        reserve(store, lease("a", "6", hour(7))),
        Reserved::Duplicate(counter("0", "6", 0))
    );
    assert_eq!(reserve(store, lease("a", "5", hour(6))), Reserved::KeyReused);
    assert_eq!(
        consume(store, "10", vec![used("c", "5", 1)]),
        [Consumed::OverLimit(counter("0", "6", 0))]
    );
    // At its end it is over.
    let micro = TimeDelta::microseconds(1);
    assert_eq!(
        wait(store.counter(&api(), hour(6) - micro)),
        Ok(counter("0", "6", 0))
    );
    assert_eq!(wait(store.counter(&api(), hour(6))), Ok(Counter::default()));
    let later = store.reserve(lease("b", "10", hour(8)), Some(decimal("10")), hour(6));
    assert_eq!(wait(later), Ok(Reserved::Held(Counter::default())));
}

/// The real quantity takes the place of the one that was held, also when it is more.
pub fn a_lease_is_settled_once(store: &dyn Store) {
    reserve(store, lease("a", "6", hour(6)));
    assert_eq!(settle(store, used("b", "1", 1)), Settled::Unknown);
    assert_eq!(
        settle(store, event(tenant(1), "a", "gb", "1", hour(1))),
        Settled::Recorded(UsageOutcome::Refused(UsageRefusal::KeyReused {
            idempotency_key: key("a"),
            field: UsageField::Meter,
        }))
    );
    check(store, &api(), counter("0", "6", 0));
    assert_eq!(
        settle(store, used("a", "12", 1)),
        Settled::Recorded(UsageOutcome::Accepted)
    );
    check(store, &api(), counter("12", "0", 1));
    assert_eq!(
        settle(store, used("a", "12", 1)),
        Settled::Recorded(UsageOutcome::Duplicate)
    );
    assert_eq!(
        settle(store, used("a", "11", 1)),
        Settled::Recorded(UsageOutcome::Refused(UsageRefusal::KeyReused {
            idempotency_key: key("a"),
            field: UsageField::Quantity,
        }))
    );
    check(store, &api(), counter("12", "0", 1));
    // It does not come back by being asked for again.
    assert_eq!(reserve(store, lease("a", "6", hour(6))), Reserved::Ended);
    assert_eq!(wait(store.release(tenant(1), &key("a"))), Ok(false));
    check(store, &api(), counter("12", "0", 1));
}

/// What was released is free, and cannot be settled.
pub fn a_lease_is_released_once(store: &dyn Store) {
    assert_eq!(wait(store.release(tenant(1), &key("a"))), Ok(false));
    reserve(store, lease("a", "6", hour(6)));
    assert_eq!(wait(store.release(tenant(2), &key("a"))), Ok(false));
    assert_eq!(wait(store.release(tenant(1), &key("a"))), Ok(true));
    assert_eq!(wait(store.release(tenant(1), &key("a"))), Ok(false));
    check(store, &api(), Counter::default());
    assert_eq!(settle(store, used("a", "6", 1)), Settled::Released);
    assert_eq!(reserve(store, lease("a", "6", hour(6))), Reserved::Ended);
    check(store, &api(), Counter::default());
}

/// It was used all the same.
pub fn a_lease_that_is_over_is_settled_all_the_same(store: &dyn Store) {
    reserve(store, lease("a", "6", hour(6)));
    assert_eq!(
        wait(store.settle(used("a", "6", 7), hour(9))),
        Ok(Settled::Recorded(UsageOutcome::Accepted))
    );
    check(store, &api(), counter("6", "0", 1));
}

/// However long ago: what a store keeps of old windows is its own affair.
pub fn an_old_window_is_counted_again(store: &dyn Store) {
    let kit = Kit::new(store);
    let day = |n: i64| CounterKey {
        window: Period::new(hour(24 * n), hour(24 * n + 24)).expect("a period"),
        ..api()
    };
    for n in 0..200 {
        check(store, &day(n), Counter::default());
        kit.use_up(vec![used(&format!("d{n}"), "1", 24 * n)]);
        check(store, &day(n), counter("1", "0", 1));
    }
    kit.use_up(vec![used("late", "2", 0)]);
    check(store, &day(0), counter("3", "0", 2));
    kit.use_up(vec![used("later", "4", 0)]);
    check(store, &day(0), counter("7", "0", 3));
    assert_eq!(wait(store.recount(tenant(1))), Ok(Vec::new()));
}

/// It may be settled after the window in which it was asked for, so it is held there too.
pub fn a_lease_is_held_in_every_window_that_it_reaches(store: &dyn Store) {
    let next = CounterKey {
        window: Period::new(hour(10), hour(20)).expect("a period"),
        ..api()
    };
    reserve(store, lease("a", "6", hour(11)));
    reserve(store, lease("b", "1", hour(10)));
    check(store, &api(), counter("0", "7", 0));
    check(store, &next, counter("0", "6", 0));
    let late = Consumption {
        event: used("c", "5", 10),
        window: next.window,
        aggregation: Aggregation::Sum,
        hard_limit: Some(decimal("10")),
    };
    assert_eq!(
        wait(store.consume(vec![late], hour(10))),
        Ok(vec![Consumed::OverLimit(counter("0", "6", 0))])
    );
    assert_eq!(
        settle(store, used("a", "6", 10)),
        Settled::Recorded(UsageOutcome::Accepted)
    );
    check(store, &next, counter("6", "0", 1));
}

/// A lease that ran out is not held again by a caller that did not hear of it.
pub fn a_lease_that_is_over_is_not_there_any_more(store: &dyn Store) {
    reserve(store, lease("a", "6", hour(6)));
    let again = store.reserve(lease("a", "6", hour(8)), Some(decimal("10")), hour(6));
    assert_eq!(wait(again), Ok(Reserved::Ended));
}

/// A key names an event or a lease, and a lease only by way of its settlement both.
pub fn the_key_of_an_event_is_not_that_of_a_lease(store: &dyn Store) {
    let kit = Kit::new(store);
    kit.use_up(vec![used("a", "1", 1)]);
    assert_eq!(reserve(store, lease("a", "6", hour(6))), Reserved::KeyReused);
    check(store, &api(), counter("1", "0", 1));
    assert_eq!(
        settle(store, used("a", "1", 1)),
        Settled::Recorded(UsageOutcome::Duplicate)
    );
}

/// An event counts in every window that contains it, also for the next event of its batch.
pub fn overlapping_windows_of_a_batch_see_each_other(store: &dyn Store) {
    let inner = Period::new(hour(0), hour(2)).expect("a period");
    let within = |name, window| Consumption {
        event: used(name, "6", 1),
        window,
        aggregation: Aggregation::Sum,
        hard_limit: Some(decimal("10")),
    };
    for batch in [
        vec![within("a", inner), within("b", window())],
        vec![within("a", window()), within("b", inner)],
    ] {
        assert_eq!(
            wait(store.consume(batch, hour(5))),
            Ok(vec![
                Consumed::Withheld,
                Consumed::OverLimit(counter("6", "0", 1))
            ])
        );
    }
}

/// Kept event by event or counted anew, in whatever order they come; of a weighted sum it is what is held, also from before
/// the window.
pub fn a_counter_keeps_every_aggregation(store: &dyn Store) {
    let kit = Kit::new(store);
    let held = Aggregation::WeightedSum { unit: HeldUnit::Hour };
    let with = |aggregation: &Aggregation| CounterKey {
        aggregation: aggregation.clone(),
        ..api()
    };
    let all = [
        Aggregation::Sum,
        Aggregation::Count,
        Aggregation::Max,
        Aggregation::Last,
        held,
    ];
    let check_all = |expected: [&str; 5], events: u64| {
        for (aggregation, used) in all.iter().zip(expected) {
            let found = wait(store.counter(&with(aggregation), hour(5))).expect("a counter");
            let expected = counter(used, "0", events);
            assert_eq!(found, expected, "{aggregation:?}");
        }
        assert_eq!(wait(store.recount(tenant(1))), Ok(vec![]));
    };
    let record = |name: &str, quantity: &str, hours: i64| {
        assert_eq!(
            kit.use_up(vec![used(name, quantity, hours)]),
            [UsageOutcome::Accepted]
        );
    };
    record("before", "6", -5);
    check_all(["0", "0", "0", "0", "6"], 0);
    record("nearer", "4", -2);
    record("farther", "9", -3);
    check_all(["0", "0", "0", "0", "4"], 0);
    record("a", "5", 4);
    check_all(["5", "1", "5", "5", "5"], 1);
    record("earlier", "7", 2);
    check_all(["12", "2", "7", "5", "5"], 2);
    record("at-once", "1", 4);
    check_all(["13", "3", "7", "1", "1"], 3);
    record("after", "100", 10);
    record("long-before", "200", -1);
    check_all(["13", "3", "7", "1", "1"], 3);

    // A batch sees itself.
    let consume = |aggregation: &Aggregation, limit: &str, events: Vec<UsageEvent>| -> Vec<bool> {
        let batch = events.into_iter().map(|event| Consumption {
            event,
            window: window(),
            aggregation: aggregation.clone(),
            hard_limit: Some(decimal(limit)),
        });
        let outcomes = wait(store.consume(batch.collect(), hour(5))).expect("answers");
        let is_over = |outcome: &Consumed| matches!(outcome, Consumed::OverLimit(_));
        outcomes.iter().map(is_over).collect()
    };
    let three = || vec![used("x", "5", 5), used("y", "6", 6), used("z", "7", 5)];
    assert_eq!(
        consume(&all[1], "5", three()),
        [false, false, true],
        "three more than three"
    );
    assert_eq!(
        consume(&all[4], "6", three()),
        [false, false, true],
        "seven at once"
    );
    check_all(["13", "3", "7", "1", "1"], 3);
    assert_eq!(consume(&all[2], "7", three()), [false; 3]);
    check_all(["31", "6", "7", "6", "6"], 6);
}
