use alloc::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::TenantId;
use crate::validate::Faults;

/// The most that a limit may allow: more is no limit.
const COUNT_MAX: u32 = 1_000_000;

/// Fewer cells than this are never looked through for those that are over.
const CELLS_KEPT: usize = 1_024;

/// What a tenant may do only so often.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an action is added"
)]
pub enum RateAction {
    /// Create a subscription.
    SubscriptionCreate,
    /// Change a subscription otherwise than its plan.
    SubscriptionUpdate,
    /// Change its plan.
    PlanChange,
    /// Start a payment.
    PaymentInitiate,
}

impl RateAction {
    /// Every action.
    pub const ALL: [Self; 4] = [
        Self::SubscriptionCreate,
        Self::SubscriptionUpdate,
        Self::PlanChange,
        Self::PaymentInitiate,
    ];

    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SubscriptionCreate => "subscription_create",
            Self::SubscriptionUpdate => "subscription_update",
            Self::PlanChange => "plan_change",
            Self::PaymentInitiate => "payment_initiate",
        }
    }
}

/// So many at once, and as many again over each period.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "settings: each is to be thought of")]
pub struct RateLimit {
    /// How many may come at once after a pause; 1 to 1,000,000.
    pub count: u32,
    /// In how long that many come back, evenly: one every `per / count`. At least a microsecond for each of them.
    pub per: TimeDelta,
}

impl RateLimit {
    /// `count` an hour.
    pub const fn per_hour(count: u32) -> Self {
        Self {
            count,
            per: TimeDelta::hours(1),
        }
    }

    /// Whether the settings are within their bounds.
    ///
    /// # Errors
    ///
    /// [`Faults`], every one of them.
    pub fn validate(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        let Self { count, per } = self;
        if !(1..=COUNT_MAX).contains(count) {
            faults.push(
                "count",
                "out_of_range",
                format_args!("expected 1 to {COUNT_MAX}, got {count}"),
            );
        }
        if per
            .num_microseconds()
            .is_none_or(|micros| micros < i64::from(*count))
        {
            faults.push(
                "per",
                "out_of_range",
                format_args!("expected at least a microsecond for each of {count}, got {per}"),
            );
        }
        faults.into_result()
    }

    /// In microseconds, rounded up, so that rounding never allows more.
    fn interval(&self) -> i64 {
        let micros = self.per.num_microseconds().unwrap_or(i64::MAX).max(1);
        let count = i64::from(self.count.clamp(1, COUNT_MAX));
        let rest = i64::from(micros.checked_rem(count).is_some_and(|rest| rest > 0));
        micros
            .checked_div(count)
            .unwrap_or(micros)
            .saturating_add(rest)
            .max(1)
    }

    /// Decides about one more at `now`, and gives what to keep for the next question.
    ///
    /// # Source
    ///
    /// The generic cell rate algorithm, ITU-T I.371, annex A, in its virtual scheduling form: of a tenant and an action a single
    /// instant is kept, at which all that it took will have come back. It allows exactly what a bucket of `count` tokens allows
    /// that gets one every `per / count`. So after a pause `count` come at once, and the next after `per / count`; in any span
    /// of `per` fewer than twice `count`.
    ///
    /// # Example: three an hour
    ///
    /// ```
    /// use billing_core::resilience::{RateCell, RateLimit};
    /// use chrono::{DateTime, TimeDelta};
    ///
    /// let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    /// let (limit, mut cell) = (RateLimit::per_hour(3), RateCell::default());
    /// for remaining in [2, 1, 0] {
    ///     let (answer, next) = limit.take(cell, now);
    ///     assert_eq!((answer.allowed, answer.remaining), (true, remaining));
    ///     cell = next;
    /// }
    /// let (answer, _) = limit.take(cell, now);
    /// assert!(!answer.allowed);
    /// assert_eq!(answer.retry_after, TimeDelta::minutes(20));
    /// assert_eq!(answer.resets_at, now + TimeDelta::hours(1));
    /// ```
    pub fn take(&self, cell: RateCell, now: DateTime<Utc>) -> (RateAnswer, RateCell) {
        let interval = self.interval();
        let limit = self.count.clamp(1, COUNT_MAX);
        let whole = interval.saturating_mul(i64::from(limit));
        // How long until all has come back. A clock that jumped back must not make that longer than it can be.
        let owed = cell
            .full_at
            .map_or(0, |full_at| {
                let left = full_at.signed_duration_since(now);
                left.num_microseconds().unwrap_or(i64::MAX)
            })
            .clamp(0, whole);
        let wanted = owed.saturating_add(interval);
        let allowed = wanted <= whole;
        let owed = if allowed { wanted } else { owed };
        let left = whole.saturating_sub(owed).checked_div(interval).unwrap_or(0);
        let full_at = later(now, owed);
        let answer = RateAnswer {
            allowed,
            limit,
            remaining: u32::try_from(left).unwrap_or(limit),
            resets_at: full_at,
            retry_after: TimeDelta::microseconds(owed.saturating_add(interval).saturating_sub(whole).max(0)),
        };
        (
            answer,
            RateCell {
                full_at: Some(full_at),
            },
        )
    }
}

/// What is kept of a tenant and an action. The default is that of one who took nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RateCell {
    /// When all that was taken will have come back.
    full_at: Option<DateTime<Utc>>,
}

/// Whether one more is allowed, and what is left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct RateAnswer {
    /// Whether this one may go on. If not, nothing was taken.
    pub allowed: bool,
    /// How many may come at once after a pause.
    pub limit: u32,
    /// How many more are allowed at this instant.
    pub remaining: u32,
    /// When as many as `limit` are allowed again, if none comes in between.
    pub resets_at: DateTime<Utc>,
    /// How long until one more is allowed; zero while some remain.
    pub retry_after: TimeDelta,
}

/// The limit of each action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimits([RateLimit; 4]);

impl Default for RateLimits {
    /// Per hour and tenant: 5 creations, 10 updates, 3 plan changes, 10 payments. More than that is a script that runs wild, or
    /// somebody trying out cards.
    fn default() -> Self {
        Self([5, 10, 3, 10].map(RateLimit::per_hour))
    }
}

impl RateLimits {
    /// The limit of `action`.
    pub const fn of(&self, action: RateAction) -> RateLimit {
        let [create, update, change, payment] = self.0;
        match action {
            RateAction::SubscriptionCreate => create,
            RateAction::SubscriptionUpdate => update,
            RateAction::PlanChange => change,
            RateAction::PaymentInitiate => payment,
        }
    }

    /// The same with another limit for `action`.
    ///
    /// # Errors
    ///
    /// [`Faults`] of the limit.
    pub fn with(mut self, action: RateAction, limit: RateLimit) -> Result<Self, Faults> {
        limit.validate()?;
        let [create, update, change, payment] = &mut self.0;
        *match action {
            RateAction::SubscriptionCreate => create,
            RateAction::SubscriptionUpdate => update,
            RateAction::PlanChange => change,
            RateAction::PaymentInitiate => payment,
        } = limit;
        Ok(self)
    }
}

/// The limits of all tenants, in memory: each process counts for itself.
///
/// Tenants do not share: one that asks too often is refused alone. What is over takes no memory for long.
#[derive(Clone, Debug, Default)]
pub struct RateLimiter {
    limits: RateLimits,
    cells: BTreeMap<(TenantId, RateAction), RateCell>,
    /// How many cells there were left when they were last looked through.
    kept: usize,
}

impl RateLimiter {
    /// Nobody has taken anything yet.
    pub const fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            cells: BTreeMap::new(),
            kept: 0,
        }
    }

    /// Takes one for `tenant_id` at `now`, if it is allowed.
    pub fn take(&mut self, tenant_id: TenantId, action: RateAction, now: DateTime<Utc>) -> RateAnswer {
        let cell = self.cells.entry((tenant_id, action)).or_default();
        let (answer, next) = self.limits.of(action).take(*cell, now);
        *cell = next;
        // At twice what was left the last time, so that each question pays for a constant share of it.
        if self.cells.len() > self.kept.saturating_mul(2).max(CELLS_KEPT) {
            self.cells
                .retain(|_, cell| cell.full_at.is_some_and(|full_at| full_at > now));
            self.kept = self.cells.len();
        }
        answer
    }

    /// What [`take`](Self::take) would answer, without taking.
    pub fn peek(&self, tenant_id: TenantId, action: RateAction, now: DateTime<Utc>) -> RateAnswer {
        let cell = self.cells.get(&(tenant_id, action)).copied().unwrap_or_default();
        self.limits.of(action).take(cell, now).0
    }
}

fn later(now: DateTime<Utc>, micros: i64) -> DateTime<Utc> {
    now.checked_add_signed(TimeDelta::microseconds(micros))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests;
