//! Plans with meters, and usage events as callers send them.

use std::path::Path;

use billing::core::charge::{ChargeModel, Graduated, Package, Tier};
use billing::core::id::{IdempotencyKey, MeterCode};
use billing::core::plan::{MeterTerms, Plan};
use billing::core::usage::{UsageEvent, UsageOutcome};
use billing::{SqliteStore, Store};
use chrono::{DateTime, TimeDelta, Utc};
use futures_executor::block_on;
use uuid::Builder;

use crate::Random;
use crate::subscribers::{UNTIL_DUE, plan, tenant_id};

/// The meters of a [`metered_plan`].
pub const METERS: [&str; 3] = ["api-calls", "storage-gb", "transfers"];

/// How many events [`fill_usage`] records at once.
const FILL_BATCH: usize = 10_000;

/// A plan with a recurring price and [`METERS`], each with an allowance and a hard limit that nobody comes near.
pub fn metered_plan(code: &str) -> Plan {
    let tier = |up_to: Option<u32>, unit_price: &str| Tier {
        up_to: up_to.map(Into::into),
        unit_price: unit_price.parse().expect("a price"),
        flat_fee: 0.into(),
    };
    let charges = [
        ChargeModel::PerUnit {
            unit_price: "0.0004".parse().expect("a price"),
        },
        ChargeModel::Graduated(Graduated {
            tiers: vec![
                tier(Some(10), "0.05"),
                tier(Some(50), "0.04"),
                tier(None, "0.021"),
            ],
            empty_first_fee: false,
        }),
        ChargeModel::Package(Package {
            size: 100.into(),
            price: "0.75".parse().expect("a price"),
        }),
    ];
    let terms = charges.map(|charge| MeterTerms {
        allowance: 10.into(),
        hard_limit: Some(1_000_000_000_000_u64.into()),
        ..MeterTerms::new(charge)
    });
    Plan {
        meters: METERS.map(meter).into_iter().zip(terms).collect(),
        ..plan(code)
    }
}

/// The code of a meter.
pub fn meter(code: &str) -> MeterCode {
    MeterCode::new(code).expect("a code")
}

/// What keys look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keys {
    /// UUIDs of version 4: each lies anywhere among the keys before it.
    Random,
    /// UUIDs of version 7: each lies behind those of its tenant before it.
    InTimeOrder,
}

impl Keys {
    /// A key that no other event has.
    pub fn key(self, random: &mut Random, occurred_at: DateTime<Utc>) -> IdempotencyKey {
        let bits = u128::from(random.bits()) << 64 | u128::from(random.bits());
        let bytes = bits.to_be_bytes();
        let id = match self {
            Self::Random => Builder::from_random_bytes(bytes).into_uuid(),
            Self::InTimeOrder => {
                let millis = u64::try_from(occurred_at.timestamp_millis()).expect("after 1970");
                let (tail, _) = bytes.split_first_chunk().expect("ten of sixteen bytes");
                Builder::from_unix_timestamp_millis(millis, tail).into_uuid()
            }
        };
        IdempotencyKey::new(&id.to_string()).expect("a key")
    }
}

/// An event of tenant `number` with a random quantity.
pub fn event(
    number: u64,
    meter: &MeterCode,
    keys: Keys,
    random: &mut Random,
    occurred_at: DateTime<Utc>,
) -> UsageEvent {
    let quantity = format!("{}.{:02}", random.below(100), random.below(100));
    UsageEvent {
        idempotency_key: keys.key(random, occurred_at),
        tenant_id: tenant_id(number),
        meter: meter.clone(),
        quantity: quantity.parse().expect("a quantity"),
        occurred_at,
        properties: [].into(),
    }
}

/// So many events of each meter, evenly spread over the month from `from` on, of tenant `number`.
pub fn month_of_events(number: u64, from: DateTime<Utc>, each: i32, random: &mut Random) -> Vec<UsageEvent> {
    let step = UNTIL_DUE / (each + 1);
    let events = (1..=each).flat_map(|place| METERS.map(|code| (from + step * place, meter(code))));
    events
        .map(|(occurred_at, meter)| event(number, &meter, Keys::InTimeOrder, random, occurred_at))
        .collect()
}

/// Records events in a store, in batches; all of them are new.
pub fn record(store: &SqliteStore, events: &[UsageEvent], recorded_at: DateTime<Utc>) {
    for batch in events.chunks(FILL_BATCH) {
        let outcomes = block_on(store.record_usage(batch.to_vec(), recorded_at));
        assert_accepted(&outcomes.expect("events are recorded"));
    }
}

/// Adds to the store at `path` a month of events for each of the tenants who came then, numbered from 0.
pub fn fill_usage(path: &Path, came: &[DateTime<Utc>], each: i32) {
    let store = SqliteStore::open(path).expect("a store");
    let (mut random, mut events) = (Random::new(2), Vec::new());
    for (number, from) in (0..).zip(came) {
        events.extend(month_of_events(number, *from, each, &mut random));
        if events.len() >= FILL_BATCH {
            record(&store, &std::mem::take(&mut events), *from + TimeDelta::days(28));
        }
    }
    let last = came.last().expect("somebody came");
    record(&store, &events, *last + TimeDelta::days(28));
}

/// Checks that all events were new.
pub fn assert_accepted(outcomes: &[UsageOutcome]) {
    let is_accepted = |outcome: &UsageOutcome| *outcome == UsageOutcome::Accepted;
    assert!(outcomes.iter().all(is_accepted), "each event is new");
}
