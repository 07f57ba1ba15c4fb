//! Usage, counters and leases in memory: all are found by looking at every event.

use billing_core::id::{IdempotencyKey, TenantId};
use billing_core::limit::{Consumed, Consumption, Counter, CounterKey, Lease, Reserved, Settled};
use billing_core::usage::{
    Usage, UsageEvent, UsageField, UsageOutcome, UsageOverflow, UsageQuery, UsageRefusal, add_quantities,
};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::count;
use super::tables::Tables;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LeaseState {
    Held,
    Settled,
    Released,
}
impl Tables {
    pub(super) fn record_usage(&mut self, event: UsageEvent) -> UsageOutcome {
        if let Some(known) = self.known(&event) {
            return event.compare(known);
        }
        self.usage.push(event);
        UsageOutcome::Accepted
    }

    /// The event that has the tenant and key of `event`.
    pub(super) fn known(&self, event: &UsageEvent) -> Option<&UsageEvent> {
        self.usage.iter().find(|known| {
            (known.tenant_id, &known.idempotency_key) == (event.tenant_id, &event.idempotency_key)
        })
    }

    /// Counted anew each time: what a store that keeps counters must agree with.
    pub(super) fn counter(&self, key: &CounterKey, now: DateTime<Utc>) -> Result<Counter, UsageOverflow> {
        let mut counter = Counter::default();
        let of_meter = |event: &&UsageEvent| (event.tenant_id, &event.meter) == (key.tenant_id, &key.meter);
        let mut events: Vec<_> = self.usage.iter().filter(of_meter).collect();
        // A stable sort: of those at one instant the one that was recorded last is the last.
        events.sort_by_key(|event| event.occurred_at);
        for event in events {
            if key.window.contains(event.occurred_at) {
                counter.record(&key.aggregation, event.quantity, true)?;
            } else if key.aggregation.carries_over() && event.occurred_at < key.window.start {
                counter.used = event.quantity;
            }
        }
        for (lease, state) in self.leases.values() {
            let in_window = lease.window.start < key.window.end && lease.expires_at > key.window.start;
            if (lease.tenant_id, &lease.meter) == (key.tenant_id, &key.meter)
                && in_window
                && *state == LeaseState::Held
                && lease.expires_at > now
            {
                counter.reserved = add_quantities(counter.reserved, lease.quantity)?;
            }
        }
        Ok(counter)
    }

    pub(super) fn consume(
        &mut self,
        batch: Vec<Consumption>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Consumed>, UsageOverflow> {
        let before = self.usage.len();
        let mut consumed = self.consume_each(batch, now);
        match &mut consumed {
            Ok(outcomes) if !outcomes.iter().any(Consumed::is_refusal) => {}
            Ok(outcomes) => {
                self.usage.truncate(before);
                for outcome in outcomes {
                    if matches!(outcome, Consumed::Accepted(_)) {
                        *outcome = Consumed::Withheld;
                    }
                }
            }
            Err(_) => self.usage.truncate(before),
        }
        consumed
    }

    pub(super) fn consume_each(
        &mut self,
        batch: Vec<Consumption>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Consumed>, UsageOverflow> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for Consumption {
            event,
            window,
            aggregation,
            hard_limit,
        } in batch
        {
            let key = CounterKey {
                tenant_id: event.tenant_id,
                meter: event.meter.clone(),
                window,
                aggregation,
            };
            let counter = self.counter(&key, now)?;
            let quantity = key.aggregation.counted(event.quantity);
            let admitted = counter.admits(&key.aggregation, quantity, hard_limit)?;
            let known = self.known(&event).map(|known| event.compare(known));
            outcomes.push(match known {
                Some(UsageOutcome::Refused(refusal)) => Consumed::Refused(refusal),
                Some(UsageOutcome::Duplicate | UsageOutcome::Accepted | UsageOutcome::Late { .. }) => {
                    Consumed::Duplicate(counter)
                }
                None if admitted => {
                    self.usage.push(event);
                    Consumed::Accepted(counter)
                }
                None => Consumed::OverLimit(counter),
            });
        }
        Ok(outcomes)
    }

    pub(super) fn reserve(
        &mut self,
        lease: Lease,
        hard_limit: Option<Decimal>,
        now: DateTime<Utc>,
    ) -> Result<Reserved, UsageOverflow> {
        let key = CounterKey {
            tenant_id: lease.tenant_id,
            meter: lease.meter.clone(),
            window: lease.window,
            aggregation: lease.aggregation.clone(),
        };
        let counter = self.counter(&key, now)?;
        let name = (lease.tenant_id, lease.key.clone());
        let is_recorded = self
            .usage
            .iter()
            .any(|event| (event.tenant_id, &event.idempotency_key) == (lease.tenant_id, &lease.key));
        Ok(match self.leases.get(&name) {
            Some((known, _)) if (&known.meter, known.quantity) != (&lease.meter, lease.quantity) => {
                Reserved::KeyReused
            }
            Some((known, LeaseState::Held)) if known.expires_at > now => Reserved::Duplicate(counter),
            Some(_) => Reserved::Ended,
            None if is_recorded => Reserved::KeyReused,
            None if counter.admits(&lease.aggregation, lease.quantity, hard_limit)? => {
                self.leases.insert(name, (lease, LeaseState::Held));
                Reserved::Held(counter)
            }
            None => Reserved::OverLimit(counter),
        })
    }

    pub(super) fn settle(&mut self, event: UsageEvent) -> Settled {
        let name = (event.tenant_id, event.idempotency_key.clone());
        match self.leases.get(&name) {
            None => match self.known(&event) {
                Some(known) => Settled::Recorded(event.compare(known)),
                None => Settled::Unknown,
            },
            Some((lease, _)) if lease.meter != event.meter => {
                Settled::Recorded(UsageOutcome::Refused(UsageRefusal::KeyReused {
                    idempotency_key: event.idempotency_key,
                    field: UsageField::Meter,
                }))
            }
            Some((_, LeaseState::Released)) => Settled::Released,
            Some((_, LeaseState::Held | LeaseState::Settled)) => {
                let outcome = self.record_usage(event);
                if let Some((_, state)) = self.leases.get_mut(&name)
                    && !matches!(outcome, UsageOutcome::Refused(_))
                {
                    *state = LeaseState::Settled;
                }
                Settled::Recorded(outcome)
            }
        }
    }

    pub(super) fn release(&mut self, tenant_id: TenantId, key: &IdempotencyKey) -> bool {
        match self.leases.get_mut(&(tenant_id, key.clone())) {
            Some((_, state @ LeaseState::Held)) => {
                *state = LeaseState::Released;
                true
            }
            Some((_, LeaseState::Settled | LeaseState::Released)) | None => false,
        }
    }

    pub(super) fn usage(&self, query: &UsageQuery<'_>) -> Result<Usage, UsageOverflow> {
        let recorded = (1..).zip(&self.usage);
        let mut events: Vec<_> = recorded
            .filter(|(_, event)| event.tenant_id == query.tenant_id)
            .collect();
        events.sort_by_key(|(sequence, event)| (event.occurred_at, *sequence));
        let billed: Vec<_> = self
            .billed
            .iter()
            .filter(|(id, _)| *id == query.subscription_id)
            .filter_map(|(_, billed)| Some((*billed, self.plans.get(&billed.plan_id)?)))
            .collect();
        query.answer(&events, &billed, count(self.usage.len()))
    }
}
