//! From usage to an amount: the charge model, the least and the most of a period, the one rounding.

use alloc::string::String;
use core::fmt::Write as _;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::calendar::Period;
use crate::charge::{ChargeModel, RatingError, Tally, Used};
use crate::money::{Currency, Exact, Money, MoneyError, Rounding};
use crate::plan::{ChargeFilter, MeterTerms};
use crate::proration;

/// What a quantity costs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rated {
    /// The quantity that was charged for: what is above the allowance, free events taken off.
    pub overage: Exact,
    /// The price of one unit of it, if all cost the same and nothing else is charged.
    pub unit_price: Option<Decimal>,
    /// The exact amount in major units, before rounding.
    pub exact: Exact,
    /// What of `exact` only lifts it to the [minimum](PeriodTerms::minimum): nothing was used for it.
    pub true_up: Exact,
    /// What was cut off at the [maximum](PeriodTerms::maximum), and is not in `exact`.
    pub cut_off: Exact,
    /// The amount, rounded once.
    pub amount: Money,
    /// The arithmetic, such that a customer can check it by hand. At most some 20 terms, however many there are: the
    /// rest of them is one term, with its sum and number.
    pub explanation: String,
}

/// What of [`MeterTerms`] holds for the time that is rated: less than a whole period has a part of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PeriodTerms {
    /// How much is free, in the meter's unit.
    pub allowance: Decimal,
    /// What is due at least, in major units.
    pub minimum: Option<Decimal>,
    /// What is due at most, in major units.
    pub maximum: Option<Decimal>,
}

impl PeriodTerms {
    /// Those of a whole period, of what matches no filter.
    pub const fn whole(terms: &MeterTerms) -> Self {
        Self {
            allowance: terms.allowance,
            minimum: terms.minimum,
            maximum: terms.maximum,
        }
    }

    /// Those of a whole period, of what matches `filter`.
    pub const fn of_filter(filter: &ChargeFilter) -> Self {
        Self {
            allowance: filter.allowance,
            minimum: filter.minimum,
            maximum: filter.maximum,
        }
    }

    /// Those of `part` of the period `whole`, each its part as [`proration::allowance`] has it.
    #[must_use]
    pub fn of_part(&self, part: (DateTime<Utc>, DateTime<Utc>), whole: Period) -> Self {
        let share = |value| proration::allowance(value, part, whole);
        Self {
            allowance: share(self.allowance),
            minimum: self.minimum.map(share),
            maximum: self.maximum.map(share),
        }
    }

    /// Those of time in no period: no minimum, since nothing was agreed for it.
    #[must_use]
    pub const fn outside(&self) -> Self {
        Self {
            minimum: None,
            ..*self
        }
    }
}

/// Rates what was used by `model`, holds it within the minimum and the maximum, and rounds it.
///
/// A minimum is due without any usage too. A maximum below the minimum wins.
///
/// # Units
///
/// Minor units of `currency`, rounded once, at the end, by `rounding`.
///
/// # Errors
///
/// In order: [`RatingError::Missing`] when `used` is less than the model
/// [needs](ChargeModel::needs); then, in the order of the terms, [`RatingError::NoPrice`], [`RatingError::NoTier`] and
/// [`MoneyError::Overflow`].
///
/// # Source
///
/// DESIGN.md, section 3, "Rating, proration, invoices"; minimum and maximum as at OpenMeter (`commitments.go`).
///
/// # Example: a minimum and a maximum
///
/// ```
/// use billing_core::charge::{ChargeModel, Used};
/// use billing_core::money::{Currency, Rounding};
/// use billing_core::rating::{PeriodTerms, rate};
/// # use rust_decimal::Decimal;
///
/// let model = ChargeModel::PerUnit { unit_price: "0.5".parse().unwrap() };
/// let terms = PeriodTerms { minimum: Some(20.into()), maximum: Some(40.into()), ..PeriodTerms::default() };
/// let usd = Currency::from_code("USD")?;
/// for (quantity, text) in [
///     (0, "0 x 0.5 = 0 USD, minimum 20: 0 + 20 = 20 USD"),
///     (10, "10 x 0.5 = 5 USD, minimum 20: 5 + 15 = 20 USD"),
///     (50, "50 x 0.5 = 25 USD"),
///     (100, "100 x 0.5 = 50 USD, maximum 40: 50 - 10 = 40 USD"),
/// ] {
///     let used = Used::Total { quantity: Decimal::from(quantity), events: 1 };
///     assert_eq!(rate(&model, &used, &terms, usd, Rounding::default())?.explanation, text);
/// }
/// # Ok::<(), billing_core::charge::RatingError>(())
/// ```
pub fn rate(
    model: &ChargeModel,
    used: &Used<'_>,
    terms: &PeriodTerms,
    currency: Currency,
    rounding: Rounding,
) -> Result<Rated, RatingError> {
    let mut tally = Tally::new(currency, model.terms());
    model.charge(used, terms.allowance, &mut tally)?;
    finish(tally, terms, currency, rounding)
}

/// Holds what was charged within the minimum and the maximum, and rounds it.
fn finish(
    mut tally: Tally,
    terms: &PeriodTerms,
    currency: Currency,
    rounding: Rounding,
) -> Result<Rated, RatingError> {
    tally.total();
    let (true_up, cut_off) = tally.hold_within(terms.minimum, terms.maximum);
    if tally.overflows() {
        return Err(MoneyError::Overflow { currency }.into());
    }
    let exact = tally.exact();
    Ok(Rated {
        overage: tally.overage(),
        unit_price: tally.unit_price(),
        exact,
        true_up,
        cut_off,
        amount: exact.round(currency, rounding)?,
        explanation: tally.into_text(),
    })
}

/// Rates what came on top of `before`: what `after`, both together, costs less what `before` costs alone.
///
/// So a tier goes on where `before` ended, a started package is not charged again, and the allowance, the minimum and
/// the maximum are those of both together. It may be negative: under a [`Volume`](crate::charge::Volume) price more usage can
/// make all of it cheaper, and a late event can be the lowest or the last one.
///
/// # Units
///
/// Minor units of `currency`: each of the two is rounded once by `rounding`, so that what was billed for `before` and this make
/// up to the minor unit what `after` would have cost at once.
///
/// # Errors
///
/// As [`rate`], for `after` first, then for `before`.
///
/// # Example: late usage goes on in the tiers
///
/// ```
/// use billing_core::charge::{ChargeModel, Graduated, Tier, Used};
/// use billing_core::money::{Currency, Rounding};
/// use billing_core::rating::{PeriodTerms, rate_more};
/// # use rust_decimal::Decimal;
/// # let decimal = |text: &str| text.parse::<Decimal>().unwrap();
///
/// let model = ChargeModel::Graduated(Graduated {
///     tiers: vec![
///         Tier { up_to: Some(decimal("10")), unit_price: decimal("0.5"), flat_fee: decimal("0") },
///         Tier { up_to: None, unit_price: decimal("0.4"), flat_fee: decimal("0") },
///     ],
///     empty_first_fee: false,
/// });
/// let used = |quantity| Used::Total { quantity: decimal(quantity), events: 1 };
/// let usd = Currency::from_code("USD")?;
/// let terms = PeriodTerms::default();
/// let rated = rate_more(&model, &used("8"), &used("15"), &terms, usd, Rounding::default())?;
/// assert_eq!(
///     rated.explanation,
///     "10 x 0.5 + 5 x 0.4 = 7 USD in all, less 8 x 0.5 = 4 USD: 3.00 USD"
/// );
/// # Ok::<(), billing_core::charge::RatingError>(())
/// ```
pub fn rate_more(
    model: &ChargeModel,
    before: &Used<'_>,
    after: &Used<'_>,
    terms: &PeriodTerms,
    currency: Currency,
    rounding: Rounding,
) -> Result<Rated, RatingError> {
    let overflow = || MoneyError::Overflow { currency };
    let less = |left: Exact, right: Exact| left.checked_sub(right).ok_or_else(overflow);
    let after = rate(model, after, terms, currency, rounding)?;
    let before = rate(model, before, terms, currency, rounding)?;
    let amount = after.amount.checked_sub(before.amount)?;
    let mut explanation = after.explanation;
    let _ = write!(explanation, " in all, less {}: {amount}", before.explanation);
    Ok(Rated {
        overage: less(after.overage, before.overage)?,
        unit_price: None,
        exact: less(after.exact, before.exact)?,
        true_up: less(after.true_up, before.true_up)?,
        cut_off: less(after.cut_off, before.cut_off)?,
        amount,
        explanation,
    })
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::charge::{Package, Tier, Volume, VolumeAllowance};

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).unwrap()
    }

    fn total(quantity: &str) -> Used<'static> {
        Used::Total {
            quantity: decimal(quantity),
            events: 1,
        }
    }

    fn per_unit(unit_price: &str) -> ChargeModel {
        ChargeModel::PerUnit {
            unit_price: decimal(unit_price),
        }
    }

    fn bounds(minimum: &str, maximum: &str) -> PeriodTerms {
        PeriodTerms {
            minimum: Some(decimal(minimum)),
            maximum: Some(decimal(maximum)),
            ..PeriodTerms::default()
        }
    }

    #[test]
    fn an_amount_is_rounded_once_at_the_currency() {
        for (code, rounding, minor) in [
            ("JPY", Rounding::HalfAwayFromZero, 3),
            ("JPY", Rounding::HalfEven, 2),
            ("USD", Rounding::HalfAwayFromZero, 250),
            ("KWD", Rounding::HalfAwayFromZero, 2500),
        ] {
            let rated = rate(
                &per_unit("0.5"),
                &total("5"),
                &PeriodTerms::default(),
                currency(code),
                rounding,
            );
            assert_eq!(rated.unwrap().amount, Money::new(minor, currency(code)));
        }
    }

    /// Both are exact until the one rounding, so a minimum may lie between two minor units.
    #[test]
    fn a_minimum_and_a_maximum_are_told_apart_from_the_usage() {
        let usd = currency("USD");
        let rated = |quantity, terms: &PeriodTerms| {
            rate(&per_unit("1"), &total(quantity), terms, usd, Rounding::default()).unwrap()
        };
        let low = rated("0.5", &bounds("2.005", "9"));
        assert_eq!((low.amount.minor, low.unit_price), (201, None));
        assert_eq!(
            (low.true_up.to_string(), low.cut_off.to_string()),
            ("1.505".into(), "0".into())
        );
        let high = rated("9.5", &bounds("2.005", "9"));
        assert_eq!((high.amount.minor, high.unit_price), (900, None));
        assert_eq!(
            (high.true_up.to_string(), high.cut_off.to_string()),
            ("0".into(), "0.5".into())
        );
        for quantity in ["2.005", "9"] {
            let between = rated(quantity, &bounds("2.005", "9"));
            assert_eq!(between.unit_price, Some(Decimal::ONE));
            assert!(between.true_up.is_zero() && between.cut_off.is_zero());
        }
        assert_eq!(
            rated("1", &bounds("5", "3")).explanation,
            "1 x 1 = 1 USD, minimum 5: 1 + 4 = 5 USD, maximum 3: 5 - 2 = 3 USD"
        );
    }

    #[test]
    fn less_than_a_period_has_a_part_of_its_terms() {
        let terms = MeterTerms {
            allowance: decimal("310"),
            minimum: Some(decimal("31")),
            maximum: Some(decimal("62")),
            ..MeterTerms::new(per_unit("1"))
        };
        let at = |text: &str| text.parse().unwrap();
        let march = Period::new(at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z")).unwrap();
        let ten_days = (march.start, at("2026-03-11T00:00:00Z"));
        let part = PeriodTerms::whole(&terms).of_part(ten_days, march);
        let parts = (part.allowance.round(), part.minimum.map(|part| part.round_dp(6)));
        assert_eq!(parts, (decimal("100"), Some(decimal("10"))));
        assert_eq!(part.maximum.map(|part| part.round_dp(6)), Some(decimal("20")));
        let whole = (march.start, march.end);
        assert_eq!(
            PeriodTerms::whole(&terms).of_part(whole, march),
            PeriodTerms::whole(&terms)
        );
        assert_eq!(PeriodTerms::whole(&terms).outside().minimum, None);
        assert_eq!(PeriodTerms::whole(&terms).outside().maximum, terms.maximum);
    }

    #[test]
    fn what_comes_later_is_the_difference() {
        let usd = currency("USD");
        let more = |model: &ChargeModel, before, all, terms: &PeriodTerms| {
            rate_more(
                model,
                &total(before),
                &total(all),
                terms,
                usd,
                Rounding::default(),
            )
            .unwrap()
        };
        let terms = PeriodTerms {
            allowance: decimal("10"),
            ..PeriodTerms::default()
        };
        for (before, all, text) in [
            (
                "4",
                "12",
                "(12 - 10 included) x 0.5 = 1 USD in all, less (4 - 4 included) x 0.5 = 0 USD: 1.00 USD",
            ),
            (
                "10",
                "12",
                "(12 - 10 included) x 0.5 = 1 USD in all, less (10 - 10 included) x 0.5 = 0 USD: 1.00 USD",
            ),
        ] {
            assert_eq!(more(&per_unit("0.5"), before, all, &terms).explanation, text);
        }
        // Each is rounded for itself: 0.5 cents were billed as one, so the second half cent is free.
        let cents = |before, all| {
            more(&per_unit("0.005"), before, all, &PeriodTerms::default())
                .amount
                .minor
        };
        assert_eq!((cents("0", "1"), cents("1", "2"), cents("0", "2")), (1, 0, 1));
        let capped = PeriodTerms {
            maximum: Some(decimal("3")),
            ..terms
        };
        assert_eq!(
            more(&per_unit("0.5"), "12", "20", &capped).explanation,
            "(20 - 10 included) x 0.5 = 5 USD, maximum 3: 5 - 2 = 3 USD in all, \
             less (12 - 10 included) x 0.5 = 1 USD: 2.00 USD"
        );
        let flat = ChargeModel::Flat { amount: decimal("7") };
        assert_eq!(
            more(&flat, "11", "12", &terms).amount.minor,
            0,
            "charged once a period"
        );
        let package = ChargeModel::Package(Package {
            size: decimal("5"),
            price: decimal("1"),
        });
        assert_eq!(
            more(&package, "11", "15", &terms).amount.minor,
            0,
            "started before"
        );
        let tier = |up_to: Option<&str>, unit_price| Tier {
            up_to: up_to.map(decimal),
            unit_price: decimal(unit_price),
            flat_fee: Decimal::ZERO,
        };
        let volume = ChargeModel::Volume(Volume {
            tiers: vec![tier(Some("10"), "1"), tier(None, "0.5")],
            allowance: VolumeAllowance::Excess,
            empty_first_fee: false,
        });
        let rated = more(&volume, "10", "11", &PeriodTerms::default());
        assert_eq!(
            rated.explanation,
            "11 x 0.5 = 5.5 USD in all, less 10 x 1 = 10 USD: -4.50 USD"
        );
        assert_eq!((rated.amount.minor, rated.unit_price), (-450, None));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let usd = currency("USD");
        let overflow = || RatingError::from(MoneyError::Overflow { currency: usd });
        let most = Used::Total {
            quantity: Decimal::MAX,
            events: 1,
        };
        let model = ChargeModel::PerUnit {
            unit_price: Decimal::MAX,
        };
        let rated = rate(&model, &most, &PeriodTerms::default(), usd, Rounding::default());
        assert_eq!(rated, Err(overflow()), "no minor unit holds it");
        let tiny = decimal("0.0000000000000000000000000001");
        let tiers = vec![
            Tier {
                up_to: Some(tiny),
                unit_price: tiny,
                flat_fee: tiny,
            },
            Tier {
                up_to: None,
                unit_price: Decimal::MAX,
                flat_fee: Decimal::ZERO,
            },
        ];
        let model = ChargeModel::Graduated(crate::charge::Graduated {
            tiers,
            empty_first_fee: false,
        });
        let rated = rate(&model, &most, &PeriodTerms::default(), usd, Rounding::default());
        assert_eq!(rated, Err(overflow()), "256 bits do not hold it");
        let one = Used::Total {
            quantity: tiny,
            events: 1,
        };
        let tiers = vec![Tier {
            up_to: None,
            unit_price: tiny,
            flat_fee: Decimal::MAX,
        }];
        let model = ChargeModel::Graduated(crate::charge::Graduated {
            tiers,
            empty_first_fee: false,
        });
        let rated = rate(&model, &one, &PeriodTerms::default(), usd, Rounding::default());
        assert_eq!(rated, Err(overflow()), "nor this sum");
    }
}
