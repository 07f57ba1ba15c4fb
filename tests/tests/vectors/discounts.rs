//! What discounts take off the lines of one invoice.

use billing_core::coupon::{self, CouponValue, Discount};
use billing_core::id::CouponCode;
use billing_core::money::{Currency, Money, Rounding};
use serde::Deserialize;
use serde_json::Value;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscountCase {
    #[serde(rename = "name")]
    _name: String,
    currency: Currency,
    discounts: Vec<Off>,
    lines: Vec<i64>,
    #[serde(default)]
    rounding: Rounding,
    expect: DiscountExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Off {
    code: CouponCode,
    value: CouponValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscountExpectation {
    parts: Vec<Part>,
    total: i64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Part {
    code: CouponCode,
    line: usize,
    amount: i64,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: DiscountCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    let discount = |Off { code, value }| Discount {
        code,
        value,
        invoices_left: None,
        plans: Default::default(),
    };
    let discounts: Vec<_> = case.discounts.into_iter().map(discount).collect();
    let money = |minor: &i64| Money::new(*minor, case.currency);
    let lines: Vec<_> = case.lines.iter().map(money).collect();
    let applied =
        coupon::apply(&discounts, &lines, case.currency, case.rounding).map_err(|error| error.to_string())?;
    let total = case.lines.iter().sum::<i64>() - applied.iter().map(|off| off.amount.minor).sum::<i64>();
    let parts = applied.into_iter().map(|off| Part {
        code: off.code,
        line: off.line,
        amount: off.amount.minor,
    });
    same("parts", Some(case.expect.parts), Some(parts.collect()))?;
    same("total", Some(case.expect.total), Some(total))
}
