//! The part of an amount that falls on a part of a period.

use core::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use crate::calendar::{self, Period, microseconds};
use crate::money::{Money, MoneyError, Rounding};
use crate::plan::ProrationRule;

/// A part of a period, exact; the denominator is always the whole period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Share {
    /// The part, 0 to `whole`.
    pub part: i64,
    /// The period, in the same unit.
    pub whole: i64,
    /// The unit of both.
    pub unit: ShareUnit,
}

/// What a [`Share`] is counted in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "one per rule of proration")]
pub enum ShareUnit {
    /// Microseconds of elapsed time.
    Microsecond,
    /// Days of the billing zone.
    Day,
}

impl Share {
    /// The share of `amount`.
    ///
    /// # Units
    ///
    /// Minor units, rounded once by `rounding`.
    ///
    /// # Errors
    ///
    /// In order: [`MoneyError::NoWeight`] for a period of no length, [`MoneyError::Overflow`].
    pub fn of(self, amount: Money, rounding: Rounding) -> Result<Money, MoneyError> {
        amount.fraction(self.part, self.whole, rounding)
    }

    /// What is in this share of a period and not in `rest`, which is counted alike.
    #[must_use]
    pub const fn without(self, rest: Self) -> Self {
        Self {
            part: self.part.saturating_sub(rest.part),
            ..self
        }
    }
}

/// In days, or in seconds where both are whole, else in microseconds.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: i64 = 1_000_000;
        let seconds = |micros: i64| {
            let seconds = micros.checked_div(SECOND)?;
            (seconds.checked_mul(SECOND) == Some(micros)).then_some(seconds)
        };
        let (part, whole, unit) = match (self.unit, seconds(self.part), seconds(self.whole)) {
            (ShareUnit::Day, _, _) => (self.part, self.whole, " d"),
            (ShareUnit::Microsecond, Some(part), Some(whole)) => (part, whole, " s"),
            (ShareUnit::Microsecond, _, _) => (self.part, self.whole, " us"),
        };
        let mut buffer = itoa::Buffer::new();
        for text in [buffer.format(part), unit, " / "] {
            f.write_str(text)?;
        }
        f.write_str(buffer.format(whole))?;
        f.write_str(unit)
    }
}

/// The part of `whole` that is left at `at`, days counted in `zone`.
///
/// Used plus unused is the whole: what was used of an amount is the amount minus the share that is left.
///
/// All of it before the start, none from the end on; under [`ProrationRule::None`] nothing is left once it has begun. By
/// the day, a period counts the midnights that it holds, and one that holds none goes by elapsed time.
///
/// # Example: an upgrade on the 11th of a month of 31 days divides by 31, not by the 21 that are left
///
/// ```
/// use billing_core::calendar::Period;
/// use billing_core::money::{Currency, Money, Rounding};
/// use billing_core::plan::ProrationRule;
/// use billing_core::proration::left;
/// use chrono_tz::Tz;
///
/// let march = Period::new("2026-03-01T00:00:00Z".parse().unwrap(), "2026-04-01T00:00:00Z".parse().unwrap()).unwrap();
/// let price = Money::new(31_00, Currency::from_code("USD")?);
/// let share = left(march, "2026-03-11T00:00:00Z".parse().unwrap(), ProrationRule::Second, Tz::UTC);
/// assert_eq!(share.of(price, Rounding::default())?.minor, 21_00);
/// # Ok::<(), billing_core::money::MoneyError>(())
/// ```
pub fn left(whole: Period, at: DateTime<Utc>, rule: ProrationRule, zone: Tz) -> Share {
    let length = whole.microseconds();
    let elapsed = |part| Share {
        part,
        whole: length,
        unit: ShareUnit::Microsecond,
    };
    match rule {
        ProrationRule::Second => elapsed(microseconds(at.clamp(whole.start, whole.end), whole.end)),
        ProrationRule::None if at <= whole.start => elapsed(length),
        ProrationRule::None => elapsed(0),
        ProrationRule::Day => {
            let days = calendar::midnights(whole.start, whole.end, zone);
            if days == 0 {
                return left(whole, at, ProrationRule::Second, zone);
            }
            let begun = calendar::midnights(whole.start, at.clamp(whole.start, whole.end), zone);
            Share {
                part: days.saturating_sub(begun),
                whole: days,
                unit: ShareUnit::Day,
            }
        }
    }
}

/// The part of an allowance for `part` of the period `whole`: parts that tile the period add up to at most the whole
/// allowance.
///
/// Cut, not rounded, at [`DECIMALS_MAX`](crate::charge::DECIMALS_MAX) decimals.
pub fn allowance(allowance: Decimal, part: (DateTime<Utc>, DateTime<Utc>), whole: Period) -> Decimal {
    let start = part.0.clamp(whole.start, whole.end);
    let end = part.1.clamp(whole.start, whole.end);
    if (start, end) == (whole.start, whole.end) {
        return allowance;
    }
    let length = Decimal::from(whole.microseconds());
    let used = Decimal::from(microseconds(start, end).max(0));
    used.checked_div(length)
        .and_then(|share| share.checked_mul(allowance))
        .map_or(Decimal::ZERO, |share| {
            share.trunc_with_scale(crate::charge::DECIMALS_MAX)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Currency;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    proptest! {
        #[test]
        fn used_and_unused_make_the_whole_and_unused_only_shrinks(
            minor in 0_i64..1_000_000_000,
            length in 1_i64..40_000_000,
            first in 0_i64..40_000_000,
            second in 0_i64..40_000_000,
            rule in proptest::sample::select(std::vec![
                ProrationRule::Second,
                ProrationRule::Day,
                ProrationRule::None,
            ]),
        ) {
            let whole = Period::new(at(0), at(length)).unwrap();
            let amount = Money::new(minor, Currency::from_code("USD").unwrap());
            let unused_at = |t: i64| left(whole, at(t), rule, Tz::UTC).of(amount, Rounding::default()).unwrap();
            let (early, late) = (first.min(second), first.max(second));
            prop_assert!(unused_at(early).minor >= unused_at(late).minor);
            prop_assert_eq!(unused_at(0), amount);
            prop_assert!(unused_at(length).is_zero());
            prop_assert!(!unused_at(first).is_negative() && unused_at(first).minor <= minor);
        }

        #[test]
        fn allowances_of_parts_never_exceed_the_whole(
            units in 0_i64..1_000_000,
            length in 2_i64..40_000_000,
            cut in 0_i64..40_000_000,
        ) {
            let whole = Period::new(at(0), at(length)).unwrap();
            let cut = at(cut.min(length));
            let all = Decimal::from(units);
            let sum = allowance(all, (at(0), cut), whole) + allowance(all, (cut, at(length)), whole);
            prop_assert!(sum <= all && all - sum < Decimal::new(1, 6));
        }
    }

    #[test]
    fn without_proration_nothing_is_left_once_the_period_has_begun() {
        let whole = Period::new(at(0), at(10)).unwrap();
        let share = |t| left(whole, at(t), ProrationRule::None, Tz::UTC).part;
        assert_eq!((share(0), share(1)), (10_000_000, 0));
    }

    /// March in Lagos, an hour ahead of UTC, from half past two in the afternoon.
    #[test]
    fn by_the_day_the_day_of_a_change_is_still_left() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let march = Period::new(time("2026-03-01T13:30:00Z"), time("2026-04-01T13:30:00Z")).unwrap();
        for (at, left_days) in [
            ("2026-03-01T13:30:00Z", 31),
            ("2026-03-01T13:30:00.000001Z", 31),
            ("2026-03-10T22:59:59Z", 22),
            ("2026-03-10T23:00:00Z", 21),
            ("2026-03-31T23:00:00Z", 0),
            ("2026-04-01T13:30:00Z", 0),
        ] {
            let share = left(march, time(at), ProrationRule::Day, Tz::Africa__Lagos);
            assert_eq!(
                std::format!("{share}"),
                std::format!("{left_days} d / 31 d"),
                "{at}"
            );
        }
    }

    #[test]
    fn a_period_without_a_midnight_goes_by_elapsed_time() {
        let whole = Period::new(at(3_600), at(7_200)).unwrap();
        let share = left(whole, at(4_500), ProrationRule::Day, Tz::UTC);
        assert_eq!(std::format!("{share}"), "2700 s / 3600 s");
    }
}
