//! The part of an amount that falls on a part of a period.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::calendar::{Period, microseconds};
use crate::money::{Money, MoneyError, Rounding};
use crate::plan::ProrationRule;

/// The part of `whole` that is left at `at`, as numerator and denominator in microseconds.
///
/// The denominator is always the whole period. All of it before the start, none from the end on; under
/// [`ProrationRule::None`] nothing is left once it has begun.
pub fn left(whole: Period, at: DateTime<Utc>, rule: ProrationRule) -> (i64, i64) {
    let length = whole.microseconds();
    let left = match rule {
        ProrationRule::Second => microseconds(at.clamp(whole.start, whole.end), whole.end),
        ProrationRule::None if at <= whole.start => length,
        ProrationRule::None => 0,
    };
    (left, length)
}

/// What is left of `amount`, which pays for `whole`, at `at`.
///
/// Used plus unused is the whole: what was used is `amount` minus this.
///
/// # Units
///
/// Minor units, rounded once by `rounding`.
///
/// # Errors
///
/// [`MoneyError::Overflow`].
///
/// # Example: an upgrade on the 11th of a month of 31 days divides by 31, not by the 21 that are left
///
/// ```
/// use billing_core::calendar::Period;
/// use billing_core::money::{Currency, Money, Rounding};
/// use billing_core::plan::ProrationRule;
/// use billing_core::proration::unused;
///
/// let march = Period::new("2026-03-01T00:00:00Z".parse().unwrap(), "2026-04-01T00:00:00Z".parse().unwrap()).unwrap();
/// let price = Money::new(31_00, Currency::from_code("USD")?);
/// let unused = unused(price, march, "2026-03-11T00:00:00Z".parse().unwrap(), ProrationRule::Second, Rounding::default())?;
/// assert_eq!(unused.minor, 21_00);
/// # Ok::<(), billing_core::money::MoneyError>(())
/// ```
pub fn unused(
    amount: Money,
    whole: Period,
    at: DateTime<Utc>,
    rule: ProrationRule,
    rounding: Rounding,
) -> Result<Money, MoneyError> {
    let (left, length) = left(whole, at, rule);
    amount.fraction(left, length, rounding)
}

/// The part of an allowance for `part` of the period `whole`: parts that tile the period add up to at most the whole
/// allowance.
///
/// Cut, not rounded, at [`DECIMALS_MAX`](crate::plan::DECIMALS_MAX) decimals.
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
            share.trunc_with_scale(crate::plan::DECIMALS_MAX)
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
        ) {
            let whole = Period::new(at(0), at(length)).unwrap();
            let amount = Money::new(minor, Currency::from_code("USD").unwrap());
            let unused_at = |t: i64| unused(amount, whole, at(t), ProrationRule::Second, Rounding::default()).unwrap();
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
        assert_eq!(left(whole, at(0), ProrationRule::None), (10_000_000, 10_000_000));
        assert_eq!(left(whole, at(1), ProrationRule::None), (0, 10_000_000));
    }
}
