//! Any model with any events: it is rated or refused, the amount is the exact one rounded once, and rating in two steps comes to
//! the same.

#![no_main]

use billing_core::charge::{ChargeModel, Needs, Used};
use billing_core::money::{Currency, Rounding};
use billing_core::rating::{PeriodTerms, rate, rate_more};
use libfuzzer_sys::fuzz_target;
use rust_decimal::Decimal;

fuzz_target!(|input: &[u8]| {
    // The model as JSON, a zero byte, then the allowance, the decimals and the quantities, four bytes each.
    let Some((model, numbers)) = input
        .iter()
        .position(|byte| *byte == 0)
        .map(|end| input.split_at(end))
    else {
        return;
    };
    let mut numbers = numbers[1..]
        .chunks_exact(4)
        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let (Some(allowance), Some(scale)) = (numbers.next(), numbers.next()) else {
        return;
    };
    let Ok(model) = serde_json::from_slice::<ChargeModel>(model) else {
        return;
    };
    if model.validate().is_err() {
        return;
    }
    let decimal = |number: u32| Decimal::new(number.into(), scale % 13);
    let terms = PeriodTerms {
        allowance: decimal(allowance),
        ..PeriodTerms::default()
    };
    let events: Vec<_> = numbers.map(decimal).collect();
    let (usd, rounding) = (
        Currency::from_code("USD").expect("a currency"),
        Rounding::default(),
    );
    if model.needs(terms.allowance) == Needs::Cells {
        return;
    }
    let (first, all) = (Used::Events(&events[..events.len() / 2]), Used::Events(&events));
    let Ok(whole) = rate(&model, &all, &terms, usd, rounding) else {
        return;
    };
    assert_eq!(whole.exact.round(usd, rounding).expect("it fits"), whole.amount);
    let (Ok(before), Ok(more)) = (
        rate(&model, &first, &terms, usd, rounding),
        rate_more(&model, &first, &all, &terms, usd, rounding),
    ) else {
        return;
    };
    assert_eq!(before.amount.checked_add(more.amount), Ok(whole.amount));
});
