//! Strict parsing of what comes from outside, that says what is wrong with it.
//!
//! A value that is kept has a type, made only by its parser, so that holding one is proof of its form: [`Email`],
//! [`Phone`], [`Country`], [`Region`], [`Tag`]. A value with a type elsewhere, or none, has a function:
//! [`parse_uuid`], [`positive_decimal`], [`boolean`], [`choice`].
//!
//! Nothing is repaired: no blank is trimmed, no case changed, no digit rounded. What a caller typed is what is
//! stored, or it is refused. The form is checked, not the world: that an e-mail address has the right form does not
//! mean that it takes mail.
//!
//! A refusal is one [`ValidationError`]. Where several can apply, such as in a plan, [`Faults`] collects them all.

mod contact;
mod error;
mod fault;
mod place;
mod scalar;
mod tag;
#[cfg(feature = "serde")]
mod text;

pub use contact::{Email, Phone};
pub use error::{Given, Kind, ValidationError};
pub use fault::{Fault, Faults};
pub use place::{Country, Region};
pub use scalar::{boolean, choice, parse_uuid, positive_decimal};
pub use tag::Tag;
