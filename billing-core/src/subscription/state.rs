//! One struct per state, holding just what is valid there.

use alloc::string::String;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use crate::calendar::Period;
use crate::id::{AddOnCode, PlanId};
use crate::payment::{Collection, Debit};
use crate::plan::{Plan, ProrationRule};
use crate::usage::WindowTerm;

/// The plain name of a state.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a state is added"
)]
pub enum Status {
    /// Waits for its first payment.
    Pending,
    /// In its trial.
    Trial,
    /// Runs; the period may be paid or its invoice be collected.
    Active,
    /// Its paid time is over; in grace, restricted or lapsed by time.
    Expired,
    /// Stopped: unpaid, by an operator, or paused by the customer.
    Suspended,
    /// Ended for good.
    Canceled,
}

impl Status {
    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Trial => "trial",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Canceled => "canceled",
        }
    }
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.code())
    }
}

/// The state of a subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "status", rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a state is added"
)]
pub enum State {
    /// See [`Pending`].
    Pending(Pending),
    /// See [`Trialing`].
    Trial(Trialing),
    /// See [`Active`].
    Active(Active),
    /// See [`Expired`].
    Expired(Expired),
    /// See [`Suspended`].
    Suspended(Suspended),
    /// See [`Canceled`].
    Canceled(Canceled),
}

/// Payment comes first: nothing is granted until the first invoice is paid.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Pending {
    /// Unpaid by then, it is abandoned.
    pub pay_by: DateTime<Utc>,
    /// The first invoice.
    pub collection: Collection,
}

/// A trial: everything is granted, nothing is charged.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Trialing {
    /// When it began.
    pub trial_starts_at: DateTime<Utc>,
    /// When it is over.
    pub trial_ends_at: DateTime<Utc>,
    /// What was scheduled for the end of the trial.
    pub at_end: Option<AtPeriodEnd>,
}

/// A period runs. While `collection` is there the subscription is *renewing*: the invoice that pays for the period,
/// or for a plan change inside it, is being collected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Active {
    /// The period that runs.
    pub term: Term,
    /// The open invoice, if there is one.
    pub collection: Option<Collection>,
    /// What was scheduled for the end of the period.
    pub at_end: Option<AtPeriodEnd>,
}

/// A period of service.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Term {
    /// From when until when.
    pub period: Period,
    /// Since when the plan has been in force in this period: its start, or the last change.
    pub plan_since: DateTime<Utc>,
    /// Since when its price counts at the quantity in force: the last change of the quantity, if there was one since
    /// the plan is in force. Usage goes by `plan_since`: tiers and allowances of the period go on.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub price_since: Option<DateTime<Utc>>,
    /// What was paid for time of this period; what a credit for unused time is computed from.
    pub debits: Vec<Debit>,
    /// The period that prices and allowances are for, where the term is the rest of one that a pause had set aside: as long as
    /// that one was, and ending with the term. None where it is the term's own.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub rest_of: Option<Period>,
    /// How parts of it are counted, where that is another way than that of the plan in force: the plan changed inside it, and what
    /// was served before the change and after it must make up the whole.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub counted_by: Option<ProrationRule>,
}

impl Term {
    /// `period`, with the plan in force from its start, and what was paid for it.
    pub(super) fn of(period: Period, debits: Vec<Debit>) -> Self {
        Self {
            period,
            plan_since: period.start,
            price_since: None,
            debits,
            rest_of: None,
            counted_by: None,
        }
    }

    /// Since when a price in arrears is owed by what is in force now.
    pub(super) fn owed_since(&self) -> DateTime<Utc> {
        self.price_since.unwrap_or(self.plan_since)
    }

    /// How parts of it are counted under `plan`, which is in force.
    pub(super) fn rule(&self, plan: &Plan) -> ProrationRule {
        self.counted_by.unwrap_or(plan.proration)
    }

    /// What of it a billed window keeps.
    pub(crate) fn window_term(&self) -> WindowTerm {
        WindowTerm {
            since: self.plan_since,
            period: self.whole(),
        }
    }

    /// The period that a price is a part of by `rule`: without proration a price is that of the term, whole or not at all.
    pub(crate) fn priced_by(&self, rule: ProrationRule) -> Period {
        match rule {
            ProrationRule::Second
            | ProrationRule::Day
            | ProrationRule::StartedDay
            | ProrationRule::StartedMonth => self.whole(),
            ProrationRule::None => self.period,
        }
    }

    /// The whole period, of which prices and allowances are parts.
    pub(crate) fn whole(&self) -> Period {
        self.rest_of.unwrap_or(self.period)
    }
}

/// What happens instead of a renewal when the period is over. There is at most one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an action is added"
)]
pub enum AtPeriodEnd {
    /// It is canceled.
    Cancel {
        /// Why, in the customer's or operator's words.
        reason: String,
    },
    /// It is paused.
    Pause {
        /// When it resumes by itself.
        resume_at: Option<DateTime<Utc>>,
    },
    /// It is renewed on another plan.
    ChangePlan {
        /// The version of the plan.
        plan_id: PlanId,
    },
    /// It is renewed in another quantity.
    ChangeQuantity {
        /// How many.
        quantity: u32,
    },
    /// It is renewed with more or fewer of an add-on.
    ChangeAddOn {
        /// Which.
        add_on: AddOnCode,
        /// How many; 0 for none.
        quantity: u32,
    },
}

/// Paid time is over. Access goes on in grace, then in part, then ends: by time alone, without another step.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Expired {
    /// Why.
    pub cause: ExpiredCause,
    /// When paid time ended.
    pub ended_at: DateTime<Utc>,
    /// Until when everything stays; equal to `ended_at` without grace.
    pub grace_ends_at: DateTime<Utc>,
    /// Until when the restricted features stay; equal to `grace_ends_at` without that stage.
    pub restricted_ends_at: DateTime<Utc>,
    /// The period that a settlement within grace goes on with.
    pub resumes: Option<Term>,
    /// The open invoice, if there is one.
    pub collection: Option<Collection>,
    /// What was scheduled for the end of the period that `resumes` holds.
    pub at_end: Option<AtPeriodEnd>,
}

/// Why paid time is over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a cause is added"
)]
pub enum ExpiredCause {
    /// The trial is over and no payment method is known.
    TrialEnded,
    /// Automatic renewal is off.
    NotRenewed,
    /// The payment failed.
    PaymentFailed,
}

/// Stopped: no access, no new charge.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Suspended {
    /// Since when.
    pub suspended_at: DateTime<Utc>,
    /// Why, and what it was before.
    pub suspension: Suspension,
}

/// Why a subscription is stopped, and what is needed to put it back.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "cause", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a cause is added"
)]
pub enum Suspension {
    /// The retries are spent.
    Unpaid {
        /// Unpaid by then, it is canceled.
        retention_ends_at: DateTime<Utc>,
        /// What it was.
        held: Expired,
    },
    /// An operator stopped it. A payment does not put it back.
    Operator {
        /// Why.
        reason: String,
        /// Not reactivated by then, it is canceled.
        retention_ends_at: DateTime<Utc>,
        /// What it was.
        held: Held,
    },
    /// The customer asked for a pause.
    Paused {
        /// When it resumes by itself.
        resume_at: Option<DateTime<Utc>>,
        /// Paid time that was not used, to be served after the pause.
        carried: Option<Carried>,
        /// The invoice for what was used before the pause, if it is open.
        collection: Option<Collection>,
    },
}

/// What an operator's suspension holds.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "status", rename_all = "snake_case")
)]
#[expect(clippy::exhaustive_enums, reason = "the states that can be suspended")]
pub enum Held {
    /// See [`Trialing`].
    Trial(Trialing),
    /// See [`Active`].
    Active(Active),
    /// See [`Expired`].
    Expired(Expired),
}

/// Paid time that a pause set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Carried {
    /// How much, in microseconds; more than zero.
    pub left_micros: i64,
    /// What was paid for it.
    pub debits: Vec<Debit>,
    /// How long the whole period was, in microseconds; none if that was not kept.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub whole_micros: Option<i64>,
}

/// Ended for good. Only the invoice for what was used may still be collected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Canceled {
    /// When it ended.
    pub canceled_at: DateTime<Utc>,
    /// Why.
    pub cause: CancelCause,
    /// The closing invoice, if it is open.
    pub collection: Option<Collection>,
}

/// Why a subscription ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "cause", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a cause is added"
)]
pub enum CancelCause {
    /// It was asked for.
    Requested {
        /// Why, in the customer's or operator's words.
        reason: String,
    },
    /// The first invoice was not paid in time.
    Abandoned,
    /// The trial was over, no payment method was known, and the plan says so.
    TrialEnded,
    /// It was suspended for longer than the plan keeps it.
    RetentionOver,
}

impl State {
    /// Stands in while a decision is made: no subscription leaves core with it.
    pub(super) const UNDECIDED: Self = Self::Trial(Trialing {
        trial_starts_at: DateTime::UNIX_EPOCH,
        trial_ends_at: DateTime::UNIX_EPOCH,
        at_end: None,
    });

    /// The plain name.
    pub const fn status(&self) -> Status {
        match self {
            Self::Pending(_) => Status::Pending,
            Self::Trial(_) => Status::Trial,
            Self::Active(_) => Status::Active,
            Self::Expired(_) => Status::Expired,
            Self::Suspended(_) => Status::Suspended,
            Self::Canceled(_) => Status::Canceled,
        }
    }

    /// Everything that is debited for time to come, wherever it is kept.
    pub(super) fn debits_mut(&mut self) -> Vec<&mut Debit> {
        fn of<'a>(
            term: Option<&'a mut Term>,
            collection: Option<&'a mut Collection>,
        ) -> impl Iterator<Item = &'a mut Debit> {
            let collected = collection
                .into_iter()
                .flat_map(|collection| &mut collection.debits);
            term.into_iter()
                .flat_map(|term| &mut term.debits)
                .chain(collected)
        }
        fn of_expired(expired: &mut Expired) -> Vec<&mut Debit> {
            of(expired.resumes.as_mut(), expired.collection.as_mut()).collect()
        }
        match self {
            Self::Trial(_) => Vec::new(),
            Self::Pending(pending) => pending.collection.debits.iter_mut().collect(),
            Self::Active(active) => of(Some(&mut active.term), active.collection.as_mut()).collect(),
            Self::Expired(expired) => of_expired(expired),
            Self::Suspended(suspended) => match &mut suspended.suspension {
                Suspension::Unpaid { held, .. } => of_expired(held),
                Suspension::Operator { held, .. } => match held {
                    Held::Trial(_) => Vec::new(),
                    Held::Active(active) => of(Some(&mut active.term), active.collection.as_mut()).collect(),
                    Held::Expired(expired) => of_expired(expired),
                },
                Suspension::Paused {
                    carried, collection, ..
                } => {
                    let carried = carried.iter_mut().flat_map(|carried| &mut carried.debits);
                    carried.chain(of(None, collection.as_mut())).collect()
                }
            },
            Self::Canceled(canceled) => of(None, canceled.collection.as_mut()).collect(),
        }
    }

    /// Whether no period has been paid for since a trial, or since the beginning: what was bought in that time is not owed.
    pub(super) const fn never_was_paid(&self) -> bool {
        const fn of(expired: &Expired) -> bool {
            matches!(expired.cause, ExpiredCause::TrialEnded)
        }
        match self {
            Self::Pending(_) | Self::Trial(_) => true,
            Self::Expired(expired) => of(expired),
            Self::Suspended(suspended) => match &suspended.suspension {
                Suspension::Unpaid { held, .. } => of(held),
                Suspension::Operator { held, .. } => match held {
                    Held::Trial(_) => true,
                    Held::Active(_) => false,
                    Held::Expired(expired) => of(expired),
                },
                Suspension::Paused { .. } => false,
            },
            Self::Active(_) | Self::Canceled(_) => false,
        }
    }

    /// The open invoice and where collecting it stands.
    pub const fn collection(&self) -> Option<&Collection> {
        match self {
            Self::Pending(pending) => Some(&pending.collection),
            Self::Trial(_) => None,
            Self::Active(active) => active.collection.as_ref(),
            Self::Expired(expired) => expired.collection.as_ref(),
            Self::Suspended(suspended) => match &suspended.suspension {
                Suspension::Unpaid { held, .. } => held.collection.as_ref(),
                Suspension::Operator { held, .. } => match held {
                    Held::Trial(_) => None,
                    Held::Active(active) => active.collection.as_ref(),
                    Held::Expired(expired) => expired.collection.as_ref(),
                },
                Suspension::Paused { collection, .. } => collection.as_ref(),
            },
            Self::Canceled(canceled) => canceled.collection.as_ref(),
        }
    }

    /// What is scheduled for the end of the period, also of one that a suspension holds.
    pub const fn at_end(&self) -> Option<&AtPeriodEnd> {
        match self {
            Self::Pending(_) | Self::Canceled(_) => None,
            Self::Trial(trial) => trial.at_end.as_ref(),
            Self::Active(active) => active.at_end.as_ref(),
            Self::Expired(expired) => expired.at_end.as_ref(),
            Self::Suspended(suspended) => match &suspended.suspension {
                Suspension::Unpaid { held, .. } => held.at_end.as_ref(),
                Suspension::Operator { held, .. } => match held {
                    Held::Trial(trial) => trial.at_end.as_ref(),
                    Held::Active(active) => active.at_end.as_ref(),
                    Held::Expired(expired) => expired.at_end.as_ref(),
                },
                Suspension::Paused { .. } => None,
            },
        }
    }

    /// When the next step falls due by time alone.
    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        let retry = |collection: &Option<Collection>| collection.as_ref().and_then(Collection::next_due);
        match self {
            Self::Pending(pending) => Some(pending.pay_by),
            Self::Trial(trial) => Some(trial.trial_ends_at),
            // While an invoice is collected its payment decides what comes next, not time.
            Self::Active(active) if active.collection.is_some() => None,
            Self::Active(active) => Some(active.term.period.end),
            Self::Expired(expired) => retry(&expired.collection),
            Self::Suspended(suspended) => match &suspended.suspension {
                Suspension::Unpaid {
                    retention_ends_at, ..
                }
                | Suspension::Operator {
                    retention_ends_at, ..
                } => Some(*retention_ends_at),
                Suspension::Paused {
                    resume_at,
                    collection,
                    ..
                } => [*resume_at, retry(collection)].into_iter().flatten().min(),
            },
            Self::Canceled(canceled) => retry(&canceled.collection),
        }
    }
}
