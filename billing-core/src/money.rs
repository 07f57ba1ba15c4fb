//! Money: minor units with their currency, exact amounts, one rounding per line.

use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::fmt;

use ethnum::I256;
use rust_decimal::Decimal;

pub use self::exact::Exact;
use self::exact::narrow;

mod digits;
mod exact;

/// An ISO 4217 currency that has a minor unit.
///
/// The table is that of the `iso_currency` crate. Codes without a minor unit (gold, test codes, SDR) are refused.
#[derive(Clone, Copy, Eq, PartialEq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "alloc::string::String", into = "alloc::string::String")
)]
pub struct Currency {
    iso: iso_currency::Currency,
    exponent: u8,
}

impl Currency {
    /// The currency of an upper-case alphabetic code.
    ///
    /// # Errors
    ///
    /// In order: [`MoneyError::UnknownCurrency`], then [`MoneyError::NoMinorUnit`].
    ///
    /// ```
    /// use billing_core::money::Currency;
    ///
    /// assert_eq!(Currency::from_code("JPY")?.exponent(), 0);
    /// assert_eq!(Currency::from_code("KWD")?.exponent(), 3);
    /// assert!(Currency::from_code("usd").is_err());
    /// # Ok::<(), billing_core::money::MoneyError>(())
    /// ```
    pub fn from_code(code: &str) -> Result<Self, MoneyError> {
        let iso = iso_currency::Currency::from_code(code).ok_or_else(|| MoneyError::UnknownCurrency {
            code: code.chars().take(8).collect(),
        })?;
        let exponent = iso
            .exponent()
            .and_then(|exponent| u8::try_from(exponent).ok())
            .ok_or(MoneyError::NoMinorUnit { code: iso.code() })?;
        Ok(Self { iso, exponent })
    }

    /// The alphabetic code, such as `USD`.
    pub fn code(self) -> &'static str {
        self.iso.code()
    }

    /// How many decimals the minor unit has: JPY 0, USD 2, KWD 3.
    pub fn exponent(self) -> u32 {
        u32::from(self.exponent)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl TryFrom<alloc::string::String> for Currency {
    type Error = MoneyError;

    fn try_from(code: alloc::string::String) -> Result<Self, MoneyError> {
        Self::from_code(&code)
    }
}

impl From<Currency> for alloc::string::String {
    fn from(currency: Currency) -> Self {
        currency.code().into()
    }
}

/// Which way a value between two minor units goes.
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
pub enum Rounding {
    /// To the nearest; a half goes away from zero. What customers do by hand, so it is the default.
    #[default]
    HalfAwayFromZero,
    /// To the nearest; a half goes to the even neighbor.
    HalfEven,
    /// To the nearest; a half goes toward positive infinity.
    HalfUp,
}

impl Rounding {
    /// `numerator / denominator` as a whole number, or `None` for a zero denominator.
    fn divide(self, numerator: i128, denominator: i128) -> Option<i128> {
        let quotient = match (i64::try_from(numerator), i64::try_from(denominator)) {
            // One instruction of the processor.
            (Ok(numerator), Ok(denominator)) => i128::from(numerator.checked_div(denominator)?),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => numerator.checked_div(denominator)?,
        };
        let remainder = numerator.checked_sub(quotient.checked_mul(denominator)?)?;
        if remainder == 0 {
            return Some(quotient);
        }
        // What is left of the denominator, and not twice the remainder, which might not fit.
        let (rest, size) = (remainder.unsigned_abs(), denominator.unsigned_abs());
        let half = rest.cmp(&size.saturating_sub(rest));
        let positive = (remainder > 0) == (denominator > 0);
        quotient.checked_add(i128::from(self.step(half, positive, quotient & 1 == 1)))
    }

    /// The same for numbers of any width. Most fit into 128 bits, which divide several times as fast.
    fn divide_wide(self, numerator: I256, denominator: I256) -> Option<I256> {
        if let (Some(numerator), Some(denominator)) = (narrow(numerator), narrow(denominator)) {
            return self.divide(numerator, denominator).map(I256::new);
        }
        let quotient = numerator.checked_div(denominator)?;
        let remainder = numerator.checked_rem(denominator)?;
        if remainder == I256::ZERO {
            return Some(quotient);
        }
        let (rest, size) = (remainder.unsigned_abs(), denominator.unsigned_abs());
        let half = rest.cmp(&size.saturating_sub(rest));
        let positive = (remainder > I256::ZERO) == (denominator > I256::ZERO);
        let odd = quotient & I256::ONE == I256::ONE;
        quotient.checked_add(I256::from(self.step(half, positive, odd)))
    }

    /// What is added to a quotient that was cut toward zero: 0, or one away from zero.
    ///
    /// `half` compares what was cut off with half a unit, `odd` tells of the quotient.
    const fn step(self, half: Ordering, positive: bool, odd: bool) -> i8 {
        let away = match (half, self) {
            (Ordering::Less, _) => false,
            (Ordering::Greater, _) | (Ordering::Equal, Self::HalfAwayFromZero) => true,
            (Ordering::Equal, Self::HalfEven) => odd,
            (Ordering::Equal, Self::HalfUp) => positive,
        };
        match (away, positive) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => -1,
        }
    }
}

/// Why money could not be computed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// Not an ISO 4217 code.
    #[error("unknown currency `{}`, expected an upper-case ISO 4217 code such as `USD`", code.escape_default())]
    UnknownCurrency {
        /// What came, cut at eight characters.
        code: alloc::string::String,
    },
    /// A code that names no money that can be paid, such as gold.
    #[error("currency `{code}` has no minor unit")]
    NoMinorUnit {
        /// The code.
        code: &'static str,
    },
    /// Two currencies in one computation.
    #[error("cannot combine {left} with {right}")]
    CurrencyMismatch {
        /// The currency of the first value.
        left: Currency,
        /// The currency of the second value.
        right: Currency,
    },
    /// The result does not fit. Amounts are at most 2^63 - 1 minor units.
    #[error("amount in {currency} is too large")]
    Overflow {
        /// The currency of the result.
        currency: Currency,
    },
    /// There is nothing to allocate to, or a fraction with a zero denominator.
    #[error("cannot divide {currency} among weights that add up to nothing")]
    NoWeight {
        /// The currency of the amount.
        currency: Currency,
    },
}

/// An amount in minor units of its currency: `{ minor: 1999, currency: USD }` is 19.99 USD.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Money {
    /// Minor units; negative is a credit.
    pub minor: i64,
    /// What they are units of.
    pub currency: Currency,
}

impl Money {
    /// `minor` units of `currency`.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Whether it is exactly nothing.
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Whether it is below zero: a credit.
    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }

    /// The sum.
    ///
    /// # Errors
    ///
    /// In order: [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// The difference.
    ///
    /// # Errors
    ///
    /// In order: [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    fn combine(self, other: Self, operation: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch {
                left: self.currency,
                right: other.currency,
            });
        }
        let minor = operation(self.minor, other.minor).ok_or(MoneyError::Overflow {
            currency: self.currency,
        })?;
        Ok(Self::new(minor, self.currency))
    }

    /// The same amount with the other sign.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`] for the one value that has no opposite.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_neg().ok_or(MoneyError::Overflow {
            currency: self.currency,
        })?;
        Ok(Self::new(minor, self.currency))
    }

    /// So many times this amount.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`].
    pub fn checked_mul(self, times: u32) -> Result<Self, MoneyError> {
        let minor = self
            .minor
            .checked_mul(i64::from(times))
            .ok_or(MoneyError::Overflow {
                currency: self.currency,
            })?;
        Ok(Self::new(minor, self.currency))
    }

    /// The checked sum of `amounts`, all in `currency`; nothing for none.
    ///
    /// # Errors
    ///
    /// In order of the amounts: [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts
            .into_iter()
            .try_fold(Self::zero(currency), Self::checked_add)
    }

    /// `numerator / denominator` of this amount, rounded once.
    ///
    /// # Errors
    ///
    /// In order: [`MoneyError::NoWeight`] for a zero denominator, [`MoneyError::Overflow`].
    ///
    /// # Example: a third of a dollar
    ///
    /// ```
    /// # use billing_core::money::{Currency, Money, Rounding};
    /// let usd = Currency::from_code("USD")?;
    /// assert_eq!(Money::new(100, usd).fraction(1, 3, Rounding::default())?, Money::new(33, usd));
    /// # Ok::<(), billing_core::money::MoneyError>(())
    /// ```
    pub fn fraction(self, numerator: i64, denominator: i64, rounding: Rounding) -> Result<Self, MoneyError> {
        if denominator == 0 {
            return Err(MoneyError::NoWeight {
                currency: self.currency,
            });
        }
        // 63 + 63 bits: the product always fits.
        i128::from(self.minor)
            .checked_mul(i128::from(numerator))
            .and_then(|product| rounding.divide(product, i128::from(denominator)))
            .and_then(|minor| i64::try_from(minor).ok())
            .map(|minor| Self::new(minor, self.currency))
            .ok_or(MoneyError::Overflow {
                currency: self.currency,
            })
    }

    /// Splits the amount by `weights`; the parts always add up to the whole.
    ///
    /// Largest remainder: each part gets its exact share cut toward zero, and what is left goes, one minor unit
    /// each, to the parts that were cut most; of equal ones the earlier first.
    ///
    /// # Errors
    ///
    /// In order: [`MoneyError::NoWeight`] when the weights add up to nothing, [`MoneyError::Overflow`].
    ///
    /// # Example: ten cents among three
    ///
    /// ```
    /// # use billing_core::money::{Currency, Money};
    /// let usd = Currency::from_code("USD")?;
    /// let parts = Money::new(10, usd).allocate(&[1, 1, 1])?;
    /// assert_eq!(parts.iter().map(|part| part.minor).collect::<Vec<_>>(), [4, 3, 3]);
    /// # Ok::<(), billing_core::money::MoneyError>(())
    /// ```
    pub fn allocate(self, weights: &[u64]) -> Result<Vec<Self>, MoneyError> {
        let overflow = MoneyError::Overflow {
            currency: self.currency,
        };
        let total = weights
            .iter()
            .try_fold(0_i128, |sum, weight| sum.checked_add(i128::from(*weight)))
            .ok_or_else(|| overflow.clone())?;
        if total == 0 {
            return Err(MoneyError::NoWeight {
                currency: self.currency,
            });
        }
        let mut parts = Vec::with_capacity(weights.len());
        let mut cuts = Vec::with_capacity(weights.len());
        let mut rest = i128::from(self.minor);
        for (index, weight) in weights.iter().enumerate() {
            // 63 + 64 bits: the product always fits.
            let share = i128::from(self.minor)
                .checked_mul(i128::from(*weight))
                .ok_or_else(|| overflow.clone())?;
            let part = share.checked_div(total).ok_or_else(|| overflow.clone())?;
            let cut = share.checked_rem(total).ok_or_else(|| overflow.clone())?;
            rest = rest.checked_sub(part).ok_or_else(|| overflow.clone())?;
            parts.push(i64::try_from(part).map_err(|_| overflow.clone())?);
            cuts.push((Reverse(cut.unsigned_abs()), index));
        }
        cuts.sort_unstable();
        let unit = if self.minor < 0 { -1 } else { 1 };
        let left = usize::try_from(rest.unsigned_abs()).map_err(|_| overflow.clone())?;
        for (_, index) in cuts.iter().take(left) {
            if let Some(part) = parts.get_mut(*index) {
                *part = part.checked_add(unit).ok_or_else(|| overflow.clone())?;
            }
        }
        Ok(parts
            .into_iter()
            .map(|minor| Self::new(minor, self.currency))
            .collect())
    }

    /// The amount in major units, exact.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent())
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(self.minor.unsigned_abs());
        let places = usize::from(self.currency.exponent);
        write_decimal(f, self.is_negative(), digits, places, places)?;
        f.write_str(" ")?;
        f.write_str(self.currency.code())
    }
}

/// Writes a number whose last `places` digits are decimals; of these, zeros at the end are left out after the first
/// `places_min`.
fn write_decimal(
    f: &mut impl fmt::Write,
    negative: bool,
    digits: &str,
    places: usize,
    places_min: usize,
) -> fmt::Result {
    if negative {
        f.write_str("-")?;
    }
    let (whole, decimals) = digits.split_at(digits.len().saturating_sub(places));
    f.write_str(if whole.is_empty() { "0" } else { whole })?;
    let zeros = places.saturating_sub(decimals.len());
    let kept = decimals.trim_end_matches('0').len();
    let kept = if kept == 0 { 0 } else { zeros.saturating_add(kept) }.max(places_min);
    if kept == 0 {
        return Ok(());
    }
    f.write_str(".")?;
    for _ in 0..zeros.min(kept) {
        f.write_str("0")?;
    }
    f.write_str(decimals.get(..kept.saturating_sub(zeros)).unwrap_or(decimals))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn usd() -> Currency {
        Currency::from_code("USD").unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn exponents_are_those_of_iso_4217() {
        for (code, exponent) in [
            ("USD", 2),
            ("JPY", 0),
            ("UGX", 0),
            ("XOF", 0),
            ("KWD", 3),
            ("MGA", 2),
            ("CLF", 4),
        ] {
            assert_eq!(Currency::from_code(code).unwrap().exponent(), exponent, "{code}");
        }
        assert_eq!(
            Currency::from_code("XAU").unwrap_err().to_string(),
            "currency `XAU` has no minor unit"
        );
        assert_eq!(
            Currency::from_code("usd").unwrap_err().to_string(),
            "unknown currency `usd`, expected an upper-case ISO 4217 code such as `USD`"
        );
    }

    #[track_caller]
    fn check_rounding(rounding: Rounding, cases: &[(&str, i64)]) {
        for (value, minor) in cases {
            assert_eq!(
                Exact::from(decimal(value)).round(usd(), rounding).unwrap(),
                Money::new(*minor, usd()),
                "{rounding:?} of {value}"
            );
        }
    }

    #[test]
    fn each_rounding_goes_its_own_way_at_the_half_only() {
        let near = [
            ("0.014", 1),
            ("0.016", 2),
            ("-0.014", -1),
            ("-0.016", -2),
            ("0.01", 1),
            ("7", 700),
        ];
        for rounding in [Rounding::HalfAwayFromZero, Rounding::HalfEven, Rounding::HalfUp] {
            check_rounding(rounding, &near);
        }
        check_rounding(
            Rounding::HalfAwayFromZero,
            &[("0.015", 2), ("0.025", 3), ("-0.015", -2), ("-0.025", -3)],
        );
        check_rounding(
            Rounding::HalfEven,
            &[("0.015", 2), ("0.025", 2), ("-0.015", -2), ("-0.025", -2)],
        );
        check_rounding(
            Rounding::HalfUp,
            &[("0.015", 2), ("0.025", 3), ("-0.015", -1), ("-0.025", -2)],
        );
    }

    proptest! {
        #[test]
        fn numbers_of_any_width_are_divided_alike(numerator in -60_i64..60, denominator in 1_i64..12) {
            for rounding in [Rounding::HalfAwayFromZero, Rounding::HalfEven, Rounding::HalfUp] {
                for sign in [1, -1] {
                    let denominator = sign * denominator;
                    let narrow = rounding.divide(numerator.into(), denominator.into()).unwrap();
                    let wide = |number: i64| I256::from(number) * I256::new(10).pow(45);
                    let quotient = rounding.divide_wide(wide(numerator), wide(denominator));
                    prop_assert_eq!(quotient, Some(I256::new(narrow)));
                }
            }
        }
    }

    #[test]
    fn an_overflow_is_an_error_and_currencies_do_not_mix() {
        let most = Money::new(i64::MAX, usd());
        assert_eq!(
            most.checked_add(Money::new(1, usd())),
            Err(MoneyError::Overflow { currency: usd() })
        );
        assert_eq!(
            Money::new(i64::MIN, usd()).checked_neg(),
            Err(MoneyError::Overflow { currency: usd() })
        );
        assert_eq!(
            most.fraction(2, 1, Rounding::default()),
            Err(MoneyError::Overflow { currency: usd() })
        );
        let jpy = Currency::from_code("JPY").unwrap();
        assert_eq!(
            Money::new(1, usd())
                .checked_add(Money::new(1, jpy))
                .unwrap_err()
                .to_string(),
            "cannot combine USD with JPY"
        );
        assert_eq!(
            Exact::from(Decimal::MAX).round(usd(), Rounding::default()),
            Err(MoneyError::Overflow { currency: usd() })
        );
    }

    #[test]
    fn an_amount_reads_in_major_units() {
        let jpy = Currency::from_code("JPY").unwrap();
        let kwd = Currency::from_code("KWD").unwrap();
        assert_eq!(Money::new(-1999, usd()).to_string(), "-19.99 USD");
        assert_eq!(Money::new(500, jpy).to_string(), "500 JPY");
        assert_eq!(Money::new(1, kwd).to_string(), "0.001 KWD");
    }

    proptest! {
        #[test]
        fn allocation_conserves_and_is_fair(minor: i64, weights in prop::collection::vec(0_u64..1_000_000, 1..20)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
            let parts = Money::new(minor, usd()).allocate(&weights).unwrap();
            prop_assert_eq!(parts.len(), weights.len());
            prop_assert_eq!(parts.iter().map(|part| i128::from(part.minor)).sum::<i128>(), i128::from(minor));
            for (part, weight) in parts.iter().zip(&weights) {
                let off = i128::from(part.minor) * total - i128::from(minor) * i128::from(*weight);
                prop_assert!(off.abs() < total, "no part is off by a whole unit");
            }
        }

        #[test]
        fn allocation_is_symmetric_in_sign(minor in 0..i64::MAX, weights in prop::collection::vec(1_u64..100, 1..9)) {
            let up: Vec<_> = Money::new(minor, usd()).allocate(&weights).unwrap();
            let down: Vec<_> = Money::new(-minor, usd()).allocate(&weights).unwrap();
            for (a, b) in up.iter().zip(&down) {
                prop_assert_eq!(a.minor, -b.minor);
            }
        }
    }
}
