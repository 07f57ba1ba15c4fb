use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::graduated::check_tiers;
use super::{RatingError, Tally, Tier, Used};
use crate::money::Exact;
use crate::validate::Faults;

/// All units cost what the tier of the whole quantity says: up to ten 0.50 each, from the eleventh on 0.40 for all.
///
/// A bound is inclusive, as in [`Graduated`](super::Graduated). So a larger quantity may cost less than a smaller one.
///
/// # Source
///
/// DESIGN.md, section 3; Lago (`volume_service.rb`), OpenMeter (`pricevolumetiered.go`).
///
/// # Example: with an allowance, either the excess or the whole usage is priced
///
/// ```
/// use billing_core::charge::{ChargeModel, Tier, Used, Volume, VolumeAllowance};
/// use billing_core::money::{Currency, Rounding};
/// use billing_core::rating::{PeriodTerms, rate};
/// # use rust_decimal::Decimal;
/// # let decimal = |text: &str| text.parse::<Decimal>().unwrap();
///
/// let usd = Currency::from_code("USD")?;
/// let terms = PeriodTerms { allowance: decimal("5"), ..PeriodTerms::default() };
/// let used = Used::Total { quantity: decimal("12"), events: 1 };
/// for (allowance, text) in [
///     (VolumeAllowance::Excess, "12 - 5 included = 7: 7 x 0.5 = 3.5 USD"),
///     (VolumeAllowance::Whole, "more than 5 included: 12 x 0.4 = 4.8 USD"),
/// ] {
///     let model = ChargeModel::Volume(Volume {
///         tiers: vec![
///             Tier { up_to: Some(decimal("10")), unit_price: decimal("0.5"), flat_fee: decimal("0") },
///             Tier { up_to: None, unit_price: decimal("0.4"), flat_fee: decimal("0") },
///         ],
///         allowance,
///         empty_first_fee: false,
///     });
///     assert_eq!(rate(&model, &used, &terms, usd, Rounding::default())?.explanation, text);
/// }
/// # Ok::<(), billing_core::charge::RatingError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Volume {
    /// From the lowest to the highest, 1 to [`ENTRIES_MAX`](super::ENTRIES_MAX).
    pub tiers: Vec<Tier>,
    /// Which quantity picks the tier and is priced, when there is an allowance.
    #[cfg_attr(feature = "serde", serde(default))]
    pub allowance: VolumeAllowance,
    /// Whether the flat fee of the first tier is due when nothing above the allowance was used. Default no; OpenMeter
    /// charges it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub empty_first_fee: bool,
}

/// What a [`Volume`] price does with an allowance.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: an adapter must fail to compile when one is added"
)]
pub enum VolumeAllowance {
    /// Only what is above the allowance picks the tier and is priced.
    #[default]
    Excess,
    /// Once the allowance is passed, the whole usage picks the tier and is priced; up to it all is free.
    Whole,
}

impl Volume {
    pub(super) fn check(&self, faults: &mut Faults) {
        check_tiers(&self.tiers, faults);
    }

    pub(super) fn charge(
        &self,
        used: &Used<'_>,
        allowance: Decimal,
        tally: &mut Tally,
    ) -> Result<(), RatingError> {
        let priced = match self.allowance {
            VolumeAllowance::Excess => tally.draw(used, allowance, ": "),
            VolumeAllowance::Whole => {
                let (overage, included) = tally.split(used, allowance);
                if allowance.is_zero() || overage.is_zero() {
                    tally.draw(used, allowance, ": ")
                } else {
                    tally.charge_for(overage);
                    tally.say("more than ");
                    tally.number(&included);
                    tally.say(" included: ");
                    tally.fits(overage.checked_add(included))
                }
            }
        };
        let holds = |tier: &&Tier| tier.up_to.is_none_or(|up_to| priced <= Exact::from(up_to));
        let tier = self
            .tiers
            .iter()
            .find(holds)
            .ok_or(RatingError::NoTier { quantity: priced })?;
        tally.units(&priced, tier.unit_price);
        if !priced.is_zero() || self.empty_first_fee {
            tally.fee(tier.flat_fee);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChargeModel;
    use super::super::kit::*;
    use super::*;

    fn volume(allowance: VolumeAllowance, empty_first_fee: bool) -> ChargeModel {
        ChargeModel::Volume(Volume {
            tiers: tiers(&[("10", "0.5", "1"), ("100", "0.4", "0"), ("-", "0.3", "2")]),
            allowance,
            empty_first_fee,
        })
    }

    #[test]
    fn the_whole_quantity_picks_its_tier() {
        for (quantity, text) in [
            ("0", "0 x 0.5 = 0 USD"),
            ("10", "10 x 0.5 + 1 flat = 6 USD"),
            ("10.01", "10.01 x 0.4 = 4.004 USD"),
            ("100", "100 x 0.4 = 40 USD"),
            ("101", "101 x 0.3 + 2 flat = 32.3 USD"),
        ] {
            check(
                &volume(VolumeAllowance::Excess, false),
                &total(quantity),
                "0",
                text,
            );
            check(
                &volume(VolumeAllowance::Whole, false),
                &total(quantity),
                "0",
                text,
            );
        }
        check(
            &volume(VolumeAllowance::Excess, true),
            &total("0"),
            "0",
            "0 x 0.5 + 1 flat = 1 USD",
        );
    }

    #[test]
    fn an_allowance_leaves_the_excess_or_is_a_threshold() {
        let excess = volume(VolumeAllowance::Excess, false);
        let whole = volume(VolumeAllowance::Whole, false);
        let nothing = "15 - 15 included = 0: 0 x 0.5 = 0 USD";
        check(&excess, &total("15"), "15", nothing);
        check(&whole, &total("15"), "15", nothing);
        check(
            &excess,
            &total("16"),
            "15",
            "16 - 15 included = 1: 1 x 0.5 + 1 flat = 1.5 USD",
        );
        check(
            &whole,
            &total("16"),
            "15",
            "more than 15 included: 16 x 0.4 = 6.4 USD",
        );
        let overage = rated(&whole, &total("16"), "15").unwrap().overage;
        assert_eq!(overage, Exact::from(Decimal::ONE));
        check(
            &volume(VolumeAllowance::Whole, true),
            &total("3"),
            "15",
            "3 - 3 included = 0: 0 x 0.5 + 1 flat = 1 USD",
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = ChargeModel::Volume(Volume {
            tiers: tiers(&[("10", "-1", "0")]),
            allowance: VolumeAllowance::Excess,
            empty_first_fee: false,
        });
        check_faults(
            &wrong,
            &[
                ("volume.tiers[0].up_to", "not_open"),
                ("volume.tiers[0].unit_price", "negative"),
            ],
        );
        check_error(&wrong, &total("11"), "no tier holds a quantity of 11");
    }
}
