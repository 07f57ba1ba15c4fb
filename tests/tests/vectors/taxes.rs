//! What tax comes to on an invoice.

use billing_core::money::{Currency, Money, Rounding};
use billing_core::tax::{TaxBehavior, TaxRate, TaxTreatment};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaxCase {
    #[serde(rename = "name")]
    _name: String,
    behavior: TaxBehavior,
    rates: Vec<Decimal>,
    lines: Vec<i64>,
    currency: Currency,
    #[serde(default)]
    rounding: Rounding,
    expect: TaxExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaxExpectation {
    net: i64,
    taxes: Vec<i64>,
    gross: i64,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: TaxCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let rate = |percent: Decimal| TaxRate {
        name: format!("{percent}%"),
        percent,
        jurisdiction: None,
    };
    let treatment = TaxTreatment {
        rates: case.rates.into_iter().map(rate).collect(),
        behavior: case.behavior,
        exemption: None,
    };
    treatment.validate().map_err(|faults| faults.to_string())?;
    let lines = case.lines.iter().map(|minor| Money::new(*minor, case.currency));
    let taxable = Money::sum(case.currency, lines).map_err(|error| error.to_string())?;
    let taxes = treatment
        .assess(taxable, case.rounding)
        .map_err(|error| error.to_string())?;
    let net = taxes.first().map_or(taxable.minor, |tax| tax.taxable.minor);
    if taxes.iter().any(|tax| tax.taxable.minor != net) {
        return Err("the taxes are not levied on one net amount".into());
    }
    let amounts: Vec<_> = taxes.iter().map(|tax| tax.amount.minor).collect();
    let gross = net + amounts.iter().sum::<i64>();
    same("net", Some(case.expect.net), Some(net))?;
    same("taxes", Some(case.expect.taxes), Some(amounts))?;
    same("gross", Some(case.expect.gross), Some(gross))
}
