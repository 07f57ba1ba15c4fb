//! The two clocks: the system's, and one that tests and simulations set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use billing_core::ports::Clock;
use chrono::{DateTime, TimeDelta, Utc};

/// The time of the system that the program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        // A system that is set before 1970 reads as 1970.
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        i64::try_from(micros)
            .ok()
            .and_then(DateTime::from_timestamp_micros)
            .unwrap_or_default()
    }
}

/// A clock that stands still until it is set: for tests, simulations and imports of the past.
///
/// ```
/// use billing::{Clock, TestClock};
///
/// let clock = TestClock::at("2024-09-01T00:00:00Z".parse().unwrap());
/// clock.set("2024-10-01T00:00:00Z".parse().unwrap());
/// assert_eq!(clock.now().to_string(), "2024-10-01 00:00:00 UTC");
/// ```
#[derive(Debug)]
pub struct TestClock {
    micros: AtomicI64,
}

impl TestClock {
    /// A clock that shows `now`, cut to whole microseconds.
    ///
    /// # Example: cut to what stores keep
    ///
    /// ```
    /// use billing::{Clock, TestClock};
    ///
    /// let clock = TestClock::at("2026-06-01T00:00:00.123456789Z".parse().unwrap());
    /// assert_eq!(clock.now().to_string(), "2026-06-01 00:00:00.123456 UTC");
    /// ```
    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            micros: AtomicI64::new(now.timestamp_micros()),
        }
    }

    /// Moves the clock, also back.
    ///
    /// # Example: back in time
    ///
    /// ```
    /// use billing::{Clock, TestClock};
    ///
    /// let clock = TestClock::at("2026-06-01T00:00:00Z".parse().unwrap());
    /// clock.set("2024-02-29T00:00:00Z".parse().unwrap());
    /// assert_eq!(clock.now().to_string(), "2024-02-29 00:00:00 UTC");
    /// ```
    pub fn set(&self, now: DateTime<Utc>) {
        self.micros.store(now.timestamp_micros(), Ordering::SeqCst);
    }

    /// Moves the clock on by `delta`.
    ///
    /// # Example: an hour
    ///
    /// ```
    /// use billing::{Clock, TestClock};
    /// use chrono::TimeDelta;
    ///
    /// let clock = TestClock::at("2026-06-30T23:30:00Z".parse().unwrap());
    /// clock.advance(TimeDelta::hours(1));
    /// assert_eq!(clock.now().to_string(), "2026-07-01 00:30:00 UTC");
    /// ```
    pub fn advance(&self, delta: TimeDelta) {
        self.micros
            .fetch_add(delta.num_microseconds().unwrap_or(0), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.micros.load(Ordering::SeqCst)).unwrap_or_default()
    }
}
