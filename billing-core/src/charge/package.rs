use rust_decimal::Decimal;

use super::{Tally, Used, check_decimal};
use crate::validate::Faults;

/// Whole packages of units: with `size` 100 the first unit costs as much as the hundredth, the 101st starts another.
///
/// The allowance is drawn first, so that packages begin after the free units.
///
/// # Source
///
/// DESIGN.md, section 3 ("started packages count whole, after the free units"; all known systems agree).
///
/// # Example: 30 free units, then packages of 100
///
/// ```
/// use billing_core::charge::{ChargeModel, Package, Used};
/// use billing_core::money::{Currency, Rounding};
/// use billing_core::rating::{PeriodTerms, rate};
/// # use rust_decimal::Decimal;
///
/// let model = ChargeModel::Package(Package { size: Decimal::from(100), price: Decimal::from(5) });
/// let terms = PeriodTerms { allowance: Decimal::from(30), ..PeriodTerms::default() };
/// let usd = Currency::from_code("USD")?;
/// for (quantity, text) in [
///     (130, "130 - 30 included = 100 in packages of 100: 1 x 5 = 5 USD"),
///     (131, "131 - 30 included = 101 in packages of 100: 2 x 5 = 10 USD"),
/// ] {
///     let used = Used::Total { quantity: Decimal::from(quantity), events: 1 };
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
pub struct Package {
    /// How many units are in one, above zero; a fraction is allowed.
    pub size: Decimal,
    /// What one costs, in major units.
    pub price: Decimal,
}

impl Package {
    pub(super) fn check(&self, faults: &mut Faults) {
        if self.size.is_zero() {
            faults.push("size", "zero", "expected more than 0, got 0");
        }
        check_decimal(faults, "size", self.size);
        check_decimal(faults, "price", self.price);
    }

    pub(super) fn charge(&self, used: &Used<'_>, allowance: Decimal, tally: &mut Tally) {
        let overage = tally.draw(used, allowance, "");
        if allowance.is_zero() {
            tally.number(&overage);
        }
        tally.say(" in packages of ");
        tally.number(&self.size.into());
        tally.say(": ");
        let packages = tally.fits(overage.checked_div_ceil(self.size));
        let amount = tally.fits(packages.checked_mul(self.price));
        tally.term(&amount, |tally| {
            tally.number(&packages);
            tally.say(" x ");
            tally.number(&self.price.into());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChargeModel;
    use super::super::kit::*;
    use super::*;

    fn package(size: &str, price: &str) -> ChargeModel {
        ChargeModel::Package(Package {
            size: decimal(size),
            price: decimal(price),
        })
    }

    #[test]
    fn a_started_package_counts_whole() {
        for (quantity, text) in [
            ("0", "0 in packages of 100: 0 x 5 = 0 USD"),
            ("0.001", "0.001 in packages of 100: 1 x 5 = 5 USD"),
            ("100", "100 in packages of 100: 1 x 5 = 5 USD"),
            ("100.001", "100.001 in packages of 100: 2 x 5 = 10 USD"),
        ] {
            check(&package("100", "5"), &total(quantity), "0", text);
        }
        check(
            &package("0.5", "0.1"),
            &total("1.6"),
            "0",
            "1.6 in packages of 0.5: 4 x 0.1 = 0.4 USD",
        );
        check(
            &package("100", "5"),
            &total("30"),
            "30",
            "30 - 30 included = 0 in packages of 100: 0 x 5 = 0 USD",
        );
        assert_eq!(
            rated(&package("100", "5"), &total("7"), "0").unwrap().unit_price,
            None
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        check_faults(
            &package("0", "-1"),
            &[("package.size", "zero"), ("package.price", "negative")],
        );
        check_faults(
            &package("-0.0000000000001", "1"),
            &[("package.size", "negative"), ("package.size", "too_precise")],
        );
        check_error(&package("0", "1"), &total("1"), "amount in USD is too large");
    }
}
