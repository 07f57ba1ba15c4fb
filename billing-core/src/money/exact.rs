use core::cmp::Ordering;
use core::fmt;

use ethnum::I256;
use rust_decimal::Decimal;

use super::{Currency, Money, MoneyError, Rounding, write_decimal};

/// An exact decimal number of major units, before the one rounding of its line.
///
/// Wider than [`Decimal`], which rounds in silence when a product needs more than 28 digits: 256 bits hold the
/// product of any two decimals, and a sum that does not fit is an error. Compared by value: `1.50` is `1.5`.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    mantissa: I256,
    scale: u32,
}

impl Exact {
    /// Nothing.
    pub const ZERO: Self = Self {
        mantissa: I256::ZERO,
        scale: 0,
    };

    /// `quantity` times `unit_price`, nothing lost. Any two decimals fit.
    pub fn product(quantity: Decimal, unit_price: Decimal) -> Self {
        let (left, right) = match quantity.scale().saturating_add(unit_price.scale()) {
            // Room for the digits of any other decimal on the same scale.
            ..=28 => (quantity, unit_price),
            _ => (quantity.normalize(), unit_price.normalize()),
        };
        let (mantissa, by) = (left.mantissa(), right.mantissa());
        Self {
            mantissa: match multiply(mantissa, by) {
                Some(product) => I256::new(product),
                // 96 + 96 bits: the product always fits.
                None => I256::new(mantissa).saturating_mul(I256::new(by)),
            },
            scale: left.scale().saturating_add(right.scale()),
        }
    }

    /// The exact sum, or `None` when it needs more than 256 bits.
    #[must_use]
    #[inline]
    pub fn checked_add(mut self, other: Self) -> Option<Self> {
        self.add(&other).then_some(self)
    }

    /// The exact difference, or `None` when it needs more than 256 bits.
    #[must_use]
    #[inline]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let mut difference = Self::ZERO;
        difference.set_difference(&self, &other).then_some(difference)
    }

    /// The exact product, or `None` when it needs more than 256 bits: that of three decimals may.
    #[must_use]
    #[inline]
    pub fn checked_mul(self, by: Decimal) -> Option<Self> {
        let mut product = Self::ZERO;
        product.set_product(&self, by).then_some(product)
    }

    /// Adds `other` in place; whether that fits. If not, nothing has changed.
    ///
    /// A line of many terms is computed in place, here and in the next two: to copy numbers of this size takes longer
    /// than to add them.
    #[must_use]
    #[inline]
    pub(crate) fn add(&mut self, other: &Self) -> bool {
        if let Some((left, right)) = self.aligned_narrow(other)
            && let Some(sum) = left.checked_add(right)
        {
            self.mantissa = I256::new(sum);
            self.scale = self.scale.max(other.scale);
            return true;
        }
        let left = *self;
        self.set_wide(&left, other, I256::checked_add)
    }

    /// Becomes `left` less `right`; whether that fits. If not, nothing has changed.
    #[must_use]
    #[inline]
    pub(crate) fn set_difference(&mut self, left: &Self, right: &Self) -> bool {
        if let Some((left_narrow, right_narrow)) = left.aligned_narrow(right)
            && let Some(difference) = left_narrow.checked_sub(right_narrow)
        {
            self.mantissa = I256::new(difference);
            self.scale = left.scale.max(right.scale);
            return true;
        }
        self.set_wide(left, right, I256::checked_sub)
    }

    /// Becomes `number` times `by`; whether that fits. If not, nothing has changed.
    #[must_use]
    #[inline]
    pub(crate) fn set_product(&mut self, number: &Self, by: Decimal) -> bool {
        if let Some(mantissa) = narrow(number.mantissa)
            && let Some(product) = multiply(mantissa, by.mantissa())
        {
            self.mantissa = I256::new(product);
            self.scale = number.scale.saturating_add(by.scale());
            return true;
        }
        self.set_wide_product(number, by)
    }

    /// How many parts of `size` it takes to hold this: the quotient, and one more when something is left.
    ///
    /// `None` when `size` is not above zero, or when the two at one scale need more than 256 bits.
    ///
    /// # Example: a started package counts whole
    ///
    /// ```
    /// use billing_core::money::Exact;
    /// use rust_decimal::Decimal;
    ///
    /// let size = Decimal::from(100);
    /// for (quantity, packages) in [(0, "0"), (1, "1"), (100, "1"), (101, "2")] {
    ///     let quantity = Exact::from(Decimal::from(quantity));
    ///     assert_eq!(quantity.checked_div_ceil(size).unwrap().to_string(), packages);
    /// }
    /// assert_eq!(Exact::ZERO.checked_div_ceil(Decimal::ZERO), None);
    /// ```
    #[must_use]
    pub fn checked_div_ceil(self, size: Decimal) -> Option<Self> {
        if size <= Decimal::ZERO {
            return None;
        }
        let size = Self::from(size);
        // Cut toward zero; of a number above zero something may be left.
        let mantissa = match self.aligned_narrow(&size) {
            Some((number, size)) => {
                let quotient = number.checked_div(size)?;
                let left = quotient.checked_mul(size)? < number;
                I256::new(quotient.checked_add(i128::from(left))?)
            }
            None => {
                let scale = self.scale.max(size.scale);
                let (number, size) = (self.scaled_to(scale)?, size.scaled_to(scale)?);
                let left = number.checked_rem(size)? > I256::ZERO;
                number.checked_div(size)?.checked_add(I256::from(left))?
            }
        };
        Some(Self { mantissa, scale: 0 })
    }

    /// The hundredth part: what one percent of it is.
    #[must_use]
    pub const fn hundredth(self) -> Self {
        Self {
            mantissa: self.mantissa,
            scale: self.scale.saturating_add(2),
        }
    }

    /// Whether it is exactly nothing.
    #[inline]
    pub fn is_zero(self) -> bool {
        self.mantissa == I256::ZERO
    }

    /// The amount in `currency`, rounded once.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`].
    pub fn round(self, currency: Currency, rounding: Rounding) -> Result<Money, MoneyError> {
        let minor = match self.scale.checked_sub(currency.exponent()) {
            // More decimals than the minor unit has: the one rounding.
            Some(excess) => power_of_ten(excess)
                .and_then(|divisor| rounding.divide_wide(self.mantissa, divisor))
                .and_then(narrow),
            // What does not fit here is far too large in the end.
            None => narrow(self.mantissa)
                .zip(narrow_power_of_ten(
                    currency.exponent().saturating_sub(self.scale),
                ))
                .and_then(|(mantissa, factor)| multiply(mantissa, factor)),
        };
        minor
            .and_then(|minor| i64::try_from(minor).ok())
            .map(|minor| Money::new(minor, currency))
            .ok_or(MoneyError::Overflow { currency })
    }

    /// Both mantissas at the larger of the two scales, if 128 bits hold them.
    #[inline]
    fn aligned_narrow(&self, other: &Self) -> Option<(i128, i128)> {
        let (left, right) = (narrow(self.mantissa)?, narrow(other.mantissa)?);
        match self.scale.cmp(&other.scale) {
            Ordering::Equal => Some((left, right)),
            Ordering::Less => {
                let power = narrow_power_of_ten(other.scale.saturating_sub(self.scale))?;
                Some((multiply(left, power)?, right))
            }
            Ordering::Greater => {
                let power = narrow_power_of_ten(self.scale.saturating_sub(other.scale))?;
                Some((left, multiply(right, power)?))
            }
        }
    }

    /// What is left for numbers of more than 128 bits, some ten times as slow.
    #[cold]
    fn set_wide(&mut self, left: &Self, right: &Self, operation: fn(I256, I256) -> Option<I256>) -> bool {
        let scale = left.scale.max(right.scale);
        let result = left
            .scaled_to(scale)
            .zip(right.scaled_to(scale))
            .and_then(|(left, right)| operation(left, right));
        if let Some(mantissa) = result {
            *self = Self { mantissa, scale };
        }
        result.is_some()
    }

    #[cold]
    fn set_wide_product(&mut self, number: &Self, by: Decimal) -> bool {
        let result = number.mantissa.checked_mul(I256::new(by.mantissa()));
        if let Some(mantissa) = result {
            let scale = number.scale.saturating_add(by.scale());
            *self = Self { mantissa, scale };
        }
        result.is_some()
    }

    #[cold]
    fn wide_cmp(self, other: Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.scaled_to(scale), other.scaled_to(scale)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // One of them needs more than 256 bits at the other's scale: it is farther from zero.
            (None, _) => self.mantissa.cmp(&I256::ZERO),
            (Some(_), None) => I256::ZERO.cmp(&other.mantissa),
        }
    }

    fn scaled_to(self, scale: u32) -> Option<I256> {
        let by = scale.checked_sub(self.scale)?;
        // Nothing stays nothing, however far.
        if by == 0 || self.is_zero() {
            return Some(self.mantissa);
        }
        self.mantissa.checked_mul(power_of_ten(by)?)
    }

    /// What its `Display` writes, without the detour through a formatter: explanations are many numbers.
    pub(crate) fn write_to(&self, to: &mut impl fmt::Write) -> fmt::Result {
        let mut buffer = itoa::Buffer::new();
        let Some(mantissa) = narrow(self.mantissa) else {
            let negative = self.mantissa < I256::ZERO;
            let digits = alloc::format!("{}", self.mantissa.unsigned_abs());
            return write_decimal(to, negative, &digits, places(self.scale)?, 0);
        };
        let (negative, digits) = (mantissa < 0, mantissa.unsigned_abs());
        let Ok(mut digits) = u64::try_from(digits) else {
            return write_decimal(to, negative, buffer.format(digits), places(self.scale)?, 0);
        };
        if digits == 0 {
            return to.write_str("0");
        }
        // Zeros at the end fall here, by a multiplication each, and not as text.
        let mut scale = self.scale;
        while scale > 0 && digits.is_multiple_of(10) {
            digits = digits.checked_div(10).unwrap_or_default();
            scale = scale.saturating_sub(1);
        }
        if negative {
            to.write_str("-")?;
        }
        let digits = buffer.format(digits);
        let places = places(scale)?;
        if places == 0 {
            return to.write_str(digits);
        }
        match digits.len().checked_sub(places) {
            Some(whole @ 1..) => {
                let (whole, decimals) = digits.split_at(whole);
                to.write_str(whole)?;
                to.write_str(".")?;
                to.write_str(decimals)
            }
            Some(0) | None => {
                let zeros = places.saturating_sub(digits.len());
                let Some(zeros) = "0.00000000000000000000".get(..zeros.saturating_add(2)) else {
                    return write_decimal(to, false, digits, places, 0);
                };
                to.write_str(zeros)?;
                to.write_str(digits)
            }
        }
    }
}

fn places(scale: u32) -> Result<usize, fmt::Error> {
    usize::try_from(scale).map_err(|_| fmt::Error)
}

impl From<Decimal> for Exact {
    #[inline]
    fn from(value: Decimal) -> Self {
        Self {
            mantissa: I256::new(value.mantissa()),
            scale: value.scale(),
        }
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Exact {}

impl PartialOrd for Exact {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if let Some((left, right)) = self.aligned_narrow(other) {
            return left.cmp(&right);
        }
        self.wide_cmp(*other)
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_to(f)
    }
}

/// The number in 128 bits, if it fits: most do, and compute several times as fast.
#[inline]
pub(super) fn narrow(number: I256) -> Option<i128> {
    let (high, low) = number.into_words();
    (high == low >> 127).then_some(low)
}

/// The product, if it fits. What fits into 64 bits, most prices and quantities, needs no check.
#[inline]
fn multiply(left: i128, right: i128) -> Option<i128> {
    match (i64::try_from(left), i64::try_from(right)) {
        (Ok(left), Ok(right)) => Some(i128::from(left).wrapping_mul(i128::from(right))),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => left.checked_mul(right),
    }
}

/// 10^`exponent`, or `None` above 10^76, which 256 bits do not hold.
fn power_of_ten(exponent: u32) -> Option<I256> {
    match narrow_power_of_ten(exponent) {
        Some(power) => Some(I256::new(power)),
        None => I256::new(10).checked_pow(exponent),
    }
}

#[inline]
fn narrow_power_of_ten(exponent: u32) -> Option<i128> {
    POWERS_OF_TEN.get(usize::try_from(exponent).ok()?).copied()
}

/// Those that 128 bits hold; a table, since raising to a power would be most of an addition.
static POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut rest: &mut [i128] = &mut powers;
    let mut power: i128 = 1;
    while let [first, others @ ..] = rest {
        *first = power;
        power = power.saturating_mul(10);
        rest = others;
    }
    powers
};

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    fn usd() -> Currency {
        Currency::from_code("USD").unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn exact(text: &str) -> Exact {
        decimal(text).into()
    }

    #[test]
    fn a_product_keeps_digits_that_a_decimal_would_drop() {
        let tiny = decimal("0.0000000000000000000000000001");
        let exact = Exact::product(tiny, tiny);
        assert_eq!(
            exact.to_string(),
            "0.00000000000000000000000000000000000000000000000000000001"
        );
        assert_eq!(
            tiny.checked_mul(tiny),
            Some(Decimal::ZERO),
            "the reason for the wider type"
        );
        assert_eq!(
            exact.round(usd(), Rounding::default()).unwrap(),
            Money::zero(usd())
        );
        let sum = exact.checked_add(Exact::from(decimal("12345678901"))).unwrap();
        assert!(sum.to_string().starts_with("12345678901.0000"));
    }

    #[test]
    fn a_number_reads_without_zeros_at_the_end() {
        for (number, text) in [
            ("0", "0"),
            ("0.000", "0"),
            ("-0.0", "0"),
            ("10", "10"),
            ("1.50", "1.5"),
            ("-1.50", "-1.5"),
            ("0.5", "0.5"),
            ("-0.05", "-0.05"),
            ("0.0000004", "0.0000004"),
            ("0.0000000000000000000000000001", "0.0000000000000000000000000001"),
            ("18446744073709551615.5", "18446744073709551615.5"),
            ("79228162514264337593543950335", "79228162514264337593543950335"),
            (
                "-7.9228162514264337593543950335",
                "-7.9228162514264337593543950335",
            ),
        ] {
            assert_eq!(exact(number).to_string(), text);
        }
        let wide = Exact::product(Decimal::MAX, decimal("-7.9228162514264337593543950335"));
        assert_eq!(
            wide.to_string(),
            "-627710173538668076383578942304.9210091073826769276946612225"
        );
    }

    #[test]
    fn numbers_are_compared_by_value_whatever_their_scale() {
        assert_eq!(exact("1.50"), exact("1.5"));
        assert_eq!(exact("0.00"), Exact::ZERO);
        assert!(exact("-1") < exact("-0.999") && exact("0.1") < exact("0.11"));
        // At the scale of the second the first needs more than 256 bits.
        let tiny = decimal("0.0000000000000000000000000001");
        let small = Exact::product(tiny, tiny);
        let large = Exact::product(Decimal::MAX, Decimal::MAX);
        let minus = Exact::product(Decimal::MAX, Decimal::MIN);
        assert_eq!(small.cmp(&large), Ordering::Less);
        assert_eq!(large.cmp(&small), Ordering::Greater);
        assert_eq!(minus.cmp(&small), Ordering::Less);
        assert_eq!(small.cmp(&minus), Ordering::Greater);
        assert_eq!(large.checked_add(small), None);
        assert_eq!(large.checked_sub(small), None);
        // 10^84, its scale, is more than 256 bits hold; nothing is nothing there too.
        let smaller = small.checked_mul(tiny).unwrap();
        assert_eq!(Exact::ZERO.checked_add(smaller), Some(smaller));
    }

    #[test]
    fn what_needs_more_than_256_bits_is_none() {
        let large = Exact::product(Decimal::MAX, Decimal::MAX);
        assert_eq!(large.checked_mul(Decimal::MAX), None);
        assert!(large.checked_mul(decimal("1000000")).is_some());
        let most = large.checked_mul(decimal("9223372036854775807")).unwrap();
        assert_eq!(most.checked_add(most), None);
        assert_eq!(Exact::ZERO.checked_sub(most).unwrap().checked_sub(most), None);
        assert_eq!(most.checked_sub(most), Some(Exact::ZERO));
        assert_eq!(
            most.round(usd(), Rounding::default()),
            Err(MoneyError::Overflow { currency: usd() })
        );
    }

    #[test]
    fn a_quotient_is_rounded_up_at_any_width() {
        for (number, size, quotient) in [
            ("0", "0.1", "0"),
            ("0.3", "0.1", "3"),
            ("0.30000001", "0.1", "4"),
            ("-0.5", "1", "0"),
            ("-1.5", "1", "-1"),
            (
                "79228162514264337593543950335",
                "0.0000000000000000000000000001",
                "792281625142643375935439503350000000000000000000000000000",
            ),
            (
                "79228162514264337593543950335",
                "0.0000000000000000000000000003",
                "264093875047547791978479834450000000000000000000000000000",
            ),
            (
                "79228162514264337593543950335",
                "7.0000000000000000000000000001",
                "11318308930609191084791992905",
            ),
        ] {
            let found = exact(number).checked_div_ceil(decimal(size)).unwrap();
            assert_eq!(found.to_string(), quotient, "{number} / {size}");
        }
        for size in ["0", "-1"] {
            assert_eq!(exact("1").checked_div_ceil(decimal(size)), None);
        }
    }

    #[test]
    fn the_hundredth_part_is_exact() {
        assert_eq!(exact("2.9").hundredth().to_string(), "0.029");
        assert!(Exact::ZERO.hundredth().is_zero() && !exact("0.01").hundredth().is_zero());
    }

    proptest! {
        #[test]
        fn an_exact_product_agrees_with_wide_integers(a: i64, b: i64, sa in 0_u32..12, sb in 0_u32..12) {
            let exact = Exact::product(Decimal::new(a, sa), Decimal::new(b, sb));
            let wide = Exact { mantissa: I256::from(i128::from(a) * i128::from(b)), scale: sa + sb };
            prop_assert!(exact == wide);
        }

        /// The narrow way and the wide way are one function.
        #[test]
        fn numbers_of_any_width_are_computed_alike(a: i64, b: i64, sa in 0_u32..6, sb in 0_u32..6, shift in 0_u32..30) {
            let (left, right) = (Exact::from(Decimal::new(a, sa)), Exact::from(Decimal::new(b, sb)));
            let widen = |number: Exact| Exact {
                mantissa: number.mantissa * I256::new(10).pow(shift),
                scale: number.scale,
            };
            let wide = (widen(left), widen(right));
            prop_assert_eq!(wide.0.checked_add(wide.1), left.checked_add(right).map(widen));
            prop_assert_eq!(wide.0.checked_sub(wide.1), left.checked_sub(right).map(widen));
            prop_assert_eq!(wide.0.cmp(&wide.1), left.cmp(&right));
            let by = Decimal::new(b, sb);
            prop_assert_eq!(wide.0.checked_mul(by), left.checked_mul(by).map(widen));
            prop_assert_eq!(left.checked_sub(right).unwrap().checked_add(right), Some(left));
        }

        /// Digits are written as a decimal writes them, but for zeros at the end.
        #[test]
        fn a_number_reads_as_its_decimal(mantissa: i128, scale in 0_u32..=28) {
            let number = Decimal::from_i128_with_scale(mantissa >> 32, scale);
            let text = String::from(number.normalize().to_string().trim_start_matches("-0"));
            let found = Exact::from(number).to_string();
            prop_assert_eq!(found.trim_start_matches("-0"), text);
        }
    }
}
