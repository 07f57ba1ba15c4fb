use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use ethnum::I256;
use rust_decimal::Decimal;

use super::{Currency, Money, MoneyError, Rounding, digits, write_decimal};

/// An exact decimal number of major units, before the one rounding of its line.
///
/// Wider than [`Decimal`], which rounds in silence when a product needs more than 28 digits: 256 bits hold the
/// product of any two decimals, and a sum that does not fit is an error. Compared by value: `1.50` is `1.5`.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    mantissa: Mantissa,
    scale: u32,
}

/// What is computed with 64 bits for as long as they hold it: nearly all that is charged for fits there.
#[derive(Clone, Copy, Debug)]
enum Mantissa {
    /// Whatever 64 bits hold, but for what was made by computing with more of them.
    Word(i64),
    Wide(I256),
}

impl Mantissa {
    #[inline]
    fn new(number: i128) -> Self {
        match i64::try_from(number) {
            Ok(word) => Self::Word(word),
            Err(_) => Self::Wide(I256::new(number)),
        }
    }

    #[inline]
    fn of(number: Decimal) -> Self {
        let parts = number.unpack();
        let low = u64::from(parts.mid) << 32 | u64::from(parts.lo);
        if parts.hi == 0
            && let Ok(word) = i64::try_from(low)
        {
            return Self::Word(if parts.negative { word.wrapping_neg() } else { word });
        }
        Self::Wide(I256::new(number.mantissa()))
    }

    const fn wide(self) -> I256 {
        match self {
            // The same in a type that `const` knows how to widen to.
            Self::Word(word) => I256::new(word as i128),
            Self::Wide(number) => number,
        }
    }

    /// In 128 bits, if it fits.
    fn narrow(self) -> Option<i128> {
        match self {
            Self::Word(word) => Some(word.into()),
            Self::Wide(number) => narrow(number),
        }
    }
}

impl Exact {
    /// Nothing.
    pub const ZERO: Self = Self {
        mantissa: Mantissa::Word(0),
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
                Some(product) => Mantissa::new(product),
                // 96 + 96 bits: the product always fits.
                None => Mantissa::Wide(I256::new(mantissa).saturating_mul(I256::new(by))),
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
        if let Some((left, right)) = self.aligned_words(other)
            && let Some(sum) = left.checked_add(right)
        {
            self.mantissa = Mantissa::Word(sum);
            self.scale = self.scale.max(other.scale);
            return true;
        }
        let left = *self;
        self.set_wide(&left, other, i128::checked_add, I256::checked_add)
    }

    /// Becomes `left` less `right`; whether that fits. If not, nothing has changed.
    #[must_use]
    #[inline]
    pub(crate) fn set_difference(&mut self, left: &Self, right: &Self) -> bool {
        if let Some((left_word, right_word)) = left.aligned_words(right)
            && let Some(difference) = left_word.checked_sub(right_word)
        {
            self.mantissa = Mantissa::Word(difference);
            self.scale = left.scale.max(right.scale);
            return true;
        }
        self.set_wide(left, right, i128::checked_sub, I256::checked_sub)
    }

    /// Becomes `number` times `by`; whether that fits. If not, nothing has changed.
    #[must_use]
    #[inline]
    pub(crate) fn set_product(&mut self, number: &Self, by: Decimal) -> bool {
        if let (Mantissa::Word(word), Mantissa::Word(by_word)) = (number.mantissa, Mantissa::of(by))
            && let Some(product) = word.checked_mul(by_word)
        {
            self.mantissa = Mantissa::Word(product);
            self.scale = number.scale.saturating_add(by.scale());
            return true;
        }
        self.set_wide_product(number, by)
    }

    /// Becomes `percent` of `number`; whether that fits. If not, nothing has changed.
    #[must_use]
    #[inline]
    pub(crate) fn set_percentage(&mut self, number: &Self, percent: Decimal) -> bool {
        let fits = self.set_product(number, percent);
        if fits {
            self.scale = self.scale.saturating_add(2);
        }
        fits
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
                Mantissa::new(quotient.checked_add(i128::from(left))?)
            }
            None => {
                let scale = self.scale.max(size.scale);
                let (number, size) = (self.scaled_to(scale)?, size.scaled_to(scale)?);
                let left = number.checked_rem(size)? > I256::ZERO;
                Mantissa::Wide(number.checked_div(size)?.checked_add(I256::from(left))?)
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
        match self.mantissa {
            Mantissa::Word(word) => word == 0,
            Mantissa::Wide(number) => number == I256::ZERO,
        }
    }

    /// The amount in `currency`, rounded once.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`].
    pub fn round(self, currency: Currency, rounding: Rounding) -> Result<Money, MoneyError> {
        let minor = match self.scale.checked_sub(currency.exponent()) {
            // More decimals than the minor unit has: the one rounding.
            Some(excess) => match (self.mantissa.narrow(), narrow_power_of_ten(excess)) {
                (Some(mantissa), Some(divisor)) => rounding.divide(mantissa, divisor),
                (Some(_) | None, Some(_) | None) => power_of_ten(excess)
                    .and_then(|divisor| rounding.divide_wide(self.mantissa.wide(), divisor))
                    .and_then(narrow),
            },
            // What does not fit here is far too large in the end.
            None => self
                .mantissa
                .narrow()
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

    /// Both mantissas at the larger of the two scales, if 64 bits hold them.
    #[inline]
    fn aligned_words(&self, other: &Self) -> Option<(i64, i64)> {
        let (Mantissa::Word(left), Mantissa::Word(right)) = (self.mantissa, other.mantissa) else {
            return None;
        };
        let power = |by: u32| i64::try_from(narrow_power_of_ten(by)?).ok();
        match self.scale.cmp(&other.scale) {
            Ordering::Equal => Some((left, right)),
            Ordering::Less => {
                let power = power(other.scale.saturating_sub(self.scale))?;
                Some((left.checked_mul(power)?, right))
            }
            Ordering::Greater => {
                let power = power(self.scale.saturating_sub(other.scale))?;
                Some((left, right.checked_mul(power)?))
            }
        }
    }

    /// The same if 128 bits hold them.
    fn aligned_narrow(&self, other: &Self) -> Option<(i128, i128)> {
        let (left, right) = (self.mantissa.narrow()?, other.mantissa.narrow()?);
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

    /// What is left for numbers of more than 64 bits: 128 are tried before 256, with which all is slower again.
    #[inline(never)]
    fn set_wide(
        &mut self,
        left: &Self,
        right: &Self,
        narrow: fn(i128, i128) -> Option<i128>,
        wide: fn(I256, I256) -> Option<I256>,
    ) -> bool {
        let scale = left.scale.max(right.scale);
        if let Some((left_narrow, right_narrow)) = left.aligned_narrow(right)
            && let Some(result) = narrow(left_narrow, right_narrow)
        {
            let mantissa = Mantissa::new(result);
            *self = Self { mantissa, scale };
            return true;
        }
        let result = left
            .scaled_to(scale)
            .zip(right.scaled_to(scale))
            .and_then(|(left, right)| wide(left, right));
        if let Some(mantissa) = result.map(Mantissa::Wide) {
            *self = Self { mantissa, scale };
        }
        result.is_some()
    }

    #[inline(never)]
    fn set_wide_product(&mut self, number: &Self, by: Decimal) -> bool {
        let scale = number.scale.saturating_add(by.scale());
        if let Some(mantissa) = number.mantissa.narrow()
            && let Some(product) = multiply(mantissa, by.mantissa())
        {
            let mantissa = Mantissa::new(product);
            *self = Self { mantissa, scale };
            return true;
        }
        let result = number.mantissa.wide().checked_mul(I256::new(by.mantissa()));
        if let Some(mantissa) = result.map(Mantissa::Wide) {
            *self = Self { mantissa, scale };
        }
        result.is_some()
    }

    #[inline(never)]
    fn wide_cmp(&self, other: &Self) -> Ordering {
        if let Some((left, right)) = self.aligned_narrow(other) {
            return left.cmp(&right);
        }
        let scale = self.scale.max(other.scale);
        match (self.scaled_to(scale), other.scaled_to(scale)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // One of them needs more than 256 bits at the other's scale: it is farther from zero.
            (None, _) => self.mantissa.wide().cmp(&I256::ZERO),
            (Some(_), None) => I256::ZERO.cmp(&other.mantissa.wide()),
        }
    }

    fn scaled_to(self, scale: u32) -> Option<I256> {
        let by = scale.checked_sub(self.scale)?;
        // Nothing stays nothing, however far.
        if by == 0 || self.is_zero() {
            return Some(self.mantissa.wide());
        }
        self.mantissa.wide().checked_mul(power_of_ten(by)?)
    }

    /// What its `Display` writes, at the end of a text in UTF-8, without the detour through a formatter: explanations are
    /// many numbers.
    #[inline]
    pub(crate) fn write_to(&self, text: &mut Vec<u8>) {
        if let Mantissa::Word(word) = self.mantissa
            && let Ok(number) = u64::try_from(word)
            && digits::write(text, number, self.scale)
        {
            return;
        }
        self.write_longer_to(text);
    }

    #[inline(never)]
    fn write_longer_to(&self, text: &mut Vec<u8>) {
        let mut room = [0; WORD_ROOM];
        match self.word_text(&mut room) {
            Some(written) => text.extend_from_slice(written),
            None => text.extend_from_slice(alloc::format!("{self}").as_bytes()),
        }
    }

    /// What is written of a number of 64 bits, put into `room` from its end: digits come from the last one on.
    fn word_text<'a>(&self, room: &'a mut [u8; WORD_ROOM]) -> Option<&'a [u8]> {
        let Mantissa::Word(word) = self.mantissa else {
            return None;
        };
        let (mut left, mut scale) = (word.unsigned_abs(), usize::try_from(self.scale).ok()?);
        if left == 0 {
            return Some(b"0");
        }
        if scale > WORD_PLACES_MAX {
            return None;
        }
        while scale > 0 && left.is_multiple_of(10) {
            left = left.checked_div(10)?;
            scale = scale.saturating_sub(1);
        }
        let mut digit = || {
            let rest = left.checked_div(10)?;
            let digit = u8::try_from(left.wrapping_sub(rest.wrapping_mul(10))).ok()?;
            left = rest;
            Some((digit | b'0', rest == 0))
        };
        let mut places = room.iter_mut().rev();
        if scale > 0 {
            for place in places.by_ref().take(scale) {
                (*place, _) = digit()?;
            }
            *places.next()? = b'.';
        }
        for place in places.by_ref() {
            let is_last;
            (*place, is_last) = digit()?;
            if is_last {
                break;
            }
        }
        if word < 0 {
            *places.next()? = b'-';
        }
        let start = places.len();
        room.get(start..)
    }
}

/// The most decimals of a number that is written in the quick way: more than any product of two prices has.
const WORD_PLACES_MAX: usize = 28;

/// Room for those, a digit before the point, the point and the sign; the 19 digits of a whole number fit too.
const WORD_ROOM: usize = 32;

impl From<Decimal> for Exact {
    #[inline]
    fn from(value: Decimal) -> Self {
        Self {
            mantissa: Mantissa::of(value),
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
        match self.aligned_words(other) {
            Some((left, right)) => left.cmp(&right),
            None => self.wide_cmp(other),
        }
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = [0; WORD_ROOM];
        if let Some(written) = self.word_text(&mut room) {
            return f.write_str(core::str::from_utf8(written).map_err(|_| fmt::Error)?);
        }
        let number = self.mantissa.wide();
        let places = usize::try_from(self.scale).map_err(|_| fmt::Error)?;
        let digits = alloc::format!("{}", number.unsigned_abs());
        write_decimal(f, number < I256::ZERO, &digits, places, 0)
    }
}

/// The number in 128 bits, if it fits: most that need more than 64 do, and compute several times as fast.
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
            let mantissa = Mantissa::Wide(I256::from(i128::from(a) * i128::from(b)));
            let wide = Exact { mantissa, scale: sa + sb };
            prop_assert!(exact == wide);
        }

        /// The narrow way and the wide way are one function.
        #[test]
        fn numbers_of_any_width_are_computed_alike(a: i64, b: i64, sa in 0_u32..6, sb in 0_u32..6, shift in 0_u32..30) {
            let (left, right) = (Exact::from(Decimal::new(a, sa)), Exact::from(Decimal::new(b, sb)));
            let widen = |number: Exact| Exact {
                mantissa: Mantissa::Wide(number.mantissa.wide() * I256::new(10).pow(shift)),
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
