//! Tax: what a place asks for, as data, and how much of an amount that is.
//!
//! Which tax a tenant owes is a question for a [`TaxPort`], asked by the engine before it decides. The answer, a
//! [`TaxTreatment`], is plain data, so what it comes to is computed here, by [`TaxTreatment::assess`], and the same
//! treatment gives the same tax again.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rust_decimal::Decimal;

pub use self::port::{FlatTax, NoTax, TaxError, TaxFuture, TaxPort, TaxRequest};
use crate::charge::check_decimal;
use crate::money::{Exact, Money, MoneyError, Rounding};
use crate::validate::Faults;

mod port;

/// The most rates of one treatment: a state, a county, a city and some districts, and room to spare.
pub const RATES_MAX: usize = 10;

/// One tax at its rate.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct TaxRate {
    /// What customers read, such as `VAT`. 1 to 120 characters.
    pub name: String,
    /// In percent: `19` is 19%. 0 to 100, at most 12 decimals. Zero is a rate too: it stands on the invoice.
    pub percent: Decimal,
    /// Who levies it, such as `DE` or `US-CA, Los Angeles County`. 1 to 120 characters.
    #[cfg_attr(feature = "serde", serde(default))]
    pub jurisdiction: Option<String>,
}

/// Whether tax comes on top of a price or is in it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: an adapter must fail to compile when one is added"
)]
pub enum TaxBehavior {
    /// The price is net, and tax is added.
    #[default]
    Exclusive,
    /// The price is gross, and tax is what of it goes to the authority.
    Inclusive,
}

/// Why there is no tax where a reader of the invoice might expect one. The law may ask to state it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a reason is added"
)]
pub enum TaxExemption {
    /// The customer is exempt, such as a charity or a reseller.
    Customer,
    /// The customer owes the tax in the seller's place.
    ReverseCharge,
    /// The seller is not registered there, and collects nothing.
    NotRegistered,
}

impl TaxExemption {
    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::ReverseCharge => "reverse_charge",
            Self::NotRegistered => "not_registered",
        }
    }
}

/// Which taxes fall on what a tenant is charged.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct TaxTreatment {
    /// The taxes, at most [`RATES_MAX`]. Each is levied on the net amount, none on another tax.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rates: Vec<TaxRate>,
    /// Whether they come on top.
    #[cfg_attr(feature = "serde", serde(default))]
    pub behavior: TaxBehavior,
    /// Why there are none. Only without rates.
    #[cfg_attr(feature = "serde", serde(default))]
    pub exemption: Option<TaxExemption>,
}

/// What one rate comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct TaxAmount {
    /// The rate.
    pub rate: TaxRate,
    /// Whether the amount comes on top of what was assessed or is in it.
    pub behavior: TaxBehavior,
    /// The net amount on which it is levied: what was assessed, less all tax that is in it. Negative for a credit.
    pub taxable: Money,
    /// The tax, rounded; negative for a credit.
    pub amount: Money,
    /// The arithmetic, such that a customer can check it by hand.
    pub explanation: String,
}

impl TaxTreatment {
    /// No tax, and no reason to give for it.
    pub const NONE: Self = Self {
        rates: Vec::new(),
        behavior: TaxBehavior::Exclusive,
        exemption: None,
    };

    /// Reports everything that is wrong, each fault with the path of its field as in JSON.
    ///
    /// # Errors
    ///
    /// [`Faults`], at least one.
    pub fn validate(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        if self.rates.len() > RATES_MAX {
            faults.push(
                "rates",
                "too_many",
                format!("expected at most {RATES_MAX}, got {}", self.rates.len()),
            );
        }
        for (index, rate) in self.rates.iter().enumerate() {
            let mut part = Faults::default();
            rate.check(&mut part);
            faults.at(format!("rates[{index}]"), part);
        }
        if let Some(exemption) = self.exemption
            && !self.rates.is_empty()
        {
            faults.push(
                "exemption",
                "with_rates",
                format!(
                    "expected no rates with `{}`, got {}",
                    exemption.code(),
                    self.rates.len()
                ),
            );
        }
        faults.into_result()
    }

    /// The tax on `taxable`: one amount for each rate, in their order; none for an exemption.
    ///
    /// `taxable` is all that is taxed alike, charges less discounts, so that rounding does not add up line by line.
    /// Exclusive, each rate is computed on it and rounded. Inclusive, `taxable` is gross, and the whole tax in it,
    /// gross x rates / (100 + rates), is rounded once and split over the rates by largest remainder: net and tax are
    /// the gross again.
    ///
    /// A negative amount has exactly the tax of the positive one with the other sign, under every rounding: a credit
    /// takes back what its charge had.
    ///
    /// # Units
    ///
    /// Minor units of `taxable`'s currency.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`] when the tax does not fit, or when the rates are none that [`validate`](Self::validate)
    /// takes.
    ///
    /// # Source
    ///
    /// One rounding for each rate, on the sum of what is taxed alike: EN 16931, rule BR-CO-17; Zuora rounds each line.
    /// Inclusive the tax is rounded and the net is the rest; Zuora by default rounds the net, which differs by one unit
    /// at a half.
    ///
    /// # Example: two taxes on top
    ///
    /// ```
    /// use billing_core::money::{Currency, Money, Rounding};
    /// use billing_core::tax::{TaxBehavior, TaxRate, TaxTreatment};
    ///
    /// let rate = |name: &str, percent: &str| TaxRate {
    ///     name: name.into(),
    ///     percent: percent.parse().unwrap(),
    ///     jurisdiction: None,
    /// };
    /// let quebec = TaxTreatment { rates: vec![rate("GST", "5"), rate("QST", "9.975")], ..TaxTreatment::NONE };
    /// let cad = Currency::from_code("CAD")?;
    /// let taxes = quebec.assess(Money::new(100_00, cad), Rounding::default())?;
    /// assert_eq!(taxes[1].explanation, "QST 9.975% of 100.00 CAD");
    /// assert_eq!(taxes[1].amount, Money::new(9_98, cad));
    /// # Ok::<(), billing_core::money::MoneyError>(())
    /// ```
    ///
    /// # Example: tax that is in the price
    ///
    /// ```
    /// # use billing_core::money::{Currency, Money, Rounding};
    /// # use billing_core::tax::{TaxBehavior, TaxRate, TaxTreatment};
    /// # let vat = TaxRate { name: "VAT".into(), percent: 19.into(), jurisdiction: None };
    /// let germany = TaxTreatment { rates: vec![vat], behavior: TaxBehavior::Inclusive, exemption: None };
    /// let eur = Currency::from_code("EUR")?;
    /// let tax = germany.assess(Money::new(100_00, eur), Rounding::default())?.remove(0);
    /// assert_eq!(tax.explanation, "VAT 19% in 100.00 EUR: 100.00 EUR x 19 / 119");
    /// assert_eq!((tax.taxable, tax.amount), (Money::new(84_03, eur), Money::new(15_97, eur)));
    /// # Ok::<(), billing_core::money::MoneyError>(())
    /// ```
    pub fn assess(&self, taxable: Money, rounding: Rounding) -> Result<Vec<TaxAmount>, MoneyError> {
        if self.rates.is_empty() {
            return Ok(Vec::new());
        }
        match self.behavior {
            TaxBehavior::Exclusive => self
                .rates
                .iter()
                .map(|rate| rate.on_top(taxable, rounding))
                .collect(),
            TaxBehavior::Inclusive => self.contained(taxable, rounding),
        }
    }

    fn contained(&self, gross: Money, rounding: Rounding) -> Result<Vec<TaxAmount>, MoneyError> {
        let overflow = MoneyError::Overflow {
            currency: gross.currency,
        };
        let percents = Percents::of(&self.rates).ok_or_else(|| overflow.clone())?;
        let tax = signed(gross, |gross| {
            gross.fraction(percents.sum, percents.with_net, rounding)
        })?;
        let parts = if percents.sum == 0 {
            self.rates.iter().map(|_| tax).collect()
        } else {
            tax.allocate(&percents.each)?
        };
        let taxable = gross.checked_sub(tax)?;
        let all = Decimal::try_from_i128_with_scale(percents.sum.into(), percents.scale)
            .map_err(|_| overflow)?
            .normalize();
        let with_net = all.saturating_add(Decimal::ONE_HUNDRED);
        let amounts = self.rates.iter().zip(parts).map(|(rate, amount)| {
            let TaxRate { name, percent, .. } = rate;
            let percent = percent.normalize();
            let whole = format!("{gross} x {all} / {with_net}");
            TaxAmount {
                rate: rate.clone(),
                behavior: TaxBehavior::Inclusive,
                taxable,
                amount,
                explanation: if self.rates.len() == 1 || all.is_zero() {
                    format!("{name} {percent}% in {gross}: {whole}")
                } else {
                    format!("{name} {percent}% in {gross}: {percent} / {all} of {tax}, which is {whole}")
                },
            }
        });
        Ok(amounts.collect())
    }
}

impl TaxRate {
    fn check(&self, faults: &mut Faults) {
        let texts = [
            ("name", Some(&self.name)),
            ("jurisdiction", self.jurisdiction.as_ref()),
        ];
        for (field, text) in texts {
            let length = text.map_or(1, |text| text.chars().count());
            if length > 120 || text.is_some_and(|text| text.trim().is_empty()) {
                faults.push(
                    field,
                    "length",
                    format!("expected 1 to 120 characters, got {length}"),
                );
            }
        }
        check_decimal(faults, "percent", self.percent);
        if self.percent > Decimal::ONE_HUNDRED {
            faults.push(
                "percent",
                "out_of_range",
                format!("expected at most 100, got {}", self.percent),
            );
        }
    }

    fn on_top(&self, taxable: Money, rounding: Rounding) -> Result<TaxAmount, MoneyError> {
        let amount = signed(taxable, |taxable| {
            Exact::product(taxable.to_decimal(), self.percent)
                .hundredth()
                .round(taxable.currency, rounding)
        })?;
        Ok(TaxAmount {
            rate: self.clone(),
            behavior: TaxBehavior::Exclusive,
            taxable,
            amount,
            explanation: format!("{} {}% of {taxable}", self.name, self.percent.normalize()),
        })
    }
}

/// The tax of `amount` with its sign: what [`Rounding::HalfUp`] does at a half must not depend on it.
fn signed(amount: Money, tax: impl Fn(Money) -> Result<Money, MoneyError>) -> Result<Money, MoneyError> {
    if amount.is_negative() {
        tax(amount.checked_neg()?)?.checked_neg()
    } else {
        tax(amount)
    }
}

/// Percentages as whole numbers of one unit, 10^-`scale` percent.
struct Percents {
    each: Vec<u64>,
    sum: i64,
    /// The sum and the hundred percent of the net amount.
    with_net: i64,
    scale: u32,
}

impl Percents {
    fn of(rates: &[TaxRate]) -> Option<Self> {
        let percents = || rates.iter().map(|rate| rate.percent.normalize());
        let scale = percents().map(|percent| percent.scale()).max()?;
        let units = |percent: Decimal| {
            let power = 10_i128.checked_pow(scale.checked_sub(percent.scale())?)?;
            u64::try_from(percent.mantissa().checked_mul(power)?).ok()
        };
        let each = percents().map(units).collect::<Option<Vec<_>>>()?;
        let sum = each
            .iter()
            .try_fold(0_i64, |sum, units| sum.checked_add_unsigned(*units))?;
        let with_net = 100_i64
            .checked_mul(10_i64.checked_pow(scale)?)?
            .checked_add(sum)?;
        Some(Self {
            each,
            sum,
            with_net,
            scale,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Currency;

    fn money(minor: i64) -> Money {
        Money::new(minor, Currency::from_code("USD").unwrap())
    }

    fn rate(name: &str, percent: &str) -> TaxRate {
        TaxRate {
            name: name.into(),
            percent: percent.parse().unwrap(),
            jurisdiction: None,
        }
    }

    fn treatment(behavior: TaxBehavior, percents: &[&str]) -> TaxTreatment {
        TaxTreatment {
            rates: percents.iter().map(|percent| rate("T", percent)).collect(),
            behavior,
            exemption: None,
        }
    }

    /// Each of `expected` is the amount and the explanation of a rate; `net` is what all are levied on.
    #[track_caller]
    fn check(treatment: &TaxTreatment, taxable: i64, net: i64, expected: &[(i64, &str)]) {
        let found = treatment.assess(money(taxable), Rounding::default()).unwrap();
        let amounts: Vec<_> = found
            .iter()
            .map(|tax| (tax.amount.minor, &*tax.explanation))
            .collect();
        assert_eq!(amounts, expected);
        for (tax, rate) in found.iter().zip(&treatment.rates) {
            assert_eq!(
                (&tax.rate, tax.behavior, tax.taxable),
                (rate, treatment.behavior, money(net))
            );
        }
    }

    #[test]
    fn exclusive_each_rate_is_computed_on_the_sum_and_rounded_once() {
        let check = |percents: &[&str], taxable, expected: &[(i64, &str)]| {
            check(
                &treatment(TaxBehavior::Exclusive, percents),
                taxable,
                taxable,
                expected,
            );
        };
        check(&["19"], 80_00, &[(15_20, "T 19% of 80.00 USD")]);
        check(&["7.50"], 3_00, &[(23, "T 7.5% of 3.00 USD")]);
        check(&["7.5"], -3_00, &[(-23, "T 7.5% of -3.00 USD")]);
        check(&["0"], 5_00, &[(0, "T 0% of 5.00 USD")]);
        check(
            &["5", "9.975"],
            10_000,
            &[(5_00, "T 5% of 100.00 USD"), (9_98, "T 9.975% of 100.00 USD")],
        );
        check(&[], 10_000, &[]);
    }

    #[test]
    fn inclusive_the_whole_tax_is_rounded_once_and_split() {
        let check = |percents: &[&str], gross, net, expected: &[(i64, &str)]| {
            check(&treatment(TaxBehavior::Inclusive, percents), gross, net, expected);
        };
        check(
            &["19.0"],
            11_900,
            10_000,
            &[(19_00, "T 19% in 119.00 USD: 119.00 USD x 19 / 119")],
        );
        // Zuora's example, which by its own default comes to 0.11.
        check(
            &["4"],
            2_99,
            2_87,
            &[(12, "T 4% in 2.99 USD: 2.99 USD x 4 / 104")],
        );
        check(
            &["4"],
            -2_99,
            -2_87,
            &[(-12, "T 4% in -2.99 USD: -2.99 USD x 4 / 104")],
        );
        // 0.03 in all; alone, each would round to 0.02.
        check(
            &["1.5", "1.5"],
            1_03,
            1_00,
            &[
                (
                    2,
                    "T 1.5% in 1.03 USD: 1.5 / 3 of 0.03 USD, which is 1.03 USD x 3 / 103",
                ),
                (
                    1,
                    "T 1.5% in 1.03 USD: 1.5 / 3 of 0.03 USD, which is 1.03 USD x 3 / 103",
                ),
            ],
        );
        check(
            &["5", "9.975"],
            11_498,
            10_000,
            &[
                (
                    5_00,
                    "T 5% in 114.98 USD: 5 / 14.975 of 14.98 USD, which is 114.98 USD x 14.975 / 114.975",
                ),
                (
                    9_98,
                    "T 9.975% in 114.98 USD: 9.975 / 14.975 of 14.98 USD, which is 114.98 USD x 14.975 / 114.975",
                ),
            ],
        );
        check(
            &["0", "0"],
            5_00,
            5_00,
            &[
                (0, "T 0% in 5.00 USD: 5.00 USD x 0 / 100"),
                (0, "T 0% in 5.00 USD: 5.00 USD x 0 / 100"),
            ],
        );
        check(&[], 10_000, 10_000, &[]);
    }

    #[test]
    fn what_does_not_fit_or_is_not_valid_is_an_error() {
        for (behavior, percent, minor) in [
            (TaxBehavior::Exclusive, "200", i64::MAX),
            (TaxBehavior::Exclusive, "1", i64::MIN),
            (TaxBehavior::Inclusive, "1", i64::MIN),
            (TaxBehavior::Inclusive, "-1", 100),
            (TaxBehavior::Inclusive, "0.0000000000000000000000000001", 100),
            (TaxBehavior::Inclusive, "79228162514264337593543950335", 100),
        ] {
            assert_eq!(
                treatment(behavior, &[percent]).assess(money(minor), Rounding::default()),
                Err(MoneyError::Overflow {
                    currency: money(0).currency
                }),
                "{behavior:?} {percent}% of {minor}"
            );
        }
    }

    #[track_caller]
    fn check_faults(treatment: &TaxTreatment, expected: &[(&str, &str)]) {
        let faults = treatment.validate().err().unwrap_or_default();
        let found: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| (&*fault.path, fault.code))
            .collect();
        assert_eq!(found, expected, "{faults}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        check_faults(&TaxTreatment::NONE, &[]);
        check_faults(&treatment(TaxBehavior::Exclusive, &["0", "100", "8.875"]), &[]);
        let exempt = TaxTreatment {
            exemption: Some(TaxExemption::ReverseCharge),
            ..TaxTreatment::NONE
        };
        check_faults(&exempt, &[]);
        check_faults(
            &TaxTreatment {
                rates: Vec::from([
                    rate(" ", "-1"),
                    rate("T", "100.1"),
                    TaxRate {
                        jurisdiction: Some("x".repeat(121)),
                        ..rate(&"x".repeat(120), "0.0000000000001")
                    },
                    TaxRate {
                        jurisdiction: Some(String::new()),
                        ..rate("", "1")
                    },
                ]),
                ..exempt
            },
            &[
                ("rates[0].name", "length"),
                ("rates[0].percent", "negative"),
                ("rates[1].percent", "out_of_range"),
                ("rates[2].jurisdiction", "length"),
                ("rates[2].percent", "too_precise"),
                ("rates[3].name", "length"),
                ("rates[3].jurisdiction", "length"),
                ("exemption", "with_rates"),
            ],
        );
        check_faults(&treatment(TaxBehavior::Exclusive, &["1"; RATES_MAX]), &[]);
        check_faults(
            &treatment(TaxBehavior::Exclusive, &["1"; RATES_MAX + 1]),
            &[("rates", "too_many")],
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_treatment_as_json_may_leave_out_what_it_has_not() {
        for exemption in [
            TaxExemption::Customer,
            TaxExemption::ReverseCharge,
            TaxExemption::NotRegistered,
        ] {
            let json = std::format!(r#"{{"exemption":"{}"}}"#, exemption.code());
            let exempt = TaxTreatment {
                exemption: Some(exemption),
                ..TaxTreatment::NONE
            };
            assert_eq!(serde_json::from_str::<TaxTreatment>(&json).unwrap(), exempt);
        }
        let vat = r#"{"rates":[{"name":"VAT","percent":"19","jurisdiction":null}],"behavior":"inclusive","exemption":null}"#;
        let read = serde_json::from_str::<TaxTreatment>(vat).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), vat);
        assert!(serde_json::from_str::<TaxTreatment>(r#"{"rate":"19"}"#).is_err());
    }

    fn treatments() -> impl Strategy<Value = TaxTreatment> {
        let percents = prop::collection::vec((0_i64..=100_000, 0_u32..=3), 1..=4);
        (percents, any::<bool>()).prop_map(|(percents, inclusive)| TaxTreatment {
            rates: percents
                .iter()
                .map(|(units, scale)| TaxRate {
                    percent: Decimal::new(units / 10_i64.pow(3 - scale), *scale),
                    ..rate("T", "0")
                })
                .collect(),
            behavior: if inclusive {
                TaxBehavior::Inclusive
            } else {
                TaxBehavior::Exclusive
            },
            exemption: None,
        })
    }

    fn roundings() -> impl Strategy<Value = Rounding> {
        prop::sample::select(std::vec![
            Rounding::HalfAwayFromZero,
            Rounding::HalfEven,
            Rounding::HalfUp
        ])
    }

    proptest! {
        #[test]
        fn net_and_tax_are_the_gross_to_the_minor_unit(
            treatment in treatments(),
            minor in -1_000_000_000_i64..1_000_000_000,
            rounding in roundings(),
        ) {
            let taxes = treatment.assess(money(minor), rounding).unwrap();
            let tax: i64 = taxes.iter().map(|tax| tax.amount.minor).sum();
            let net = taxes[0].taxable.minor;
            prop_assert!(taxes.iter().all(|tax| tax.taxable.minor == net));
            prop_assert!(taxes.iter().all(|tax| tax.amount.minor * minor.signum() >= 0));
            match treatment.behavior {
                TaxBehavior::Exclusive => prop_assert_eq!(net, minor),
                TaxBehavior::Inclusive => prop_assert_eq!(net + tax, minor),
            }
        }

        /// What is contained is off by at most half a minor unit, and each part of it by less than one.
        #[test]
        fn the_tax_is_that_of_the_rates(
            treatment in treatments(),
            minor in 0_i64..1_000_000_000,
            rounding in roundings(),
        ) {
            let taxes = treatment.assess(money(minor), rounding).unwrap();
            let tax: i64 = taxes.iter().map(|tax| tax.amount.minor).sum();
            // In thousandths of a percent, which all rates here are whole numbers of.
            let units = |percent: Decimal| i128::try_from(percent * Decimal::from(1000)).unwrap();
            let sum: i128 = treatment.rates.iter().map(|rate| units(rate.percent)).sum();
            if treatment.behavior == TaxBehavior::Inclusive {
                let off = i128::from(tax) * (100_000 + sum) - i128::from(minor) * sum;
                prop_assert!(2 * off.abs() <= 100_000 + sum);
                for tax_of_rate in &taxes {
                    let off = i128::from(tax_of_rate.amount.minor) * sum
                        - i128::from(tax) * units(tax_of_rate.rate.percent);
                    prop_assert!(off.abs() < sum.max(1));
                }
            } else {
                for tax_of_rate in &taxes {
                    let off = i128::from(tax_of_rate.amount.minor) * 100_000
                        - i128::from(minor) * units(tax_of_rate.rate.percent);
                    prop_assert!(2 * off.abs() <= 100_000);
                }
            }
        }

        #[test]
        fn a_credit_takes_back_the_tax_of_its_charge(
            treatment in treatments(),
            minor in 0_i64..1_000_000_000,
            rounding in roundings(),
        ) {
            let charge = treatment.assess(money(minor), rounding).unwrap();
            let credit = treatment.assess(money(-minor), rounding).unwrap();
            for (charge, credit) in charge.iter().zip(&credit) {
                prop_assert_eq!(charge.amount.minor, -credit.amount.minor);
                prop_assert_eq!(charge.taxable.minor, -credit.taxable.minor);
            }
        }
    }
}
