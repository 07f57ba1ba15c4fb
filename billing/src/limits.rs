//! Limits: asking what a meter still allows, consuming within it, and holding a part of it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use billing_core::calendar::Period;
use billing_core::id::{IdempotencyKey, MeterCode, SubscriptionId, TenantId};
use billing_core::limit::{
    self, Consumed, Consumption, Counter, CounterFault, CounterKey, Lease, LimitAnswer, Reserved, Settled,
};
use billing_core::plan::{MeterTerms, Plan};
use billing_core::subscription::Subscription;
use billing_core::usage::{UsageEvent, UsageOutcome, UsageOverflow, UsageRefusal, check_quantity};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use crate::{Billing, Error, StoreError};

/// What a meter answers, and in which window that is so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitCheck {
    /// The answer.
    pub answer: LimitAnswer,
    /// What is counted together: the limit begins anew at its end.
    pub window: Period,
    /// Whose terms they are.
    pub subscription_id: SubscriptionId,
}

/// What became of one event of a batch that was to be consumed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a caller must fail to compile when an outcome is added"
)]
pub enum ConsumeOutcome {
    /// Recorded, within the limit.
    Accepted(LimitCheck),
    /// Recorded before with the same content; nothing has changed.
    Duplicate(LimitCheck),
    /// It would pass the hard limit.
    OverLimit(LimitCheck),
    /// No subscription of the tenant that is current measures this, or did when it occurred.
    NotMetered,
    /// It cannot be recorded.
    Refused(UsageRefusal),
    /// Not recorded, since another of the batch was not.
    Withheld,
}

/// What became of a quantity that was to be held.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a caller must fail to compile when an outcome is added"
)]
pub enum ReserveOutcome {
    /// It is held.
    Held(LimitCheck),
    /// It is held already; nothing has changed.
    Duplicate(LimitCheck),
    /// It was held, and was settled, released, or over since: nothing is held.
    Ended,
    /// It would pass the hard limit.
    OverLimit(LimitCheck),
    /// The key names another lease, or an event.
    KeyReused,
}

/// A subscription that measures something, with its terms.
struct Metered {
    subscription: Subscription,
    plan: Arc<Plan>,
}

impl Metered {
    /// Where usage of `meter` at `at` counts; none when it does not.
    fn place(&self, meter: &MeterCode, at: DateTime<Utc>) -> Option<Placed<'_>> {
        let (terms, interval) = (self.plan.meters.get(meter)?, self.plan.interval);
        let window = limit::window(&self.subscription, interval, terms.reset, at).ok()?;
        let around = |window_of: fn(&Subscription, _, &MeterTerms, _) -> _| -> Option<Period> {
            terms.rollover_max?;
            window_of(&self.subscription, interval, terms, window)
        };
        Some(Placed {
            terms: Cow::Borrowed(terms),
            window,
            before: around(limit::window_before),
            after: around(limit::window_after),
            subscription_id: self.subscription.id,
        })
    }
}

/// The terms of a meter, and the window that counts.
struct Placed<'a> {
    terms: Cow<'a, MeterTerms>,
    window: Period,
    /// The window whose rest adds to the limit, if one does.
    before: Option<Period>,
    /// The window whose limit the rest of this one adds to, if there is one.
    after: Option<Period>,
    subscription_id: SubscriptionId,
}

impl Placed<'_> {
    /// The counter of the window.
    fn key(&self, tenant_id: TenantId, meter: &MeterCode) -> CounterKey {
        self.key_of(self.window, tenant_id, meter)
    }

    /// The counter of another window of the meter.
    fn key_of(&self, window: Period, tenant_id: TenantId, meter: &MeterCode) -> CounterKey {
        CounterKey {
            tenant_id,
            meter: meter.clone(),
            window,
            aggregation: self.terms.aggregation.clone(),
        }
    }

    fn answer(&self, counter: &Counter, quantity: Decimal) -> Result<LimitCheck, Error> {
        let answer = limit::check(&self.terms, counter, quantity).map_err(internal)?;
        Ok(LimitCheck {
            answer,
            window: self.window,
            subscription_id: self.subscription_id,
        })
    }
}

impl Billing {
    /// Whether the tenant may use `quantity` of `meter` now, what remains, and what there is to be told. Changes nothing,
    /// so another may be faster: [`consume`](Self::consume) and [`reserve`](Self::reserve) check and record at once.
    ///
    /// # Errors
    ///
    /// In order: [`Error::Quantity`], [`Error::NotMetered`], [`Error::Store`].
    ///
    /// # Example: what remains, and what there is to be told
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, tenant, .. }| {
    /// use billing::core::id::MeterCode;
    ///
    /// let meter = MeterCode::new("calls").unwrap();
    /// billing.record_usage(vec![calls(&billing, "use", 700)]).await?;
    /// let check = billing.check_limit(tenant, &meter, 150.into()).await?;
    /// assert!(check.answer.allowed);
    /// assert_eq!(check.answer.remaining, Some(300.into()));
    /// // From 700 to 850 it passes 80 % of 1000; the allowance of 100 was passed before.
    /// let crossed: Vec<_> = check.answer.warnings.iter().map(|warning| (warning.at, warning.crossed)).collect();
    /// assert_eq!(crossed, [(100.into(), false), (800.into(), true)]);
    /// assert_eq!(check.window.end, at("2026-07-01T00:00:00Z"));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn check_limit(
        &self,
        tenant_id: TenantId,
        meter: &MeterCode,
        quantity: Decimal,
    ) -> Result<LimitCheck, Error> {
        check_quantity(quantity).map_err(Error::Quantity)?;
        let now = self.now();
        let metered = self.metered(tenant_id, meter, now).await?;
        let placed = metered.as_ref().and_then(|metered| metered.place(meter, now));
        let mut placed = placed.ok_or_else(|| not_metered(tenant_id, meter))?;
        self.roll_over(&mut placed, tenant_id, meter, Decimal::ZERO, now)
            .await?;
        let key = placed.key(tenant_id, meter);
        let counter = self.store.counter(&key, now).await?;
        placed.answer(&counter, quantity)
    }

    /// Records usage events if all of them stay within their hard limits, and else none: however many callers there are,
    /// no limit is passed. One answer per event, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: then nothing was recorded. An event that is refused is an answer, not an error.
    ///
    /// # Example: the last ten units
    ///
    /// ```
    /// # futures_executor::block_on(async {
    /// # use billing::core::audit::Actor;
    /// # use billing::core::id::{IdempotencyKey, MeterCode, TenantId};
    /// # use billing::core::usage::UsageEvent;
    /// # use billing::{Billing, ConsumeOutcome, MemoryStore, NewSubscription, Request, SystemClock};
    /// # use std::sync::Arc;
    /// # let billing = Billing::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    /// # let plan: billing::core::plan::Plan = serde_json::from_str(r#"{
    /// #     "id": "00000000-0000-7000-8000-000000000001", "code": "pro", "version": 1, "product": "app", "name": "Pro",
    /// #     "price": {"minor": 0, "currency": "USD"}, "interval": {"unit": "month", "count": 1}, "is_active": true,
    /// #     "meters": {"calls": {"hard_limit": "10", "charge": {"per_unit": {"unit_price": "0"}}}}}"#).unwrap();
    /// # billing.put_plan(&plan).await?;
    /// # let tenant = TenantId::new(uuid::Uuid::from_u128(1));
    /// # let request = Request::new(IdempotencyKey::new("create").unwrap(), Actor::System);
    /// # billing.create(&request, &NewSubscription::new(tenant, plan.id)).await?;
    /// let event = |key: &str, quantity: i64| UsageEvent {
    ///     idempotency_key: IdempotencyKey::new(key).unwrap(),
    ///     tenant_id: tenant,
    ///     meter: MeterCode::new("calls").unwrap(),
    ///     quantity: quantity.into(),
    ///     occurred_at: billing.now(),
    ///     properties: Default::default(),
    /// };
    /// let outcomes = billing.consume(vec![event("a", 8)]).await?;
    /// assert!(matches!(&outcomes[0], ConsumeOutcome::Accepted(_)));
    ///
    /// // Three more do not pass, so the one that would is withheld too.
    /// let outcomes = billing.consume(vec![event("b", 1), event("c", 2)]).await?;
    /// assert_eq!(outcomes[0], ConsumeOutcome::Withheld);
    /// assert!(matches!(&outcomes[1], ConsumeOutcome::OverLimit(check) if check.answer.remaining == Some(1.into())));
    /// # Ok::<(), billing::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn consume(&self, events: Vec<UsageEvent>) -> Result<Vec<ConsumeOutcome>, Error> {
        let now = self.now();
        let mut known: HashMap<(TenantId, MeterCode), Option<Metered>> = HashMap::new();
        for event in &events {
            if let Entry::Vacant(place) = known.entry((event.tenant_id, event.meter.clone())) {
                place.insert(self.metered(event.tenant_id, &event.meter, now).await?);
            }
        }
        let metered = |event: &UsageEvent| {
            let found = known.get(&(event.tenant_id, event.meter.clone()));
            found.and_then(Option::as_ref)
        };
        let placed: Vec<Result<Placed<'_>, Option<UsageRefusal>>> = events
            .iter()
            .map(|event| {
                event.check(now).map_err(Some)?;
                // Nor is what occurred before there was a subscription.
                metered(event)
                    .and_then(|metered| metered.place(&event.meter, event.occurred_at))
                    .ok_or(None)
            })
            .collect();
        if placed.iter().any(Result::is_err) {
            return Ok(placed
                .into_iter()
                .map(|placed| match placed {
                    Ok(_) => ConsumeOutcome::Withheld,
                    Err(Some(refusal)) => ConsumeOutcome::Refused(refusal),
                    Err(None) => ConsumeOutcome::NotMetered,
                })
                .collect());
        }
        let mut placed: Vec<_> = placed.into_iter().flatten().collect();
        // What the batch itself uses of the window before is not left of it either.
        let mut in_batch: HashMap<(TenantId, &MeterCode, Period), Decimal> = HashMap::new();
        for (event, placed) in events.iter().zip(&placed) {
            let used = in_batch
                .entry((event.tenant_id, &event.meter, placed.window))
                .or_default();
            *used = used.saturating_add(placed.terms.aggregation.counted(event.quantity));
        }
        for (event, placed) in events.iter().zip(&mut placed) {
            let of_window = |window| in_batch.get(&(event.tenant_id, &event.meter, window)).copied();
            let more = placed.before.and_then(of_window).unwrap_or_default();
            self.roll_over(placed, event.tenant_id, &event.meter, more, now)
                .await?;
        }
        let batch = events.iter().zip(&placed).map(|(event, placed)| Consumption {
            event: event.clone(),
            window: placed.window,
            aggregation: placed.terms.aggregation.clone(),
            hard_limit: placed.terms.hard_limit,
        });
        let consumed = self.store.consume(batch.collect(), now).await?;
        events
            .iter()
            .zip(&placed)
            .zip(consumed)
            .map(|((event, placed), consumed)| {
                let quantity = placed.terms.aggregation.counted(event.quantity);
                Ok(match consumed {
                    Consumed::Accepted(counter) => {
                        ConsumeOutcome::Accepted(placed.answer(&counter, quantity)?)
                    }
                    Consumed::Duplicate(counter) => {
                        ConsumeOutcome::Duplicate(placed.answer(&counter, Decimal::ZERO)?)
                    }
                    Consumed::OverLimit(counter) => {
                        ConsumeOutcome::OverLimit(placed.answer(&counter, quantity)?)
                    }
                    Consumed::Refused(refusal) => ConsumeOutcome::Refused(refusal),
                    Consumed::Withheld => ConsumeOutcome::Withheld,
                })
            })
            .collect()
    }

    /// Holds `quantity` of `meter` for as long as `lease`, if it stays within the hard limit: for work whose real quantity
    /// is known when it is done. The lease then is [settled](Self::settle) or [released](Self::release); what is
    /// neither frees itself.
    ///
    /// # Errors
    ///
    /// In order: [`Error::Quantity`], [`Error::LeaseLength`] for a lease of no time or of more than a day,
    /// [`Error::NotMetered`], [`Error::NotReservable`], [`Error::Store`].
    ///
    /// # Example: what is held is not there for others
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, tenant, .. }| {
    /// use billing::ReserveOutcome;
    /// use billing::core::id::{IdempotencyKey, MeterCode};
    /// use chrono::TimeDelta;
    ///
    /// let meter = MeterCode::new("calls").unwrap();
    /// let job = IdempotencyKey::new("job-1").unwrap();
    /// let held = billing.reserve(tenant, &job, &meter, 600.into(), TimeDelta::hours(1)).await?;
    /// assert!(matches!(held, ReserveOutcome::Held(_)));
    /// let check = billing.check_limit(tenant, &meter, 500.into()).await?;
    /// assert_eq!((check.answer.allowed, check.answer.remaining), (false, Some(400.into())));
    ///
    /// clock.advance(TimeDelta::hours(1));
    /// let check = billing.check_limit(tenant, &meter, 500.into()).await?;
    /// assert!(check.answer.allowed, "it frees itself");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn reserve(
        &self,
        tenant_id: TenantId,
        key: &IdempotencyKey,
        meter: &MeterCode,
        quantity: Decimal,
        lease: TimeDelta,
    ) -> Result<ReserveOutcome, Error> {
        check_quantity(quantity).map_err(Error::Quantity)?;
        let now = self.now();
        let in_range = lease > TimeDelta::zero() && lease <= TimeDelta::days(1);
        let expires_at = now.checked_add_signed(lease).filter(|_| in_range);
        let expires_at = expires_at.ok_or(Error::LeaseLength { lease })?;
        let metered = self.metered(tenant_id, meter, now).await?;
        let placed = metered.as_ref().and_then(|metered| metered.place(meter, now));
        let mut placed = placed.ok_or_else(|| not_metered(tenant_id, meter))?;
        self.roll_over(&mut placed, tenant_id, meter, Decimal::ZERO, now)
            .await?;
        let aggregation = &placed.terms.aggregation;
        if !aggregation.is_additive() {
            return Err(Error::NotReservable {
                meter: meter.clone(),
                aggregation: aggregation.clone(),
            });
        }
        let lease = Lease {
            tenant_id,
            key: key.clone(),
            meter: meter.clone(),
            window: placed.window,
            aggregation: aggregation.clone(),
            quantity,
            expires_at,
        };
        let hard_limit = placed.terms.hard_limit;
        Ok(match self.store.reserve(lease, hard_limit, now).await? {
            Reserved::Held(counter) => ReserveOutcome::Held(placed.answer(&counter, quantity)?),
            Reserved::Duplicate(counter) => {
                ReserveOutcome::Duplicate(placed.answer(&counter, Decimal::ZERO)?)
            }
            Reserved::OverLimit(counter) => ReserveOutcome::OverLimit(placed.answer(&counter, quantity)?),
            Reserved::Ended => ReserveOutcome::Ended,
            Reserved::KeyReused => ReserveOutcome::KeyReused,
        })
    }

    /// Ends the lease whose tenant and key the event has, and records what was really used: also when that is more than
    /// was held, and when the lease was over, since it was used all the same.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. An event that is refused is an answer, not an error.
    ///
    /// # Example: more was used than was held
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, tenant, .. }| {
    /// # use billing::ReserveOutcome;
    /// # use billing::core::id::{IdempotencyKey, MeterCode};
    /// # use chrono::TimeDelta;
    /// # let meter = MeterCode::new("calls").unwrap();
    /// # let job = IdempotencyKey::new("job-1").unwrap();
    /// use billing::core::limit::Settled;
    /// use billing::core::usage::UsageOutcome;
    ///
    /// billing.reserve(tenant, &job, &meter, 600.into(), TimeDelta::hours(1)).await?;
    /// // The event has the key of the lease.
    /// let settled = billing.settle(calls(&billing, "job-1", 1_200)).await?;
    /// assert_eq!(settled, Settled::Recorded(UsageOutcome::Accepted));
    /// let check = billing.check_limit(tenant, &meter, 0.into()).await?;
    /// assert_eq!(check.answer.taken, 1_200.into(), "it was used, whatever the limit says");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn settle(&self, event: UsageEvent) -> Result<Settled, Error> {
        let now = self.now();
        if let Err(refusal) = event.check(now) {
            return Ok(Settled::Recorded(UsageOutcome::Refused(refusal)));
        }
        Ok(self.store.settle(event, now).await?)
    }

    /// Ends a lease without usage, also one whose time is over; `false` when there is none, or it was settled or released
    /// before.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: once only
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, tenant, .. }| {
    /// # use billing::ReserveOutcome;
    /// # use billing::core::id::{IdempotencyKey, MeterCode};
    /// # use chrono::TimeDelta;
    /// # let meter = MeterCode::new("calls").unwrap();
    /// # let job = IdempotencyKey::new("job-1").unwrap();
    /// billing.reserve(tenant, &job, &meter, 600.into(), TimeDelta::hours(1)).await?;
    /// assert!(billing.release(tenant, &job).await?);
    /// assert!(!billing.release(tenant, &job).await?);
    ///
    /// let again = billing.reserve(tenant, &job, &meter, 600.into(), TimeDelta::hours(1)).await?;
    /// assert_eq!(again, ReserveOutcome::Ended, "a retry that comes late holds nothing");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn release(&self, tenant_id: TenantId, key: &IdempotencyKey) -> Result<bool, Error> {
        Ok(self.store.release(tenant_id, key).await?)
    }

    /// Recounts what the store keeps for limit checks from the tenant's events, puts right what is wrong, and returns it:
    /// nothing, unless somebody wrote past the store.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: counters that are right
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, tenant, .. }| {
    /// use billing::core::id::MeterCode;
    ///
    /// billing.check_limit(tenant, &MeterCode::new("calls").unwrap(), 1.into()).await?;
    /// billing.record_usage(vec![calls(&billing, "use", 700)]).await?;
    /// let wrong = billing.recount_usage(tenant).await?;
    /// assert!(wrong.is_empty(), "nobody wrote past the store: {wrong:?}");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn recount_usage(&self, tenant_id: TenantId) -> Result<Vec<CounterFault>, Error> {
        Ok(self.store.recount(tenant_id).await?)
    }

    /// Adds to the limit what is left of it in the window before when `more` is used there too, and takes off what the window after
    /// has had of it, as far as the plan says so.
    ///
    /// Both are read before the store checks and records: of two that consume at once in two windows that follow each other, both
    /// may have the same rest.
    async fn roll_over(
        &self,
        placed: &mut Placed<'_>,
        tenant_id: TenantId,
        meter: &MeterCode,
        more: Decimal,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let own_limit = placed.terms.hard_limit;
        if let Some(before) = placed.before {
            let mut counter = self
                .store
                .counter(&placed.key_of(before, tenant_id, meter), now)
                .await?;
            counter.used = counter.used.saturating_add(more);
            if let Cow::Owned(raised) = limit::with_rollover(&placed.terms, &counter).map_err(internal)? {
                placed.terms = Cow::Owned(raised);
            }
        }
        if let Some(after) = placed.after.filter(|after| after.start <= now) {
            let counter = self
                .store
                .counter(&placed.key_of(after, tenant_id, meter), now)
                .await?;
            let terms = placed.terms.clone();
            placed.terms = limit::less_rolled_over(terms, own_limit, &counter).map_err(internal)?;
        }
        Ok(())
    }

    /// The tenant's subscription that measures `meter` and is current at `now`: there is at most one.
    async fn metered(
        &self,
        tenant_id: TenantId,
        meter: &MeterCode,
        now: DateTime<Utc>,
    ) -> Result<Option<Metered>, Error> {
        for subscription in self.store.subscriptions_of(tenant_id).await? {
            let plan = self.plan_in_force(subscription.plan_id).await?;
            if limit::terms(&subscription, &plan, meter, now).is_some() {
                return Ok(Some(Metered { subscription, plan }));
            }
        }
        Ok(None)
    }
}

fn internal(overflow: UsageOverflow) -> StoreError {
    StoreError::Internal {
        detail: overflow.to_string(),
    }
}

fn not_metered(tenant_id: TenantId, meter: &MeterCode) -> Error {
    Error::NotMetered {
        tenant_id,
        meter: meter.clone(),
    }
}
