use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const POLICY: BreakerPolicy = BreakerPolicy {
    failures_max: 3,
    window: TimeDelta::seconds(10),
    open_for: TimeDelta::seconds(20),
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

fn fail(breaker: &mut Breaker, seconds: i64) -> Option<Transition> {
    let permit = breaker.try_acquire(at(seconds)).unwrap();
    breaker.fail(permit, "timeout", at(seconds))
}

fn opened(seconds: i64) -> Breaker {
    let mut breaker = Breaker::new(POLICY);
    for _ in 0..3 {
        fail(&mut breaker, seconds);
    }
    assert_eq!(breaker.snapshot(at(seconds)).state, BreakerState::Open);
    breaker
}

#[test]
fn the_defaults_are_those_of_the_design() {
    for (policy, failures_max, seconds) in
        [(BreakerPolicy::IDENTITY, 5, 60), (BreakerPolicy::PAYMENT, 3, 120)]
    {
        assert_eq!(policy.failures_max, failures_max);
        assert_eq!(policy.window, TimeDelta::seconds(seconds));
        assert_eq!(policy.open_for, TimeDelta::seconds(seconds));
        assert_eq!(policy.validate(), Ok(()));
    }
}

#[test]
fn it_opens_at_the_threshold_and_says_until_when() {
    let mut breaker = Breaker::new(POLICY);
    assert_eq!(fail(&mut breaker, 0), None);
    assert_eq!(fail(&mut breaker, 1), None);
    assert_eq!(breaker.snapshot(at(1)).failures, 2);
    assert_eq!(fail(&mut breaker, 2), Some(Transition::Opened { until: at(22) }));
    assert_eq!(
        breaker.try_acquire(at(21)).unwrap_err(),
        BreakerRefusal::Open { until: at(22) }
    );
    let snapshot = breaker.snapshot(at(21));
    assert_eq!(
        snapshot,
        BreakerSnapshot {
            state: BreakerState::Open,
            failures: 0,
            failures_max: 3,
            opened_at: Some(at(2)),
            half_opens_at: Some(at(22)),
            succeeded: 0,
            failed: 3,
            refused: 1,
            opened: 1,
            last_error: Some(LastError {
                code: "timeout",
                at: at(2)
            }),
        }
    );
    assert_eq!(breaker.snapshot(at(22)).state, BreakerState::HalfOpen);
}

#[test]
fn a_success_and_age_make_failures_not_count() {
    let mut breaker = Breaker::new(POLICY);
    fail(&mut breaker, 0);
    fail(&mut breaker, 0);
    let permit = breaker.try_acquire(at(1)).unwrap();
    assert_eq!(breaker.succeed(permit, at(1)), None);
    assert_eq!(breaker.snapshot(at(1)).failures, 0);

    fail(&mut breaker, 10);
    fail(&mut breaker, 11);
    // The one at 10 is a window old.
    assert_eq!(breaker.snapshot(at(20)).failures, 1);
    assert_eq!(fail(&mut breaker, 20), None);
    assert_eq!(fail(&mut breaker, 20), Some(Transition::Opened { until: at(40) }));
}

#[test]
fn half_open_lets_one_probe_pass_and_goes_by_its_outcome() {
    let mut breaker = opened(0);
    let probe = breaker.try_acquire(at(20)).unwrap();
    assert_eq!(
        breaker.try_acquire(at(20)).unwrap_err(),
        BreakerRefusal::Probing { until: at(40) }
    );
    assert_eq!(
        breaker.fail(probe, "timeout", at(21)),
        Some(Transition::Opened { until: at(41) })
    );
    assert!(breaker.try_acquire(at(40)).is_err());
    let probe = breaker.try_acquire(at(41)).unwrap();
    assert_eq!(breaker.succeed(probe, at(42)), Some(Transition::Closed));
    assert_eq!(breaker.snapshot(at(42)).opened, 2);
    // It counts from nothing again.
    assert_eq!(fail(&mut breaker, 43), None);
}

#[test]
fn a_probe_that_never_comes_back_does_not_hold_it_for_ever() {
    let mut breaker = opened(0);
    let lost = breaker.try_acquire(at(20)).unwrap();
    assert!(breaker.try_acquire(at(39)).is_err());
    let second = breaker.try_acquire(at(40)).unwrap();
    // The first comes back after all, and tells nothing any more.
    assert_eq!(breaker.succeed(lost, at(41)), None);
    assert_eq!(breaker.snapshot(at(41)).state, BreakerState::HalfOpen);
    assert_eq!(breaker.succeed(second, at(41)), Some(Transition::Closed));
}

#[test]
fn a_probe_that_is_abandoned_makes_room_for_the_next() {
    let mut breaker = opened(0);
    let probe = breaker.try_acquire(at(20)).unwrap();
    breaker.abandon(probe, at(21));
    assert_eq!(breaker.snapshot(at(21)).state, BreakerState::HalfOpen);
    let probe = breaker.try_acquire(at(21)).unwrap();
    assert!(breaker.try_acquire(at(21)).is_err());
    assert_eq!(breaker.succeed(probe, at(21)), Some(Transition::Closed));
    // In the closed state it changes nothing.
    fail(&mut breaker, 22);
    let permit = breaker.try_acquire(at(22)).unwrap();
    breaker.abandon(permit, at(22));
    assert_eq!(breaker.snapshot(at(22)).failures, 1);
}

#[test]
fn calls_from_before_it_opened_do_not_count_after() {
    let mut breaker = Breaker::new(POLICY);
    let early: Vec<_> = (0..4).map(|_| breaker.try_acquire(at(0)).unwrap()).collect();
    for permit in early {
        breaker.fail(permit, "timeout", at(1));
    }
    assert_eq!(
        breaker.snapshot(at(1)).opened,
        1,
        "the fourth came too late to count"
    );
    assert_eq!(breaker.snapshot(at(1)).failed, 4);
}

#[test]
fn a_clock_that_jumps_back_does_not_keep_it_open() {
    let mut breaker = opened(1_000_000);
    assert_eq!(
        breaker.try_acquire(at(0)).unwrap_err(),
        BreakerRefusal::Open { until: at(20) }
    );
    let probe = breaker.try_acquire(at(20)).unwrap();
    assert!(breaker.try_acquire(at(-500)).is_err());
    assert!(breaker.try_acquire(at(-480)).is_ok(), "another probe");
    drop(probe);
}

#[test]
fn a_policy_out_of_bounds_is_told_and_drawn_in() {
    let policy = BreakerPolicy {
        failures_max: 0,
        window: TimeDelta::zero(),
        open_for: TimeDelta::seconds(-1),
    };
    assert_eq!(
        policy.validate().unwrap_err().to_string(),
        "failures_max: expected 1 to 1000, got 0; window: expected more than zero, got P0D; \
         open_for: expected more than zero, got -PT1S"
    );
    let mut breaker = Breaker::new(policy);
    assert!(fail(&mut breaker, 0).is_some());
    assert!(breaker.try_acquire(at(0)).is_err());
    assert!(breaker.try_acquire(at(1)).is_ok());
}

/// The breaker told simply: all that has happened since the last change is kept, and looked through anew at each question.
#[derive(Default)]
struct Model {
    history: Vec<(i64, bool)>,
    open_since: Option<i64>,
    probe: Option<(usize, i64)>,
    /// The calls that began before the last change.
    stale: Vec<usize>,
    calls: Vec<usize>,
}

impl Model {
    fn passes(&mut self, call: usize, now: i64) -> bool {
        if let Some((_, since)) = self.probe {
            if now < since + 20 {
                return false;
            }
            self.change();
            self.probe = Some((call, now));
        } else if let Some(since) = self.open_since {
            if now < since + 20 {
                return false;
            }
            self.change();
            self.probe = Some((call, now));
        }
        self.calls.push(call);
        true
    }

    fn change(&mut self) {
        self.stale.append(&mut self.calls);
        self.history.clear();
        self.open_since = None;
        self.probe = None;
    }

    fn comes_back(&mut self, call: usize, outcome: Outcome, now: i64) {
        if self.stale.contains(&call) {
            return;
        }
        self.calls.retain(|other| *other != call);
        let was_probe = self.probe.is_some();
        match outcome {
            Outcome::Lost => {}
            Outcome::Abandoned if was_probe => {
                self.change();
                self.open_since = Some(now - 20);
            }
            Outcome::Abandoned => {}
            Outcome::Success if was_probe => self.change(),
            Outcome::Success => self.history.push((now, true)),
            Outcome::Failure => {
                self.history.push((now, false));
                let last: Vec<_> = self.history.iter().rev().take(3).collect();
                let in_a_row = last.len() == 3 && last.iter().all(|(at, ok)| !ok && now - at < 10);
                if was_probe || in_a_row {
                    self.change();
                    self.open_since = Some(now);
                }
            }
        }
    }

    fn state(&self, now: i64) -> BreakerState {
        match (self.open_since, self.probe) {
            (Some(since), _) if now < since + 20 => BreakerState::Open,
            (None, None) => BreakerState::Closed,
            (Some(_), _) | (None, Some(_)) => BreakerState::HalfOpen,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Success,
    Failure,
    Abandoned,
    Lost,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Calls overlap as they like: each step starts one, or brings back any of those on their way.
    #[test]
    fn it_does_what_the_model_does(
        steps in proptest::collection::vec(
            (0..8_i64, any::<bool>(), 0..16_usize, prop_oneof![
                3 => Just(Outcome::Success), 6 => Just(Outcome::Failure),
                1 => Just(Outcome::Abandoned), 1 => Just(Outcome::Lost),
            ]),
            1..120,
        )
    ) {
        let (mut breaker, mut model) = (Breaker::new(POLICY), Model::default());
        let (mut now, mut on_their_way) = (0, vec![]);
        for (call, (pause, starts, which, outcome)) in steps.into_iter().enumerate() {
            now += pause;
            if starts || on_their_way.is_empty() {
                let permit = breaker.try_acquire(at(now));
                prop_assert_eq!(permit.is_ok(), model.passes(call, now), "call {} at {}", call, now);
                on_their_way.extend(permit.ok().map(|permit| (call, permit)));
            } else {
                let (call, permit) = on_their_way.remove(which % on_their_way.len());
                match outcome {
                    Outcome::Success => drop(breaker.succeed(permit, at(now))),
                    Outcome::Failure => drop(breaker.fail(permit, "fault", at(now))),
                    Outcome::Abandoned => breaker.abandon(permit, at(now)),
                    Outcome::Lost => drop(permit),
                }
                model.comes_back(call, outcome, now);
            }
            prop_assert_eq!(breaker.snapshot(at(now)).state, model.state(now), "at {}", now);
        }
    }
}
