//! The outbox: jobs that wait to be performed, and what became of them.
//!
//! A worker *leases* a job, performs it, and *finishes* it: done, to be tried again, or parked for a person. A lease has an end,
//! so that a worker that was stopped holds nothing back; and a number, so that one that was only slow, and whose job another
//! has taken meanwhile, cannot finish it. So a job is performed at least once, and its effect, under the job's
//! [idempotency key](crate::subscription::Effect::idempotency_key), once.

use alloc::string::String;

use chrono::{DateTime, Utc};

use crate::id::{JobId, SubscriptionId};
use crate::subscription::Effect;

/// A job of the outbox: an effect that waits to be performed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Job {
    /// Its id, given by the engine.
    pub id: JobId,
    /// For which subscription.
    pub subscription_id: SubscriptionId,
    /// What is to be done. A second job with the same [key](Effect::idempotency_key) is not kept.
    pub effect: Effect,
    /// When it was decided.
    pub created_at: DateTime<Utc>,
}

/// A job that a worker has taken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what a store hands out")]
pub struct LeasedJob {
    /// The job.
    pub job: Job,
    /// How often it was taken, this time included: what a worker finishes it by. Above 1, an earlier try may have gone through.
    pub lease: u32,
}

/// What a worker made of a job.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "result", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a store must fail to compile when a result is added"
)]
pub enum JobResult {
    /// It was performed, or there is nothing left to do.
    Done {
        /// What came of it, for a person, such as a provider's id.
        note: String,
    },
    /// It is to be taken again.
    Again {
        /// Not before.
        at: DateTime<Utc>,
        /// Why, for a person.
        because: String,
    },
    /// A person has to look: it is not taken again by itself.
    Parked {
        /// Why, for that person.
        because: String,
    },
}

/// A job and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "what a store knows")]
pub struct JobStatus {
    /// The job.
    pub job: Job,
    /// How often it was taken.
    pub leases: u32,
    /// Where it stands.
    pub state: JobState,
    /// What the last worker said of it; empty before one did.
    pub note: String,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a state is added"
)]
pub enum JobState {
    /// It may be taken from then on: a worker that holds it has until then.
    Waiting {
        /// When.
        until: DateTime<Utc>,
    },
    /// It was performed.
    Done {
        /// When.
        done_at: DateTime<Utc>,
    },
    /// It waits for a person.
    Parked {
        /// Since when.
        parked_at: DateTime<Utc>,
    },
}
