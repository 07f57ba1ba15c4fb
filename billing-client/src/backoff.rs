use std::time::Duration;

use crate::fault::Fault;

/// How often a call is repeated, and how long is waited before.
///
/// Before retry *n* (from 1) between nothing and `base * 2^(n-1)`, at most `cap`: full jitter, so that those who failed together
/// do not come back together. Only what may pass by itself is repeated; what moves money only if it was certainly not carried
/// out.
///
/// # Source
///
/// Marc Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015 ("full jitter").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// How many retries follow the first attempt.
    pub retries_max: u32,
    /// The longest wait before the first retry.
    pub base: Duration,
    /// The longest wait before any.
    pub cap: Duration,
    /// The longest `Retry-After` that is waited for. A longer one ends the call, and is told to the caller.
    pub retry_after_max: Duration,
}

impl Default for Backoff {
    /// Two retries, within 0.2 and 0.4 s; a `Retry-After` of up to 5 s: somebody may be waiting for the answer.
    fn default() -> Self {
        Self {
            retries_max: 2,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(2),
            retry_after_max: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// No retries.
    pub const NONE: Self = Self {
        retries_max: 0,
        base: Duration::ZERO,
        cap: Duration::ZERO,
        retry_after_max: Duration::ZERO,
    };

    /// How long to wait before retry number `retry` (from 1), or `None` for no retry. `random` picks the jitter.
    pub(crate) fn wait(&self, retry: u32, fault: &Fault, random: u32) -> Option<Duration> {
        if retry > self.retries_max {
            return None;
        }
        let doubled = 2_u32.checked_pow(retry.saturating_sub(1)).unwrap_or(u32::MAX);
        let most = self.base.saturating_mul(doubled).min(self.cap);
        let nanos = most.as_nanos().saturating_mul(u128::from(random)) / u128::from(u32::MAX);
        let jittered = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        match fault.retry_after() {
            Some(asked) if asked > self.retry_after_max => None,
            // The jitter comes on top: all who were asked to come back in a second do not come back together.
            Some(asked) => Some(asked.saturating_add(jittered)),
            None => Some(jittered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        retries_max: 4,
        base: Duration::from_millis(100),
        cap: Duration::from_millis(350),
        retry_after_max: Duration::from_secs(5),
    };

    #[test]
    fn the_wait_doubles_up_to_the_cap_and_is_jittered_from_nothing() {
        let millis = |retry, random| {
            BACKOFF
                .wait(retry, &Fault::Timeout, random)
                .map(|wait| wait.as_millis())
        };
        assert_eq!(
            [1, 2, 3, 4, 5].map(|retry| millis(retry, u32::MAX)),
            [Some(100), Some(200), Some(350), Some(350), None]
        );
        assert_eq!(millis(2, 0), Some(0));
        assert_eq!(millis(2, u32::MAX / 2), Some(99));
    }

    #[test]
    fn retry_after_is_honored_up_to_its_limit() {
        let asked = |seconds| Fault::TooManyCalls {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(BACKOFF.wait(1, &asked(5), 0), Some(Duration::from_secs(5)));
        assert_eq!(
            BACKOFF.wait(1, &asked(5), u32::MAX),
            Some(Duration::from_millis(5100))
        );
        assert_eq!(BACKOFF.wait(1, &asked(6), 0), None);
        assert_eq!(Backoff::NONE.wait(1, &Fault::Timeout, 0), None);
    }
}
