//! Limits: what a meter still allows in a window of time.
//!
//! A store keeps one [`Counter`] per tenant, meter and [`window`], in the transaction that records an event, so a
//! [`check`] costs the same however many events there are. Who only asks gets an answer that may be old a moment later;
//! who must not pass the limit consumes or reserves, and the store checks and records in one transaction.

mod rollover;

use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::aggregation::Aggregation;
use crate::calendar::{self, CalendarError, Interval, IntervalUnit, Period};
use crate::id::{IdempotencyKey, MeterCode, TenantId};
use crate::plan::{LimitReset, MeterTerms, Plan};
use crate::subscription::{Standing, State, Subscription};
use crate::usage::{UsageEvent, UsageOutcome, UsageOverflow, UsageRefusal, add_quantities};

pub use self::rollover::{less_rolled_over, window_after, window_before, with_rollover};

/// Which counter: that of a tenant's meter over one window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CounterKey {
    /// Whose usage.
    pub tenant_id: TenantId,
    /// Of what.
    pub meter: MeterCode,
    /// What occurred when.
    pub window: Period,
    /// How its events add up: one that has a [running total](Aggregation::has_running_total).
    pub aggregation: Aggregation,
}

/// What a meter has used up in a window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Counter {
    /// What the events add up to: of a weighted sum what is held.
    pub used: Decimal,
    /// What leases hold that are not over.
    pub reserved: Decimal,
    /// How many events there are.
    pub events: u64,
}

impl Counter {
    /// What is taken: used and reserved.
    ///
    /// # Errors
    ///
    /// [`UsageOverflow`].
    pub fn taken(&self) -> Result<Decimal, UsageOverflow> {
        add_quantities(self.used, self.reserved)
    }

    /// Whether `quantity` more stays within `hard_limit`: exactly at the limit is within.
    ///
    /// # Errors
    ///
    /// [`UsageOverflow`].
    pub fn admits(
        &self,
        aggregation: &Aggregation,
        quantity: Decimal,
        hard_limit: Option<Decimal>,
    ) -> Result<bool, UsageOverflow> {
        let after = aggregation.running(self.taken()?, quantity, true)?;
        Ok(hard_limit.is_none_or(|limit| after <= limit))
    }

    /// Counts one event of the window. `is_latest` tells whether none that is counted occurred after it.
    ///
    /// # Errors
    ///
    /// [`UsageOverflow`].
    pub fn record(
        &mut self,
        aggregation: &Aggregation,
        quantity: Decimal,
        is_latest: bool,
    ) -> Result<(), UsageOverflow> {
        let quantity = aggregation.counted(quantity);
        self.used = aggregation.running(self.used, quantity, is_latest)?;
        self.events = self.events.saturating_add(1);
        Ok(())
    }
}

/// What a meter answers to a quantity.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct LimitAnswer {
    /// Whether the quantity passes.
    pub allowed: bool,
    /// What is taken before it, leases included.
    pub taken: Decimal,
    /// The hard limit, if there is one.
    pub hard_limit: Option<Decimal>,
    /// The largest quantity that passes now; none without a hard limit.
    pub remaining: Option<Decimal>,
    /// How much of the hard limit, or else of the soft limit, or else of the allowance, is taken after the quantity, or
    /// without it when it is refused: 0.8 is 80 %. Cut at four decimals; none when the meter has none of the three.
    pub fraction: Option<Decimal>,
    /// What is to be told, from the lowest on.
    pub warnings: Vec<LimitWarning>,
}

/// A mark that is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct LimitWarning {
    /// Which.
    pub mark: LimitMark,
    /// The quantity at which it stands.
    pub at: Decimal,
    /// Whether it is this quantity that reaches it. Of those who consume in a window just one is told so and can send word,
    /// unless what it counted was only held and is released.
    pub crossed: bool,
}

/// What a warning is about.
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
pub enum LimitMark {
    /// A fraction of the limit that the plan names, such as 0.8.
    Fraction(Decimal),
    /// The allowance: what follows costs extra.
    Allowance,
    /// The soft limit.
    SoftLimit,
}

/// What `terms` answer to `quantity` more when `counter` is taken.
///
/// # Errors
///
/// [`UsageOverflow`].
///
/// # Example: what would pass when it is too much
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use billing_core::limit::{Counter, check};
/// use billing_core::plan::MeterTerms;
///
/// let terms: MeterTerms =
///     serde_json::from_str(r#"{"hard_limit": "100", "charge": {"per_unit": {"unit_price": "0"}}}"#).unwrap();
/// let counter = Counter { used: 90.into(), ..Counter::default() };
/// let answer = check(&terms, &counter, 11.into()).unwrap();
/// assert!(!answer.allowed);
/// assert_eq!(answer.remaining, Some(10.into()));
/// assert!(check(&terms, &counter, 10.into()).unwrap().allowed, "exactly at the limit is within it");
/// # }
/// ```
pub fn check(terms: &MeterTerms, counter: &Counter, quantity: Decimal) -> Result<LimitAnswer, UsageOverflow> {
    let taken = counter.taken()?;
    let aggregation = &terms.aggregation;
    // As `Counter::admits`, whose sums are needed here too.
    let more = aggregation.running(taken, quantity, true)?;
    let allowed = terms.hard_limit.is_none_or(|limit| more <= limit);
    let after = if allowed { more } else { taken };
    let whole = terms
        .hard_limit
        .or(terms.soft_limit)
        .or((!terms.allowance.is_zero()).then_some(terms.allowance));
    let mut warnings = Vec::new();
    let mut warn = |mark: LimitMark, at: Decimal| {
        if after >= at {
            let crossed = taken < at;
            warnings.push(LimitWarning { mark, at, crossed });
        }
    };
    if !terms.allowance.is_zero() {
        warn(LimitMark::Allowance, terms.allowance);
    }
    if let Some(soft) = terms.soft_limit {
        warn(LimitMark::SoftLimit, soft);
    }
    if let Some(whole) = whole {
        for fraction in &terms.warn_at {
            warn(
                LimitMark::Fraction(*fraction),
                whole.checked_mul(*fraction).ok_or(UsageOverflow)?,
            );
        }
    }
    warnings.sort_by_key(|warning| warning.at);
    Ok(LimitAnswer {
        allowed,
        taken,
        hard_limit: terms.hard_limit,
        // A limit may be lowered below what is taken already.
        remaining: match terms.hard_limit {
            Some(limit) if !aggregation.is_additive() => Some(limit),
            Some(limit) => Some(limit.checked_sub(taken).ok_or(UsageOverflow)?.max(Decimal::ZERO)),
            None => None,
        },
        fraction: whole.and_then(|whole| fraction(after, whole)),
        warnings,
    })
}

/// The decimals of a [`LimitAnswer::fraction`].
const FRACTION_DECIMALS: u32 = 4;

/// Which part of `whole` it is, cut at four decimals; none of nothing.
fn fraction(part: Decimal, whole: Decimal) -> Option<Decimal> {
    let Some(mut parts) = ten_thousandths(part, whole) else {
        let fraction = part.checked_div(whole)?;
        return Some(fraction.trunc_with_scale(FRACTION_DECIMALS).normalize());
    };
    let mut scale = FRACTION_DECIMALS;
    while scale > 0 && parts.checked_rem(10) == Some(0) {
        parts = parts.checked_div(10)?;
        scale = scale.saturating_sub(1);
    }
    Some(Decimal::new(parts, scale))
}

/// The same in ten-thousandths, if it can be computed with 64 bits: a decimal divides to 28 digits, which took most of the
/// time of a check.
fn ten_thousandths(part: Decimal, whole: Decimal) -> Option<i64> {
    let scaled = |number: Decimal, by: u32| {
        let mantissa = i64::try_from(number.mantissa()).ok()?;
        mantissa.checked_mul(10_i64.checked_pow(by)?)
    };
    let (part_scale, whole_scale) = (part.scale(), whole.scale().saturating_add(FRACTION_DECIMALS));
    let part = scaled(part, whole_scale.saturating_sub(part_scale))?;
    part.checked_div(scaled(whole, part_scale.saturating_sub(whole_scale))?)
}

/// The terms by which `subscription`, whose plan in force is `plan`, measures `meter` at `now`: none when it does not, and
/// none when nothing is granted, since what may not be used is not counted against a limit.
pub fn terms<'a>(
    subscription: &Subscription,
    plan: &'a Plan,
    meter: &MeterCode,
    now: DateTime<Utc>,
) -> Option<&'a MeterTerms> {
    let in_force = subscription.is_live() && subscription.standing(now) != Standing::Lapsed;
    plan.meters.get(meter).filter(|_| in_force)
}

/// The window of `at` in which a meter of `subscription` is counted.
///
/// `interval` is that of the plan in force. With [`LimitReset::BillingPeriod`] it is the period that contains `at`, and the
/// trial counts as one. Time before the anchor, which a change may have moved, goes by the calendar of the billing zone, by
/// months at most: which periods there were is not known any more.
///
/// # Errors
///
/// [`CalendarError`]: [`BeforeAnchor`](CalendarError::BeforeAnchor) when `at` lies before the subscription.
pub fn window(
    subscription: &Subscription,
    interval: Interval,
    reset: LimitReset,
    at: DateTime<Utc>,
) -> Result<Period, CalendarError> {
    if at < subscription.created_at {
        return Err(CalendarError::BeforeAnchor {
            instant: at,
            anchor: subscription.created_at,
        });
    }
    match reset {
        LimitReset::Calendar(interval) => calendar::calendar_period(interval, subscription.anchor.zone, at),
        LimitReset::BillingPeriod => billing_period(subscription, interval, at),
    }
}

fn billing_period(
    subscription: &Subscription,
    interval: Interval,
    at: DateTime<Utc>,
) -> Result<Period, CalendarError> {
    let term = subscription.term().map(|term| term.period);
    if let Some(term) = term.filter(|term| term.contains(at)) {
        return Ok(term);
    }
    let anchor = subscription.anchor;
    if at >= anchor.at {
        return anchor.period(interval, anchor.index_at(interval, at)?);
    }
    match &subscription.state {
        State::Trial(trial) if at >= trial.trial_starts_at => Period::new(trial.trial_starts_at, anchor.at),
        State::Trial(_)
        | State::Pending(_)
        | State::Active(_)
        | State::Expired(_)
        | State::Suspended(_)
        | State::Canceled(_) => {
            let step = match interval.unit {
                IntervalUnit::Day | IntervalUnit::Week => interval,
                IntervalUnit::Month | IntervalUnit::Year => Interval::MONTHLY,
            };
            let around = calendar::calendar_period(step, anchor.zone, at)?;
            let begun = term.map_or(anchor.at, |term| term.start.min(anchor.at));
            Period::new(
                around.start.max(subscription.created_at),
                if at < begun {
                    around.end.min(begun)
                } else {
                    around.end.min(anchor.at)
                },
            )
        }
    }
}

/// An event that is recorded only if it stays within its limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Consumption {
    /// The event.
    pub event: UsageEvent,
    /// The window in which it is counted; it contains `occurred_at`.
    pub window: Period,
    /// How the meter's events add up.
    pub aggregation: Aggregation,
    /// What must not be passed; none for a meter without a hard limit.
    pub hard_limit: Option<Decimal>,
}

/// What became of one event of a batch that is recorded whole or not at all.
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
pub enum Consumed {
    /// Recorded. The counter as it was before.
    Accepted(Counter),
    /// Recorded before with the same content; nothing has changed. The counter as it is.
    Duplicate(Counter),
    /// It would pass the hard limit. The counter as it is, the events of the batch before this one counted.
    OverLimit(Counter),
    /// It cannot be recorded.
    Refused(UsageRefusal),
    /// Not recorded, since another of the batch was not.
    Withheld,
}

impl Consumed {
    /// Whether it keeps the batch from being recorded.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Accepted(_) | Self::Duplicate(_) | Self::Withheld => false,
            Self::OverLimit(_) | Self::Refused(_) => true,
        }
    }
}

/// A quantity that is held until it is settled, released, or its time is over.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Lease {
    /// Who holds it.
    pub tenant_id: TenantId,
    /// Its name, and the key of the event that settles it.
    pub key: IdempotencyKey,
    /// Of what.
    pub meter: MeterCode,
    /// The window in which it counts.
    pub window: Period,
    /// How the meter's events add up: one of those that are [additive](Aggregation::is_additive).
    #[cfg_attr(feature = "serde", serde(default))]
    pub aggregation: Aggregation,
    /// How much.
    pub quantity: Decimal,
    /// When it frees itself.
    pub expires_at: DateTime<Utc>,
}

/// What became of a lease that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an outcome is added"
)]
pub enum Reserved {
    /// It is held. The counter as it was before.
    Held(Counter),
    /// It is held already; nothing has changed.
    Duplicate(Counter),
    /// It was held, and was settled, released, or over since: nothing is held.
    Ended,
    /// Its key is taken by another lease, or by an event.
    KeyReused,
    /// It would pass the hard limit. The counter as it is.
    OverLimit(Counter),
}

/// What became of the settlement of a lease.
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
pub enum Settled {
    /// There is no such lease; nothing was recorded.
    Unknown,
    /// It was released before; nothing was recorded.
    Released,
    /// The event's fate. What was used is recorded whatever the limit says, also when the lease was over by then.
    Recorded(UsageOutcome),
}

/// A counter that is not what its events add up to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CounterFault {
    /// Which.
    pub key: CounterKey,
    /// What it says.
    pub found: Counter,
    /// What the events say.
    pub expected: Counter,
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The quick way and the way of decimals are one function, to the letter.
        #[test]
        fn a_fraction_is_the_quotient_cut_at_four_decimals(
            part in 0_i64..10_000_000_000, whole in 0_i64..10_000_000_000, scales in (0_u32..=12, 0_u32..=12),
        ) {
            let (part, whole) = (Decimal::new(part, scales.0), Decimal::new(whole, scales.1));
            let quotient = part.checked_div(whole).map(|quotient| quotient.trunc_with_scale(4).normalize());
            let found = fraction(part, whole).map(|found| found.to_string());
            prop_assert_eq!(found, quotient.map(|quotient| quotient.to_string()));
        }
    }
}
