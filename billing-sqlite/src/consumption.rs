//! Consuming: events that are recorded only if all of a batch stay within their limits.

use std::collections::HashMap;

use billing_core::calendar::Period;
use billing_core::id::{IdempotencyKey, MeterCode, TenantId};
use billing_core::limit::{Consumed, Consumption, Counter, CounterKey};
use billing_core::ports::StoreError;
use billing_core::usage::{UsageEvent, UsageOutcome, add_quantities};
use chrono::{DateTime, Utc};
use rusqlite::Connection;
use rust_decimal::Decimal;

use crate::counters;
use crate::error::overflow;
use crate::usage::{Recordable, find, record};

/// A consumption with the text of its columns.
#[derive(Debug)]
pub(crate) struct Prepared {
    event: Recordable,
    window: Period,
    hard_limit: Option<Decimal>,
}

impl Prepared {
    pub(crate) fn new(consumption: Consumption) -> Result<Self, StoreError> {
        Ok(Self {
            event: Recordable::new(consumption.event)?,
            window: consumption.window,
            hard_limit: consumption.hard_limit,
        })
    }
}

/// Checks every event of the batch, then records all of them, or none.
pub(crate) fn consume(
    connection: &Connection,
    batch: &[Prepared],
    now: DateTime<Utc>,
) -> Result<Vec<Consumed>, StoreError> {
    let mut check = Check::default();
    let mut outcomes = Vec::with_capacity(batch.len());
    for prepared in batch {
        outcomes.push(check.one(connection, prepared, now)?);
    }
    if outcomes.iter().any(Consumed::is_refusal) {
        for outcome in &mut outcomes {
            if matches!(outcome, Consumed::Accepted(_)) {
                *outcome = Consumed::Withheld;
            }
        }
        return Ok(outcomes);
    }
    record(connection, batch.iter().map(|prepared| &prepared.event), now)?;
    Ok(outcomes)
}

/// What the batch would have done so far.
#[derive(Debug, Default)]
struct Check<'a> {
    counters: HashMap<(TenantId, &'a MeterCode), Vec<(Period, Counter)>>,
    accepted: HashMap<(TenantId, &'a IdempotencyKey), &'a UsageEvent>,
}

impl<'a> Check<'a> {
    fn one(
        &mut self,
        connection: &Connection,
        prepared: &'a Prepared,
        now: DateTime<Utc>,
    ) -> Result<Consumed, StoreError> {
        let event = prepared.event.event();
        let counter = self.counter(connection, event, prepared.window, now)?;
        let key = (event.tenant_id, &event.idempotency_key);
        let known = match self.accepted.get(&key) {
            Some(known) => Some((*known).clone()),
            None => find(connection, event)?,
        };
        if let Some(known) = known {
            return Ok(match event.compare(&known) {
                UsageOutcome::Refused(refusal) => Consumed::Refused(refusal),
                UsageOutcome::Accepted | UsageOutcome::Duplicate => Consumed::Duplicate(counter),
            });
        }
        if !counter
            .admits(event.quantity, prepared.hard_limit)
            .map_err(overflow)?
        {
            return Ok(Consumed::OverLimit(counter));
        }
        self.accepted.insert(key, event);
        let windows = self.counters.get_mut(&(event.tenant_id, &event.meter));
        for (window, counter) in windows.into_iter().flatten() {
            if window.contains(event.occurred_at) {
                count(counter, event)?;
            }
        }
        Ok(Consumed::Accepted(counter))
    }

    /// The counter of a window, what was accepted of the batch so far included.
    fn counter(
        &mut self,
        connection: &Connection,
        event: &'a UsageEvent,
        window: Period,
        now: DateTime<Utc>,
    ) -> Result<Counter, StoreError> {
        let windows = self.counters.entry((event.tenant_id, &event.meter)).or_default();
        if let Some((_, counter)) = windows.iter().find(|(known, _)| *known == window) {
            return Ok(*counter);
        }
        let key = CounterKey {
            tenant_id: event.tenant_id,
            meter: event.meter.clone(),
            window,
        };
        let mut counter = counters::open(connection, &key, now)?;
        for accepted in self.accepted.values() {
            if (accepted.tenant_id, &accepted.meter) == (event.tenant_id, &event.meter)
                && window.contains(accepted.occurred_at)
            {
                count(&mut counter, accepted)?;
            }
        }
        windows.push((window, counter));
        Ok(counter)
    }
}

fn count(counter: &mut Counter, event: &UsageEvent) -> Result<(), StoreError> {
    counter.used = add_quantities(counter.used, event.quantity).map_err(overflow)?;
    counter.events = counter.events.saturating_add(1);
    Ok(())
}
