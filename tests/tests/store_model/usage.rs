//! Usage, and the limits that go by it.

use billing_core::aggregation::{Aggregation, HeldUnit};
use billing_core::calendar::Period;
use billing_core::id::{IdempotencyKey, MeterCode};
use billing_core::limit::{Consumed, Consumption, CounterKey, Lease, Reserved, Settled};
use billing_core::usage::{UsageEvent, UsageOutcome};
use billing_tests::kit::{decimal, event, key, meter, start, tenant, wait};
use chrono::{DateTime, TimeDelta, Utc};

use crate::Pair;
use crate::operation::{LEASES, Limited, TENANTS, Used};

fn meter_of(first: bool) -> MeterCode {
    meter(if first { "api" } else { "other" })
}

/// Those that have a running total.
fn aggregation_of(counted: u8) -> Aggregation {
    match counted {
        0 => Aggregation::Sum,
        1 => Aggregation::Count,
        2 => Aggregation::Max,
        3 => Aggregation::Last,
        _ => Aggregation::WeightedSum { unit: HeldUnit::Hour },
    }
}

/// Thirty days from the start on, in a row.
fn window_at(at: DateTime<Utc>) -> Period {
    let index = (at - start()).num_seconds().div_euclid(30 * 86_400);
    let bound = |index| start() + TimeDelta::days(30 * index);
    Period::new(bound(index), bound(index + 1)).expect("a period")
}

impl Pair<'_> {
    pub(crate) fn record(&self, used: &[Used]) {
        let now = self.kit.now();
        let events: Vec<_> = used.iter().map(|used| self.event_of(used)).collect();
        let outcomes = self
            .both(|store| wait(store.record_usage(events.clone(), now)))
            .unwrap();
        for outcome in outcomes {
            self.count(match outcome {
                UsageOutcome::Accepted | UsageOutcome::Late { .. } => "usage accepted",
                UsageOutcome::Duplicate => "usage duplicate",
                UsageOutcome::Refused(_) => "usage refused",
            });
        }
    }

    pub(crate) fn ask(&self, limited: &Limited) {
        let now = self.kit.now();
        match limited {
            Limited::Check {
                tenant: n,
                meter,
                counted,
                back,
            } => {
                let key = CounterKey {
                    tenant_id: tenant(*n),
                    meter: meter_of(*meter),
                    window: window_at(now - TimeDelta::days(30 * back)),
                    aggregation: aggregation_of(*counted),
                };
                let counter = self.both(|store| wait(store.counter(&key, now))).unwrap();
                if !counter.reserved.is_zero() {
                    self.count("counter with leases");
                }
            }
            Limited::Consume {
                used,
                counted,
                hard_limit,
            } => self.consume(used, *counted, *hard_limit),
            Limited::Reserve {
                tenant: n,
                key,
                meter,
                counted,
                quantity,
                hard_limit,
                hours,
            } => {
                let lease = Lease {
                    tenant_id: tenant(*n),
                    key: self.lease_key(*key),
                    meter: meter_of(*meter),
                    window: window_at(now),
                    aggregation: aggregation_of(*counted),
                    quantity: (*quantity).into(),
                    // Where time was set back, not sooner than a store may forget it.
                    expires_at: self.latest + TimeDelta::hours(*hours),
                };
                let limit = hard_limit.map(Into::into);
                let reserved = self.both(|store| wait(store.reserve(lease.clone(), limit, now)));
                self.count(match reserved.unwrap() {
                    Reserved::Held(_) => "lease held",
                    Reserved::Duplicate(_) => "lease duplicate",
                    Reserved::Ended => "lease ended",
                    Reserved::KeyReused => "lease key reused",
                    Reserved::OverLimit(_) => "lease over limit",
                });
            }
            Limited::Settle(used) => {
                let event = self.event_of(&Used {
                    leased: true,
                    ..used.clone()
                });
                let settled = self.both(|store| wait(store.settle(event.clone(), now)));
                self.count(match settled.unwrap() {
                    Settled::Unknown => "settled unknown",
                    Settled::Released => "settled released",
                    Settled::Recorded(UsageOutcome::Accepted | UsageOutcome::Late { .. }) => "settled",
                    Settled::Recorded(UsageOutcome::Duplicate) => "settled duplicate",
                    Settled::Recorded(UsageOutcome::Refused(_)) => "settled refused",
                });
            }
            Limited::Release { tenant: n, key } => {
                let key = self.lease_key(*key);
                if self.both(|store| wait(store.release(tenant(*n), &key))).unwrap() {
                    self.count("lease released");
                }
            }
            Limited::Recount { tenant: n } => {
                let faults = self.both(|store| wait(store.recount(tenant(*n)))).unwrap();
                assert_eq!(faults, [], "a counter was wrong");
            }
        }
    }

    fn consume(&self, used: &[Used], counted: u8, hard_limit: Option<i64>) {
        let now = self.kit.now();
        let consumption = |used: &Used| {
            let event = self.event_of(used);
            Consumption {
                window: window_at(event.occurred_at),
                event,
                aggregation: aggregation_of(counted),
                hard_limit: hard_limit.map(Into::into),
            }
        };
        let batch: Vec<_> = used.iter().map(consumption).collect();
        let consumed = self.both(|store| wait(store.consume(batch.clone(), now)));
        for outcome in consumed.unwrap() {
            self.count(match outcome {
                Consumed::Accepted(_) => "consumed",
                Consumed::Duplicate(_) => "consumed duplicate",
                Consumed::OverLimit(_) => "consumed over limit",
                Consumed::Refused(_) => "consumed refused",
                Consumed::Withheld => "consumed withheld",
            });
        }
    }

    /// Every counter there may be, and whether all were right.
    pub(crate) fn compare_counters(&self) {
        for tenant in 1..=TENANTS {
            for (counted, meter) in (0..5).flat_map(|counted| [(counted, true), (counted, false)]) {
                self.ask(&Limited::Check {
                    tenant,
                    meter,
                    counted,
                    back: 0,
                });
            }
            self.ask(&Limited::Recount { tenant });
        }
    }

    /// A store forgets a lease a week after it is over, and this model never does: each week has keys of its own.
    fn lease_key(&self, n: u8) -> IdempotencyKey {
        let week = (self.latest - start()).num_weeks();
        key(&format!("lease-{}-{week}", n % LEASES))
    }

    fn event_of(&self, used: &Used) -> UsageEvent {
        let occurred_at = self.kit.now() - TimeDelta::hours(used.hours_ago);
        let (n, name) = if used.leased {
            (used.key % LEASES, self.lease_key(used.key))
        } else {
            (used.key, key(&format!("use-{}", used.key)))
        };
        let mut event = event(tenant(used.tenant), name.as_str(), "api", "0", occurred_at);
        event.meter = meter_of(used.meter);
        event.quantity = rust_decimal::Decimal::new(used.quantity, used.scale);
        if used.property {
            event.properties.insert("région".into(), n.to_string());
        }
        // Some keys come with the same content again.
        if n.is_multiple_of(3) {
            event.quantity = decimal("1.5");
            event.occurred_at = start() + TimeDelta::hours(i64::from(n) * 20);
            event.meter = meter_of(true);
            event.properties.clear();
        }
        event
    }
}
