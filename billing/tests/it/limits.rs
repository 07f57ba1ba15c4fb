//! Limits through the engine: what a check says, that no limit is passed, when it begins anew.

use std::sync::{Arc, Barrier};

use billing::core::calendar::{Interval, IntervalUnit};
use billing::core::id::{IdempotencyKey, MeterCode};
use billing::core::limit::{LimitMark, Settled};
use billing::core::plan::{LimitReset, MeterTerms, Plan};
use billing::core::usage::{UsageEvent, UsageOutcome, UsageRefusal};
use billing::{Billing, ConsumeOutcome, Error, LimitCheck, ReserveOutcome};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use crate::kit::{Bench, at, metered, on_each_store, request, tenant_id};

fn api() -> MeterCode {
    MeterCode::new("api").unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

fn event(name: &str, quantity: i64, occurred_at: DateTime<Utc>) -> UsageEvent {
    UsageEvent {
        idempotency_key: key(name),
        tenant_id: tenant_id(1),
        meter: api(),
        quantity: quantity.into(),
        occurred_at,
        properties: [].into(),
    }
}

/// Tenant 1 on a plan whose meter `api` has been changed by `with`.
async fn subscribed(bench: &Bench, with: impl FnOnce(&mut MeterTerms)) -> Plan {
    let plan = bench
        .plan("pro", |plan| {
            metered(plan, 0, "0.01");
            with(plan.meters.get_mut(&api()).unwrap());
        })
        .await;
    bench.subscribe(1, &plan).await;
    plan
}

fn limited(limit: i64) -> impl FnOnce(&mut MeterTerms) {
    move |terms| terms.hard_limit = Some(limit.into())
}

async fn remaining(billing: &Billing) -> Decimal {
    let check = billing.check_limit(tenant_id(1), &api(), Decimal::ZERO).await;
    check.unwrap().answer.remaining.unwrap()
}

#[test]
fn thirty_two_tasks_consume_the_last_thousand_units_and_not_one_more() {
    const TASKS: usize = 32;
    on_each_store(async |bench| {
        subscribed(&bench, limited(5_000)).await;
        let billing = &bench.billing;
        billing
            .consume(vec![event("before", 4_000, billing.now())])
            .await
            .unwrap();
        let start = Barrier::new(TASKS);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..TASKS)
                .map(|task| {
                    // An engine of its own, as another process would have: nothing is shared but the store.
                    let billing = Billing::new(Arc::clone(billing.store()), bench.clock.clone());
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        let ask = async |n: usize| {
                            let event = event(&format!("{task}-{n}"), 1, billing.now());
                            let outcomes = billing.consume(vec![event]).await.unwrap();
                            usize::from(matches!(outcomes[0], ConsumeOutcome::Accepted(_)))
                        };
                        (0..40).map(|n| futures_executor::block_on(ask(n))).sum::<usize>()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1_000, "of 1,280 that asked");
        assert_eq!(remaining(billing).await, Decimal::ZERO);
        assert_eq!(billing.recount_usage(tenant_id(1)).await, Ok(Vec::new()));
    });
}

#[test]
fn a_check_says_what_remains_and_warns_each_mark_once() {
    on_each_store(async |bench| {
        subscribed(&bench, |terms| {
            terms.allowance = 10.into();
            terms.soft_limit = Some(50.into());
            terms.hard_limit = Some(100.into());
            terms.warn_at = vec![Decimal::new(8, 1), Decimal::ONE];
        })
        .await;
        let billing = &bench.billing;
        let consume = async |name: &str, quantity| {
            let outcomes = billing
                .consume(vec![event(name, quantity, billing.now())])
                .await
                .unwrap();
            match outcomes.into_iter().next() {
                Some(ConsumeOutcome::Accepted(check)) => check,
                outcome => panic!("{outcome:?}"),
            }
        };
        let told = |check: &LimitCheck| -> Vec<(LimitMark, bool)> {
            let warnings = check.answer.warnings.iter();
            warnings.map(|warning| (warning.mark, warning.crossed)).collect()
        };
        let fraction = LimitMark::Fraction(Decimal::new(8, 1));
        let first = consume("a", 9).await;
        assert_eq!(
            (told(&first), first.answer.fraction),
            (vec![], Some(Decimal::new(9, 2)))
        );
        let second = consume("b", 71).await;
        assert_eq!(
            told(&second),
            [
                (LimitMark::Allowance, true),
                (LimitMark::SoftLimit, true),
                (fraction, true)
            ]
        );
        let third = consume("c", 1).await;
        assert_eq!(
            told(&third),
            [
                (LimitMark::Allowance, false),
                (LimitMark::SoftLimit, false),
                (fraction, false)
            ]
        );
        let refused = billing
            .check_limit(tenant_id(1), &api(), 20.into())
            .await
            .unwrap();
        assert_eq!(
            (
                refused.answer.allowed,
                refused.answer.remaining,
                refused.answer.taken
            ),
            (false, Some(19.into()), 81.into())
        );
        assert_eq!(
            (refused.window.start, refused.window.end),
            (at("2026-01-01"), at("2026-02-01"))
        );
    });
}

#[test]
fn a_limit_begins_anew_with_the_period_or_with_the_day() {
    on_each_store(async |bench| {
        subscribed(&bench, limited(10)).await;
        let billing = &bench.billing;
        // Of the next period, though it has not been renewed yet.
        bench.clock.set(at("2026-01-31T23:30:00Z"));
        billing
            .consume(vec![event("january", 10, at("2026-01-31"))])
            .await
            .unwrap();
        assert_eq!(remaining(billing).await, Decimal::ZERO);
        bench.clock.set(at("2026-02-01"));
        assert_eq!(remaining(billing).await, Decimal::from(10));
        // What is late counts where it occurred.
        let outcomes = billing
            .consume(vec![event("late", 1, at("2026-01-31"))])
            .await
            .unwrap();
        assert!(matches!(outcomes[0], ConsumeOutcome::OverLimit(_)));
        assert_eq!(remaining(billing).await, Decimal::from(10));
    });
    on_each_store(async |bench| {
        subscribed(&bench, |terms| {
            terms.hard_limit = Some(10.into());
            terms.reset = LimitReset::Calendar(Interval::new(IntervalUnit::Day, std::num::NonZeroU16::MIN));
        })
        .await;
        let billing = &bench.billing;
        billing
            .consume(vec![event("a", 10, at("2026-01-01T00:00:00Z"))])
            .await
            .unwrap();
        assert_eq!(remaining(billing).await, Decimal::ZERO);
        bench.clock.set(at("2026-01-02"));
        assert_eq!(remaining(billing).await, Decimal::from(10));
    });
}

#[test]
fn who_has_no_current_subscription_consumes_nothing() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |plan| metered(plan, 0, "0.01")).await;
        let billing = &bench.billing;
        let outcomes = billing.consume(vec![event("a", 1, billing.now())]).await.unwrap();
        assert_eq!(outcomes, [ConsumeOutcome::NotMetered]);
        let id = bench.subscribe(1, &plan).await.id();
        let mut other = event("b", 1, billing.now());
        other.meter = MeterCode::new("gb").unwrap();
        let outcomes = billing
            .consume(vec![event("a", 1, billing.now()), other])
            .await
            .unwrap();
        assert_eq!(outcomes, [ConsumeOutcome::Withheld, ConsumeOutcome::NotMetered]);
        billing.suspend(&request("stop"), id, "fraud").await.unwrap();
        let outcomes = billing.consume(vec![event("a", 1, billing.now())]).await.unwrap();
        assert_eq!(outcomes, [ConsumeOutcome::NotMetered]);
        let refused = billing.check_limit(tenant_id(1), &api(), Decimal::ONE).await;
        assert!(matches!(refused, Err(Error::NotMetered { .. })));
    });
}

#[test]
fn a_lease_holds_its_quantity_and_is_settled_with_the_real_one() {
    on_each_store(async |bench| {
        subscribed(&bench, limited(10)).await;
        let billing = &bench.billing;
        let hour = TimeDelta::hours(1);
        let reserve = async |name: &str, quantity: i64, lease| {
            let (tenant, meter) = (tenant_id(1), api());
            billing
                .reserve(tenant, &key(name), &meter, quantity.into(), lease)
                .await
        };
        assert!(matches!(reserve("a", 8, hour).await, Ok(ReserveOutcome::Held(_))));
        assert!(matches!(
            reserve("b", 3, hour).await,
            Ok(ReserveOutcome::OverLimit(_))
        ));
        assert_eq!(remaining(billing).await, Decimal::from(2));
        let settled = billing.settle(event("a", 5, billing.now())).await.unwrap();
        assert_eq!(settled, Settled::Recorded(UsageOutcome::Accepted));
        assert_eq!(remaining(billing).await, Decimal::from(5));
        assert!(matches!(reserve("c", 5, hour).await, Ok(ReserveOutcome::Held(_))));
        assert_eq!(billing.release(tenant_id(1), &key("c")).await, Ok(true));
        assert!(matches!(reserve("d", 5, hour).await, Ok(ReserveOutcome::Held(_))));
        bench.clock.set(billing.now() + hour);
        assert_eq!(remaining(billing).await, Decimal::from(5));
        // A lease that would free units instead of holding them, and leases without an end.
        assert_eq!(
            reserve("e", -1, hour).await,
            Err(Error::Quantity(UsageRefusal::Negative {
                quantity: (-1).into()
            }))
        );
        for lease in [TimeDelta::zero(), TimeDelta::days(1) + TimeDelta::microseconds(1)] {
            assert_eq!(reserve("e", 1, lease).await, Err(Error::LeaseLength { lease }));
        }
    });
}

#[test]
fn a_window_never_reaches_over_more_than_a_period() {
    on_each_store(async |bench| {
        let monthly = subscribed(&bench, limited(12)).await;
        let yearly = bench
            .plan("yearly", |plan| {
                plan.interval = Interval::YEARLY;
                plan.price = crate::kit::usd(20_000);
                plan.meters = monthly.meters.clone();
            })
            .await;
        let billing = &bench.billing;
        let id = billing.subscriptions_of(tenant_id(1)).await.unwrap()[0].id;
        bench.pay(id).await;
        billing
            .consume(vec![event("january", 10, billing.now())])
            .await
            .unwrap();
        bench.clock.set(at("2026-02-01"));
        billing.advance(&request("renew"), id).await.unwrap();
        bench.pay(id).await;
        billing
            .consume(vec![event("february", 5, billing.now())])
            .await
            .unwrap();
        bench.clock.set(at("2026-02-15"));
        let now = Some(billing::core::subscription::When::Now);
        billing
            .change_plan(&request("yearly"), id, yearly.id, now, Default::default())
            .await
            .unwrap();
        // Of the time before the change, when the anchor was another.
        let outcomes = billing
            .consume(vec![event("late", 7, at("2026-02-14"))])
            .await
            .unwrap();
        let ConsumeOutcome::Accepted(check) = &outcomes[0] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(
            (check.window.start, check.window.end),
            (at("2026-02-01"), at("2026-02-15"))
        );
        assert_eq!(billing.recount_usage(tenant_id(1)).await, Ok(Vec::new()));
        // Before there was a subscription there is nothing to be counted.
        let outcomes = billing
            .consume(vec![
                event("before", 1, at("2025-12-31")),
                event("now", 1, billing.now()),
            ])
            .await
            .unwrap();
        assert_eq!(outcomes, [ConsumeOutcome::NotMetered, ConsumeOutcome::Withheld]);
    });
}

/// What was left of a small plan, or of a trial, is nothing that a large one hands on.
#[test]
fn nothing_rolls_over_from_another_plan() {
    on_each_store(async |bench| {
        let rolling = |limit: i64| {
            move |terms: &mut MeterTerms| {
                terms.hard_limit = Some(limit.into());
                terms.rollover_max = Some(50.into());
            }
        };
        subscribed(&bench, rolling(10)).await;
        let billing = &bench.billing;
        let id = billing.subscriptions_of(tenant_id(1)).await.unwrap()[0].id;
        bench.pay(id).await;
        let large = bench
            .plan("large", |plan| {
                plan.price = crate::kit::usd(20_00);
                metered(plan, 0, "0.01");
                rolling(100)(plan.meters.get_mut(&api()).unwrap());
            })
            .await;
        let at_end = Some(billing::core::subscription::When::AtPeriodEnd);
        billing
            .change_plan(&request("large"), id, large.id, at_end, Default::default())
            .await
            .unwrap();
        for (date, limit) in [("2026-02-01", 100), ("2026-03-01", 150)] {
            bench.clock.set(at(date));
            billing.advance(&request(date), id).await.unwrap();
            bench.pay(id).await;
            assert_eq!(remaining(billing).await, limit.into(), "{date}");
        }
    });
}

/// 10 a month, of which at most 4 roll over.
#[test]
fn what_is_left_rolls_over_once_and_up_to_the_cap() {
    on_each_store(async |bench| {
        let rolling = |terms: &mut MeterTerms| {
            terms.hard_limit = Some(10.into());
            terms.rollover_max = Some(4.into());
        };
        subscribed(&bench, rolling).await;
        let billing = &bench.billing;
        let id = billing.subscriptions_of(tenant_id(1)).await.unwrap()[0].id;
        bench.pay(id).await;
        let limit = async || {
            let check = billing.check_limit(tenant_id(1), &api(), 1.into()).await.unwrap();
            check.answer.hard_limit.unwrap().to_string()
        };
        let consume = async |key: &str, quantity: i64, at| {
            let outcomes = billing.consume(vec![event(key, quantity, at)]).await.unwrap();
            matches!(outcomes[0], ConsumeOutcome::Accepted(_))
        };
        let renew = async |date: &str| {
            bench.clock.set(at(date));
            billing.advance(&request(date), id).await.unwrap();
            bench.pay(id).await;
        };
        assert_eq!(limit().await, "10", "nothing was left before the first period");
        assert!(consume("january", 3, billing.now()).await);

        renew("2026-02-01").await;
        assert_eq!(limit().await, "14", "7 were left");
        assert!(!consume("many", 15, billing.now()).await);
        assert!(consume("february", 11, billing.now()).await);
        // One of what was left of January is used up in February: of the 7 there are 6.
        assert!(!consume("late", 7, at("2026-01-20")).await);
        assert!(consume("late", 5, at("2026-01-20")).await);
        assert_eq!(limit().await, "12");

        renew("2026-03-01").await;
        assert_eq!(limit().await, "10", "what rolled over does not roll over again");
        assert!(consume("march", 6, billing.now()).await);
        renew("2026-04-01").await;
        let batch = vec![
            event("in-march", 2, at("2026-03-20")),
            event("in-april", 13, billing.now()),
        ];
        let outcomes = billing.consume(batch).await.unwrap();
        assert!(
            matches!(outcomes[1], ConsumeOutcome::OverLimit(_)),
            "a batch sees itself: {outcomes:?}"
        );
        // Leases of the window before are not left either, and those of this one reach into what rolled over.
        let reserve = async |name: &str, quantity: i64| {
            let held = billing
                .reserve(
                    tenant_id(1),
                    &key(name),
                    &api(),
                    quantity.into(),
                    TimeDelta::hours(1),
                )
                .await;
            matches!(held, Ok(ReserveOutcome::Held(_)))
        };
        assert!(!reserve("too-many", 15).await);
        assert!(reserve("held", 14).await);
        assert_eq!(billing.recount_usage(tenant_id(1)).await, Ok(Vec::new()));
    });
}
