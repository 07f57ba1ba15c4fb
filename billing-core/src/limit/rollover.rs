//! Rollover: what was left of a limit adds to that of the next window.

use alloc::borrow::Cow;

use chrono::TimeDelta;
use rust_decimal::Decimal;

use super::{Counter, window};
use crate::calendar::{Interval, Period};
use crate::plan::MeterTerms;
use crate::subscription::Subscription;
use crate::usage::UsageOverflow;

/// The window before `of` whose rest adds to the limit of `of`; none for the first since the billing anchor.
///
/// Nothing rolls over out of a trial, nor over a pause, a payment after grace or a change of the interval, all of which move the
/// anchor: what was left before was not paid for, or was paid for by another price.
pub fn window_before(
    subscription: &Subscription,
    interval: Interval,
    terms: &MeterTerms,
    of: Period,
) -> Option<Period> {
    let at = of.start.checked_sub_signed(TimeDelta::microseconds(1))?;
    let before = window(subscription, interval, terms.reset, at).ok()?;
    (before.end > subscription.anchor.at).then_some(before)
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
