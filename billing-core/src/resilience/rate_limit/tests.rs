use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const ACME: TenantId = TenantId::new(Uuid::from_u128(1));
const OTHER: TenantId = TenantId::new(Uuid::from_u128(2));

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

#[test]
fn the_defaults_are_per_hour_and_per_tenant() {
    let mut limiter = RateLimiter::default();
    for (action, count) in RateAction::ALL.into_iter().zip([5, 10, 3, 10]) {
        assert_eq!(RateLimits::default().of(action), RateLimit::per_hour(count));
        for remaining in (0..count).rev() {
            let answer = limiter.take(ACME, action, at(0));
            assert_eq!(
                (answer.allowed, answer.limit, answer.remaining),
                (true, count, remaining),
                "{action:?}"
            );
        }
        assert!(!limiter.take(ACME, action, at(0)).allowed, "{action:?}");
        assert!(limiter.take(OTHER, action, at(0)).allowed, "{action:?}");
    }
}

#[test]
fn the_answer_tells_when_one_more_and_when_all_are_back() {
    let mut limiter = RateLimiter::default();
    for _ in 0..3 {
        limiter.take(ACME, RateAction::PlanChange, at(0));
    }
    let refused = limiter.take(ACME, RateAction::PlanChange, at(300));
    assert_eq!(
        refused,
        RateAnswer {
            allowed: false,
            limit: 3,
            remaining: 0,
            resets_at: at(3600),
            retry_after: TimeDelta::seconds(900),
        }
    );
    assert!(!limiter.take(ACME, RateAction::PlanChange, at(1199)).allowed);
    let allowed = limiter.take(ACME, RateAction::PlanChange, at(1200));
    assert_eq!(
        (allowed.allowed, allowed.remaining, allowed.resets_at),
        (true, 0, at(4800))
    );
    assert_eq!(allowed.retry_after, TimeDelta::seconds(1200));
    // After a pause all are back, and no more than that.
    let rested = limiter.take(ACME, RateAction::PlanChange, at(1_000_000));
    assert_eq!((rested.remaining, rested.retry_after), (2, TimeDelta::zero()));
}

#[test]
fn a_look_takes_nothing() {
    let mut limiter = RateLimiter::default();
    for _ in 0..9 {
        let looked = limiter.peek(ACME, RateAction::SubscriptionCreate, at(0));
        assert_eq!(looked.remaining, 4);
    }
    assert_eq!(
        limiter
            .take(ACME, RateAction::SubscriptionCreate, at(0))
            .remaining,
        4
    );
}

#[test]
fn a_limit_is_set_per_action_and_checked() {
    let limits = RateLimits::default()
        .with(RateAction::PlanChange, RateLimit::per_hour(1))
        .unwrap();
    assert_eq!(limits.of(RateAction::PlanChange), RateLimit::per_hour(1));
    assert_eq!(limits.of(RateAction::PaymentInitiate), RateLimit::per_hour(10));
    let mut limiter = RateLimiter::new(limits);
    assert!(limiter.take(ACME, RateAction::PlanChange, at(0)).allowed);
    assert!(!limiter.take(ACME, RateAction::PlanChange, at(0)).allowed);
    let none = RateLimits::default().with(RateAction::PlanChange, RateLimit::per_hour(0));
    assert_eq!(
        none.unwrap_err().to_string(),
        "count: expected 1 to 1000000, got 0"
    );
    let fast = RateLimit {
        count: 10,
        per: TimeDelta::microseconds(9),
    };
    assert_eq!(fast.validate().unwrap_err().as_slice()[0].path, "per");
}

#[test]
fn a_clock_that_jumps_back_does_not_lock_out() {
    let mut limiter = RateLimiter::default();
    for _ in 0..3 {
        limiter.take(ACME, RateAction::PlanChange, at(1_000_000));
    }
    let answer = limiter.take(ACME, RateAction::PlanChange, at(0));
    assert_eq!(answer.retry_after, TimeDelta::minutes(20), "no longer than ever");
}

#[test]
fn what_is_over_takes_no_memory() {
    let mut limiter = RateLimiter::default();
    for tenant in 0..10_000_u128 {
        let now = at(i64::try_from(tenant).unwrap() * 3600);
        limiter.take(
            TenantId::new(Uuid::from_u128(tenant)),
            RateAction::PlanChange,
            now,
        );
        assert!(limiter.cells.len() <= CELLS_KEPT + 1);
    }
    // What is not over is kept, however many there are.
    let mut limiter = RateLimiter::default();
    for tenant in 0..5_000 {
        limiter.take(
            TenantId::new(Uuid::from_u128(tenant)),
            RateAction::PlanChange,
            at(0),
        );
    }
    assert_eq!(limiter.cells.len(), 5_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A bucket that gets a token every `per / count`, told by the list of the instants at which one was taken: it is filled
    /// anew from its first instant at each question.
    #[test]
    fn it_allows_what_a_bucket_of_tokens_allows(
        count in 1..12_u32,
        interval in 1..50_i64,
        pauses in proptest::collection::vec(prop_oneof![3 => 0..20_i64, 1 => 0..600_i64], 1..100),
    ) {
        let limit = RateLimit { count, per: TimeDelta::microseconds(interval * i64::from(count)) };
        let (mut cell, mut now, mut taken) = (RateCell::default(), 0, Vec::<i64>::new());
        for pause in pauses {
            now += pause;
            // In parts of a token, of which a whole one has `interval`.
            let full = i64::from(count) * interval;
            let (mut level, mut last) = (full, 0);
            for instant in &taken {
                level = (level + instant - last).min(full) - interval;
                last = *instant;
            }
            level = (level + now - last).min(full);
            let instant = at(0) + TimeDelta::microseconds(now);
            let (answer, next) = limit.take(cell, instant);
            cell = next;
            prop_assert_eq!(answer.allowed, level >= interval, "at {}", now);
            if answer.allowed {
                taken.push(now);
                level -= interval;
            }
            prop_assert_eq!(i64::from(answer.remaining), level / interval);
            prop_assert_eq!(answer.resets_at, instant + TimeDelta::microseconds(full - level));
            let wait = (interval - level).max(0);
            prop_assert_eq!(answer.retry_after, TimeDelta::microseconds(wait));
        }
        // In any span of `per` fewer than twice `count`, whatever was asked.
        for (index, first) in taken.iter().enumerate() {
            let within = taken[index..].iter().filter(|at| *at - first < interval * i64::from(count)).count();
            prop_assert!(within < 2 * usize::try_from(count).unwrap());
        }
    }
}
