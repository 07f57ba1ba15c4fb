//! How long core takes to let a call pass, to refuse one, and to count against a rate limit.

use std::hint::black_box;

use billing::core::id::TenantId;
use billing::core::resilience::{Breaker, BreakerPolicy, RateAction, RateCell, RateLimit, RateLimiter};
use billing_benches::measure::{Table, Target, criterion_for_fastest, fastest};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Nanoseconds for a decision of the breaker.
const DECISION: Target = Target::AtMost(50.0);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a time")
}

fn main() {
    let mut criterion = criterion_for_fastest(1);
    let mut table = Table::new("Resilience, in core: the fastest of 50 samples (median - slowest)");
    let mut group = criterion.benchmark_group("breaker");

    let mut closed = Breaker::new(BreakerPolicy::PAYMENT);
    fastest(
        &mut group,
        &mut table,
        "a call that passes and succeeds",
        DECISION,
        || {
            let breaker = black_box(&mut closed);
            let permit = breaker.try_acquire(black_box(now())).expect("it is closed");
            breaker.succeed(permit, black_box(now()))
        },
    );

    let mut open = Breaker::new(BreakerPolicy::PAYMENT);
    for _ in 0..3 {
        let permit = open.try_acquire(now()).expect("it is closed");
        let _ = open.fail(permit, "timeout", now());
    }
    assert!(open.try_acquire(now()).is_err(), "three failures open it");
    fastest(&mut group, &mut table, "a call that is refused", DECISION, || {
        black_box(&mut open).try_acquire(black_box(now())).is_err()
    });

    let mut cycle = Breaker::new(BreakerPolicy {
        failures_max: 1,
        ..BreakerPolicy::PAYMENT
    });
    let later = now() + TimeDelta::seconds(120);
    fastest(
        &mut group,
        &mut table,
        "opened by a failure, closed by a probe",
        Target::None,
        || {
            let breaker = black_box(&mut cycle);
            let permit = breaker.try_acquire(now()).expect("it is closed");
            let _ = breaker.fail(permit, "timeout", now());
            let probe = breaker.try_acquire(later).expect("its time is over");
            breaker.succeed(probe, later)
        },
    );

    let (limit, mut cell) = (RateLimit::per_hour(10), RateCell::default());
    fastest(
        &mut group,
        &mut table,
        "a rate limit, its cell at hand",
        Target::None,
        || {
            let (answer, next) = black_box(limit).take(cell, black_box(now()));
            cell = next;
            answer
        },
    );

    let mut limiter = RateLimiter::default();
    let tenant = |number: u128| TenantId::new(Uuid::from_u128(number));
    for number in 0..10_000 {
        limiter.take(tenant(number), RateAction::PlanChange, now());
    }
    let mut number = 0;
    fastest(
        &mut group,
        &mut table,
        "a rate limit, of 10,000 tenants",
        Target::None,
        || {
            number = (number + 7_919) % 10_000;
            limiter.take(tenant(number), RateAction::PlanChange, black_box(now()))
        },
    );
    group.finish();
    criterion.final_summary();
    table.print();
}
