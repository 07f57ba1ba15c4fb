use alloc::vec::Vec;

use chrono::{DateTime, TimeDelta, Utc};

use crate::validate::Faults;

/// No breaker waits for more failures than this: it keeps the instant of each.
const FAILURES_MAX: u32 = 1_000;

/// When a [`Breaker`] opens, and for how long.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "settings: each is to be thought of")]
pub struct BreakerPolicy {
    /// So many failures without a success between them open it; 1 to 1,000.
    pub failures_max: u32,
    /// Failures that are older than this do not count, so that two faults a day never add up; more than zero.
    pub window: TimeDelta,
    /// How long it stays open before it lets a probe pass, and how long it waits for the probe's outcome; more than zero.
    pub open_for: TimeDelta,
}

impl BreakerPolicy {
    /// For the identity service: 5 failures, 60 seconds. Its answers have a last good copy, so it may be asked longer.
    pub const IDENTITY: Self = Self::new(5, 60);

    /// For a payment service: 3 failures, 120 seconds. Each call that fails there may leave a payment whose outcome nobody
    /// knows, so fewer are risked and it is given more time.
    pub const PAYMENT: Self = Self::new(3, 120);

    /// `failures_max` failures within `seconds`; open for as long.
    pub const fn new(failures_max: u32, seconds: u32) -> Self {
        #[expect(
            clippy::as_conversions,
            reason = "`From` is not const; no u32 is lost in an i64"
        )]
        let seconds = TimeDelta::seconds(seconds as i64);
        Self {
            failures_max,
            window: seconds,
            open_for: seconds,
        }
    }

    /// Whether the settings are within their bounds.
    ///
    /// # Errors
    ///
    /// [`Faults`], every one of them.
    pub fn validate(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        if !(1..=FAILURES_MAX).contains(&self.failures_max) {
            let got = self.failures_max;
            faults.push(
                "failures_max",
                "out_of_range",
                format_args!("expected 1 to {FAILURES_MAX}, got {got}"),
            );
        }
        for (path, span) in [("window", self.window), ("open_for", self.open_for)] {
            if span <= TimeDelta::zero() {
                faults.push(
                    path,
                    "out_of_range",
                    format_args!("expected more than zero, got {span}"),
                );
            }
        }
        faults.into_result()
    }
}

/// A circuit breaker: stops asking a service that fails, and finds out by itself when it is back.
///
/// *Closed*, every call passes. After [`failures_max`](BreakerPolicy::failures_max) failures in a row, none of them older than
/// the window, it *opens*: no call passes. When [`open_for`](BreakerPolicy::open_for) is over it is *half open*: exactly one
/// call passes, the probe. If that succeeds it closes, if it fails it opens anew. A success in between begins the count anew, so
/// that a busy service that fails once in a thousand calls is not cut off.
///
/// A call that passes gets a [`Permit`] and gives it back with its outcome. The outcome of a call that began before the breaker
/// changed its state says nothing about now and is left out of account. A probe whose outcome never comes (its task was dropped,
/// its process stopped) does not hold the breaker half open for ever: after `open_for` another may try.
///
/// A clock that jumps back cannot keep it open: it waits at most `open_for` from the first call after the jump.
///
/// # Source
///
/// The pattern is Michael Nygard's, *Release It!*, chapter "Stability Patterns". Own code, since the crates that are known for
/// it, `failsafe` and `recloser`, read the clock themselves.
///
/// # Example: opens, probes, closes
///
/// ```
/// use billing_core::resilience::{Breaker, BreakerPolicy, BreakerState};
/// use chrono::{DateTime, TimeDelta};
///
/// let mut breaker = Breaker::new(BreakerPolicy::PAYMENT);
/// let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
/// for _ in 0..3 {
///     let permit = breaker.try_acquire(now).unwrap();
///     breaker.fail(permit, "timeout", now);
/// }
/// let refusal = breaker.try_acquire(now).unwrap_err();
/// assert_eq!(refusal.to_string(), "the breaker is open until 2023-11-14 22:15:20 UTC");
///
/// let later = now + TimeDelta::seconds(120);
/// let probe = breaker.try_acquire(later).unwrap();
/// assert!(breaker.try_acquire(later).is_err(), "one probe, and no other call");
/// breaker.succeed(probe, later);
/// assert_eq!(breaker.snapshot(later).state, BreakerState::Closed);
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    phase: Phase,
    /// Grows with every change of the phase; a permit of another generation is out of date.
    generation: u64,
    counts: Counts,
    last_error: Option<LastError>,
}

#[derive(Clone, Debug)]
enum Phase {
    /// With the instants of the failures since the last success, oldest first.
    Closed {
        failures: Vec<DateTime<Utc>>,
    },
    Open {
        since: DateTime<Utc>,
    },
    /// A probe is on its way since then.
    Probing {
        since: DateTime<Utc>,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    succeeded: u64,
    failed: u64,
    refused: u64,
    opened: u64,
}

/// Leave to make one call. Give it back with the outcome.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a probe that is not given back holds the breaker half open for a while"]
pub struct Permit {
    generation: u64,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the three states of the pattern")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// No call passes.
    Open,
    /// One call passes, or is on its way.
    HalfOpen,
}

impl BreakerState {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What a breaker has changed into: for a log, a metric, a notification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a shell must fail to compile when one is added"
)]
pub enum Transition {
    /// It lets no call pass.
    Opened {
        /// Until then.
        until: DateTime<Utc>,
    },
    /// It lets all calls pass again.
    Closed,
}

/// Why a call does not pass. Nothing was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BreakerRefusal {
    /// It is open.
    #[error("the breaker is open until {until}")]
    Open {
        /// When a probe may pass.
        until: DateTime<Utc>,
    },
    /// A probe is on its way.
    #[error("the breaker is half open, and waits for its probe until {until}")]
    Probing {
        /// When another probe may pass, should this one not come back.
        until: DateTime<Utc>,
    },
}

impl BreakerRefusal {
    /// When it is worth to ask again.
    pub const fn until(self) -> DateTime<Utc> {
        match self {
            Self::Open { until } | Self::Probing { until } => until,
        }
    }
}

/// What went wrong last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what is known of it")]
pub struct LastError {
    /// A short code, such as `timeout`: never what a service said, which may hold anything.
    pub code: &'static str,
    /// When.
    pub at: DateTime<Utc>,
}

/// A breaker, seen from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what is observed")]
pub struct BreakerSnapshot {
    /// Where it stands.
    pub state: BreakerState,
    /// How many failures count at present towards its opening; 0 unless it is closed.
    pub failures: u32,
    /// How many would open it.
    pub failures_max: u32,
    /// Since when it is open, if it is.
    pub opened_at: Option<DateTime<Utc>>,
    /// When a probe may pass, if none may now: the end of being open, or of waiting for the probe on its way.
    pub half_opens_at: Option<DateTime<Utc>>,
    /// How many calls succeeded, ever.
    pub succeeded: u64,
    /// How many calls failed, ever.
    pub failed: u64,
    /// How many calls were not let pass, ever.
    pub refused: u64,
    /// How often it opened.
    pub opened: u64,
    /// The last failure, also when there was a success since.
    pub last_error: Option<LastError>,
}

impl Breaker {
    /// A closed breaker. A policy that is out of bounds is drawn to the nearest bound; ask [`BreakerPolicy::validate`] first.
    pub fn new(policy: BreakerPolicy) -> Self {
        let least = TimeDelta::microseconds(1);
        Self {
            policy: BreakerPolicy {
                failures_max: policy.failures_max.clamp(1, FAILURES_MAX),
                window: policy.window.max(least),
                open_for: policy.open_for.max(least),
            },
            phase: Phase::Closed { failures: Vec::new() },
            generation: 0,
            counts: Counts::default(),
            last_error: None,
        }
    }

    /// Lets a call pass at `now`, or not.
    ///
    /// # Errors
    ///
    /// [`BreakerRefusal`]: nothing may be sent.
    pub fn try_acquire(&mut self, now: DateTime<Utc>) -> Result<Permit, BreakerRefusal> {
        let refusal = match &mut self.phase {
            Phase::Closed { .. } => {
                return Ok(Permit {
                    generation: self.generation,
                });
            }
            // The clock went back: what is left is counted from here.
            Phase::Open { since } | Phase::Probing { since } if *since > now => {
                *since = now;
                let until = after(now, self.policy.open_for);
                match self.phase {
                    Phase::Probing { .. } => BreakerRefusal::Probing { until },
                    Phase::Open { .. } | Phase::Closed { .. } => BreakerRefusal::Open { until },
                }
            }
            Phase::Open { since } => {
                let until = after(*since, self.policy.open_for);
                if now >= until {
                    return Ok(self.probe(now));
                }
                BreakerRefusal::Open { until }
            }
            Phase::Probing { since } => {
                let until = after(*since, self.policy.open_for);
                if now >= until {
                    return Ok(self.probe(now));
                }
                BreakerRefusal::Probing { until }
            }
        };
        self.counts.refused = self.counts.refused.saturating_add(1);
        Err(refusal)
    }

    fn probe(&mut self, now: DateTime<Utc>) -> Permit {
        self.change(Phase::Probing { since: now });
        Permit {
            generation: self.generation,
        }
    }

    /// The call succeeded: the service answered, be it with a refusal of what was asked.
    pub fn succeed(&mut self, permit: Permit, _now: DateTime<Utc>) -> Option<Transition> {
        self.counts.succeeded = self.counts.succeeded.saturating_add(1);
        if permit.generation != self.generation {
            return None;
        }
        match &mut self.phase {
            Phase::Closed { failures } => {
                failures.clear();
                None
            }
            Phase::Open { .. } => None,
            Phase::Probing { .. } => {
                self.change(Phase::Closed { failures: Vec::new() });
                Some(Transition::Closed)
            }
        }
    }

    /// The call failed: the service did not answer, or answered that it cannot.
    pub fn fail(&mut self, permit: Permit, code: &'static str, now: DateTime<Utc>) -> Option<Transition> {
        self.counts.failed = self.counts.failed.saturating_add(1);
        self.last_error = Some(LastError { code, at: now });
        if permit.generation != self.generation {
            return None;
        }
        let opens = match &mut self.phase {
            Phase::Closed { failures } => {
                let window = self.policy.window;
                failures.retain(|at| counts(*at, window, now));
                failures.push(now);
                u32::try_from(failures.len()).is_ok_and(|count| count >= self.policy.failures_max)
            }
            Phase::Open { .. } => false,
            Phase::Probing { .. } => true,
        };
        if !opens {
            return None;
        }
        self.counts.opened = self.counts.opened.saturating_add(1);
        self.change(Phase::Open { since: now });
        Some(Transition::Opened {
            until: after(now, self.policy.open_for),
        })
    }

    /// The call was given up, and tells nothing of the service. If it was the probe, the next call is one.
    pub fn abandon(&mut self, permit: Permit, now: DateTime<Utc>) {
        if permit.generation != self.generation {
            return;
        }
        if let Phase::Probing { .. } = self.phase {
            // Open, and its time over.
            let since = now.checked_sub_signed(self.policy.open_for).unwrap_or(now);
            self.change(Phase::Open { since });
        }
    }

    /// How it stands at `now`.
    pub fn snapshot(&self, now: DateTime<Utc>) -> BreakerSnapshot {
        let (state, failures, opened_at, half_opens_at) = match &self.phase {
            Phase::Closed { failures } => {
                let window = self.policy.window;
                let counted = failures.iter().filter(|at| counts(**at, window, now)).count();
                (
                    BreakerState::Closed,
                    u32::try_from(counted).unwrap_or(u32::MAX),
                    None,
                    None,
                )
            }
            Phase::Open { since } => {
                let until = after((*since).min(now), self.policy.open_for);
                if now >= until {
                    (BreakerState::HalfOpen, 0, None, None)
                } else {
                    (BreakerState::Open, 0, Some(*since), Some(until))
                }
            }
            Phase::Probing { since } => {
                let until = after((*since).min(now), self.policy.open_for);
                (
                    BreakerState::HalfOpen,
                    0,
                    None,
                    Some(until).filter(|until| *until > now),
                )
            }
        };
        BreakerSnapshot {
            state,
            failures,
            failures_max: self.policy.failures_max,
            opened_at,
            half_opens_at,
            succeeded: self.counts.succeeded,
            failed: self.counts.failed,
            refused: self.counts.refused,
            opened: self.counts.opened,
            last_error: self.last_error,
        }
    }

    fn change(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1);
    }
}

/// Whether a failure at `at` counts at `now`. One that a clock dates into the future does: it has just been.
fn counts(at: DateTime<Utc>, window: TimeDelta, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(at) < window
}

/// The end of time is late enough where the sum does not fit.
fn after(since: DateTime<Utc>, span: TimeDelta) -> DateTime<Utc> {
    since.checked_add_signed(span).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests;
