use rust_decimal::Decimal;

use super::{Tally, Used, check_decimal};
use crate::validate::Faults;

pub(super) fn check(unit_price: Decimal, faults: &mut Faults) {
    check_decimal(faults, "unit_price", unit_price);
}

/// Every unit above the allowance at the same price: `(130 - 30 included) x 0.5`.
pub(super) fn charge(unit_price: Decimal, used: &Used<'_>, allowance: Decimal, tally: &mut Tally) {
    let (overage, included) = tally.split(used, allowance);
    tally.charge_for(overage);
    if allowance.is_zero() {
        tally.units(&overage, unit_price);
    } else {
        let quantity = tally.fits(overage.checked_add(included));
        tally.units_as(&overage, unit_price, |tally| tally.less(&quantity, &included));
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChargeModel;
    use super::super::kit::*;
    use crate::money::Exact;

    fn per_unit(unit_price: &str) -> ChargeModel {
        ChargeModel::PerUnit {
            unit_price: decimal(unit_price),
        }
    }

    #[test]
    fn only_what_exceeds_the_allowance_is_priced() {
        check(
            &per_unit("0.0000004"),
            &total("2"),
            "0",
            "2 x 0.0000004 = 0.0000008 USD",
        );
        check(
            &per_unit("0.0000004"),
            &total("12500.00"),
            "0",
            "12500 x 0.0000004 = 0.005 USD",
        );
        check(
            &per_unit("1"),
            &total("100"),
            "100",
            "(100 - 100 included) x 1 = 0 USD",
        );
        check(
            &per_unit("1.01"),
            &total("100.5"),
            "100",
            "(100.5 - 100 included) x 1.01 = 0.505 USD",
        );
        check(&per_unit("1"), &total("5"), "100", "(5 - 5 included) x 1 = 0 USD");
    }

    #[test]
    fn the_line_has_the_unit_price_and_the_overage() {
        let rated = rated(&per_unit("1.01"), &total("100.5"), "100").unwrap();
        assert_eq!(rated.unit_price, Some(decimal("1.01")));
        assert_eq!(rated.overage, Exact::from(decimal("0.5")));
        assert_eq!(rated.amount.minor, 51);
    }

    #[test]
    fn what_is_wrong_is_told() {
        check_faults(&per_unit("-1"), &[("per_unit.unit_price", "negative")]);
        check_faults(&per_unit("0.000000000001"), &[]);
        check_faults(
            &per_unit("0.0000000000001"),
            &[("per_unit.unit_price", "too_precise")],
        );
    }
}
