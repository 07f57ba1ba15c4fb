use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// More is not kept: a few megabytes.
const ENTRIES_MAX: usize = 10_000;

/// What a service said last, and when.
#[derive(Debug)]
pub(super) struct LastGood<K, V>(Mutex<BTreeMap<K, (V, DateTime<Utc>)>>);

impl<K, V> Default for LastGood<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Ord, V: Clone> LastGood<K, V> {
    pub(super) fn keep(&self, key: K, value: V, now: DateTime<Utc>, age_max: TimeDelta) {
        if age_max <= TimeDelta::zero() {
            return;
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(key, (value, now));
        if entries.len() > ENTRIES_MAX {
            entries.retain(|_, (_, at)| now.signed_duration_since(*at) <= age_max);
        }
        if entries.len() > ENTRIES_MAX {
            // The older half, at once, so that each entry pays for a constant share of it.
            let mut instants: Vec<_> = entries.values().map(|(_, at)| *at).collect();
            let middle = instants.len() / 2;
            let (_, median, _) = instants.select_nth_unstable(middle);
            let median = *median;
            entries.retain(|_, (_, at)| *at > median);
        }
    }

    pub(super) fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The last value and its age, if it is not too old. What a clock dates into the future has just been said.
    pub(super) fn recall(&self, key: &K, now: DateTime<Utc>, age_max: TimeDelta) -> Option<(V, TimeDelta)> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, at) = entries.get(key)?;
        let age = now.signed_duration_since(*at).max(TimeDelta::zero());
        (age <= age_max && age_max > TimeDelta::zero()).then(|| (value.clone(), age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    #[test]
    fn it_tells_the_age_and_ends_at_the_limit() {
        let memory = LastGood::default();
        memory.keep(1, "a", at(0), MINUTE);
        assert_eq!(memory.recall(&1, at(60), MINUTE), Some(("a", MINUTE)));
        assert_eq!(memory.recall(&1, at(61), MINUTE), None);
        assert_eq!(memory.recall(&1, at(-5), MINUTE), Some(("a", TimeDelta::zero())));
        assert_eq!(memory.recall(&2, at(0), MINUTE), None);
        memory.forget(&1);
        assert_eq!(memory.recall(&1, at(0), MINUTE), None);
        memory.keep(1, "a", at(0), TimeDelta::zero());
        assert_eq!(
            memory.recall(&1, at(0), MINUTE),
            None,
            "nothing is kept that is never used"
        );
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let memory = LastGood::default();
        for key in 0..30_000_i64 {
            memory.keep(key, (), at(key / 1000), MINUTE);
            assert!(memory.0.lock().unwrap().len() <= ENTRIES_MAX);
        }
        assert!(
            memory.recall(&29_999, at(29), MINUTE).is_some(),
            "the newest is kept"
        );
    }
}
