use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::{RatingError, Tally, Used, check_bounds, check_decimal};
use crate::money::Exact;
use crate::validate::Faults;

/// Each unit costs what its tier says: the first ten 0.50, those above 0.40.
///
/// Tiers count what is above the allowance. A bound is inclusive: with `up_to` 10 the tenth unit is in the lower tier,
/// and the flat fee of the next one is due with the first unit above ten, or any fraction of it.
///
/// # Source
///
/// DESIGN.md, section 3; bounds as at Lago (`graduated_service.rb`) and OpenMeter (`pricegraduatedtiered.go`).
///
/// # Example: the bound itself is in the lower tier
///
/// ```
/// use billing_core::charge::{ChargeModel, Graduated, Tier, Used};
/// use billing_core::money::{Currency, Rounding};
/// use billing_core::rating::{PeriodTerms, rate};
/// # use rust_decimal::Decimal;
/// # let decimal = |text: &str| text.parse::<Decimal>().unwrap();
///
/// let model = ChargeModel::Graduated(Graduated {
///     tiers: vec![
///         Tier { up_to: Some(decimal("10")), unit_price: decimal("0.5"), flat_fee: decimal("0") },
///         Tier { up_to: None, unit_price: decimal("0.4"), flat_fee: decimal("2") },
///     ],
///     empty_first_fee: false,
/// });
/// let usd = Currency::from_code("USD")?;
/// for (quantity, text) in [
///     ("10", "10 x 0.5 = 5 USD"),
///     ("11", "10 x 0.5 + 1 x 0.4 + 2 flat = 7.4 USD"),
/// ] {
///     let used = Used::Total { quantity: decimal(quantity), events: 1 };
///     let rated = rate(&model, &used, &PeriodTerms::default(), usd, Rounding::default())?;
///     assert_eq!(rated.explanation, text);
/// }
/// # Ok::<(), billing_core::charge::RatingError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Graduated {
    /// From the lowest to the highest, 1 to [`ENTRIES_MAX`](super::ENTRIES_MAX).
    pub tiers: Vec<Tier>,
    /// Whether the flat fee of the first tier is due when nothing above the allowance was used. Default no; OpenMeter
    /// charges it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub empty_first_fee: bool,
}

/// One tier of a [`Graduated`] or a [`Volume`](super::Volume) price.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Tier {
    /// The last quantity that is in the tier, above the one before; none for the last tier, which is open.
    #[cfg_attr(feature = "serde", serde(default))]
    pub up_to: Option<Decimal>,
    /// What a unit in the tier costs, in major units.
    pub unit_price: Decimal,
    /// What is due once when the tier is reached, in major units.
    #[cfg_attr(feature = "serde", serde(default))]
    pub flat_fee: Decimal,
}

impl Graduated {
    pub(super) fn check(&self, faults: &mut Faults) {
        check_tiers(&self.tiers, faults);
    }

    pub(super) fn charge(
        &self,
        used: &Used<'_>,
        allowance: Decimal,
        tally: &mut Tally,
    ) -> Result<(), RatingError> {
        let overage = tally.draw(used, allowance, ": ");
        let is_entered = !overage.is_zero() || self.empty_first_fee;
        let add = |tally: &mut Tally, tier: &Tier, part: &Exact| {
            tally.units(part, tier.unit_price);
            if is_entered {
                tally.fee(tier.flat_fee);
            }
        };
        if tally.graduate(&overage, &self.tiers, |tier| tier.up_to, add) {
            Ok(())
        } else {
            Err(RatingError::NoTier { quantity: overage })
        }
    }
}

pub(super) fn check_tiers(tiers: &[Tier], faults: &mut Faults) {
    check_bounds(faults, tiers.iter().map(|tier| tier.up_to));
    for (index, tier) in tiers.iter().enumerate() {
        check_decimal(faults, format_args!("tiers[{index}].unit_price"), tier.unit_price);
        check_decimal(faults, format_args!("tiers[{index}].flat_fee"), tier.flat_fee);
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::*;
    use super::super::{ChargeModel, ENTRIES_MAX};
    use super::*;

    fn graduated(tiers: Vec<Tier>) -> ChargeModel {
        ChargeModel::Graduated(Graduated {
            tiers,
            empty_first_fee: false,
        })
    }

    #[test]
    fn each_part_is_priced_by_its_tier_and_a_fee_is_due_when_its_tier_is_entered() {
        let model = graduated(tiers(&[("10", "0.5", "1"), ("100", "0.4", "0"), ("-", "0", "2")]));
        for (quantity, text) in [
            ("0", "0 x 0.5 = 0 USD"),
            ("0.1", "0.1 x 0.5 + 1 flat = 1.05 USD"),
            ("10", "10 x 0.5 + 1 flat = 6 USD"),
            ("10.5", "10 x 0.5 + 1 flat + 0.5 x 0.4 = 6.2 USD"),
            ("100", "10 x 0.5 + 1 flat + 90 x 0.4 = 42 USD"),
            ("101", "10 x 0.5 + 1 flat + 90 x 0.4 + 1 x 0 + 2 flat = 44 USD"),
        ] {
            check(&model, &total(quantity), "0", text);
        }
        check(
            &model,
            &total("40"),
            "30",
            "40 - 30 included = 10: 10 x 0.5 + 1 flat = 6 USD",
        );
        check(&model, &total("7"), "30", "7 - 7 included = 0: 0 x 0.5 = 0 USD");
    }

    #[test]
    fn the_first_fee_without_usage_is_a_setting() {
        let model = ChargeModel::Graduated(Graduated {
            tiers: tiers(&[("10", "0.5", "1"), ("-", "0.4", "2")]),
            empty_first_fee: true,
        });
        check(&model, &total("0"), "0", "0 x 0.5 + 1 flat = 1 USD");
        check(&model, &total("1"), "0", "1 x 0.5 + 1 flat = 1.5 USD");
        check(
            &model,
            &total("3"),
            "3",
            "3 - 3 included = 0: 0 x 0.5 + 1 flat = 1 USD",
        );
    }

    #[test]
    fn a_line_has_a_unit_price_only_if_all_units_have_it() {
        let price = |model: &ChargeModel, quantity| rated(model, &total(quantity), "0").unwrap().unit_price;
        let model = graduated(tiers(&[
            ("10", "0.50", "0"),
            ("20", "0.5", "0"),
            ("-", "0.4", "0"),
        ]));
        assert_eq!(price(&model, "20"), Some(decimal("0.5")));
        assert_eq!(price(&model, "21"), None);
        let fee = graduated(tiers(&[("10", "0.5", "1"), ("-", "0.5", "0")]));
        assert_eq!(price(&fee, "5"), None);
    }

    #[test]
    fn a_text_of_many_tiers_ends_with_the_sum_of_the_rest() {
        let many = (1..=30).map(|n| Tier {
            up_to: (n < 30).then(|| Decimal::from(n)),
            unit_price: Decimal::from(n),
            flat_fee: Decimal::ZERO,
        });
        let rated = rated(&graduated(many.collect()), &total("30"), "0").unwrap();
        assert!(
            rated
                .explanation
                .ends_with(" + 1 x 19 + 1 x 20 + 255 for 10 more = 465 USD"),
            "{}",
            rated.explanation
        );
    }

    #[test]
    fn every_fault_of_the_tiers_is_told() {
        check_faults(&graduated(Vec::new()), &[("graduated.tiers", "no_tiers")]);
        let wrong = graduated(tiers(&[
            ("0", "-1", "0"),
            ("-", "1", "-1"),
            ("10", "1", "0"),
            ("10", "1", "0"),
            ("-5", "0.0000000000001", "0"),
        ]));
        check_faults(
            &wrong,
            &[
                ("graduated.tiers[0].up_to", "not_rising"),
                ("graduated.tiers[1].up_to", "open"),
                ("graduated.tiers[3].up_to", "not_rising"),
                ("graduated.tiers[4].up_to", "negative"),
                ("graduated.tiers[4].up_to", "not_open"),
                ("graduated.tiers[4].up_to", "not_rising"),
                ("graduated.tiers[0].unit_price", "negative"),
                ("graduated.tiers[1].flat_fee", "negative"),
                ("graduated.tiers[4].unit_price", "too_precise"),
            ],
        );
        let many = |count: usize| {
            let tier = |n| Tier {
                up_to: (n < count).then(|| Decimal::from(n)),
                unit_price: Decimal::ONE,
                flat_fee: Decimal::ZERO,
            };
            graduated((1..=count).map(tier).collect())
        };
        check_faults(&many(ENTRIES_MAX), &[]);
        check_faults(&many(ENTRIES_MAX + 1), &[("graduated.tiers", "too_many")]);
    }

    #[test]
    fn a_quantity_above_all_tiers_is_an_error_and_not_free() {
        let model = graduated(tiers(&[("10", "0.5", "0")]));
        assert_eq!(
            rated(&model, &total("10"), "0").unwrap().explanation,
            "10 x 0.5 = 5 USD"
        );
        check_error(&model, &total("10.1"), "no tier holds a quantity of 10.1");
        check_error(
            &graduated(Vec::new()),
            &total("0"),
            "no tier holds a quantity of 0",
        );
    }
}
