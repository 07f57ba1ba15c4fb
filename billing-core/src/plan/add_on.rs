//! What a plan sells beside itself: once, or with every period.

use alloc::format;
use alloc::string::String;

use crate::money::{Currency, Money};
use crate::validate::Faults;

/// Something that is sold beside a plan, such as a set-up, or a backup by the month.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a plan is written as a literal")]
pub struct AddOn {
    /// What customers read. 1 to 120 characters.
    pub name: String,
    /// The price of one, in the currency of the plan; for a recurring one that of one interval of the plan.
    pub price: Money,
    /// How often it is charged.
    pub charged: AddOnCharge,
}

/// How often an add-on is charged.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when one is added"
)]
pub enum AddOnCharge {
    /// Each time that it is bought, on the next invoice.
    Once,
    /// With every period for as long as the subscription holds it, when the plan's own price is, and prorated as that is.
    Recurring,
}

impl AddOnCharge {
    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Recurring => "recurring",
        }
    }
}

impl AddOn {
    /// Adds what is wrong with it, for a plan in `currency`.
    pub(super) fn check(&self, currency: Currency, faults: &mut Faults) {
        let length = self.name.chars().count();
        if self.name.trim().is_empty() || length > 120 {
            faults.push(
                "name",
                "length",
                format!("expected 1 to 120 characters, got {length}"),
            );
        }
        if self.price.minor <= 0 {
            faults.push(
                "price.minor",
                "out_of_range",
                format!("expected 1 or more, got {}", self.price.minor),
            );
        }
        if self.price.currency != currency {
            faults.push(
                "price.currency",
                "currency",
                format!(
                    "expected {currency}, the currency of the plan, got {}",
                    self.price.currency
                ),
            );
        }
    }
}
