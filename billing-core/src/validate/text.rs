//! Serde for types that are written as their text.

use core::{fmt, marker::PhantomData, str::FromStr};

use serde::de::{Deserializer, Error, Visitor};

use super::error::ValidationError;

/// Writes a type as its text and reads it through its parser, so that no unchecked value comes in.
macro_rules! serde_as_text {
    ($name:ty, $expecting:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::text::deserialize(deserializer, $expecting)
            }
        }
    };
}
pub(super) use serde_as_text;

/// Reads a `T` from a string, without a copy where the format lends one.
pub(super) fn deserialize<'de, D, T>(deserializer: D, expecting: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = ValidationError>,
{
    deserializer.deserialize_str(Text {
        expecting,
        of: PhantomData,
    })
}

struct Text<T> {
    expecting: &'static str,
    of: PhantomData<T>,
}

impl<T: FromStr<Err = ValidationError>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
