//! What time makes of a state: derived on every check, never stored.

use chrono::{DateTime, Utc};

use super::Subscription;
use super::state::{AtPeriodEnd, Expired, State, Suspended, Suspension};
use crate::calendar;

/// How a subscription stands at an instant. Right even when a step that is due was not taken yet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when one is added"
)]
pub enum Standing {
    /// In its trial or a paid period: everything is granted.
    Current,
    /// The payment for the period, or for a change inside it, is being collected: everything is granted.
    Renewing,
    /// Paid time is over, grace runs: everything is granted.
    InGrace,
    /// Grace is over: the restricted features are granted.
    Restricted,
    /// Nothing is granted: no paid time, no grace; or not begun, stopped or ended.
    Lapsed,
}

impl Subscription {
    /// How it stands at `now`.
    ///
    /// # When no sweep has run
    ///
    /// A period that is over while automatic renewal is on counts as [`Standing::Renewing`] until the renewal was
    /// decided: a late sweep must not lock out a customer who pays, nor one whose pause is over. With a scheduled
    /// cancellation or pause it is [`Standing::Lapsed`] at once, also while its payment is being collected, and without
    /// automatic renewal grace begins at once.
    pub fn standing(&self, now: DateTime<Utc>) -> Standing {
        match &self.state {
            State::Suspended(Suspended {
                suspension:
                    Suspension::Paused {
                        resume_at: Some(resume_at),
                        ..
                    },
                ..
            }) if *resume_at <= now => Standing::Renewing,
            State::Pending(_) | State::Suspended(_) | State::Canceled(_) => Standing::Lapsed,
            State::Trial(trial) if now < trial.trial_ends_at => Standing::Current,
            State::Trial(trial) => match &trial.at_end {
                Some(AtPeriodEnd::Cancel { .. }) => Standing::Lapsed,
                Some(
                    AtPeriodEnd::Pause { .. }
                    | AtPeriodEnd::ChangePlan { .. }
                    | AtPeriodEnd::ChangeQuantity { .. }
                    | AtPeriodEnd::ChangeAddOn { .. },
                )
                | None => {
                    if self.pays_after_trial() {
                        Standing::Renewing
                    } else {
                        Standing::Lapsed
                    }
                }
            },
            State::Active(active) if now < active.term.period.end => match active.collection {
                Some(_) => Standing::Renewing,
                None => Standing::Current,
            },
            State::Active(active) => match &active.at_end {
                Some(AtPeriodEnd::Pause {
                    resume_at: Some(resume_at),
                }) if *resume_at <= now => Standing::Renewing,
                Some(AtPeriodEnd::Cancel { .. } | AtPeriodEnd::Pause { .. }) => Standing::Lapsed,
                Some(
                    AtPeriodEnd::ChangePlan { .. }
                    | AtPeriodEnd::ChangeQuantity { .. }
                    | AtPeriodEnd::ChangeAddOn { .. },
                )
                | None
                    if active.collection.is_some() || self.auto_renew =>
                {
                    Standing::Renewing
                }
                Some(
                    AtPeriodEnd::ChangePlan { .. }
                    | AtPeriodEnd::ChangeQuantity { .. }
                    | AtPeriodEnd::ChangeAddOn { .. },
                )
                | None => match self.access.ends(active.term.period.end, &self.anchor) {
                    Ok((grace_ends_at, restricted_ends_at)) => {
                        after_paid_time(now, grace_ends_at, restricted_ends_at)
                    }
                    Err(_) => Standing::Lapsed,
                },
            },
            State::Expired(Expired {
                grace_ends_at,
                restricted_ends_at,
                ..
            }) => after_paid_time(now, *grace_ends_at, *restricted_ends_at),
        }
    }

    /// Whether paid time is over and grace runs.
    pub fn is_in_grace_period(&self, now: DateTime<Utc>) -> bool {
        self.standing(now) == Standing::InGrace
    }

    /// The days, begun ones included, until the end of what now grants access: the trial, the period, grace or the
    /// restricted stage. 0 when nothing does, and while a payment is being collected.
    pub fn remaining_days(&self, now: DateTime<Utc>) -> u32 {
        let ends = match (&self.state, self.standing(now)) {
            (_, Standing::Lapsed | Standing::Renewing) => return 0,
            (State::Trial(trial), _) => Some(trial.trial_ends_at),
            (State::Active(active), Standing::Current) => Some(active.term.period.end),
            (State::Active(active), standing) => {
                let ends = self.access.ends(active.term.period.end, &self.anchor).ok();
                ends.map(|(grace, restricted)| {
                    if standing == Standing::InGrace {
                        grace
                    } else {
                        restricted
                    }
                })
            }
            (State::Expired(expired), Standing::InGrace) => Some(expired.grace_ends_at),
            (State::Expired(expired), _) => Some(expired.restricted_ends_at),
            (State::Pending(_) | State::Suspended(_) | State::Canceled(_), _) => None,
        };
        ends.map_or(0, |ends| calendar::days_left(now, ends))
    }
}

fn after_paid_time(
    now: DateTime<Utc>,
    grace_ends_at: DateTime<Utc>,
    restricted_ends_at: DateTime<Utc>,
) -> Standing {
    if now < grace_ends_at {
        Standing::InGrace
    } else if now < restricted_ends_at {
        Standing::Restricted
    } else {
        Standing::Lapsed
    }
}
