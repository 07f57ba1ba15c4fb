//! How the events of a window of time become one quantity.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::fmt;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::calendar::Period;
use crate::charge::DECIMALS_MAX;

/// How the events of a period become one quantity.
///
/// None depends on the order in which events are recorded: where one event comes before another, that is by
/// [`occurred_at`](crate::usage::UsageEvent::occurred_at), and at one instant by the order in which the store took them.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an aggregation is added"
)]
pub enum Aggregation {
    /// The sum of their quantities.
    #[default]
    Sum,
    /// How many there are, whatever their quantities.
    Count,
    /// The largest quantity; 0 without events.
    Max,
    /// The smallest quantity; 0 without events.
    Min,
    /// The quantity of the last one; 0 without events.
    Last,
    /// How many different values a property has. Events without it share one value, the empty one.
    UniqueCount {
        /// The name of the property.
        property: String,
    },
    /// Each quantity times the time for which it was held: until the next event, or the end of the window. What was held
    /// before the window begins is held on, so that seats that nobody touches are charged again each period. Time that belongs
    /// to no billing period, such as a pause, counts nothing.
    ///
    /// # Example: ten seats, from the middle of the month fifteen
    ///
    /// With [`HeldUnit::Period`] they are 12.5 seats in that month, and 15 in the next one, in which nothing was reported.
    WeightedSum {
        /// In what the time is counted.
        unit: HeldUnit,
    },
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sum => f.write_str("a sum"),
            Self::Count => f.write_str("a count"),
            Self::Max => f.write_str("a maximum"),
            Self::Min => f.write_str("a minimum"),
            Self::Last => f.write_str("the last quantity"),
            Self::UniqueCount { property } => write!(f, "a number of different values of `{property}`"),
            Self::WeightedSum { unit } => {
                let unit = match unit {
                    HeldUnit::Hour => "hours",
                    HeldUnit::Day => "days",
                    HeldUnit::Period => "billing periods",
                };
                write!(f, "a sum weighted by the {unit} held")
            }
        }
    }
}

/// In what the time is counted for which a quantity is held.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a unit is added"
)]
pub enum HeldUnit {
    /// Hours, as in GB-hours.
    Hour,
    /// Days of 24 hours.
    Day,
    /// Whole billing periods, as in seats per month: what is held for half a period counts half.
    Period,
}

impl Aggregation {
    /// Whether each event adds to the total by itself, so that a part of a limit can be held for it.
    pub const fn is_additive(&self) -> bool {
        match self {
            Self::Sum | Self::Count => true,
            Self::Max | Self::Min | Self::Last | Self::UniqueCount { .. } | Self::WeightedSum { .. } => false,
        }
    }

    /// Whether a running total can be kept that a limit is checked against: not a minimum, which more usage may lower, and
    /// not a number of different values, which needs all of them.
    pub const fn has_running_total(&self) -> bool {
        match self {
            Self::Sum | Self::Count | Self::Max | Self::Last | Self::WeightedSum { .. } => true,
            Self::Min | Self::UniqueCount { .. } => false,
        }
    }

    /// Whether what was held before a window matters in it.
    pub const fn carries_over(&self) -> bool {
        match self {
            Self::WeightedSum { .. } => true,
            Self::Sum | Self::Count | Self::Max | Self::Min | Self::Last | Self::UniqueCount { .. } => false,
        }
    }

    /// What an event of `quantity` counts for: one where events are counted.
    pub fn counted(&self, quantity: Decimal) -> Decimal {
        match self {
            Self::Count => Decimal::ONE,
            Self::Sum
            | Self::Max
            | Self::Min
            | Self::Last
            | Self::UniqueCount { .. }
            | Self::WeightedSum { .. } => quantity,
        }
    }

    /// The running total that a limit is checked against, after `quantity` more, as it [counts](Self::counted). `is_latest`
    /// tells whether none that is counted occurred after it.
    ///
    /// Of a [`WeightedSum`](Self::WeightedSum) it is what is held: a limit of ten seats is about seats, not about
    /// seat-hours. What has no [running total](Self::has_running_total) stays as it is.
    ///
    /// # Errors
    ///
    /// [`UsageOverflow`].
    pub fn running(
        &self,
        total: Decimal,
        quantity: Decimal,
        is_latest: bool,
    ) -> Result<Decimal, UsageOverflow> {
        match self {
            Self::Sum | Self::Count => add_quantities(total, quantity),
            Self::Max => Ok(total.max(quantity)),
            Self::Last | Self::WeightedSum { .. } if is_latest => Ok(quantity),
            Self::Last | Self::WeightedSum { .. } | Self::Min | Self::UniqueCount { .. } => Ok(total),
        }
    }
}

/// A sum of quantities needs more digits than there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the sum of usage quantities does not fit")]
#[non_exhaustive]
pub struct UsageOverflow;

/// The exact sum; a plain decimal addition would drop digits in silence when they do not fit.
///
/// # Errors
///
/// [`UsageOverflow`].
pub fn add_quantities(left: Decimal, right: Decimal) -> Result<Decimal, UsageOverflow> {
    let (left, right) = (normalized(left), normalized(right));
    let sum = left.checked_add(right).ok_or(UsageOverflow)?;
    if sum.is_zero() || sum.scale() >= left.scale().max(right.scale()) {
        Ok(sum)
    } else {
        Err(UsageOverflow)
    }
}

/// Without zeros at the end. Most have none, which of a number of 64 bits is seen at once.
fn normalized(number: Decimal) -> Decimal {
    let parts = number.unpack();
    let low = u64::from(parts.mid) << 32 | u64::from(parts.lo);
    let is_normal = parts.scale == 0 || (parts.hi == 0 && !low.is_multiple_of(10));
    if is_normal { number } else { number.normalize() }
}

/// What the events of one window add up to so far. They come in the order in which they occurred.
#[derive(Clone, Debug)]
pub(crate) struct Total<'a> {
    aggregation: &'a Aggregation,
    events: u64,
    /// What is added up, the largest, the smallest, the last one; what is held.
    quantity: Decimal,
    values: BTreeSet<String>,
    /// What was held until `held_until`, in 10^-12 of a unit times microseconds.
    held: i128,
    held_until: DateTime<Utc>,
}

/// 10^12: a quantity has no more decimals.
const PICO: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);

impl<'a> Total<'a> {
    /// Nothing yet; from `start` on, at which `level` is held, time counts.
    pub(crate) const fn new(aggregation: &'a Aggregation, start: DateTime<Utc>, level: Decimal) -> Self {
        Self {
            aggregation,
            events: 0,
            quantity: level,
            values: BTreeSet::new(),
            held: 0,
            held_until: start,
        }
    }

    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn add(
        &mut self,
        quantity: Decimal,
        occurred_at: DateTime<Utc>,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), UsageOverflow> {
        match self.aggregation {
            Aggregation::Sum => self.quantity = add_quantities(self.quantity, quantity)?,
            Aggregation::Count => {}
            Aggregation::Max => self.quantity = self.quantity.max(quantity),
            Aggregation::Min if self.events > 0 => self.quantity = self.quantity.min(quantity),
            Aggregation::Min | Aggregation::Last => self.quantity = quantity,
            Aggregation::UniqueCount { property } => {
                let value = properties.get(property).map_or("", String::as_str);
                if !self.values.contains(value) {
                    self.values.insert(value.into());
                }
            }
            Aggregation::WeightedSum { .. } => {
                self.hold(occurred_at)?;
                self.quantity = quantity;
            }
        }
        self.events = self.events.saturating_add(1);
        Ok(())
    }

    /// Counts what is held until `until`.
    fn hold(&mut self, until: DateTime<Utc>) -> Result<(), UsageOverflow> {
        if until <= self.held_until {
            return Ok(());
        }
        let microseconds = until
            .timestamp_micros()
            .checked_sub(self.held_until.timestamp_micros());
        let pico = self.quantity.checked_mul(PICO).ok_or(UsageOverflow)?.normalize();
        // At most ten billion with twelve decimals, over centuries: within 128 bits by far.
        let held = (pico.scale() == 0)
            .then(|| pico.mantissa().checked_mul(i128::from(microseconds?)))
            .flatten();
        self.held = self
            .held
            .checked_add(held.ok_or(UsageOverflow)?)
            .ok_or(UsageOverflow)?;
        self.held_until = until;
        Ok(())
    }

    /// The quantity when the window ends at `until`. `period` is the whole billing period that the window belongs to; without
    /// one no time counts.
    ///
    /// A weighted sum is cut to as many decimals as a quantity may have, half away from zero; all else is exact.
    pub(crate) fn finish(
        mut self,
        until: DateTime<Utc>,
        period: Option<Period>,
    ) -> Result<Decimal, UsageOverflow> {
        match self.aggregation {
            Aggregation::Sum | Aggregation::Max | Aggregation::Min | Aggregation::Last => {
                Ok(self.quantity.normalize())
            }
            Aggregation::Count => Ok(self.events.into()),
            Aggregation::UniqueCount { .. } => Ok(self.values.len().into()),
            Aggregation::WeightedSum { unit } => {
                let Some(period) = period else {
                    return Ok(Decimal::ZERO);
                };
                self.hold(until)?;
                let unit = match unit {
                    HeldUnit::Hour => 3_600_000_000,
                    HeldUnit::Day => 86_400_000_000,
                    HeldUnit::Period => i128::from(period.microseconds()),
                };
                let half = unit.checked_div(2).ok_or(UsageOverflow)?;
                let pico = self
                    .held
                    .checked_add(half)
                    .and_then(|held| held.checked_div(unit))
                    .ok_or(UsageOverflow)?;
                Decimal::try_from_i128_with_scale(pico, DECIMALS_MAX)
                    .map(|quantity| quantity.normalize())
                    .map_err(|_| UsageOverflow)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn unique() -> Aggregation {
        Aggregation::UniqueCount {
            property: "user".into(),
        }
    }

    const fn held(unit: HeldUnit) -> Aggregation {
        Aggregation::WeightedSum { unit }
    }

    /// What `events` of `(second, quantity, user)` add up to in the two hours from 0 on, of a period of four hours; 8 are held
    /// before.
    fn total(aggregation: &Aggregation, events: &[(i64, &str, &str)]) -> String {
        let carries = if aggregation.carries_over() { 8 } else { 0 };
        let mut total = Total::new(aggregation, at(0), carries.into());
        for (second, quantity, user) in events {
            let properties = match *user {
                "" => BTreeMap::new(),
                user => BTreeMap::from([("user".into(), user.into())]),
            };
            total
                .add(quantity.parse().unwrap(), at(*second), &properties)
                .unwrap();
        }
        let period = Period::new(at(0), at(4 * 3600)).unwrap();
        total.finish(at(2 * 3600), Some(period)).unwrap().to_string()
    }

    #[test]
    fn each_aggregation_of_none_of_one_and_of_several_events() {
        let several = [
            (600, "1.5", "ann"),
            (1800, "0.5", ""),
            (1800, "7", "bob"),
            (3600, "2", "ann"),
        ];
        for (aggregation, none, one, all) in [
            (Aggregation::Sum, "0", "1.5", "11"),
            (Aggregation::Count, "0", "1", "4"),
            (Aggregation::Max, "0", "1.5", "7"),
            (Aggregation::Min, "0", "1.5", "0.5"),
            (Aggregation::Last, "0", "1.5", "2"),
            (unique(), "0", "1", "3"),
            // 8 for 10 minutes, 1.5 for 20 (or 110), 7 for 30, 2 for 60: in hours.
            (held(HeldUnit::Hour), "16", "4.083333333333", "7.333333333333"),
            (
                held(HeldUnit::Day),
                "0.666666666667",
                "0.170138888889",
                "0.305555555556",
            ),
            (held(HeldUnit::Period), "4", "1.020833333333", "1.833333333333"),
        ] {
            let found =
                [&several[..0], &several[..1], &several[..]].map(|events| total(&aggregation, events));
            assert_eq!(found, [none, one, all], "{aggregation:?}");
        }
    }

    #[test]
    fn a_running_total_is_what_a_limit_is_about() {
        let (four, nine) = (Decimal::from(4), Decimal::from(9));
        for (aggregation, latest, earlier) in [
            (Aggregation::Sum, 13, 13),
            (Aggregation::Count, 13, 13),
            (Aggregation::Max, 9, 9),
            (Aggregation::Last, 4, 9),
            (held(HeldUnit::Hour), 4, 9),
            (Aggregation::Min, 9, 9),
            (unique(), 9, 9),
        ] {
            let running = |is_latest| aggregation.running(nine, four, is_latest).unwrap();
            assert_eq!(
                (running(true), running(false)),
                (latest.into(), earlier.into()),
                "{aggregation:?}"
            );
        }
    }

    #[test]
    fn a_sum_that_would_lose_a_digit_is_refused() {
        let most = Decimal::MAX;
        let tiny: Decimal = "0.000000000001".parse().unwrap();
        assert_eq!(most.checked_add(tiny), Some(most), "the reason for the check");
        assert_eq!(add_quantities(most, tiny), Err(UsageOverflow));
        assert_eq!(add_quantities(most, most), Err(UsageOverflow));
    }

    proptest! {
        #[test]
        fn order_never_changes_a_sum(mut parts in prop::collection::vec((0_i64..1_000_000_000, 0_u32..=12), 1..50)) {
            let sum = |parts: &[(i64, u32)]| {
                parts.iter().try_fold(Decimal::ZERO, |sum, (n, scale)| add_quantities(sum, Decimal::new(*n, *scale)))
            };
            let forward = sum(&parts).unwrap();
            parts.reverse();
            prop_assert_eq!(sum(&parts).unwrap(), forward);
        }

        /// The last one counts as it occurred, not as it was recorded; what is held is the same however the time is cut.
        #[test]
        fn what_is_held_in_two_parts_is_what_is_held_in_all(
            mut events in prop::collection::vec((0_i64..7200, 0_i64..1_000_000_000), 0..20),
            cut in 1_i64..7199,
        ) {
            events.sort_unstable();
            // A unit of one microsecond leaves nothing to be rounded.
            let aggregation = held(HeldUnit::Period);
            let micro = Period::new(at(0), at(0) + chrono::TimeDelta::microseconds(1)).unwrap();
            let held = |from: i64, until: i64| {
                let level = events.iter().rev().find(|(second, _)| *second < from).map_or(0, |(_, level)| *level);
                let mut total = Total::new(&aggregation, at(from), Decimal::new(level, 6));
                for (second, quantity) in events.iter().filter(|(second, _)| (from..until).contains(second)) {
                    total.add(Decimal::new(*quantity, 6), at(*second), &BTreeMap::new()).unwrap();
                }
                total.finish(at(until), Some(micro)).unwrap()
            };
            prop_assert_eq!(held(0, cut) + held(cut, 7200), held(0, 7200));
            let plain: Vec<_> = events.iter().map(|(second, _)| *second).chain([7200]).collect();
            let expected: i64 = events.iter().zip(&plain[1..]).map(|((from, level), until)| (until - from) * level).sum();
            prop_assert_eq!(held(0, 7200), Decimal::from(expected));
        }
    }
}
