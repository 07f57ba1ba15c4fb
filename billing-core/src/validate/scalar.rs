use alloc::vec::Vec;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::error::{Given, Kind, ValidationError};

/// `8-4-4-4-12` hexadecimal digits.
const UUID_CHARS: usize = 36;
/// How many single-character edits away a value may be to be suggested.
const SUGGESTION_EDITS_MAX: usize = 2;

/// Reads a UUID in its hyphenated form of 36 characters, in upper or lower case.
///
/// Not the other forms that `Uuid` itself reads (without hyphens, in braces, as a URN): one identifier, one spelling.
/// Any version is accepted, since a host may bring its own ids. `Display` gives it back in lower case.
///
/// # Errors
///
/// In order: [`ValidationError::Length`], [`ValidationError::Character`] for the first that is wrong,
/// [`ValidationError::NilUuid`].
///
/// # Source
///
/// RFC 9562, section 4 (form, upper and lower case) and section 5.9 (nil).
///
/// # Example: a hyphen out of place
///
/// ```
/// use billing_core::validate::parse_uuid;
///
/// assert!(parse_uuid("0198C5A0-7e3b-7000-8000-00000000002a").is_ok());
/// assert_eq!(
///     parse_uuid("0198c5a07-e3b-7000-8000-00000000002a").unwrap_err().to_string(),
///     "uuid `0198c5a07-e3b-7000-8000-00000000002a` has `7` at character 9, expected `-`"
/// );
/// ```
pub fn parse_uuid(text: &str) -> Result<Uuid, ValidationError> {
    let given = || Given::new(Kind::Uuid, text);
    let length = text.chars().count();
    if length != UUID_CHARS {
        return Err(ValidationError::Length {
            given: given(),
            got: length,
            min: UUID_CHARS,
            max: UUID_CHARS,
        });
    }
    let mut value: u128 = 0;
    for (position, got) in (1..).zip(text.chars()) {
        let expected = match (position, got.to_digit(16)) {
            (9 | 14 | 19 | 24, _) if got == '-' => continue,
            (9 | 14 | 19 | 24, _) => "`-`",
            (_, Some(digit)) => {
                value = (value << 4) | u128::from(digit);
                continue;
            }
            (_, None) => "a hexadecimal digit",
        };
        return Err(ValidationError::Character {
            given: given(),
            position,
            got,
            expected,
        });
    }
    if value == 0 {
        return Err(ValidationError::NilUuid { given: given() });
    }
    Ok(Uuid::from_u128(value))
}

/// Reads a number greater than zero, exactly.
///
/// Digits, and if need be one point with digits on both sides. No exponent, sign, blank, `_`, or separator of
/// thousands; `1,5` and `1,500` would not mean the same everywhere. Zeros at the end are kept (`1.50`), zeros in
/// front are not (`007` gives 7).
///
/// # Errors
///
/// In order: [`ValidationError::Character`] for the first that is wrong, [`ValidationError::Ended`],
/// [`ValidationError::TooManyDigits`], [`ValidationError::Zero`].
///
/// # Example: too exact is an error, not rounded
///
/// ```
/// use billing_core::validate::positive_decimal;
///
/// assert_eq!(positive_decimal("0.0000004").unwrap().to_string(), "0.0000004");
/// assert!(positive_decimal("0.00000000000000000000000000004").is_err());
/// assert_eq!(
///     positive_decimal("1,5").unwrap_err().to_string(),
///     "number `1,5` has `,` at character 2, expected a digit or `.`"
/// );
/// ```
pub fn positive_decimal(text: &str) -> Result<Decimal, ValidationError> {
    let given = || Given::new(Kind::Decimal, text);
    let mut has_point = false;
    let mut previous = None;
    for (position, got) in (1..).zip(text.chars()) {
        match (got, previous) {
            ('0'..='9', _) => {}
            ('.', Some('0'..='9')) if !has_point => has_point = true,
            (_, previous) => {
                let may_point = !has_point && previous.is_some();
                let expected = if may_point { "a digit or `.`" } else { "a digit" };
                return Err(ValidationError::Character {
                    given: given(),
                    position,
                    got,
                    expected,
                });
            }
        }
        previous = Some(got);
    }
    if matches!(previous, None | Some('.')) {
        return Err(ValidationError::Ended {
            given: given(),
            expected: "a digit",
        });
    }
    let Ok(number) = Decimal::from_str_exact(text) else {
        return Err(ValidationError::TooManyDigits { given: given() });
    };
    if number.is_zero() {
        return Err(ValidationError::Zero { given: given() });
    }
    Ok(number)
}

/// Reads `true` or `false`, and nothing else: not `True`, `yes`, `1` or an empty text.
///
/// # Errors
///
/// [`ValidationError::NotAllowed`].
///
/// # Example: another case is suggested, not taken
///
/// ```
/// use billing_core::validate::boolean;
///
/// assert_eq!(boolean("false"), Ok(false));
/// assert_eq!(
///     boolean("True").unwrap_err().to_string(),
///     "value `True` is not allowed, expected `true` or `false`; did you mean `true`?"
/// );
/// ```
pub fn boolean(text: &str) -> Result<bool, ValidationError> {
    choice(text, &["true", "false"]).map(|chosen| chosen == "true")
}

/// Reads one of `allowed`, exactly as it is written there, and returns that.
///
/// # Errors
///
/// [`ValidationError::NotAllowed`], with the closest of `allowed` as a suggestion if it is at most two edits away
/// (a character put in, left out or exchanged), the case of ASCII letters aside. The first of several that are as
/// close. None is suggested of which no character would be left.
///
/// # Example: a slip of the finger
///
/// ```
/// use billing_core::validate::choice;
///
/// const INTERVALS: &[&str] = &["day", "month", "year"];
/// assert_eq!(choice("month", INTERVALS), Ok("month"));
/// assert_eq!(
///     choice("mnoth", INTERVALS).unwrap_err().to_string(),
///     "value `mnoth` is not allowed, expected `day`, `month` or `year`; did you mean `month`?"
/// );
/// ```
pub fn choice(text: &str, allowed: &'static [&'static str]) -> Result<&'static str, ValidationError> {
    if let Some(chosen) = allowed.iter().find(|value| **value == text) {
        return Ok(chosen);
    }
    let edits = |value: &&'static str| {
        let edits = edit_distance(text, value)?;
        (edits <= SUGGESTION_EDITS_MAX && edits < value.chars().count()).then_some((edits, *value))
    };
    let suggestion = allowed.iter().filter_map(edits).min_by_key(|(edits, _)| *edits);
    Err(ValidationError::NotAllowed {
        given: Given::new(Kind::Choice, text),
        allowed,
        suggestion: suggestion.map(|(_, value)| value),
    })
}

/// The Levenshtein distance, the case of ASCII letters aside; `None` if the lengths alone make it too great, so that
/// a long input costs little.
fn edit_distance(text: &str, value: &str) -> Option<usize> {
    let text_chars = text
        .chars()
        .take(value.len().saturating_add(SUGGESTION_EDITS_MAX).saturating_add(1));
    let text: Vec<char> = text_chars.collect();
    if text.len().abs_diff(value.chars().count()) > SUGGESTION_EDITS_MAX {
        return None;
    }
    // The distances between what was read of `value` and each beginning of `text`.
    let mut row: Vec<usize> = (0..=text.len()).collect();
    for expected in value.chars() {
        let mut cells = row.iter_mut();
        let first = cells.next()?;
        let mut diagonal = *first;
        *first = first.saturating_add(1);
        let mut left = *first;
        for (got, cell) in text.iter().zip(cells) {
            let exchange = diagonal.saturating_add(usize::from(!got.eq_ignore_ascii_case(&expected)));
            diagonal = *cell;
            left = exchange.min(left.saturating_add(1)).min(cell.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, string::ToString as _};

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_uuid(text: &str, expected: Result<u128, &str>) {
        assert_eq!(
            parse_uuid(text)
                .map(|uuid| uuid.as_u128())
                .map_err(|error| error.to_string()),
            expected.map_err(Into::into)
        );
    }

    #[test]
    fn uuids_are_hyphenated_and_not_nil() {
        check_uuid("00000000-0000-0000-0000-000000000001", Ok(1));
        check_uuid(
            "0198c5a0-7e3b-7000-8000-00000000002a",
            Ok(0x0198_c5a0_7e3b_7000_8000_0000_0000_002a),
        );
        check_uuid(
            "0198C5A0-7E3B-7000-8000-00000000002A",
            Ok(0x0198_c5a0_7e3b_7000_8000_0000_0000_002a),
        );
        check_uuid("ffffffff-ffff-ffff-ffff-ffffffffffff", Ok(u128::MAX));
        check_uuid("", Err("uuid `` has 0 characters, expected 36"));
        check_uuid(
            "0198c5a07e3b7000800000000000002a",
            Err("uuid `0198c5a07e3b7000800000000000002a` has 32 characters, expected 36"),
        );
        check_uuid(
            "{0198c5a0-7e3b-7000-8000-00000000002a}",
            Err("uuid `{0198c5a0-7e3b-7000-8000-00000000002a}` has 38 characters, expected 36"),
        );
        check_uuid(
            "urn:uuid:0198c5a0-7e3b-7000-8000-00000000002a",
            Err("uuid `urn:uuid:0198c5a0-7e3b-7000-8000-0000000…` has 45 characters, expected 36"),
        );
        for position in 1..=36 {
            let right = "0198c5a0-7e3b-7000-8000-00000000002a";
            let is_hyphen = right.as_bytes()[position - 1] == b'-';
            let mut wrong = String::from(right);
            wrong.replace_range(position - 1..position, if is_hyphen { "0" } else { "g" });
            let (got, expected) = if is_hyphen {
                ("0", "`-`")
            } else {
                ("g", "a hexadecimal digit")
            };
            check_uuid(
                &wrong,
                Err(&format!(
                    "uuid `{wrong}` has `{got}` at character {position}, expected {expected}"
                )),
            );
        }
        check_uuid(
            "0198c5a0-7e3b-7000-8000-00000000002é",
            Err(
                "uuid `0198c5a0-7e3b-7000-8000-00000000002é` has `é` (U+00E9) at character 36, expected a hexadecimal digit",
            ),
        );
        check_uuid(
            "00000000-0000-0000-0000-000000000000",
            Err("uuid `00000000-0000-0000-0000-000000000000` is nil, expected the identifier of something"),
        );
    }

    #[track_caller]
    fn check_decimal(text: &str, expected: Result<&str, &str>) {
        assert_eq!(
            positive_decimal(text)
                .map(|number| number.to_string())
                .map_err(|error| error.to_string()),
            expected.map(Into::into).map_err(Into::into)
        );
    }

    #[test]
    fn numbers_are_plain_exact_and_positive() {
        check_decimal("1", Ok("1"));
        check_decimal("007.50", Ok("7.50"));
        check_decimal(
            "0.0000000000000000000000000001",
            Ok("0.0000000000000000000000000001"),
        );
        check_decimal(
            "79228162514264337593543950335",
            Ok("79228162514264337593543950335"),
        );
        check_decimal(
            "7.9228162514264337593543950335",
            Ok("7.9228162514264337593543950335"),
        );

        let too_many = |text: &str| {
            format!(
                "number `{text}` has more digits than can be held exactly, \
                 expected at most 28 after the point and a value below 2^96 without it"
            )
        };
        for text in [
            "79228162514264337593543950336",
            "7.9228162514264337593543950336",
            "0.00000000000000000000000000001",
            "1.00000000000000000000000000000",
        ] {
            check_decimal(text, Err(&too_many(text)));
        }

        check_decimal("", Err("number `` ends too early, expected a digit"));
        check_decimal("1.", Err("number `1.` ends too early, expected a digit"));
        check_decimal(".5", Err("number `.5` has `.` at character 1, expected a digit"));
        check_decimal(
            "1.2.3",
            Err("number `1.2.3` has `.` at character 4, expected a digit"),
        );
        check_decimal(
            "1..2",
            Err("number `1..2` has `.` at character 3, expected a digit"),
        );
        check_decimal("+1", Err("number `+1` has `+` at character 1, expected a digit"));
        check_decimal("-1", Err("number `-1` has `-` at character 1, expected a digit"));
        check_decimal(
            " 1",
            Err("number ` 1` has a space at character 1, expected a digit"),
        );
        check_decimal(
            "1 ",
            Err("number `1 ` has a space at character 2, expected a digit or `.`"),
        );
        check_decimal(
            "1_000",
            Err("number `1_000` has `_` at character 2, expected a digit or `.`"),
        );
        check_decimal(
            "1.5e3",
            Err("number `1.5e3` has `e` at character 4, expected a digit"),
        );
        check_decimal(
            "0x10",
            Err("number `0x10` has `x` at character 2, expected a digit or `.`"),
        );
        check_decimal(
            "NaN",
            Err("number `NaN` has `N` at character 1, expected a digit"),
        );
        check_decimal(
            "٣",
            Err("number `٣` has `٣` (U+0663) at character 1, expected a digit"),
        );
        check_decimal("0", Err("number `0` is zero, expected more than zero"));
        check_decimal("0.00", Err("number `0.00` is zero, expected more than zero"));
    }

    #[track_caller]
    fn check_boolean(text: &str, expected: Result<bool, &str>) {
        assert_eq!(
            boolean(text).map_err(|error| error.to_string()),
            expected.map_err(Into::into)
        );
    }

    #[test]
    fn booleans_are_two_words() {
        check_boolean("true", Ok(true));
        check_boolean("false", Ok(false));
        for text in ["", "1", "yes", "on", "t"] {
            check_boolean(
                text,
                Err(&format!(
                    "value `{text}` is not allowed, expected `true` or `false`"
                )),
            );
        }
        let true_ = "is not allowed, expected `true` or `false`; did you mean `true`?";
        check_boolean("TRUE", Err(&format!("value `TRUE` {true_}")));
        check_boolean("true ", Err(&format!("value `true ` {true_}")));
    }

    const COLORS: &[&str] = &["red", "green", "greed", "on"];

    #[track_caller]
    fn check_suggestion(text: &str, expected: Option<&str>) {
        match choice(text, COLORS) {
            Err(ValidationError::NotAllowed { suggestion, .. }) => assert_eq!(suggestion, expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_closest_choice_is_suggested() {
        check_suggestion("gren", Some("green"));
        check_suggestion("gree", Some("green"));
        check_suggestion("greeed", Some("greed"));
        check_suggestion("rde", Some("red"));
        check_suggestion("Red", Some("red"));
        check_suggestion("blue", None);
        check_suggestion("", None);
        check_suggestion("xy", None);
        check_suggestion("no", None);
        check_suggestion(&"green".repeat(100_000), None);
    }

    #[track_caller]
    fn check_distance(text: &str, value: &str, expected: Option<usize>) {
        assert_eq!(edit_distance(text, value), expected);
    }

    #[test]
    fn distance_counts_edits() {
        check_distance("", "", Some(0));
        check_distance("kitten", "sitting", Some(3));
        check_distance("ab", "ba", Some(2));
        check_distance("abc", "abcde", Some(2));
        check_distance("abc", "abcdef", None);
        check_distance("abcdef", "abc", None);
        check_distance("Äb", "äB", Some(1));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read_exactly(
            text in "(?s).*|[0-9]{0,31}|[0-9]{0,20}\\.[0-9]{0,20}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
        ) {
            if let Ok(uuid) = parse_uuid(&text) {
                prop_assert_eq!(uuid.to_string(), text.to_ascii_lowercase());
            }
            if let Ok(number) = positive_decimal(&text) {
                let digits = text.trim_start_matches('0');
                let zero = if digits.starts_with('.') { "0" } else { "" };
                prop_assert_eq!(number.to_string(), format!("{zero}{digits}"));
                prop_assert!(number > Decimal::ZERO);
            }
            if let Ok(value) = boolean(&text) {
                prop_assert_eq!(value.to_string(), text.as_str());
            }
            if let Ok(chosen) = choice(&text, COLORS) {
                prop_assert_eq!(chosen, text);
            }
        }

        #[test]
        fn what_is_written_is_read_again(uuid in 1u128.., mantissa in 1i128..1 << 96, scale in 0u32..=28) {
            let uuid = Uuid::from_u128(uuid);
            prop_assert_eq!(parse_uuid(&uuid.to_string()), Ok(uuid));
            let number = Decimal::from_i128_with_scale(mantissa, scale);
            prop_assert_eq!(positive_decimal(&number.to_string()).map(|n| n.unpack()), Ok(number.unpack()));
        }

        #[test]
        fn distance_is_a_metric(a in "[ab]{0,4}", b in "[ab]{0,4}") {
            prop_assert_eq!(edit_distance(&a, &b), edit_distance(&b, &a));
            prop_assert_eq!(edit_distance(&a, &b) == Some(0), a == b);
        }
    }
}
