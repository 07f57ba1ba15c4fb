use rust_decimal::Decimal;

use super::{Tally, Used, check_decimal};
use crate::validate::Faults;

pub(super) fn check(amount: Decimal, faults: &mut Faults) {
    check_decimal(faults, "amount", amount);
}

/// The amount once, or nothing when all was included.
pub(super) fn charge(amount: Decimal, used: &Used<'_>, allowance: Decimal, tally: &mut Tally) {
    let overage = tally.draw(used, allowance, ": ");
    if overage.is_zero() || amount.is_zero() {
        tally.say("0 flat");
    } else {
        tally.fee(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChargeModel;
    use super::super::kit::*;

    fn flat(amount: &str) -> ChargeModel {
        ChargeModel::Flat {
            amount: decimal(amount),
        }
    }

    #[test]
    fn the_amount_is_due_once_when_anything_is_above_the_allowance() {
        check(&flat("10"), &total("0"), "0", "0 flat = 0 USD");
        check(&flat("10"), &total("0.001"), "0", "10 flat = 10 USD");
        check(&flat("10"), &total("5000"), "0", "10 flat = 10 USD");
        check(&flat("0"), &total("5"), "0", "0 flat = 0 USD");
        check(
            &flat("10"),
            &total("5"),
            "5",
            "5 - 5 included = 0: 0 flat = 0 USD",
        );
        check(
            &flat("10"),
            &total("5.1"),
            "5",
            "5.1 - 5 included = 0.1: 10 flat = 10 USD",
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        check_faults(
            &flat("-0.0000000000001"),
            &[("flat.amount", "negative"), ("flat.amount", "too_precise")],
        );
    }
}
