//! A state in one line, as a table of transitions shows it.

use std::format;
use std::string::String;

use chrono::{DateTime, Timelike as _, Utc};

use super::super::*;
use crate::payment::{Collection, CollectionPhase};

pub(super) fn describe(sub: &Subscription) -> String {
    match &sub.state {
        State::Pending(pending) => {
            format!(
                "pending until {}{}",
                day(pending.pay_by),
                collecting(Some(&pending.collection))
            )
        }
        State::Trial(trial) => of_trial(trial),
        State::Active(active) => of_active(active),
        State::Expired(expired) => of_expired(expired),
        State::Suspended(suspended) => {
            let since = day(suspended.suspended_at);
            match &suspended.suspension {
                Suspension::Unpaid {
                    retention_ends_at,
                    held,
                } => {
                    format!(
                        "unpaid {since} to {} [{}]",
                        day(*retention_ends_at),
                        of_expired(held)
                    )
                }
                Suspension::Operator {
                    reason,
                    retention_ends_at,
                    held,
                } => {
                    let held = match held {
                        Held::Trial(trial) => of_trial(trial),
                        Held::Active(active) => of_active(active),
                        Held::Expired(expired) => of_expired(expired),
                    };
                    format!(
                        "stopped ({reason}) {since} to {} [{held}]",
                        day(*retention_ends_at)
                    )
                }
                Suspension::Paused {
                    resume_at,
                    carried,
                    collection,
                } => {
                    let until = resume_at.map_or_else(String::new, |at| format!(" to {}", day(at)));
                    let carried = carried.as_ref().map_or_else(String::new, |carried| {
                        format!(", {} days set aside", carried.left_micros / 86_400_000_000)
                    });
                    format!(
                        "paused {since}{until}{carried}{}",
                        collecting(collection.as_ref())
                    )
                }
            }
        }
        State::Canceled(canceled) => {
            let cause = match &canceled.cause {
                CancelCause::Requested { reason } => reason,
                CancelCause::Abandoned => "abandoned",
                CancelCause::TrialEnded => "trial ended",
                CancelCause::RetentionOver => "retention over",
            };
            format!(
                "canceled {} ({cause}){}",
                day(canceled.canceled_at),
                collecting(canceled.collection.as_ref())
            )
        }
    }
}

/// The day; with the time if it is not midnight.
fn day(at: DateTime<Utc>) -> String {
    let midnight = at.num_seconds_from_midnight() == 0 && at.nanosecond() == 0;
    format!("{}", at.format(if midnight { "%m-%d" } else { "%m-%dT%H:%M" }))
}

fn of_trial(trial: &Trialing) -> String {
    format!(
        "trial to {}{}",
        day(trial.trial_ends_at),
        then(trial.at_end.as_ref())
    )
}

fn of_active(active: &Active) -> String {
    let Active {
        term,
        collection,
        at_end,
    } = active;
    let since = if term.plan_since == term.period.start {
        String::new()
    } else {
        format!(" since {}", day(term.plan_since))
    };
    let (start, end) = (day(term.period.start), day(term.period.end));
    format!(
        "active {start} to {end}{since}{}{}",
        then(at_end.as_ref()),
        collecting(collection.as_ref())
    )
}

fn of_expired(expired: &Expired) -> String {
    let cause = match expired.cause {
        ExpiredCause::TrialEnded => "trial ended",
        ExpiredCause::NotRenewed => "not renewed",
        ExpiredCause::PaymentFailed => "payment failed",
    };
    let grace = if expired.grace_ends_at == expired.ended_at {
        String::new()
    } else {
        format!(", grace to {}", day(expired.grace_ends_at))
    };
    let then = then(expired.at_end.as_ref());
    format!(
        "expired {} ({cause}){grace}{then}{}",
        day(expired.ended_at),
        collecting(expired.collection.as_ref())
    )
}

fn then(at_end: Option<&AtPeriodEnd>) -> String {
    match at_end {
        None => String::new(),
        Some(AtPeriodEnd::Cancel { .. }) => ", then canceled".into(),
        Some(AtPeriodEnd::Pause { .. }) => ", then paused".into(),
        Some(AtPeriodEnd::ChangeQuantity { quantity }) => format!(", then {quantity} seats"),
        Some(AtPeriodEnd::ChangeAddOn { add_on, quantity }) => format!(", then {quantity} of {add_on}"),
        Some(AtPeriodEnd::ChangePlan { plan_id }) => format!(", then on {}", plan_id.uuid().as_u128()),
    }
}

fn collecting(collection: Option<&Collection>) -> String {
    let Some(collection) = collection else {
        return String::new();
    };
    let phase = match collection.phase {
        CollectionPhase::Charging => format!("attempt {}", collection.attempts),
        CollectionPhase::Waiting { retry_at } => format!("again {}", day(retry_at)),
        CollectionPhase::AwaitingCustomer { until } => format!("asked to {}", day(until)),
        CollectionPhase::Spent => "spent".into(),
    };
    format!("; {}, {phase}", collection.amount)
}
