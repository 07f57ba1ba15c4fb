//! The part of an amount that falls on a part of a period.

use core::fmt;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::calendar::{self, Anchor, Interval, Period, microseconds};
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
    /// Months from the billing anchor.
    Month,
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

/// In months or days, or in seconds where both are whole, else in microseconds.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: i64 = 1_000_000;
        let seconds = |micros: i64| {
            let seconds = micros.checked_div(SECOND)?;
            (seconds.checked_mul(SECOND) == Some(micros)).then_some(seconds)
        };
        let (part, whole, unit) = match (self.unit, seconds(self.part), seconds(self.whole)) {
            (ShareUnit::Day, _, _) => (self.part, self.whole, " d"),
            (ShareUnit::Month, _, _) => (self.part, self.whole, " mo"),
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

/// The part of `whole` that is left at `at`, days and months counted from `anchor` in its zone.
///
/// Used plus unused is the whole: what was used of an amount is the amount minus the share that is left.
///
/// All of it before the start, none from the end on; under [`ProrationRule::None`] nothing is left once it has begun. By
/// the day, a period counts the midnights that it holds, and one that holds none goes by elapsed time; so does, by the
/// month, one that does not both begin and end where a month from the anchor does.
///
/// # Source
///
/// DESIGN.md, section 3, "Rating, proration, invoices" and its table of where known systems differ.
///
/// # Example: an upgrade on the 11th of a month of 31 days divides by 31, not by the 21 that are left
///
/// ```
/// use billing_core::calendar::{Anchor, Period};
/// use billing_core::money::{Currency, Money, Rounding};
/// use billing_core::plan::ProrationRule;
/// use billing_core::proration::left;
///
/// let march = Period::new("2026-03-01T00:00:00Z".parse().unwrap(), "2026-04-01T00:00:00Z".parse().unwrap()).unwrap();
/// let price = Money::new(31_00, Currency::from_code("USD")?);
/// let on_the_11th = "2026-03-11T09:00:00Z".parse().unwrap();
/// let by = |rule| left(march, on_the_11th, rule, &Anchor::utc(march.start)).of(price, Rounding::default());
/// assert_eq!(by(ProrationRule::Second)?.minor, 20_63);
/// assert_eq!(by(ProrationRule::Day)?.minor, 21_00);
/// // The day of the change belongs to the old plan, and is still billed.
/// assert_eq!(by(ProrationRule::StartedDay)?.minor, 20_00);
/// // So does the month.
/// assert_eq!(by(ProrationRule::StartedMonth)?.minor, 0);
/// # Ok::<(), billing_core::money::MoneyError>(())
/// ```
pub fn left(whole: Period, at: DateTime<Utc>, rule: ProrationRule, anchor: &Anchor) -> Share {
    let length = whole.microseconds();
    let at = at.clamp(whole.start, whole.end);
    let elapsed = |part| Share {
        part,
        whole: length,
        unit: ShareUnit::Microsecond,
    };
    let by_time = elapsed(microseconds(at, whole.end));
    match rule {
        ProrationRule::Second => by_time,
        ProrationRule::None if at <= whole.start => elapsed(length),
        ProrationRule::None => elapsed(0),
        ProrationRule::Day | ProrationRule::StartedDay => {
            let days = calendar::midnights(whole.start, whole.end, anchor.zone);
            if days == 0 {
                return by_time;
            }
            let begun = calendar::midnights(whole.start, at, anchor.zone);
            // What is left begins after the day of the change, or with it.
            let is_started = rule == ProrationRule::StartedDay && at > whole.start;
            Share {
                part: days
                    .saturating_sub(begun)
                    .saturating_sub(is_started.into())
                    .max(0),
                whole: days,
                unit: ShareUnit::Day,
            }
        }
        ProrationRule::StartedMonth => match months(whole, anchor) {
            Some((first, last)) => Share {
                part: last.saturating_sub(month_from(at, anchor, last)).into(),
                whole: last.saturating_sub(first).into(),
                unit: ShareUnit::Month,
            },
            None => by_time,
        },
    }
}

/// The time of `whole` that is left at `at`: what the share that is [left] pays for, so that a part of it is a part of that
/// time. None if there is none.
///
/// From `at` on, or from where the day or month ends that a change inside it leaves to the old plan.
pub fn rest(whole: Period, at: DateTime<Utc>, rule: ProrationRule, anchor: &Anchor) -> Option<Period> {
    let at = at.clamp(whole.start, whole.end);
    let start = match rule {
        _ if at == whole.start => at,
        ProrationRule::Second | ProrationRule::Day | ProrationRule::None => at,
        ProrationRule::StartedDay if calendar::midnights(whole.start, whole.end, anchor.zone) == 0 => at,
        ProrationRule::StartedDay => calendar::next_midnight(at, anchor.zone),
        ProrationRule::StartedMonth => match months(whole, anchor) {
            Some((_, last)) => anchor
                .boundary(Interval::MONTHLY, month_from(at, anchor, last))
                .ok()?,
            None => at,
        },
    };
    Period::new(start.min(whole.end), whole.end).ok()
}

/// Which months from `anchor` make up `whole`, if it begins and ends with one: the first, and the first after it.
fn months(whole: Period, anchor: &Anchor) -> Option<(u32, u32)> {
    let begins = |t: DateTime<Utc>| {
        let index = anchor.index_at(Interval::MONTHLY, t).ok()?;
        let boundary = anchor.boundary(Interval::MONTHLY, index).ok()?;
        (boundary == t).then_some(index)
    };
    Some((begins(whole.start)?, begins(whole.end)?))
}

/// The first month from `anchor` that begins at `at` or later; `last` if that cannot be said.
fn month_from(at: DateTime<Utc>, anchor: &Anchor, last: u32) -> u32 {
    let begun = anchor.index_at(Interval::MONTHLY, at).unwrap_or(last);
    match anchor.boundary(Interval::MONTHLY, begun) {
        Ok(boundary) if boundary < at => begun.saturating_add(1),
        Ok(_) | Err(_) => begun,
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
    use std::format;
    use std::string::ToString;

    use chrono_tz::Tz;
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
                ProrationRule::StartedDay,
                ProrationRule::StartedMonth,
                ProrationRule::None,
            ]),
        ) {
            let whole = Period::new(at(0), at(length)).unwrap();
            let anchor = Anchor::utc(at(0));
            let amount = Money::new(minor, Currency::from_code("USD").unwrap());
            let unused_at = |t: i64| left(whole, at(t), rule, &anchor).of(amount, Rounding::default()).unwrap();
            let (early, late) = (first.min(second), first.max(second));
            prop_assert!(unused_at(early).minor >= unused_at(late).minor);
            prop_assert_eq!(unused_at(0), amount);
            prop_assert!(unused_at(length).is_zero());
            prop_assert!(!unused_at(first).is_negative() && unused_at(first).minor <= minor);
        }

        /// What is charged for a rest of a period is credited from the rest later on, so both count it alike.
        #[test]
        fn what_is_left_of_the_rest_is_what_is_left_of_the_whole(
            start in 0_i64..400_000_000,
            months in 1_u32..14,
            first in 0_i64..40_000_000,
            second in 0_i64..40_000_000,
            rule in proptest::sample::select(std::vec![
                ProrationRule::Second,
                ProrationRule::Day,
                ProrationRule::StartedDay,
                ProrationRule::StartedMonth,
            ]),
        ) {
            let anchor = Anchor { zone: Tz::America__New_York, ..Anchor::utc(at(start)) };
            let end = anchor.boundary(Interval::MONTHLY, months).unwrap();
            let whole = Period::new(anchor.at, end).unwrap();
            let (early, late) = (at(start + first.min(second)), at(start + first.max(second)));
            let before = left(whole, early, rule, &anchor);
            let is = left(whole, late, rule, &anchor);
            match rest(whole, early, rule, &anchor) {
                Some(rest) => {
                    let of_rest = left(rest, late, rule, &anchor);
                    // A last part of a day that holds no midnight has nothing to be credited.
                    if before.part > 0 {
                        prop_assert_eq!((of_rest.part, of_rest.whole), (is.part, before.part));
                    }
                }
                None => prop_assert_eq!(before.part, 0),
            }
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
        let share = |t| left(whole, at(t), ProrationRule::None, &Anchor::utc(at(0))).part;
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
            let share = left(march, time(at), ProrationRule::Day, &lagos(march.start));
            assert_eq!(share.to_string(), format!("{left_days} d / 31 d"), "{at}");
        }
    }

    #[test]
    fn by_the_started_day_the_day_of_a_change_is_used_up() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let march = Period::new(time("2026-03-01T13:30:00Z"), time("2026-04-01T13:30:00Z")).unwrap();
        for (at, left_days, rest_start) in [
            ("2026-03-01T13:30:00Z", 31, "2026-03-01T13:30:00Z"),
            ("2026-03-01T13:30:00.000001Z", 30, "2026-03-01T23:00:00Z"),
            ("2026-03-10T22:59:59Z", 21, "2026-03-10T23:00:00Z"),
            ("2026-03-10T23:00:00Z", 20, "2026-03-11T23:00:00Z"),
            ("2026-03-30T23:00:00Z", 0, "2026-03-31T23:00:00Z"),
            ("2026-03-31T23:00:00Z", 0, "2026-04-01T13:30:00Z"),
        ] {
            let (rule, anchor) = (ProrationRule::StartedDay, lagos(march.start));
            let share = left(march, time(at), rule, &anchor);
            assert_eq!(share.to_string(), format!("{left_days} d / 31 d"), "{at}");
            let rest = rest(march, time(at), rule, &anchor);
            let rest_start = Some(time(rest_start)).filter(|start| *start < march.end);
            assert_eq!(rest.map(|rest| rest.start), rest_start, "{at}");
        }
    }

    /// A quarter from January 31, when February has 28 days.
    #[test]
    fn by_the_month_the_month_of_a_change_is_used_up() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let anchor = Anchor::utc(time("2026-01-31T09:00:00Z"));
        let quarter = Period::new(anchor.at, time("2026-04-30T09:00:00Z")).unwrap();
        for (at, left_months, rest_start) in [
            ("2026-01-31T09:00:00Z", 3, "2026-01-31T09:00:00Z"),
            ("2026-01-31T09:00:01Z", 2, "2026-02-28T09:00:00Z"),
            ("2026-02-28T09:00:00Z", 2, "2026-02-28T09:00:00Z"),
            ("2026-03-30T12:00:00Z", 1, "2026-03-31T09:00:00Z"),
            ("2026-04-01T00:00:00Z", 0, "2026-04-30T09:00:00Z"),
        ] {
            let rule = ProrationRule::StartedMonth;
            let share = left(quarter, time(at), rule, &anchor);
            assert_eq!(share.to_string(), format!("{left_months} mo / 3 mo"), "{at}");
            let rest = rest(quarter, time(at), rule, &anchor);
            let rest_start = Some(time(rest_start)).filter(|start| *start < quarter.end);
            assert_eq!(rest.map(|rest| rest.start), rest_start, "{at}");
        }
        let other = Period::new(time("2026-02-01T00:00:00Z"), time("2026-02-03T00:00:00Z")).unwrap();
        let share = left(
            other,
            time("2026-02-02T00:00:00Z"),
            ProrationRule::StartedMonth,
            &anchor,
        );
        assert_eq!(
            share.to_string(),
            "86400 s / 172800 s",
            "no months from the anchor"
        );
    }

    #[test]
    fn a_period_without_a_midnight_goes_by_elapsed_time() {
        let whole = Period::new(at(3_600), at(7_200)).unwrap();
        let anchor = Anchor::utc(whole.start);
        for rule in [ProrationRule::Day, ProrationRule::StartedDay] {
            let share = left(whole, at(4_500), rule, &anchor);
            assert_eq!(share.to_string(), "2700 s / 3600 s");
            assert_eq!(
                rest(whole, at(4_500), rule, &anchor).map(|rest| rest.start),
                Some(at(4_500))
            );
        }
    }

    fn lagos(at: DateTime<Utc>) -> Anchor {
        Anchor {
            zone: Tz::Africa__Lagos,
            ..Anchor::utc(at)
        }
    }
}
