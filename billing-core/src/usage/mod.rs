//! Usage events, and what a window of them adds up to.

mod metering;

use alloc::collections::BTreeMap;
use alloc::string::String;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use crate::charge::DECIMALS_MAX;
use crate::id::{IdempotencyKey, MeterCode, TenantId};

pub use crate::aggregation::{UsageOverflow, add_quantities};
pub use metering::{
    BilledWindow, CellUsage, ChargeCell, Detail, LateUsage, MeterUsage, Metering, Usage, UsageQuery,
    WindowTerm,
};

/// The largest quantity of one event: a million of them still add up exactly.
pub const QUANTITY_MAX: Decimal = Decimal::from_parts(1_410_065_408, 2, 0, false, 0);

/// How far ahead of the engine's clock an event may be: what badly set clocks are off by, not more.
pub const AHEAD_MAX: TimeDelta = match TimeDelta::try_hours(1) {
    Some(hour) => hour,
    None => TimeDelta::zero(),
};

/// Something that a tenant used. It belongs to the period of `occurred_at`, whenever it is recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct UsageEvent {
    /// The same key again with the same content changes nothing; with other content it is refused.
    pub idempotency_key: IdempotencyKey,
    /// Who used it.
    pub tenant_id: TenantId,
    /// What was measured.
    pub meter: MeterCode,
    /// How much, in the meter's unit: 0 to [`QUANTITY_MAX`], at most [`DECIMALS_MAX`] decimals.
    pub quantity: Decimal,
    /// When it was used.
    pub occurred_at: DateTime<Utc>,
    /// What else is known of it, such as a region or a model.
    #[cfg_attr(feature = "serde", serde(default))]
    pub properties: BTreeMap<String, String>,
}

/// Why an event was not recorded. Nothing has changed. When several apply, the first listed is returned.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "reason", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum UsageRefusal {
    /// The key is known, with other content.
    #[error("usage event `{idempotency_key}` was recorded before with another {field}")]
    KeyReused {
        /// The key.
        idempotency_key: IdempotencyKey,
        /// The first field that differs.
        field: UsageField,
    },
    /// The quantity is below zero.
    #[error("usage quantity must not be negative, got {quantity}")]
    Negative {
        /// What came.
        quantity: Decimal,
    },
    /// The quantity is above [`QUANTITY_MAX`].
    #[error("usage quantity must be at most {QUANTITY_MAX}, got {quantity}")]
    TooLarge {
        /// What came.
        quantity: Decimal,
    },
    /// The quantity has more than [`DECIMALS_MAX`] decimals.
    #[error("usage quantity must have at most {DECIMALS_MAX} decimals, got {quantity}")]
    TooPrecise {
        /// What came.
        quantity: Decimal,
    },
    /// The event says that it happened in the future, by more than [`AHEAD_MAX`].
    #[error("usage event occurred at {occurred_at}, which is after {now}")]
    InFuture {
        /// What came.
        occurred_at: DateTime<Utc>,
        /// The engine's time.
        now: DateTime<Utc>,
    },
}

/// The parts of an event that its key stands for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(clippy::exhaustive_enums, reason = "the fields of an event")]
pub enum UsageField {
    /// What was measured.
    Meter,
    /// How much.
    Quantity,
    /// When.
    OccurredAt,
    /// What else.
    Properties,
}

impl core::fmt::Display for UsageField {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Meter => "meter",
            Self::Quantity => "quantity",
            Self::OccurredAt => "occurred_at",
            Self::Properties => "properties",
        })
    }
}

/// What became of one event of a batch.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an outcome is added"
)]
pub enum UsageOutcome {
    /// Recorded.
    Accepted,
    /// Recorded, for time whose usage was billed already: it stands on an adjustment line of the next invoice.
    Late {
        /// Until when usage was billed when it came.
        billed_until: DateTime<Utc>,
    },
    /// Recorded before with the same content; nothing has changed.
    Duplicate,
    /// Not recorded.
    Refused(UsageRefusal),
}

impl UsageEvent {
    /// Whether the event can be recorded at `now`.
    ///
    /// # Errors
    ///
    /// In order: [`UsageRefusal::Negative`], [`UsageRefusal::TooLarge`], [`UsageRefusal::TooPrecise`],
    /// [`UsageRefusal::InFuture`].
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), UsageRefusal> {
        check_quantity(self.quantity)?;
        let occurred_at = self.occurred_at;
        if now
            .checked_add_signed(AHEAD_MAX)
            .is_some_and(|latest| occurred_at > latest)
        {
            return Err(UsageRefusal::InFuture { occurred_at, now });
        }
        Ok(())
    }

    /// What to answer when this event comes and `recorded`, with the same tenant and key, is there already.
    ///
    /// Quantities are compared as numbers: `1.50` is `1.5`.
    pub fn compare(&self, recorded: &Self) -> UsageOutcome {
        let differs = [
            (self.meter != recorded.meter, UsageField::Meter),
            (self.quantity != recorded.quantity, UsageField::Quantity),
            (self.occurred_at != recorded.occurred_at, UsageField::OccurredAt),
            (self.properties != recorded.properties, UsageField::Properties),
        ];
        match differs.into_iter().find(|(differs, _)| *differs) {
            None => UsageOutcome::Duplicate,
            Some((_, field)) => UsageOutcome::Refused(UsageRefusal::KeyReused {
                idempotency_key: self.idempotency_key.clone(),
                field,
            }),
        }
    }
}

/// Whether something can be used so much at once.
///
/// # Errors
///
/// In order: [`UsageRefusal::Negative`], [`UsageRefusal::TooLarge`], [`UsageRefusal::TooPrecise`].
pub fn check_quantity(quantity: Decimal) -> Result<(), UsageRefusal> {
    if quantity < Decimal::ZERO {
        return Err(UsageRefusal::Negative { quantity });
    }
    if quantity > QUANTITY_MAX {
        return Err(UsageRefusal::TooLarge { quantity });
    }
    if quantity.normalize().scale() > DECIMALS_MAX {
        return Err(UsageRefusal::TooPrecise { quantity });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use uuid::Uuid;

    use super::*;

    fn event(quantity: &str) -> UsageEvent {
        UsageEvent {
            idempotency_key: IdempotencyKey::new("k").unwrap(),
            tenant_id: TenantId::new(Uuid::from_u128(1)),
            meter: MeterCode::new("api").unwrap(),
            quantity: quantity.parse().unwrap(),
            occurred_at: at(100),
            properties: BTreeMap::new(),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn each_refusal_in_its_order_then_acceptance() {
        assert_eq!(QUANTITY_MAX.to_string(), "10000000000");
        let mut event = event("-10000000001.0000000000001");
        event.occurred_at = at(3701);
        for (quantity, message) in [
            (
                "-10000000001.0000000000001",
                "usage quantity must not be negative, got -10000000001.0000000000001",
            ),
            (
                "10000000000.0000000000001",
                "usage quantity must be at most 10000000000, got 10000000000.0000000000001",
            ),
            (
                "0.0000000000001",
                "usage quantity must have at most 12 decimals, got 0.0000000000001",
            ),
            (
                "10000000000",
                "usage event occurred at 1970-01-01 01:01:41 UTC, which is after 1970-01-01 00:01:40 UTC",
            ),
        ] {
            event.quantity = quantity.parse().unwrap();
            assert_eq!(event.check(at(100)).unwrap_err().to_string(), message);
        }
        event.occurred_at = at(3700);
        assert_eq!(event.check(at(100)), Ok(()));
    }

    #[test]
    fn the_same_key_again_is_a_duplicate_or_names_the_field_that_differs() {
        let first = event("1.5");
        assert_eq!(event("1.50").compare(&first), UsageOutcome::Duplicate);
        let refused = |again: &UsageEvent| match again.compare(&first) {
            UsageOutcome::Refused(refusal) => refusal.to_string(),
            outcome => panic!("{outcome:?}"),
        };
        let mut again = event("2");
        again.properties.insert("region".into(), "eu".into());
        assert_eq!(
            refused(&again),
            "usage event `k` was recorded before with another quantity"
        );
        again.quantity = first.quantity;
        assert_eq!(
            refused(&again),
            "usage event `k` was recorded before with another properties"
        );
        again.occurred_at = at(101);
        assert_eq!(
            refused(&again),
            "usage event `k` was recorded before with another occurred_at"
        );
        again.meter = MeterCode::new("gb").unwrap();
        assert_eq!(
            refused(&again),
            "usage event `k` was recorded before with another meter"
        );
    }
}
