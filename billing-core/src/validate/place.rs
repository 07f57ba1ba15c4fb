use core::{fmt, str::FromStr};

use super::error::{Given, Kind, ValidationError};

/// `CC-XXX`, the longest code of a subdivision.
const REGION_BYTES: usize = 6;

/// A country, as its two upper-case letters in ISO 3166-1.
///
/// Assigned codes only. Not `EU` or `UK`, which are reserved, nor `XK` (Kosovo), which is for private use: two parties
/// would not mean the same by it. The code stands for the territory at hand, with its own subdivisions and
/// dependencies apart: `US` is not `PR`.
///
/// # Source
///
/// ISO 3166-1 alpha-2, by the table of `iso_country` that `iso_currency` brings along. That crate is from 2018, but
/// its 249 codes are those of the IANA time zone database's `iso3166.tab` of 2026 (`SS` of 2011 was the last one
/// added). A test counts them.
///
/// # Example: the United Kingdom is `GB`
///
/// ```
/// use billing_core::validate::Country;
///
/// assert_eq!("GB".parse::<Country>().unwrap().as_str(), "GB");
/// assert_eq!(
///     "UK".parse::<Country>().unwrap_err().to_string(),
///     "country code `UK` names no country in iso 3166-1, expected an assigned code such as `US`"
/// );
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Country([u8; 2]);

impl Country {
    /// The two letters.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

impl FromStr for Country {
    type Err = ValidationError;

    /// # Errors
    ///
    /// In order: [`ValidationError::Length`], [`ValidationError::Character`] for the first that is wrong,
    /// [`ValidationError::UnknownCountry`].
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let given = || Given::new(Kind::Country, text);
        let length = text.chars().count();
        if length != 2 {
            return Err(ValidationError::Length {
                given: given(),
                got: length,
                min: 2,
                max: 2,
            });
        }
        country(text, &given)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({self})")
    }
}

/// Where a plan is offered or a tenant is: a country, or one of its subdivisions such as `US-CA`.
///
/// Of a subdivision the country is looked up, the rest checked by its form only: there is no light table of the
/// 5000 codes for `no_std` and our toolchain (`celes` 3 has one, for Rust 1.97), and ISO changes them every year, so
/// that a stale one would refuse what is right. So `US-ZZ` is accepted, and matches no tenant.
///
/// Sorted by code, which sets each country before its own subdivisions.
///
/// # Source
///
/// ISO 3166-2: the alpha-2 code of the country, a hyphen, one to three upper-case letters or digits.
///
/// # Example: a country contains its subdivisions, not the other way round
///
/// ```
/// use billing_core::validate::Region;
///
/// let country: Region = "US".parse().unwrap();
/// let state: Region = "US-CA".parse().unwrap();
/// assert!(country.contains(&state) && country.contains(&country));
/// assert!(!state.contains(&country));
/// assert!(!"CA".parse::<Region>().unwrap().contains(&state));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
// Zeros after the end: no character of a code is a zero byte.
pub struct Region([u8; REGION_BYTES]);

impl Region {
    /// The code, of the country alone or with the subdivision.
    pub fn as_str(&self) -> &str {
        ascii(self.0.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// The country that this is, or is in.
    pub fn country(&self) -> Country {
        let [first, second, ..] = self.0;
        Country([first, second])
    }

    /// Whether this is a whole country.
    pub fn is_country(&self) -> bool {
        *self == Self::from(self.country())
    }

    /// Whether all of `other` lies in this region; a region contains itself.
    ///
    /// By code alone: `US` does not contain `PR`, and a subdivision does not contain the smaller ones in it.
    pub fn contains(&self, other: &Self) -> bool {
        self == other || *self == Self::from(other.country())
    }
}

impl From<Country> for Region {
    fn from(country: Country) -> Self {
        let [first, second] = country.0;
        Self([first, second, 0, 0, 0, 0])
    }
}

impl FromStr for Region {
    type Err = ValidationError;

    /// # Errors
    ///
    /// In order: [`ValidationError::Length`], [`ValidationError::Character`] in the country,
    /// [`ValidationError::UnknownCountry`], [`ValidationError::Character`] in the rest, [`ValidationError::Ended`].
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let given = || Given::new(Kind::Region, text);
        let length = text.chars().count();
        if !(2..=REGION_BYTES).contains(&length) {
            return Err(ValidationError::Length {
                given: given(),
                got: length,
                min: 2,
                max: REGION_BYTES,
            });
        }
        let Self(mut code) = country(text, &given)?.into();
        for ((position, got), byte) in (1..).zip(text.chars()).zip(&mut code).skip(2) {
            let expected = match (position, got) {
                (..=3, '-') | (4.., 'A'..='Z' | '0'..='9') => {
                    // The arm admits ASCII only, so that nothing is lost.
                    *byte = u8::try_from(got).unwrap_or_default();
                    continue;
                }
                (..=3, _) => "`-` after the country",
                (4.., _) => "an upper-case letter or a digit",
            };
            return Err(ValidationError::Character {
                given: given(),
                position,
                got,
                expected,
            });
        }
        if length == 3 {
            return Err(ValidationError::Ended {
                given: given(),
                expected: "one to three upper-case letters or digits after `-`",
            });
        }
        Ok(Self(code))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({self})")
    }
}

#[cfg(feature = "serde")]
super::text::serde_as_text!(Country, "a country code such as `US`");
#[cfg(feature = "serde")]
super::text::serde_as_text!(Region, "a region code such as `US` or `US-CA`");

/// Reads the country at the start of `text`, which has two characters at least.
fn country(text: &str, given: &dyn Fn() -> Given) -> Result<Country, ValidationError> {
    let mut code = [0; 2];
    for ((position, got), byte) in (1..).zip(text.chars()).zip(&mut code) {
        *byte = match u8::try_from(got) {
            Ok(letter @ b'A'..=b'Z') => letter,
            Ok(_) | Err(_) => {
                let expected = "an upper-case letter";
                return Err(ValidationError::Character {
                    given: given(),
                    position,
                    got,
                    expected,
                });
            }
        };
    }
    match ascii(&code).parse::<iso_currency::Country>() {
        Ok(_) => Ok(Country(code)),
        Err(_) => Err(ValidationError::UnknownCountry { given: given() }),
    }
}

/// The text of a code. Codes are ASCII, since their parsers admit nothing else, so that the fallback is never used.
fn ascii(code: &[u8]) -> &str {
    core::str::from_utf8(code).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, format, string::String, string::ToString as _, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_country(text: &str, expected: Result<(), &str>) {
        let parsed = text.parse::<Country>();
        if let Ok(country) = &parsed {
            assert_eq!(country.to_string(), text);
        }
        assert_eq!(
            parsed.map(drop).map_err(|error| error.to_string()),
            expected.map_err(Into::into)
        );
    }

    #[test]
    fn countries_are_two_assigned_letters() {
        for newest in ["SS", "CW", "SX", "BQ", "BL", "MF", "ME", "RS", "AX", "TL"] {
            check_country(newest, Ok(()));
        }
        check_country("", Err("country code `` has 0 characters, expected 2"));
        check_country("U", Err("country code `U` has 1 character, expected 2"));
        check_country("USA", Err("country code `USA` has 3 characters, expected 2"));
        check_country(
            "us",
            Err("country code `us` has `u` at character 1, expected an upper-case letter"),
        );
        check_country(
            "U5",
            Err("country code `U5` has `5` at character 2, expected an upper-case letter"),
        );
        check_country(
            "U ",
            Err("country code `U ` has a space at character 2, expected an upper-case letter"),
        );
        check_country(
            "РU",
            Err("country code `РU` has `Р` (U+0420) at character 1, expected an upper-case letter"),
        );
        for unassigned in ["UK", "EU", "XK", "AN", "YU", "CS", "TP", "ZR", "AA", "ZZ"] {
            check_country(
                unassigned,
                Err(&format!(
                    "country code `{unassigned}` names no country in iso 3166-1, expected an assigned code such as `US`"
                )),
            );
        }
    }

    #[test]
    fn the_table_is_complete() {
        let pairs =
            ('A'..='Z').flat_map(|first| ('A'..='Z').map(move |second| String::from_iter([first, second])));
        let countries: BTreeSet<Country> = pairs.filter_map(|pair| pair.parse().ok()).collect();
        // ISO 3166-1 as of 2026: 249 officially assigned codes.
        assert_eq!(countries.len(), 249);
    }

    #[track_caller]
    fn check_region(text: &str, expected: Result<(), &str>) {
        let parsed = text.parse::<Region>();
        if let Ok(region) = &parsed {
            assert_eq!(region.to_string(), text);
            assert_eq!(region.country().as_str(), &text[..2]);
            assert_eq!(region.is_country(), text.len() == 2);
        }
        assert_eq!(
            parsed.map(drop).map_err(|error| error.to_string()),
            expected.map_err(Into::into)
        );
    }

    #[test]
    fn regions_are_countries_or_their_subdivisions() {
        check_region("US", Ok(()));
        check_region("US-CA", Ok(()));
        check_region("GB-ENG", Ok(()));
        check_region("FR-2A", Ok(()));
        check_region("AT-9", Ok(()));
        check_region("U", Err("region code `U` has 1 character, expected 2 to 6"));
        check_region(
            "GB-ENGL",
            Err("region code `GB-ENGL` has 7 characters, expected 2 to 6"),
        );
        check_region(
            "us-CA",
            Err("region code `us-CA` has `u` at character 1, expected an upper-case letter"),
        );
        check_region(
            "UK-ENG",
            Err(
                "region code `UK-ENG` names no country in iso 3166-1, expected an assigned code such as `US`",
            ),
        );
        check_region(
            "USA",
            Err("region code `USA` has `A` at character 3, expected `-` after the country"),
        );
        check_region(
            "US_CA",
            Err("region code `US_CA` has `_` at character 3, expected `-` after the country"),
        );
        check_region(
            "US-",
            Err(
                "region code `US-` ends too early, expected one to three upper-case letters or digits after `-`",
            ),
        );
        check_region(
            "US-ca",
            Err("region code `US-ca` has `c` at character 4, expected an upper-case letter or a digit"),
        );
        check_region(
            "US-Cé",
            Err(
                "region code `US-Cé` has `é` (U+00E9) at character 5, expected an upper-case letter or a digit",
            ),
        );
        check_region(
            "US-C\0",
            Err(r"region code `US-C\0` has U+0000 at character 5, expected an upper-case letter or a digit"),
        );
    }

    #[track_caller]
    fn check_contains(outer: &str, inner: &str, expected: bool) {
        let contains = outer.parse::<Region>().unwrap().contains(&inner.parse().unwrap());
        assert_eq!(contains, expected, "{outer} contains {inner}");
    }

    #[test]
    fn a_region_contains_itself_and_a_country_its_subdivisions() {
        check_contains("US", "US", true);
        check_contains("US", "US-CA", true);
        check_contains("US-CA", "US-CA", true);
        check_contains("US-CA", "US", false);
        check_contains("US-CA", "US-C", false);
        check_contains("US-C", "US-CA", false);
        check_contains("CA", "US-CA", false);
        check_contains("US", "PR", false);
    }

    #[test]
    fn regions_are_sorted_by_code() {
        let set: BTreeSet<Region> = ["US-NY", "VA", "US", "UG", "US-CA"]
            .map(|code| code.parse().unwrap())
            .into();
        let codes: Vec<_> = set.iter().map(Region::as_str).collect();
        assert_eq!(codes, ["UG", "US", "US-CA", "US-NY", "VA"]);
        assert_eq!(
            format!("{set:?}"),
            "{Region(UG), Region(US), Region(US-CA), Region(US-NY), Region(VA)}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept_whole(text in "(?s).*|[A-Z]{2}|(US|DE|GB)-?[A-Z0-9]{0,4}|(?s)US-.{1,3}") {
            if let Ok(country) = text.parse::<Country>() {
                prop_assert_eq!(country.to_string(), text.as_str());
                prop_assert_eq!(Region::from(country).to_string(), text.as_str());
            }
            if let Ok(region) = text.parse::<Region>() {
                prop_assert_eq!(region.to_string(), text.as_str());
                prop_assert!(Region::from(region.country()).contains(&region));
            }
        }

        #[test]
        fn what_the_rule_allows_is_accepted(text in "(US|DE|GB)(-[A-Z0-9]{1,3})?") {
            prop_assert!(text.parse::<Region>().is_ok());
        }

        #[test]
        fn order_is_that_of_the_codes(a in "(US|DE)(-[A-Z0-9]{1,3})?", b in "(US|DE)(-[A-Z0-9]{1,3})?") {
            prop_assert_eq!(a.parse::<Region>().unwrap().cmp(&b.parse().unwrap()), a.cmp(&b));
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_is_the_code_and_is_checked() {
        let regions: Vec<Region> = serde_json::from_str(r#"["US","US-CA"]"#).unwrap();
        assert_eq!(serde_json::to_string(&regions).unwrap(), r#"["US","US-CA"]"#);
        assert_eq!(serde_json::to_string(&regions[1].country()).unwrap(), r#""US""#);
        let error = serde_json::from_str::<Country>(r#""XK""#)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("country code `XK` names no country"), "{error}");
        assert!(serde_json::from_str::<Region>(r#""US-""#).is_err());
    }
}
