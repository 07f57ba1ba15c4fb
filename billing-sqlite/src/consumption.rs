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
    counters: HashMap<(TenantId, &'a MeterCode, Period), Counter>,
    events: HashMap<(TenantId, &'a IdempotencyKey), &'a UsageEvent>,
}

impl<'a> Check<'a> {
    fn one(
        &mut self,
        connection: &Connection,
        prepared: &'a Prepared,
        now: DateTime<Utc>,
    ) -> Result<Consumed, StoreError> {
        let event = prepared.event.event();
        let place = (event.tenant_id, &event.meter, prepared.window);
        let counter = match self.counters.get(&place) {
            Some(counter) => *counter,
            None => {
                let key = CounterKey {
                    tenant_id: event.tenant_id,
                    meter: event.meter.clone(),
                    window: prepared.window,
                };
                counters::open(connection, &key, now)?
            }
        };
        let key = (event.tenant_id, &event.idempotency_key);
        let known = match self.events.get(&key) {
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
        self.events.insert(key, event);
        let after = Counter {
            used: add_quantities(counter.used, event.quantity).map_err(overflow)?,
            events: counter.events.saturating_add(1),
            ..counter
        };
        self.counters.insert(place, after);
        Ok(Consumed::Accepted(counter))
    }
}
