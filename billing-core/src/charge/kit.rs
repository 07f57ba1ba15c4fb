//! What the tests of the models share.

use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::money::{Currency, Rounding};
use crate::rating::{PeriodTerms, Rated, rate};

pub(super) fn usd() -> Currency {
    Currency::from_code("USD").unwrap()
}

pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn total(quantity: &str) -> Used<'static> {
    Used::Total {
        quantity: decimal(quantity),
        events: 0,
    }
}

/// Tiers as `(up_to, price or percent, flat fee)`; `-` for the open one.
pub(super) fn tiers(tiers: &[(&str, &str, &str)]) -> Vec<Tier> {
    let tier = |(up_to, unit_price, flat_fee): &(&str, &str, &str)| Tier {
        up_to: (*up_to != "-").then(|| decimal(up_to)),
        unit_price: decimal(unit_price),
        flat_fee: decimal(flat_fee),
    };
    tiers.iter().map(tier).collect()
}

pub(super) fn rated(model: &ChargeModel, used: &Used<'_>, allowance: &str) -> Result<Rated, RatingError> {
    let terms = PeriodTerms {
        allowance: decimal(allowance),
        ..PeriodTerms::default()
    };
    rate(model, used, &terms, usd(), Rounding::default())
}

#[track_caller]
pub(super) fn check(model: &ChargeModel, used: &Used<'_>, allowance: &str, explanation: &str) {
    assert_eq!(model.validate(), Ok(()));
    assert_eq!(rated(model, used, allowance).unwrap().explanation, explanation);
}

#[track_caller]
pub(super) fn check_faults(model: &ChargeModel, expected: &[(&str, &str)]) {
    let faults = model.validate().err().unwrap_or_default();
    let found: Vec<_> = faults
        .as_slice()
        .iter()
        .map(|fault| (fault.path.as_str(), fault.code))
        .collect();
    assert_eq!(found, expected);
}

#[track_caller]
pub(super) fn check_error(model: &ChargeModel, used: &Used<'_>, expected: &str) {
    assert_eq!(rated(model, used, "0").unwrap_err().to_string(), expected);
}
