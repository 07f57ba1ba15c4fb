use alloc::sync::Arc;
use core::{fmt, str::FromStr};

use super::error::{Given, Kind, ValidationError};

/// RFC 5321, section 4.5.3.1.3 allows a path of 256 octets, of which the angle brackets take two (RFC 3696, erratum
/// 1690).
const EMAIL_CHARS_MAX: usize = 254;
/// RFC 5321, section 4.5.3.1.1.
const MAILBOX_CHARS_MAX: usize = 64;
/// RFC 1035, section 2.3.4.
const LABEL_CHARS_MAX: usize = 63;
/// ITU-T E.164, section 6.1.
const PHONE_DIGITS_MAX: usize = 15;
/// See [`Phone`], section Source.
const PHONE_DIGITS_MIN: usize = 7;

/// An e-mail address: a mailbox name, `@`, and a domain name with at least one dot.
///
/// Kept as it came. Domains mean the same in any case and most mailboxes do, but `==` tells `A@x.org` from `a@x.org`,
/// since only the receiving host may say that they are one (RFC 5321, section 2.4).
///
/// Left out of RFC 5321 on purpose:
/// - quoted mailbox names (`"a b"@x.org`): they can hide blanks, `@` and control characters from what reads the
///   address next, and the RFC itself advises against them (section 4.1.2);
/// - comments, which belong to message headers (RFC 5322), not to addresses;
/// - IP literals (`a@[10.0.0.1]`) and names without a dot (`a@localhost`): they reach into the network of whoever
///   sends the mail;
/// - letters outside ASCII (RFC 6531), which not every relay carries. A domain can be given in its `xn--` form.
///
/// Personal data: `Debug` shows the domain only, and no error repeats the input. `Display` and serde give it whole.
///
/// # Source
///
/// RFC 5321, section 4.1.2 (`Dot-string`, `Domain`); lengths: section 4.5.3.1 and RFC 1035, section 2.3.4; a last
/// label that is not all digits: RFC 3696, section 2. Own code, since the crate `email_address` needs `std`.
///
/// # Example: a tagged mailbox is fine, a blank at the end is not trimmed
///
/// ```
/// use billing_core::validate::Email;
///
/// let email: Email = "jane+billing@example.com".parse().unwrap();
/// assert_eq!((email.mailbox(), email.domain()), ("jane+billing", "example.com"));
/// assert_eq!(format!("{email:?}"), "Email(***@example.com)");
/// assert_eq!(
///     "jane@example.com ".parse::<Email>().unwrap_err().to_string(),
///     "e-mail address has a space at character 17, expected a letter, a digit, `-` or `.`"
/// );
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Email(Arc<str>);

impl Email {
    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn mailbox(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &str {
        self.0.split('@').nth(1).unwrap_or_default()
    }
}

impl FromStr for Email {
    type Err = ValidationError;

    /// # Errors
    ///
    /// In order: [`ValidationError::Length`] of the whole; then from left to right the first of
    /// [`ValidationError::Character`], [`ValidationError::Ended`] and the [`ValidationError::Length`] of a part; then
    /// [`ValidationError::NumericDomain`].
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let given = || Given::new(Kind::Email, text);
        let bounded = |kind, got, max| {
            let given = Given::new(kind, text);
            if got > max {
                Err(ValidationError::Length {
                    given,
                    got,
                    min: 1,
                    max,
                })
            } else {
                Ok(())
            }
        };
        let length = text.chars().count();
        if !(3..=EMAIL_CHARS_MAX).contains(&length) {
            return Err(ValidationError::Length {
                given: given(),
                got: length,
                min: 3,
                max: EMAIL_CHARS_MAX,
            });
        }

        let mut characters = (1..).zip(text.chars());
        let mut mailbox: usize = 0;
        let mut previous = None;
        loop {
            // Nothing may come before a dot or the end that is a dot itself.
            let is_start = matches!(previous, None | Some('.'));
            let expected = if is_start {
                "a letter, a digit or another sign of a mailbox name"
            } else {
                "a letter, a digit, another sign of a mailbox name, `.` or `@`"
            };
            match characters.next() {
                Some((_, '@')) if !is_start => break,
                Some((_, c)) if is_atext(c) || (c == '.' && !is_start) => previous = Some(c),
                Some((position, got)) => {
                    return Err(ValidationError::Character {
                        given: given(),
                        position,
                        got,
                        expected,
                    });
                }
                None => {
                    return Err(ValidationError::Ended {
                        given: given(),
                        expected: "`@` and a domain",
                    });
                }
            }
            mailbox = mailbox.saturating_add(1);
        }
        bounded(Kind::Mailbox, mailbox, MAILBOX_CHARS_MAX)?;

        let mut label: usize = 0;
        let mut has_dot = false;
        let mut is_numeric = true;
        let mut previous = None;
        for (position, got) in characters {
            // A label begins and ends with a letter or digit, so that after its start or a hyphen none may end.
            let may_end = !matches!(previous, None | Some('.' | '-'));
            let may_hyphen = !matches!(previous, None | Some('.'));
            if got == '.' && may_end {
                has_dot = true;
                is_numeric = true;
                label = 0;
            } else if got.is_ascii_alphanumeric() || (got == '-' && may_hyphen) {
                is_numeric &= got.is_ascii_digit();
                label = label.saturating_add(1);
                bounded(Kind::DomainLabel, label, LABEL_CHARS_MAX)?;
            } else {
                let expected = match (may_end, may_hyphen) {
                    (true, _) => "a letter, a digit, `-` or `.`",
                    (false, true) => "a letter, a digit or `-`",
                    (false, false) => "a letter or a digit",
                };
                return Err(ValidationError::Character {
                    given: given(),
                    position,
                    got,
                    expected,
                });
            }
            previous = Some(got);
        }
        if matches!(previous, None | Some('.' | '-')) {
            return Err(ValidationError::Ended {
                given: given(),
                expected: "a letter or a digit",
            });
        }
        if !has_dot {
            return Err(ValidationError::Ended {
                given: given(),
                expected: "`.` and the rest of the domain",
            });
        }
        if is_numeric {
            return Err(ValidationError::NumericDomain { given: given() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Without the mailbox, which names a person.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email(***@{})", self.domain())
    }
}

impl AsRef<str> for Email {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A telephone number in its international form: `+`, then 7 to 15 digits, the first of them not zero.
///
/// No blanks, hyphens or brackets, so that the same number is not written in two ways. Whether it is in service, or
/// its country code assigned, is not checked. `Copy`; sorted as numbers.
///
/// Personal data: `Debug` shows the last two digits only, and no error repeats the input. `Display` and serde give it
/// whole.
///
/// # Source
///
/// ITU-T E.164 (11/2010), section 6.1: at most 15 digits; no country code that begins with 0 is assigned; the `+` is
/// from E.123. E.164 sets no lower bound. Seven is the shortest ordinary number (fixed line or mobile) of the plans in
/// Google's `libphonenumber` 9.0.33: three digits of country and four of the subscriber, as in Niue (683), Tokelau
/// (690) and Saint Helena (290). Its only shorter ones are a remnant of Austrian numbers with six; we refuse these,
/// since six digits are far more often a local number after a stray `+`.
///
/// # Example: no blanks
///
/// ```
/// use billing_core::validate::Phone;
///
/// let phone: Phone = "+442079460958".parse().unwrap();
/// assert_eq!(phone.to_string(), "+442079460958");
/// assert_eq!(format!("{phone:?}"), "Phone(+***58)");
/// assert_eq!(
///     "+44 2079460958".parse::<Phone>().unwrap_err().to_string(),
///     "phone number has a space at character 4, expected a digit"
/// );
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
// The digits as a number: none is lost, since the first is not zero, and 15 of them fit.
pub struct Phone(u64);

impl FromStr for Phone {
    type Err = ValidationError;

    /// # Errors
    ///
    /// In order: [`ValidationError::Ended`] if empty, [`ValidationError::Character`] for the first that is wrong,
    /// [`ValidationError::Length`].
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let given = || Given::new(Kind::Phone, text);
        if text.is_empty() {
            return Err(ValidationError::Ended {
                given: given(),
                expected: "`+` and a country code",
            });
        }
        let mut number: u64 = 0;
        let mut digits: usize = 0;
        for (position, got) in (1..).zip(text.chars()) {
            let expected = match (position, got, got.to_digit(10)) {
                (..=1, '+', _) => continue,
                (2, '1'..='9', Some(digit)) | (3.., _, Some(digit)) => {
                    // A longer number than fits is refused below.
                    number = number.saturating_mul(10).saturating_add(u64::from(digit));
                    digits = digits.saturating_add(1);
                    continue;
                }
                (..=1, ..) => "`+`",
                (2, ..) => "the first digit of a country code, 1 to 9",
                (3.., ..) => "a digit",
            };
            return Err(ValidationError::Character {
                given: given(),
                position,
                got,
                expected,
            });
        }
        if !(PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits) {
            let (min, max) = (PHONE_DIGITS_MIN, PHONE_DIGITS_MAX);
            return Err(ValidationError::Length {
                given: given(),
                got: digits,
                min,
                max,
            });
        }
        Ok(Self(number))
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// The last two digits: enough to tell two numbers of one customer apart.
impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone(+***{:02})", self.0 % 100)
    }
}

#[cfg(feature = "serde")]
super::text::serde_as_text!(Email, "an e-mail address");
#[cfg(feature = "serde")]
super::text::serde_as_text!(Phone, "a phone number such as `+442079460958`");

/// The characters of an `Atom` (RFC 5322, section 3.2.3).
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_email(text: &str, expected: Result<(), &str>) {
        let parsed = text.parse::<Email>();
        if let Ok(email) = &parsed {
            assert_eq!(email.to_string(), text);
            assert_eq!(format!("{}@{}", email.mailbox(), email.domain()), text);
            assert_eq!(format!("{email:?}"), format!("Email(***@{})", email.domain()));
        }
        assert_eq!(
            parsed.map(drop).map_err(|error| error.to_string()),
            expected.map_err(Into::into)
        );
    }

    const SIGN: &str = "a letter, a digit or another sign of a mailbox name";
    const SIGN_OR_END: &str = "a letter, a digit, another sign of a mailbox name, `.` or `@`";

    #[test]
    fn emails_that_are_accepted() {
        check_email("a@b.c", Ok(()));
        check_email("Jane.Doe+tag@Example.COM", Ok(()));
        check_email("!#$%&'*+-/=?^_`{|}~@x.org", Ok(()));
        check_email("-a-@x-y.xn--p1ai", Ok(()));
        check_email("1@1.2.3a", Ok(()));
        check_email(&format!("{}@x.org", "m".repeat(64)), Ok(()));
        check_email(&format!("m@{}.org", "d".repeat(63)), Ok(()));
        check_email(
            &format!(
                "{}@{}org",
                "m".repeat(64),
                format!("{}.", "d".repeat(61)).repeat(3)
            ),
            Ok(()),
        );
    }

    #[test]
    fn emails_of_a_wrong_length() {
        check_email("", Err("e-mail address has 0 characters, expected 3 to 254"));
        check_email("@a", Err("e-mail address has 2 characters, expected 3 to 254"));
        let label = format!("{}.", "d".repeat(47));
        let longest = format!("{}@{}c", "m".repeat(60), label.repeat(4));
        assert_eq!(longest.len(), 254);
        check_email(&longest, Ok(()));
        check_email(
            &format!("{longest}o"),
            Err("e-mail address has 255 characters, expected 3 to 254"),
        );
        check_email(
            &format!("{}@x.org", "m".repeat(65)),
            Err("mailbox name of the e-mail address has 65 characters, expected 1 to 64"),
        );
        check_email(
            &format!("m@{}.org", "d".repeat(64)),
            Err("domain part of the e-mail address has 64 characters, expected 1 to 63"),
        );
    }

    #[test]
    fn emails_with_a_wrong_mailbox_name() {
        let at = |sign: &str, position: usize, expected: &str| {
            format!("e-mail address has {sign} at character {position}, expected {expected}")
        };
        check_email("@x.org", Err(&at("`@`", 1, SIGN)));
        check_email(".a@x.org", Err(&at("`.`", 1, SIGN)));
        check_email("a..b@x.org", Err(&at("`.`", 3, SIGN)));
        check_email("a.@x.org", Err(&at("`@`", 3, SIGN)));
        check_email(" a@x.org", Err(&at("a space", 1, SIGN)));
        check_email("a b@x.org", Err(&at("a space", 2, SIGN_OR_END)));
        check_email("\"a b\"@x.org", Err(&at("`\"`", 1, SIGN)));
        check_email("a(home)@x.org", Err(&at("`(`", 2, SIGN_OR_END)));
        check_email("a\r\nbcc:b@x.org", Err(&at("a line break", 2, SIGN_OR_END)));
        check_email("jané@x.org", Err(&at("`é` (U+00E9)", 4, SIGN_OR_END)));
        check_email(
            "jane",
            Err("e-mail address ends too early, expected `@` and a domain"),
        );
        check_email("Jane <jane@x.org>", Err(&at("a space", 5, SIGN_OR_END)));
    }

    #[test]
    fn emails_with_a_wrong_domain() {
        let at = |sign: &str, position: usize, expected: &str| {
            format!("e-mail address has {sign} at character {position}, expected {expected}")
        };
        check_email("a@b@x.org", Err(&at("`@`", 4, "a letter, a digit, `-` or `.`")));
        check_email("a@.org", Err(&at("`.`", 3, "a letter or a digit")));
        check_email("a@x..org", Err(&at("`.`", 5, "a letter or a digit")));
        check_email("a@-x.org", Err(&at("`-`", 3, "a letter or a digit")));
        check_email("a@x-.org", Err(&at("`.`", 5, "a letter, a digit or `-`")));
        check_email("a@x_y.org", Err(&at("`_`", 4, "a letter, a digit, `-` or `.`")));
        check_email("a@[10.0.0.1]", Err(&at("`[`", 3, "a letter or a digit")));
        check_email(
            "a@bücher.de",
            Err(&at("`ü` (U+00FC)", 4, "a letter, a digit, `-` or `.`")),
        );
        check_email(
            "ab@",
            Err("e-mail address ends too early, expected a letter or a digit"),
        );
        check_email(
            "a@x.",
            Err("e-mail address ends too early, expected a letter or a digit"),
        );
        check_email(
            "a@x.org-",
            Err("e-mail address ends too early, expected a letter or a digit"),
        );
        check_email(
            "a@localhost",
            Err("e-mail address ends too early, expected `.` and the rest of the domain"),
        );
        check_email(
            "a@10.0.0.1",
            Err("e-mail address ends in a domain part of digits only, expected a name such as `com`"),
        );
    }

    #[track_caller]
    fn check_phone(text: &str, expected: Result<&str, &str>) {
        let parsed = text.parse::<Phone>();
        if let Ok(phone) = &parsed {
            assert_eq!(phone.to_string(), text);
        }
        assert_eq!(
            parsed
                .map(|phone| format!("{phone:?}"))
                .map_err(|error| error.to_string()),
            expected.map(Into::into).map_err(Into::into)
        );
    }

    #[test]
    fn phones_are_a_plus_and_7_to_15_digits() {
        check_phone("+6834002", Ok("Phone(+***02)"));
        check_phone("+12025550100", Ok("Phone(+***00)"));
        check_phone("+999999999999999", Ok("Phone(+***99)"));
        check_phone(
            "",
            Err("phone number ends too early, expected `+` and a country code"),
        );
        check_phone("+", Err("phone number has 0 digits, expected 7 to 15"));
        check_phone("+1", Err("phone number has 1 digit, expected 7 to 15"));
        check_phone("+123456", Err("phone number has 6 digits, expected 7 to 15"));
        check_phone(
            "+1234567890123456",
            Err("phone number has 16 digits, expected 7 to 15"),
        );
        check_phone(
            &format!("+{}", "9".repeat(100)),
            Err("phone number has 100 digits, expected 7 to 15"),
        );
        check_phone(
            "0044207946",
            Err("phone number has `0` at character 1, expected `+`"),
        );
        check_phone(
            " +442079460958",
            Err("phone number has a space at character 1, expected `+`"),
        );
        check_phone(
            "＋442079460958",
            Err("phone number has U+FF0B at character 1, expected `+`"),
        );
        check_phone(
            "+0442079460",
            Err("phone number has `0` at character 2, expected the first digit of a country code, 1 to 9"),
        );
        check_phone(
            "++442079460",
            Err("phone number has `+` at character 2, expected the first digit of a country code, 1 to 9"),
        );
        check_phone(
            "+44-2079460958",
            Err("phone number has `-` at character 4, expected a digit"),
        );
        check_phone(
            "+44(0)2079460",
            Err("phone number has `(` at character 4, expected a digit"),
        );
        check_phone(
            "+4420794609x12",
            Err("phone number has `x` at character 12, expected a digit"),
        );
        check_phone(
            "+44٢٠٧٩٤٦٠",
            Err("phone number has `٢` (U+0662) at character 4, expected a digit"),
        );
        check_phone(
            "+442079460958\n",
            Err("phone number has a line break at character 14, expected a digit"),
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept_whole(
            text in "(?s).*|[a-z0-9.@+-]{0,12}|\\+[0-9]{0,17}|(?s)[a-z.]{1,6}@.{1,9}"
        ) {
            match text.parse::<Email>() {
                Ok(email) => prop_assert_eq!(email.as_str(), text.as_str()),
                Err(error) => prop_assert_eq!(error.given().excerpt(), None),
            }
            match text.parse::<Phone>() {
                Ok(phone) => prop_assert_eq!(phone.to_string(), text),
                Err(error) => prop_assert_eq!(error.given().excerpt(), None),
            }
        }

        #[test]
        fn what_the_rules_allow_is_accepted(
            email in "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,9}(\\.[A-Z0-9+-]{1,9}){0,4}@([a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?\\.){1,3}[a-z]{1,9}",
            phone in "\\+[1-9][0-9]{6,14}",
        ) {
            prop_assert!(email.parse::<Email>().is_ok(), "{}", email);
            prop_assert_eq!(phone.parse::<Phone>().unwrap().to_string(), phone);
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_is_the_text_and_is_checked() {
        let email: Email = serde_json::from_str(r#""a@x.org""#).unwrap();
        assert_eq!(serde_json::to_string(&email).unwrap(), r#""a@x.org""#);
        // An escape makes the reader hand over a copy instead of a slice of its input.
        let phone: Phone = serde_json::from_str(r#""\u002b6834002""#).unwrap();
        assert_eq!(serde_json::to_string(&phone).unwrap(), r#""+6834002""#);
        assert!(serde_json::from_str::<Email>(r#""jane""#).is_err());
        let error = serde_json::from_str::<Phone>("6834002").unwrap_err().to_string();
        assert!(error.contains("expected a phone number such as"), "{error}");
    }
}
