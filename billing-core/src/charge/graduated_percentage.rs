use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::{RatingError, Tally, Used, check_bounds, check_decimal};
use crate::money::Exact;
use crate::validate::Faults;

/// Each part of the quantity, which is an amount of money in major units, is charged by the percentage of its tier: 3% of
/// the first 1000, 2% of what is above.
///
/// Tiers as in [`Graduated`](super::Graduated): they count what is above the allowance, and a bound is inclusive.
///
/// # Source
///
/// DESIGN.md, section 3; Lago (`graduated_percentage_service.rb`).
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct GraduatedPercentage {
    /// From the lowest to the highest, 1 to [`ENTRIES_MAX`](super::ENTRIES_MAX).
    pub tiers: Vec<PercentTier>,
    /// Whether the flat fee of the first tier is due when nothing above the allowance was used. Default no.
    #[cfg_attr(feature = "serde", serde(default))]
    pub empty_first_fee: bool,
}

/// One tier of a [`GraduatedPercentage`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct PercentTier {
    /// The last quantity that is in the tier, above the one before; none for the last tier, which is open.
    #[cfg_attr(feature = "serde", serde(default))]
    pub up_to: Option<Decimal>,
    /// The part of what is in the tier, in percent: `2.9` is 2.9%.
    pub percent: Decimal,
    /// What is due once when the tier is reached, in major units.
    #[cfg_attr(feature = "serde", serde(default))]
    pub flat_fee: Decimal,
}

impl GraduatedPercentage {
    pub(super) fn check(&self, faults: &mut Faults) {
        check_bounds(faults, self.tiers.iter().map(|tier| tier.up_to));
        for (index, tier) in self.tiers.iter().enumerate() {
            check_decimal(faults, format_args!("tiers[{index}].percent"), tier.percent);
            check_decimal(faults, format_args!("tiers[{index}].flat_fee"), tier.flat_fee);
        }
    }

    pub(super) fn charge(
        &self,
        used: &Used<'_>,
        allowance: Decimal,
        tally: &mut Tally,
    ) -> Result<(), RatingError> {
        let overage = tally.draw(used, allowance, ": ");
        let is_entered = !overage.is_zero() || self.empty_first_fee;
        let add = |tally: &mut Tally, tier: &PercentTier, part: &Exact| {
            tally.percent(tier.percent, part);
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

#[cfg(test)]
mod tests {
    use super::super::ChargeModel;
    use super::super::kit::*;
    use super::*;

    fn model(empty_first_fee: bool) -> ChargeModel {
        let tier = |up_to: Option<&str>, percent, flat_fee| PercentTier {
            up_to: up_to.map(decimal),
            percent: decimal(percent),
            flat_fee: decimal(flat_fee),
        };
        ChargeModel::GraduatedPercentage(GraduatedPercentage {
            tiers: [tier(Some("1000"), "3", "1"), tier(None, "2.5", "0")].into(),
            empty_first_fee,
        })
    }

    #[test]
    fn each_part_pays_the_percentage_of_its_tier() {
        for (quantity, text) in [
            ("0", "3% of 0 = 0 USD"),
            ("0.01", "3% of 0.01 + 1 flat = 1.0003 USD"),
            ("1000", "3% of 1000 + 1 flat = 31 USD"),
            ("1000.01", "3% of 1000 + 1 flat + 2.5% of 0.01 = 31.00025 USD"),
        ] {
            check(&model(false), &total(quantity), "0", text);
        }
        check(
            &model(false),
            &total("1200"),
            "200",
            "1200 - 200 included = 1000: 3% of 1000 + 1 flat = 31 USD",
        );
        check(&model(true), &total("0"), "0", "3% of 0 + 1 flat = 1 USD");
        let rated = rated(&model(false), &total("10"), "0").unwrap();
        assert_eq!(rated.unit_price, None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let tier = PercentTier {
            up_to: Some(decimal("-1")),
            percent: decimal("-1"),
            flat_fee: decimal("0.0000000000001"),
        };
        let wrong = ChargeModel::GraduatedPercentage(GraduatedPercentage {
            tiers: [tier].into(),
            empty_first_fee: false,
        });
        check_faults(
            &wrong,
            &[
                ("graduated_percentage.tiers[0].up_to", "negative"),
                ("graduated_percentage.tiers[0].up_to", "not_open"),
                ("graduated_percentage.tiers[0].up_to", "not_rising"),
                ("graduated_percentage.tiers[0].percent", "negative"),
                ("graduated_percentage.tiers[0].flat_fee", "too_precise"),
            ],
        );
        check_error(&wrong, &total("1"), "no tier holds a quantity of 1");
    }
}
