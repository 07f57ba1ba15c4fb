use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::CouponValue;
use crate::id::{CouponCode, PlanCode};
use crate::money::{Currency, Exact, Money, MoneyError, Rounding};

/// What a redeemed coupon leaves on a subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Discount {
    /// The coupon.
    pub code: CouponCode,
    /// How much it takes off, as it was when it was redeemed.
    pub value: CouponValue,
    /// From how many more invoices, at least 1; none for all.
    #[cfg_attr(feature = "serde", serde(default))]
    pub invoices_left: Option<u32>,
    /// For which plans; empty for all. It rests while the subscription is on another.
    #[cfg_attr(feature = "serde", serde(default))]
    pub plans: BTreeSet<PlanCode>,
}

impl Discount {
    /// Whether it counts on an invoice of `plan`.
    pub fn is_for(&self, plan: &PlanCode) -> bool {
        self.plans.is_empty() || self.plans.contains(plan)
    }

    /// How much of `whole`, which is not negative: nothing to all of it.
    fn takes(&self, whole: Money, rounding: Rounding) -> Result<Money, MoneyError> {
        let asked = match self.value {
            CouponValue::Percent(percent) => Exact::product(whole.to_decimal(), percent)
                .hundredth()
                .round(whole.currency, rounding)?,
            CouponValue::Amount(amount) => Money::zero(whole.currency).checked_add(amount)?,
        };
        Ok(Money::new(asked.minor.clamp(0, whole.minor), whole.currency))
    }

    fn describe(&self, whole: Money) -> String {
        match self.value {
            CouponValue::Percent(percent) => {
                format!("coupon `{}`: {}% of {whole}", self.code, percent.normalize())
            }
            CouponValue::Amount(amount) => format!("coupon `{}`: {amount} off {whole}", self.code),
        }
    }
}

/// What a discount takes off a line.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// The coupon of the discount.
    pub code: CouponCode,
    /// The line, by its place from 0 among those that came.
    pub line: usize,
    /// How much, above zero: an invoice line for it is the negative.
    pub amount: Money,
    /// The arithmetic, such that a customer can check it by hand.
    pub explanation: String,
}

/// What `discounts` take off `lines`, by discount and then by line; nothing that is zero.
///
/// The discounts count in their order, each on what those before have left of the lines above zero, all of them
/// together. Lines that are zero or a credit are left alone, and count for nothing: what a credit gives back is already
/// net of the discounts that its charge had. A percentage is computed once, exactly, and rounded once. An amount takes
/// at most what is left. Either is split over the lines by largest remainder, so that the parts are the whole, and no
/// line goes below zero.
///
/// The caller passes the discounts that [are for](Discount::is_for) the plan, in the order in which they were redeemed.
///
/// # Units
///
/// Minor units of `currency`.
///
/// # Errors
///
/// In order: of the lines [`MoneyError::CurrencyMismatch`] and [`MoneyError::Overflow`] of their sum, then
/// [`MoneyError::CurrencyMismatch`] of an amount in another currency.
///
/// # Source
///
/// DESIGN.md, section 3: `allocate` splits by largest remainder. At Lago too the coupon that was redeemed first is
/// deducted first, and at Flexprice each counts on what those before have left. Lago keeps the rest of an amount for the
/// next invoice; here it is lost.
///
/// # Example: ten percent off three lines
///
/// ```
/// use billing_core::coupon::{CouponValue, Discount, apply};
/// use billing_core::id::CouponCode;
/// use billing_core::money::{Currency, Money, Rounding};
///
/// let launch = Discount {
///     code: CouponCode::new("LAUNCH").unwrap(),
///     value: CouponValue::Percent(10.into()),
///     invoices_left: None,
///     plans: Default::default(),
/// };
/// let usd = Currency::from_code("USD")?;
/// let lines = [50_00, -20_00, 30_00].map(|minor| Money::new(minor, usd));
/// let applied = apply(&[launch], &lines, usd, Rounding::default())?;
/// assert_eq!(applied[0].explanation, "coupon `LAUNCH`: 10% of 80.00 USD = 8.00 USD, 50.00 / 80.00 of it");
/// let amounts: Vec<_> = applied.iter().map(|applied| (applied.line, applied.amount.minor)).collect();
/// assert_eq!(amounts, [(0, 5_00), (2, 3_00)]);
/// # Ok::<(), billing_core::money::MoneyError>(())
/// ```
pub fn apply(
    discounts: &[Discount],
    lines: &[Money],
    currency: Currency,
    rounding: Rounding,
) -> Result<Vec<Applied>, MoneyError> {
    let mut left = lines
        .iter()
        .map(|line| Money::zero(currency).checked_add(*line).map(at_least_zero))
        .collect::<Result<Vec<_>, _>>()?;
    // Checked before the first discount, so that it fails with none too.
    let mut whole = Money::sum(currency, left.iter().copied())?;
    let mut applied = Vec::new();
    for discount in discounts {
        let taken = discount.takes(whole, rounding)?;
        if taken.is_zero() {
            continue;
        }
        let weights: Vec<_> = left.iter().map(|line| line.minor.unsigned_abs()).collect();
        let is_split = weights.iter().filter(|weight| **weight > 0).count() > 1;
        for (index, (line, part)) in left.iter_mut().zip(taken.allocate(&weights)?).enumerate() {
            if part.is_zero() {
                continue;
            }
            let split = if is_split {
                format!(" = {taken}, {} / {} of it", line.to_decimal(), whole.to_decimal())
            } else {
                String::new()
            };
            applied.push(Applied {
                code: discount.code.clone(),
                line: index,
                amount: part,
                explanation: format!("{}{split}", discount.describe(whole)),
            });
            *line = line.checked_sub(part)?;
        }
        whole = whole.checked_sub(taken)?;
    }
    Ok(applied)
}

fn at_least_zero(amount: Money) -> Money {
    Money::new(amount.minor.max(0), amount.currency)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn money(minor: i64) -> Money {
        Money::new(minor, Currency::from_code("USD").unwrap())
    }

    fn discount(code: &str, value: CouponValue) -> Discount {
        Discount {
            code: CouponCode::new(code).unwrap(),
            value,
            invoices_left: None,
            plans: BTreeSet::new(),
        }
    }

    fn percent(text: &str) -> Discount {
        discount("P", CouponValue::Percent(text.parse().unwrap()))
    }

    fn amount(minor: i64) -> Discount {
        discount("A", CouponValue::Amount(money(minor)))
    }

    /// Each of `expected` is a line, what is taken off, and the explanation.
    #[track_caller]
    fn check(discounts: &[Discount], lines: &[i64], expected: &[(usize, i64, &str)]) {
        let lines: Vec<_> = lines.iter().copied().map(money).collect();
        let applied = apply(discounts, &lines, money(0).currency, Rounding::default()).unwrap();
        let found: Vec<_> = applied
            .iter()
            .map(|applied| (applied.line, applied.amount.minor, &*applied.explanation))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_percentage_is_rounded_once_over_all_charges_and_split() {
        check(
            &[percent("10.0")],
            &[80_00],
            &[(0, 8_00, "coupon `P`: 10% of 80.00 USD")],
        );
        // 0.015 rounds to 0.02; each line alone would round to 0.01.
        check(
            &[percent("10")],
            &[5, 5, 5],
            &[
                (0, 1, "coupon `P`: 10% of 0.15 USD = 0.02 USD, 0.05 / 0.15 of it"),
                (1, 1, "coupon `P`: 10% of 0.15 USD = 0.02 USD, 0.05 / 0.15 of it"),
            ],
        );
        check(
            &[percent("100")],
            &[3, -5, 4],
            &[
                (0, 3, "coupon `P`: 100% of 0.07 USD = 0.07 USD, 0.03 / 0.07 of it"),
                (2, 4, "coupon `P`: 100% of 0.07 USD = 0.07 USD, 0.04 / 0.07 of it"),
            ],
        );
        check(&[percent("10")], &[4], &[]);
    }

    #[test]
    fn an_amount_takes_at_most_what_is_left() {
        check(
            &[amount(20_00)],
            &[80_00],
            &[(0, 20_00, "coupon `A`: 20.00 USD off 80.00 USD")],
        );
        check(
            &[amount(10_000)],
            &[60_00, 20_00],
            &[
                (
                    0,
                    60_00,
                    "coupon `A`: 100.00 USD off 80.00 USD = 80.00 USD, 60.00 / 80.00 of it",
                ),
                (
                    1,
                    20_00,
                    "coupon `A`: 100.00 USD off 80.00 USD = 80.00 USD, 20.00 / 80.00 of it",
                ),
            ],
        );
    }

    #[test]
    fn each_discount_counts_on_what_is_left_by_those_before() {
        check(
            &[amount(30_00), percent("10")],
            &[80_00, 0],
            &[
                (0, 30_00, "coupon `A`: 30.00 USD off 80.00 USD"),
                (0, 5_00, "coupon `P`: 10% of 50.00 USD"),
            ],
        );
        check(
            &[percent("10"), amount(30_00)],
            &[80_00, 0],
            &[
                (0, 8_00, "coupon `P`: 10% of 80.00 USD"),
                (0, 30_00, "coupon `A`: 30.00 USD off 72.00 USD"),
            ],
        );
        check(
            &[percent("100"), amount(1), percent("50")],
            &[1],
            &[(0, 1, "coupon `P`: 100% of 0.01 USD")],
        );
    }

    #[test]
    fn what_charges_nothing_is_left_alone() {
        for lines in [&[][..], &[0], &[-80_00]] {
            check(&[amount(1), percent("100")], lines, &[]);
        }
        check(&[], &[80_00], &[]);
        // What no coupon is made of does not add to a line.
        check(&[amount(-5), percent("-5")], &[80_00], &[]);
    }

    #[test]
    fn an_overflow_is_an_error_and_currencies_do_not_mix() {
        let usd = money(0).currency;
        let eur = Currency::from_code("EUR").unwrap();
        let mismatch = Err(MoneyError::CurrencyMismatch {
            left: usd,
            right: eur,
        });
        let apply =
            |discounts: &[Discount], lines: &[Money]| apply(discounts, lines, usd, Rounding::default());
        let euro = Money::new(-1, eur);
        assert_eq!(apply(&[], &[money(1), euro]), mismatch);
        assert_eq!(
            apply(&[], &[money(i64::MAX), money(1)]),
            Err(MoneyError::Overflow { currency: usd })
        );
        let euro_off = discount("E", CouponValue::Amount(Money::new(1, eur)));
        assert_eq!(apply(&[euro_off], &[money(1)]), mismatch);
    }

    #[test]
    fn a_discount_is_for_its_plans_or_for_all() {
        let plan = |code| PlanCode::new(code).unwrap();
        let all = percent("10");
        let one = Discount {
            plans: [plan("pro")].into(),
            ..all.clone()
        };
        assert!(all.is_for(&plan("basic")) && one.is_for(&plan("pro")) && !one.is_for(&plan("basic")));
    }

    fn discounts() -> impl Strategy<Value = Vec<Discount>> {
        let one = prop_oneof![
            (1_i64..=10_000).prop_map(|units| discount("P", CouponValue::Percent(Decimal::new(units, 2)))),
            (1_i64..1_000_000).prop_map(amount),
        ];
        prop::collection::vec(one, 0..5)
    }

    proptest! {
        /// Beside it a model that knows only the sums.
        #[test]
        fn parts_are_the_whole_and_no_line_goes_below_zero(
            discounts in discounts(),
            lines in prop::collection::vec(-100_000_i64..1_000_000, 0..6),
            rounding in prop::sample::select(std::vec![
                Rounding::HalfAwayFromZero,
                Rounding::HalfEven,
                Rounding::HalfUp,
            ]),
        ) {
            let money_lines: Vec<_> = lines.iter().copied().map(money).collect();
            let applied = apply(&discounts, &money_lines, money(0).currency, rounding).unwrap();
            prop_assert!(applied.iter().all(|applied| applied.amount.minor > 0));
            let mut left = lines.clone();
            for applied in &applied {
                left[applied.line] -= applied.amount.minor;
            }
            for (line, left) in lines.iter().zip(&left) {
                prop_assert!(*left >= 0 || left == line, "a credit is as it was, a charge not below zero");
            }
            let mut whole: i64 = lines.iter().filter(|line| **line > 0).sum();
            let charged = whole;
            for discount in &discounts {
                whole -= match discount.value {
                    CouponValue::Amount(amount) => amount.minor.min(whole),
                    CouponValue::Percent(percent) => {
                        let hundredths = i64::try_from(percent * Decimal::ONE_HUNDRED).unwrap();
                        money(whole).fraction(hundredths, 10_000, rounding).unwrap().minor
                    }
                };
            }
            let taken: i64 = applied.iter().map(|applied| applied.amount.minor).sum();
            prop_assert_eq!(taken, charged - whole);
        }
    }
}
