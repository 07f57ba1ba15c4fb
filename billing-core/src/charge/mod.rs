//! Charge models: what usage above the allowance costs.
//!
//! One file per model, with its settings, what can be wrong with them ([`Faults`] with the path of the field) and how
//! it charges. A model adds its terms to a tally, which sums them exactly and notes them for the customer;
//! [`rating`](crate::rating) rounds the sum once.
//!
//! Prices, fees and amounts are major units of the plan's currency, exact; quantities are in the meter's own unit. Both
//! are zero or more and have at most [`DECIMALS_MAX`] decimals.
//!
//! Where known systems differ the rule is a setting, with the default that DESIGN.md (section 3, "Rating, proration,
//! invoices") gives; each model says where its rule comes from.

mod flat;
mod graduated;
mod graduated_percentage;
mod matrix;
mod package;
mod per_unit;
mod percentage;
mod tally;
mod volume;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rust_decimal::Decimal;

pub use self::graduated::{Graduated, Tier};
pub use self::graduated_percentage::{GraduatedPercentage, PercentTier};
pub use self::matrix::{Matrix, MatrixRow};
pub use self::package::Package;
pub use self::percentage::Percentage;
pub(crate) use self::tally::Tally;
pub use self::volume::{Volume, VolumeAllowance};
use crate::money::{Exact, MoneyError};
use crate::validate::Faults;

/// The most decimals of a quantity or a unit price. Sums of such quantities stay exact up to 7 x 10^15.
pub const DECIMALS_MAX: u32 = 12;

/// The most tiers or rows of one model: far above any real price list, and a bound on what a plan can weigh.
pub const ENTRIES_MAX: usize = 1_000;

/// What usage above the allowance costs.
///
/// # Example: as JSON, the model's name and its settings
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use billing_core::charge::ChargeModel;
///
/// let model: ChargeModel = serde_json::from_str(
///     r#"{ "graduated": { "tiers": [{ "up_to": "10", "unit_price": "0.5" }, { "unit_price": "0.4", "flat_fee": "2" }] } }"#,
/// )
/// .unwrap();
/// assert!(model.validate().is_ok());
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a model is added"
)]
pub enum ChargeModel {
    /// One amount a period, once anything above the allowance was used.
    Flat {
        /// Major units.
        amount: Decimal,
    },
    /// Every unit costs the same.
    PerUnit {
        /// Major units: 0.0000004 USD is a price.
        unit_price: Decimal,
    },
    /// Each unit costs what its tier says.
    Graduated(Graduated),
    /// All units cost what the tier of the whole quantity says.
    Volume(Volume),
    /// Whole packages of units; one that is started counts.
    Package(Package),
    /// A part of the quantity, which is an amount of money, and a fee for each event.
    Percentage(Percentage),
    /// Each part of the quantity, which is an amount of money, is charged by the percentage of its tier.
    GraduatedPercentage(GraduatedPercentage),
    /// A unit costs what the properties of its event say.
    Matrix(Matrix),
}

impl ChargeModel {
    /// What of the usage must be known to charge by this model when `allowance` units are free.
    ///
    /// A smaller allowance never needs more.
    pub const fn needs(&self, allowance: Decimal) -> Needs {
        match self {
            Self::Flat { .. }
            | Self::PerUnit { .. }
            | Self::Graduated(_)
            | Self::Volume(_)
            | Self::Package(_)
            | Self::GraduatedPercentage(_) => Needs::Total,
            Self::Percentage(percentage) => percentage.needs(allowance),
            Self::Matrix(_) => Needs::Cells,
        }
    }

    /// About how many terms it makes, as room for them.
    pub(crate) const fn terms(&self) -> usize {
        match self {
            Self::Flat { .. } | Self::PerUnit { .. } | Self::Volume(_) | Self::Package(_) => 1,
            Self::Graduated(graduated) => graduated.tiers.len(),
            Self::Percentage(percentage) => percentage.terms(),
            Self::GraduatedPercentage(graduated) => graduated.tiers.len(),
            Self::Matrix(matrix) => matrix.rows.len(),
        }
    }

    /// Reports everything that is wrong with the settings, each fault with the path of its field as in JSON.
    ///
    /// # Errors
    ///
    /// [`Faults`], at least one.
    pub fn validate(&self) -> Result<(), Faults> {
        let mut part = Faults::default();
        let name = match self {
            Self::Flat { amount } => {
                flat::check(*amount, &mut part);
                "flat"
            }
            Self::PerUnit { unit_price } => {
                per_unit::check(*unit_price, &mut part);
                "per_unit"
            }
            Self::Graduated(graduated) => {
                graduated.check(&mut part);
                "graduated"
            }
            Self::Volume(volume) => {
                volume.check(&mut part);
                "volume"
            }
            Self::Package(package) => {
                package.check(&mut part);
                "package"
            }
            Self::Percentage(percentage) => {
                percentage.check(&mut part);
                "percentage"
            }
            Self::GraduatedPercentage(graduated) => {
                graduated.check(&mut part);
                "graduated_percentage"
            }
            Self::Matrix(matrix) => {
                matrix.check(&mut part);
                "matrix"
            }
        };
        let mut faults = Faults::default();
        faults.at(name, part);
        faults.into_result()
    }

    /// Adds what `used` costs above `allowance` to `tally`.
    pub(crate) fn charge(
        &self,
        used: &Used<'_>,
        allowance: Decimal,
        tally: &mut Tally,
    ) -> Result<(), RatingError> {
        match self {
            Self::Flat { amount } => flat::charge(*amount, used, allowance, tally),
            Self::PerUnit { unit_price } => per_unit::charge(*unit_price, used, allowance, tally),
            Self::Package(package) => package.charge(used, allowance, tally),
            Self::Graduated(graduated) => graduated.charge(used, allowance, tally)?,
            Self::Volume(volume) => volume.charge(used, allowance, tally)?,
            Self::Percentage(percentage) => percentage.charge(used, allowance, tally)?,
            Self::GraduatedPercentage(graduated) => graduated.charge(used, allowance, tally)?,
            Self::Matrix(matrix) => matrix.charge(used, allowance, tally)?,
        }
        Ok(())
    }
}

/// What of the usage a model must know, from the least to the most that a store has to collect for it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a store must fail to compile when a need is added"
)]
pub enum Needs {
    /// The total quantity.
    Total,
    /// The total quantity and the number of events.
    Count,
    /// The quantity of every event, in order.
    Events,
    /// The quantity per combination of the values of [`Matrix::by`].
    Cells,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "the total quantity",
            Self::Count => "the number of events",
            Self::Events => "the quantity of every event",
            Self::Cells => "the quantity per combination of properties",
        })
    }
}

/// What was used of one meter, in as much detail as its model [needs](ChargeModel::needs). More does no harm: a model
/// that needs the total alone takes any of these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "one variant for each detail of `Needs`")]
pub enum Used<'a> {
    /// The sum.
    Total {
        /// The total quantity.
        quantity: Decimal,
        /// How many events make it up.
        events: u64,
    },
    /// The quantity of every event, by `occurred_at`; of events at the same instant by the order in which they were
    /// recorded, so that it is the same whenever it is asked for.
    Events(&'a [Decimal]),
    /// The quantity per combination of the values that [`Matrix::values_of`] gives for an event. Each event is in
    /// exactly one.
    Cells(&'a BTreeMap<Vec<String>, Decimal>),
}

impl Used<'_> {
    /// Nothing.
    pub const NONE: Self = Self::Total {
        quantity: Decimal::ZERO,
        events: 0,
    };

    /// The total quantity, exact; `None` when it needs more than 256 bits.
    pub fn quantity(&self) -> Option<Exact> {
        match self {
            Self::Total { quantity, .. } => Some(Exact::from(*quantity)),
            Self::Events(events) => sum(events.iter()),
            Self::Cells(cells) => sum(cells.values()),
        }
    }

    /// The number of events; `None` for cells, which do not carry it.
    pub fn events(&self) -> Option<u64> {
        match self {
            Self::Total { events, .. } => Some(*events),
            Self::Events(events) => u64::try_from(events.len()).ok(),
            Self::Cells(_) => None,
        }
    }

    /// The quantity of every event, if that is known; of nothing it is.
    fn single_events(&self) -> Result<&[Decimal], RatingError> {
        match self {
            Self::Events(events) => Ok(events),
            Self::Total { .. } | Self::Cells(_) if self.is_none() => Ok(&[]),
            Self::Total { .. } | Self::Cells(_) => Err(RatingError::Missing { needs: Needs::Events }),
        }
    }

    /// The quantity per combination of values, if that is known; of nothing it is.
    fn cells(&self) -> Result<&BTreeMap<Vec<String>, Decimal>, RatingError> {
        static NONE: BTreeMap<Vec<String>, Decimal> = BTreeMap::new();
        match self {
            Self::Cells(cells) => Ok(cells),
            Self::Total { .. } | Self::Events(_) if self.is_none() => Ok(&NONE),
            Self::Total { .. } | Self::Events(_) => Err(RatingError::Missing { needs: Needs::Cells }),
        }
    }

    /// Whether nothing at all was used, so that every detail of it is known.
    fn is_none(&self) -> bool {
        match self {
            Self::Total { quantity, events } => quantity.is_zero() && *events == 0,
            Self::Events(events) => events.is_empty(),
            Self::Cells(cells) => cells.is_empty(),
        }
    }
}

/// The exact sum of quantities; `None` when it needs more than 256 bits.
fn sum<'a>(quantities: impl Iterator<Item = &'a Decimal>) -> Option<Exact> {
    let mut sum = Exact::ZERO;
    for quantity in quantities {
        if !sum.add(&Exact::from(*quantity)) {
            return None;
        }
    }
    Some(sum)
}

/// Why usage could not be rated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RatingError {
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The usage does not carry what the model [needs](ChargeModel::needs): a fault of who collected it.
    #[error("the charge model needs {needs}, which was not collected")]
    Missing {
        /// What is missing.
        needs: Needs,
    },
    /// Something was used that a [`Matrix`] has no price for.
    #[error("no price for {quantity} used with {}", pairs(by, values))]
    NoPrice {
        /// The properties that the price hangs on.
        by: Vec<String>,
        /// Their values; empty where the event had none.
        values: Vec<String>,
        /// How much of it.
        quantity: Decimal,
    },
    /// No tier holds the quantity: the last one is not open, which [`ChargeModel::validate`] reports.
    #[error("no tier holds a quantity of {quantity}")]
    NoTier {
        /// What was to be charged.
        quantity: Exact,
    },
}

/// The longest property name or value that a plan prices by, in characters.
const NAME_MAX: usize = 64;

/// Values come from outside: each on one line, and cut.
fn pairs(by: &[String], values: &[String]) -> String {
    let cut = |text: &String| {
        text.chars()
            .take(NAME_MAX)
            .flat_map(char::escape_debug)
            .collect::<String>()
    };
    let pairs: Vec<_> = by
        .iter()
        .zip(values)
        .map(|(name, value)| format!("{} `{}`", cut(name), cut(value)))
        .collect();
    pairs.join(", ")
}

/// Notes what is wrong with a quantity, a price, a fee or a percentage.
pub(crate) fn check_decimal(faults: &mut Faults, path: impl fmt::Display, value: Decimal) {
    if value.is_sign_negative() && !value.is_zero() {
        faults.push(&path, "negative", format!("expected 0 or more, got {value}"));
    }
    if value.normalize().scale() > DECIMALS_MAX {
        faults.push(
            path,
            "too_precise",
            format!("expected at most {DECIMALS_MAX} decimals, got {value}"),
        );
    }
}

/// Notes what is wrong with a least and a greatest amount, at `names`.
pub(crate) fn check_range(
    faults: &mut Faults,
    names: [&str; 2],
    least: Option<Decimal>,
    most: Option<Decimal>,
) {
    let [least_name, most_name] = names;
    if let Some(least) = least {
        check_decimal(faults, least_name, least);
    }
    if let Some(most) = most {
        check_decimal(faults, most_name, most);
    }
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        faults.push(
            least_name,
            "above_maximum",
            format!("expected at most the maximum {most}, got {least}"),
        );
    }
}

/// Notes what is wrong with the bounds of tiers: they rise, and only the last one is open.
fn check_bounds(faults: &mut Faults, bounds: impl ExactSizeIterator<Item = Option<Decimal>>) {
    let count = bounds.len();
    check_count(faults, "tiers", "no_tiers", count);
    let mut below = Decimal::ZERO;
    for (index, bound) in bounds.enumerate() {
        let path = format_args!("tiers[{index}].up_to");
        let last = index.saturating_add(1) == count;
        match bound {
            None if last => {}
            None => faults.push(path, "open", "expected a bound, only the last tier is open"),
            Some(bound) => {
                check_decimal(faults, path, bound);
                if last {
                    faults.push(
                        path,
                        "not_open",
                        format!("expected none, the last tier is open, got {bound}"),
                    );
                }
                if bound <= below {
                    faults.push(
                        path,
                        "not_rising",
                        format!("expected more than {below}, got {bound}"),
                    );
                }
                below = bound.max(below);
            }
        }
    }
}

fn check_count(faults: &mut Faults, path: &str, code_when_none: &'static str, count: usize) {
    if count == 0 {
        faults.push(path, code_when_none, "expected at least one");
    } else if count > ENTRIES_MAX {
        faults.push(
            path,
            "too_many",
            format!("expected at most {ENTRIES_MAX}, got {count}"),
        );
    }
}

#[cfg(test)]
mod kit;
#[cfg(test)]
mod tests;
