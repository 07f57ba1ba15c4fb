//! When a failed payment is tried again.

use alloc::vec::Vec;

use chrono::TimeDelta;

use crate::validate::Faults;

/// What a decline means for the next attempt.
///
/// Which of a provider's codes is which is a table at the provider's adapter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a class is added"
)]
pub enum DeclineClass {
    /// May pass later, such as insufficient funds: tried again by the [`RetryPolicy`].
    Retry,
    /// Needs another payment method, such as an expired card: not tried again until the customer acts.
    AskCustomer,
    /// Must not be tried again, such as a stolen card: as if the retries were spent.
    Stop,
    /// The outcome is not known, such as a timeout: verified by reference before anything else happens.
    Unknown,
}

impl DeclineClass {
    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::AskCustomer => "ask_customer",
            Self::Stop => "stop",
            Self::Unknown => "unknown",
        }
    }
}

/// The delays between attempts to collect an invoice.
///
/// The defaults (1, 2, 4 days, three retries, up to 10 % later) give a card that was short on payday a week to
/// recover, inside a usual grace period.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: an adapter must fail to compile when one is added"
)]
pub enum RetryPolicy {
    /// Each delay is the one before times a factor, up to a cap.
    Exponential(ExponentialBackoff),
    /// A fixed list, one delay per retry, in hours since the failure before; no jitter.
    ///
    /// For example Kill Bill's 8, 8, 8 days are `[192, 192, 192]`.
    IntervalsHours(Vec<u32>),
}

/// The parameters of [`RetryPolicy::Exponential`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct ExponentialBackoff {
    /// The delay before the first retry, in hours, at least 1.
    pub base_hours: u32,
    /// What each delay is multiplied by to get the next, at least 1.
    pub factor: u32,
    /// No delay is longer than this many hours, jitter left aside.
    pub cap_hours: u32,
    /// How many retries follow the first attempt.
    pub retries_max: u32,
    /// A delay is longer by up to this many percent, at most 100, so that a day's failures do not all come back in
    /// the same second. Taken from the subscription's id, not from chance: the same subscription waits the same.
    pub jitter_percent: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::Exponential(ExponentialBackoff {
            base_hours: 24,
            factor: 2,
            cap_hours: 24 * 30,
            retries_max: 3,
            jitter_percent: 10,
        })
    }
}

impl RetryPolicy {
    /// How long to wait after failure number `failures` (counted from 1), or `None` when the retries are spent.
    ///
    /// `seed` picks the jitter; the engine passes the subscription's id.
    ///
    /// # Example: the default ladder
    ///
    /// ```
    /// use billing_core::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::default();
    /// let days: Vec<_> = (1..=4).map(|n| policy.delay(n, 0).map(|delay| delay.num_days())).collect();
    /// assert_eq!(days, [Some(1), Some(2), Some(4), None]);
    /// ```
    pub fn delay(&self, failures: u32, seed: u128) -> Option<TimeDelta> {
        let index = failures.checked_sub(1)?;
        match self {
            Self::IntervalsHours(hours) => {
                let hours = hours.get(usize::try_from(index).ok()?)?;
                TimeDelta::try_hours(i64::from(*hours))
            }
            Self::Exponential(backoff) => {
                if failures > backoff.retries_max {
                    return None;
                }
                let hours = backoff
                    .factor
                    .checked_pow(index)
                    .and_then(|factor| backoff.base_hours.checked_mul(factor))
                    .unwrap_or(backoff.cap_hours)
                    .min(backoff.cap_hours);
                let seconds = i64::from(hours).checked_mul(3600)?;
                let share = i64::try_from(seed.checked_rem(1001)?).ok()?; // per mille of the full jitter
                let jitter = seconds
                    .checked_mul(i64::from(backoff.jitter_percent))?
                    .checked_mul(share)?
                    .checked_div(100_000)?;
                TimeDelta::try_seconds(seconds.checked_add(jitter)?)
            }
        }
    }

    /// How long the rest of the ladder takes after failure number `failures`: the time that a customer who was asked
    /// for another payment method has before the subscription is suspended.
    pub fn remaining(&self, failures: u32, seed: u128) -> TimeDelta {
        let mut total = TimeDelta::zero();
        let mut failures = failures;
        while let Some(sum) = self
            .delay(failures, seed)
            .and_then(|delay| total.checked_add(&delay))
        {
            total = sum;
            failures = failures.saturating_add(1);
        }
        total
    }

    /// Collects what is wrong with the settings.
    pub(crate) fn check(&self, faults: &mut Faults) {
        match self {
            Self::IntervalsHours(hours) => {
                if hours.len() > 100 {
                    faults.push("intervals_hours", "too_many", "expected at most 100 retries");
                }
                for (index, hours) in hours.iter().enumerate() {
                    if !(1..=8760).contains(hours) {
                        faults.push(
                            alloc::format!("intervals_hours[{index}]"),
                            "out_of_range",
                            alloc::format!("expected 1 to 8760 hours, got {hours}"),
                        );
                    }
                }
            }
            Self::Exponential(backoff) => {
                for (field, value, least, most) in [
                    ("base_hours", backoff.base_hours, 1, 8760),
                    ("factor", backoff.factor, 1, 100),
                    ("cap_hours", backoff.cap_hours, 1, 8760),
                    ("retries_max", backoff.retries_max, 0, 100),
                    ("jitter_percent", backoff.jitter_percent, 0, 100),
                ] {
                    if !(least..=most).contains(&value) {
                        faults.push(
                            alloc::format!("exponential.{field}"),
                            "out_of_range",
                            alloc::format!("expected {least} to {most}, got {value}"),
                        );
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[track_caller]
    fn check(policy: &RetryPolicy, seed: u128, hours: &[i64]) {
        let ladder: Vec<_> = (1..)
            .map_while(|failures| policy.delay(failures, seed))
            .map(|delay| delay.num_hours())
            .collect();
        assert_eq!(ladder, hours);
    }

    #[test]
    fn ladders_of_the_peers_can_be_expressed() {
        check(&RetryPolicy::default(), 0, &[24, 48, 96]);
        check(
            &RetryPolicy::IntervalsHours(Vec::from([192, 192, 192])),
            7,
            &[192, 192, 192],
        );
        check(
            &RetryPolicy::IntervalsHours(Vec::from([48, 120, 168, 168])),
            7,
            &[48, 120, 168, 168],
        );
        check(&RetryPolicy::IntervalsHours(Vec::new()), 7, &[]);
    }

    #[test]
    fn jitter_is_later_never_earlier_and_the_same_for_the_same_seed() {
        check(&RetryPolicy::default(), 1000, &[26, 52, 105]);
        for seed in 0..2000 {
            let delay = RetryPolicy::default().delay(1, seed).unwrap();
            assert!(
                delay >= TimeDelta::hours(24) && delay <= TimeDelta::minutes(24 * 66),
                "{seed}"
            );
            assert_eq!(RetryPolicy::default().delay(1, seed), Some(delay));
        }
    }

    #[test]
    fn the_cap_holds_when_the_power_overflows() {
        let policy = RetryPolicy::Exponential(ExponentialBackoff {
            base_hours: 24,
            factor: 10,
            cap_hours: 100,
            retries_max: 60,
            jitter_percent: 0,
        });
        assert_eq!(policy.delay(2, 0), Some(TimeDelta::hours(100)));
        assert_eq!(policy.delay(60, 0), Some(TimeDelta::hours(100)));
        assert_eq!(policy.delay(61, 0), None);
    }

    #[test]
    fn what_remains_is_the_sum_of_the_delays_to_come() {
        assert_eq!(RetryPolicy::default().remaining(1, 0), TimeDelta::days(7));
        assert_eq!(RetryPolicy::default().remaining(3, 0), TimeDelta::days(4));
        assert_eq!(RetryPolicy::default().remaining(4, 0), TimeDelta::zero());
    }
}
