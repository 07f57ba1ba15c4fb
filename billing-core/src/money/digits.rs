//! The digits of small numbers, eight at once.

use alloc::vec::Vec;

/// The most decimals that [`write()`] writes: at least one digit stands before the point.
const PLACES_MAX: u32 = 7;

/// The first number that has more than eight digits.
const NINE_DIGITS: u64 = 100_000_000;

/// Writes `number` with `places` decimals at the end of `text`, without zeros at its end: 1250 with 3 is `1.25`. `false`,
/// and nothing written, when it has more than eight digits or more than seven decimals.
///
/// Explanations are little else than numbers of a few digits. To divide them by ten until nothing is left took most of the
/// time of rating a line; here the eight digits are the bytes of one word, in which all of them are split off at once, and
/// what is not to be seen is shifted out.
#[inline]
pub(super) fn write(text: &mut Vec<u8>, number: u64, places: u32) -> bool {
    if number >= NINE_DIGITS || places > PLACES_MAX {
        return false;
    }
    let digits = eight_digits(number);
    // In bytes from here on. Of a number below one the zero before the point stays.
    let zeros_before = digits.trailing_zeros().wrapping_shr(3);
    let whole_ends = 8_u32.wrapping_sub(places);
    let skipped = zeros_before.min(whole_ends.wrapping_sub(1));
    let zeros_after = digits.leading_zeros().wrapping_shr(3).min(places);
    let ascii = digits | ASCII_ZEROS;
    let whole = ascii.wrapping_shr(skipped.wrapping_mul(8));
    let whole_length = whole_ends.wrapping_sub(skipped);
    let kept = places.wrapping_sub(zeros_after);
    let length = text.len();
    text.extend_from_slice(&whole.to_le_bytes());
    text.truncate(length.wrapping_add(whole_length as usize));
    if kept > 0 {
        let decimals = ascii.wrapping_shr(whole_ends.wrapping_mul(8));
        let length = text.len().wrapping_add(1);
        // The point goes before the decimals, of which there are seven at most.
        let decimals = decimals.wrapping_shl(8) | u64::from(b'.');
        text.extend_from_slice(&decimals.to_le_bytes());
        text.truncate(length.wrapping_add(kept as usize));
    }
    true
}

/// What each of eight digits is in ASCII besides its value.
const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits of a number below 10^8, one a byte, the first one in the lowest.
///
/// Halves of four digits, then quarters of two, then single ones, all of a step in one multiplication: `x * 10486 >> 20` is
/// `x / 100` of any number below 10^4, and `x * 103 >> 10` is `x / 10` of any below 100.
#[inline]
const fn eight_digits(number: u64) -> u64 {
    let first = number.wrapping_mul(109_951_163).wrapping_shr(40);
    let halves = first | number.wrapping_sub(first.wrapping_mul(10_000)).wrapping_shl(32);
    let first = halves.wrapping_mul(10_486).wrapping_shr(20) & 0x7f_0000_007f;
    let quarters = first | halves.wrapping_sub(first.wrapping_mul(100)).wrapping_shl(16);
    let first = quarters.wrapping_mul(103).wrapping_shr(10) & 0x000f_000f_000f_000f;
    first | quarters.wrapping_sub(first.wrapping_mul(10)).wrapping_shl(8)
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn written(number: u64, places: u32) -> Option<String> {
        let mut text = b"= ".to_vec();
        let is_written = write(&mut text, number, places);
        let text = String::from_utf8(text).unwrap();
        is_written.then(|| text.strip_prefix("= ").unwrap().into())
    }

    #[test]
    fn every_length_and_place_of_the_point() {
        for (number, places, text) in [
            (0, 0, "0"),
            (0, 7, "0"),
            (7, 0, "7"),
            (7, 7, "0.0000007"),
            (1_000, 0, "1000"),
            (1_000, 3, "1"),
            (1_000, 4, "0.1"),
            (1_250, 3, "1.25"),
            (12_345_678, 0, "12345678"),
            (12_345_678, 7, "1.2345678"),
            (99_999_999, 2, "999999.99"),
            (90_000_000, 7, "9"),
        ] {
            assert_eq!(written(number, places).as_deref(), Some(text));
        }
        assert_eq!(written(NINE_DIGITS, 0), None);
        assert_eq!(written(1, 8), None);
    }

    /// The factors that stand for a division hold for every number that comes to them.
    #[test]
    fn all_halves_are_split_without_a_fault() {
        let read = |number| {
            let bytes = eight_digits(number).to_le_bytes();
            assert!(bytes.iter().all(|digit| *digit < 10), "{number}: {bytes:?}");
            bytes.iter().fold(0, |sum, digit| sum * 10 + u64::from(*digit))
        };
        for number in 0..10_000 {
            assert_eq!(read(number), number);
            assert_eq!(read(number * 10_000), number * 10_000);
            assert_eq!(read(number * 10_000 + 9_999), number * 10_000 + 9_999);
        }
    }

    proptest! {
        #[test]
        fn a_number_reads_as_its_decimal(number in 0..NINE_DIGITS, places in 0..=PLACES_MAX) {
            let decimal = Decimal::from_i128_with_scale(number.into(), places).normalize();
            prop_assert_eq!(written(number, places), Some(std::format!("{decimal}")));
        }
    }
}
