//! From a quantity to an amount: the allowance, the charge model, the one rounding.

use alloc::string::String;

use rust_decimal::Decimal;

use crate::invoice::explain;
use crate::money::{Currency, Exact, Money, MoneyError, Rounding};
use crate::plan::{ChargeModel, MeterTerms};

/// What a quantity costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// The quantity above the allowance.
    pub overage: Decimal,
    /// The price of one unit, if all cost the same.
    pub unit_price: Option<Decimal>,
    /// The exact amount in major units, before rounding.
    pub exact: Exact,
    /// The amount, rounded once.
    pub amount: Money,
    /// The arithmetic, such that a customer can check it by hand.
    pub explanation: String,
}

/// Rates `quantity` by `terms` with `allowance` free units.
///
/// `allowance` is an argument, since it may be a part of that of `terms` when a plan was in force for a part of a
/// period only.
///
/// # Units
///
/// Minor units of `currency`, rounded once, at the end, by `rounding`.
///
/// # Errors
///
/// [`MoneyError::Overflow`].
pub fn rate(
    terms: &MeterTerms,
    quantity: Decimal,
    allowance: Decimal,
    currency: Currency,
    rounding: Rounding,
) -> Result<Rated, MoneyError> {
    let overflow = MoneyError::Overflow { currency };
    let overage = quantity.checked_sub(allowance.min(quantity)).ok_or(overflow)?;
    match &terms.charge {
        ChargeModel::PerUnit { unit_price } => {
            let exact = Exact::product(overage, *unit_price);
            let amount = exact.round(currency, rounding)?;
            let price = Exact::from(*unit_price);
            let explanation = if allowance.is_zero() {
                explain(format_args!(
                    "{} x {price} = {exact} {currency}",
                    Exact::from(overage)
                ))
            } else {
                explain(format_args!(
                    "({} - {} included) x {price} = {exact} {currency}",
                    Exact::from(quantity),
                    Exact::from(allowance.min(quantity))
                ))
            };
            Ok(Rated {
                overage,
                unit_price: Some(*unit_price),
                exact,
                amount,
                explanation,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Aggregation;

    #[track_caller]
    fn check(quantity: &str, allowance: &str, unit_price: &str, minor: i64, explanation: &str) {
        let terms = MeterTerms {
            aggregation: Aggregation::Sum,
            allowance: Decimal::ZERO,
            soft_limit: None,
            hard_limit: None,
            charge: ChargeModel::PerUnit {
                unit_price: unit_price.parse().unwrap(),
            },
        };
        let usd = Currency::from_code("USD").unwrap();
        let rated = rate(
            &terms,
            quantity.parse().unwrap(),
            allowance.parse().unwrap(),
            usd,
            Rounding::HalfAwayFromZero,
        )
        .unwrap();
        assert_eq!(
            (rated.amount.minor, rated.explanation.as_str()),
            (minor, explanation)
        );
    }

    #[test]
    fn only_what_exceeds_the_allowance_is_priced_and_rounded_once() {
        check("2", "0", "0.0000004", 0, "2 x 0.0000004 = 0.0000008 USD");
        check("12500.00", "0", "0.0000004", 1, "12500 x 0.0000004 = 0.005 USD");
        check("100", "100", "1", 0, "(100 - 100 included) x 1 = 0 USD");
        check(
            "100.5",
            "100",
            "1.01",
            51,
            "(100.5 - 100 included) x 1.01 = 0.505 USD",
        );
        check("5", "100", "1", 0, "(5 - 5 included) x 1 = 0 USD");
    }
}
