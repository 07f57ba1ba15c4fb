//! Rollover: what was left of a limit adds to that of the next window.

use alloc::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::{Counter, window};
use crate::calendar::{Interval, Period};
use crate::plan::MeterTerms;
use crate::subscription::Subscription;
use crate::usage::UsageOverflow;

/// The window before `of` whose rest adds to the limit of `of`; none where that began before the billing anchor or before the
/// plan came into force.
///
/// Nothing rolls over out of a trial, nor over a pause, a payment after grace or a change of plan: what was left before was not
/// paid for, or was left of another limit.
pub fn window_before(
    subscription: &Subscription,
    interval: Interval,
    terms: &MeterTerms,
    of: Period,
) -> Option<Period> {
    let at = of.start.checked_sub_signed(TimeDelta::microseconds(1))?;
    let before = window(subscription, interval, terms.reset, at).ok()?;
    counts_from(subscription)
        .is_some_and(|from| from <= before.start)
        .then_some(before)
}

/// The window after `of`, if what it used of its rest was taken from `of`.
pub fn window_after(
    subscription: &Subscription,
    interval: Interval,
    terms: &MeterTerms,
    of: Period,
) -> Option<Period> {
    let after = window(subscription, interval, terms.reset, of.end).ok()?;
    counts_from(subscription)
        .is_some_and(|from| from <= of.start)
        .then_some(after)
}

/// From when on windows hand on what they leave.
fn counts_from(subscription: &Subscription) -> Option<DateTime<Utc>> {
    subscription
        .plan_since
        .into_iter()
        .chain([subscription.anchor.at])
        .max()
}

/// `terms` in a window when `before` is what the window before it used: the hard limit is larger by what was left, at most by
/// [`rollover_max`](MeterTerms::rollover_max).
///
/// The own limit of a window is used up first, so what was left is the limit less what was used, and what rolled over once does
/// not roll over again.
///
/// # Errors
///
/// [`UsageOverflow`].
///
/// # Example: at most 30 of the 60 that were left
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use billing_core::limit::{Counter, with_rollover};
/// use billing_core::plan::MeterTerms;
///
/// let terms: MeterTerms = serde_json::from_str(
///     r#"{"hard_limit": "100", "rollover_max": "30", "charge": {"per_unit": {"unit_price": "0"}}}"#).unwrap();
/// let used = |used: i64| Counter { used: used.into(), ..Counter::default() };
/// let limit = |before: i64| with_rollover(&terms, &used(before)).unwrap().hard_limit.unwrap();
/// assert_eq!(limit(40), 130.into());
/// assert_eq!(limit(90), 110.into());
/// // In a window with 130, 120 were used: nothing of its own 100 is left.
/// assert_eq!(limit(120), 100.into());
/// # }
/// ```
pub fn with_rollover<'a>(
    terms: &'a MeterTerms,
    before: &Counter,
) -> Result<Cow<'a, MeterTerms>, UsageOverflow> {
    let (Some(limit), Some(most)) = (terms.hard_limit, terms.rollover_max) else {
        return Ok(Cow::Borrowed(terms));
    };
    let left = limit.checked_sub(before.taken()?).ok_or(UsageOverflow)?;
    let rolled = left.clamp(Decimal::ZERO, most.max(Decimal::ZERO));
    if rolled.is_zero() {
        return Ok(Cow::Borrowed(terms));
    }
    Ok(Cow::Owned(MeterTerms {
        hard_limit: Some(limit.checked_add(rolled).ok_or(UsageOverflow)?),
        ..terms.clone()
    }))
}

/// `terms` in a window when `after` is what the window after it has used: what that used beyond its own limit it had from here,
/// so that late usage cannot use it once more.
///
/// # Errors
///
/// [`UsageOverflow`].
pub fn less_rolled_over<'a>(
    terms: Cow<'a, MeterTerms>,
    own_limit: Option<Decimal>,
    after: &Counter,
) -> Result<Cow<'a, MeterTerms>, UsageOverflow> {
    let (Some(limit), Some(own), Some(most)) = (terms.hard_limit, own_limit, terms.rollover_max) else {
        return Ok(terms);
    };
    let beyond = after.taken()?.checked_sub(own).ok_or(UsageOverflow)?;
    let taken = beyond.clamp(Decimal::ZERO, most.max(Decimal::ZERO));
    if taken.is_zero() {
        return Ok(terms);
    }
    let left = limit.checked_sub(taken).ok_or(UsageOverflow)?;
    Ok(Cow::Owned(MeterTerms {
        hard_limit: Some(left.max(Decimal::ZERO)),
        ..terms.into_owned()
    }))
}
