use std::collections::BTreeMap;

use billing_core::money::{Currency, Money};
use rust_decimal::Decimal;

/// In which unit a provider counts each currency: how many decimals its whole numbers have.
///
/// Mostly that is the exponent of ISO 4217, and where it is not, a mistake is a hundredfold charge. So a currency that is not in
/// the table is refused, and not guessed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CurrencyUnits(BTreeMap<&'static str, u32>);

impl CurrencyUnits {
    pub(crate) fn new(table: &[(&'static str, u32)]) -> Self {
        Self(table.iter().copied().collect())
    }

    /// The same with `currency` counted with `decimals`: 2 if the provider wants 150 for 1.50.
    #[must_use]
    pub fn with(mut self, currency: Currency, decimals: u32) -> Self {
        self.0.insert(currency.code(), decimals);
        self
    }

    pub(crate) fn takes(&self, currency: Currency) -> bool {
        self.0.contains_key(currency.code())
    }

    /// In whole units of the provider; `None` for an unknown currency, or an amount that is not whole there.
    pub(crate) fn to_provider(&self, money: Money) -> Option<i64> {
        let decimals = *self.0.get(money.currency.code())?;
        rescale(money.minor, money.currency.exponent(), decimals)
    }

    /// The money that so many of the provider's units are; `None` for what is not whole in the currency's minor unit.
    pub(crate) fn money(&self, units: i64, currency: Currency) -> Option<Money> {
        let decimals = *self.0.get(currency.code())?;
        let minor = rescale(units, decimals, currency.exponent())?;
        Some(Money::new(minor, currency))
    }
}

/// `units` of `from` decimals in those of `to`, exactly or not at all.
fn rescale(units: i64, from: u32, to: u32) -> Option<i64> {
    let factor = 10_i64.checked_pow(from.abs_diff(to))?;
    if to >= from {
        units.checked_mul(factor)
    } else if units % factor == 0 {
        Some(units / factor)
    } else {
        None
    }
}

/// In major units, as a decimal without a float: 1999 NGN is 19.99.
pub(crate) fn to_major(money: Money) -> Option<Decimal> {
    Decimal::try_new(money.minor, money.currency.exponent()).ok()
}

/// The money that a decimal in major units is; `None` for what is finer than the minor unit.
pub(crate) fn from_major(major: Decimal, currency: Currency) -> Option<Money> {
    let factor = Decimal::from(10_i64.checked_pow(currency.exponent())?);
    let minor = major.checked_mul(factor)?.normalize();
    if minor.scale() != 0 {
        return None;
    }
    Some(Money::new(i64::try_from(minor.mantissa()).ok()?, currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: i64, code: &str) -> Money {
        Money::new(minor, Currency::from_code(code).unwrap())
    }

    #[test]
    fn a_unit_of_a_provider_is_exact_or_refused() {
        let units = CurrencyUnits::new(&[("NGN", 2), ("XOF", 2), ("KWD", 2)]);
        for (ours, theirs) in [(money(27_000, "NGN"), 27_000), (money(150, "XOF"), 15_000)] {
            assert_eq!(units.to_provider(ours), Some(theirs));
            assert_eq!(units.money(theirs, ours.currency), Some(ours));
        }
        assert_eq!(
            units.money(15_050, money(0, "XOF").currency),
            None,
            "half a franc"
        );
        assert_eq!(
            units.to_provider(money(1_005, "KWD")),
            None,
            "half a unit of theirs"
        );
        assert_eq!(units.to_provider(money(1_000, "UGX")), None, "not in the table");
        assert_eq!(units.to_provider(money(i64::MAX, "XOF")), None, "too large");
        let told = units.with(money(0, "UGX").currency, 0);
        assert_eq!(told.to_provider(money(1_000, "UGX")), Some(1_000));
    }

    #[test]
    fn major_units_are_exact_or_refused() {
        for (ours, theirs) in [
            (money(1_999, "NGN"), "19.99"),
            (money(2_000, "GHS"), "20.00"),
            (money(1_500, "UGX"), "1500"),
            (money(1_005, "KWD"), "1.005"),
        ] {
            assert_eq!(to_major(ours).unwrap().to_string(), theirs);
            assert_eq!(from_major(theirs.parse().unwrap(), ours.currency), Some(ours));
        }
        assert_eq!(
            from_major("98.6".parse().unwrap(), money(0, "NGN").currency),
            Some(money(9_860, "NGN"))
        );
        assert_eq!(from_major("1.4".parse().unwrap(), money(0, "RWF").currency), None);
        assert_eq!(
            from_major("19.999".parse().unwrap(), money(0, "NGN").currency),
            None
        );
    }
}
