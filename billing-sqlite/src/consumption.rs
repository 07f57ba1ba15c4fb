//! Consuming: events that are recorded only if all of a batch stay within their limits.

use std::collections::HashMap;

use billing_core::aggregation::Aggregation;
use billing_core::calendar::Period;
use billing_core::id::{IdempotencyKey, MeterCode, TenantId};
use billing_core::limit::{Consumed, Consumption, Counter, CounterKey};
use billing_core::ports::StoreError;
use billing_core::usage::{UsageEvent, UsageOutcome};
use chrono::{DateTime, Utc};
use rusqlite::Connection;
use rust_decimal::Decimal;

use crate::counters::{self, Window};
use crate::error::overflow;
use crate::usage::{Recordable, find, record};

/// A consumption with the text of its columns.
#[derive(Debug)]
pub(crate) struct Prepared {
    event: Recordable,
    window: Period,
    aggregation: Aggregation,
    hard_limit: Option<Decimal>,
}

impl Prepared {
    pub(crate) fn new(consumption: Consumption) -> Result<Self, StoreError> {
        Ok(Self {
            event: Recordable::new(consumption.event)?,
            window: consumption.window,
            aggregation: consumption.aggregation,
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
    counters: HashMap<(TenantId, &'a MeterCode), Vec<Window>>,
    /// With their place in the batch.
    accepted: HashMap<(TenantId, &'a IdempotencyKey), (usize, &'a UsageEvent)>,
}

impl<'a> Check<'a> {
    fn one(
        &mut self,
        connection: &Connection,
        prepared: &'a Prepared,
        now: DateTime<Utc>,
    ) -> Result<Consumed, StoreError> {
        let event = prepared.event.event();
        let counter = self.counter(connection, event, prepared, now)?;
        let key = (event.tenant_id, &event.idempotency_key);
        let known = match self.accepted.get(&key) {
            Some((_, known)) => Some((*known).clone()),
            None => find(connection, &prepared.event)?,
        };
        if let Some(known) = known {
            return Ok(match event.compare(&known) {
                UsageOutcome::Refused(refusal) => Consumed::Refused(refusal),
                UsageOutcome::Accepted | UsageOutcome::Late { .. } | UsageOutcome::Duplicate => {
                    Consumed::Duplicate(counter)
                }
            });
        }
        let aggregation = &prepared.aggregation;
        let quantity = aggregation.counted(event.quantity);
        let admitted = counter.admits(aggregation, quantity, prepared.hard_limit);
        if !admitted.map_err(overflow)? {
            return Ok(Consumed::OverLimit(counter));
        }
        self.accepted.insert(key, (self.accepted.len(), event));
        let windows = self.counters.get_mut(&(event.tenant_id, &event.meter));
        for window in windows.into_iter().flatten() {
            window.take(event.quantity, event.occurred_at)?;
        }
        Ok(Consumed::Accepted(counter))
    }

    /// The counter of a window, what was accepted of the batch so far included.
    fn counter(
        &mut self,
        connection: &Connection,
        event: &'a UsageEvent,
        prepared: &Prepared,
        now: DateTime<Utc>,
    ) -> Result<Counter, StoreError> {
        let windows = self.counters.entry((event.tenant_id, &event.meter)).or_default();
        let is_asked =
            |known: &&Window| (known.period, &known.aggregation) == (prepared.window, &prepared.aggregation);
        if let Some(window) = windows.iter().find(is_asked) {
            return Ok(window.counter);
        }
        let key = CounterKey {
            tenant_id: event.tenant_id,
            meter: event.meter.clone(),
            window: prepared.window,
            aggregation: prepared.aggregation.clone(),
        };
        let mut window = counters::open(connection, &key, now)?;
        let mut accepted: Vec<_> = self.accepted.values().collect();
        accepted.retain(|(_, event)| (event.tenant_id, &event.meter) == (key.tenant_id, &key.meter));
        accepted.sort_by_key(|(place, event)| (event.occurred_at, *place));
        for (_, event) in accepted {
            window.take(event.quantity, event.occurred_at)?;
        }
        let counter = window.counter;
        windows.push(window);
        Ok(counter)
    }
}
