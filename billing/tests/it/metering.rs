//! Usage that comes late, and meters that do not just add up.

use billing::core::aggregation::{Aggregation, HeldUnit};
use billing::core::id::{IdempotencyKey, MeterCode};
use billing::core::invoice::LineKind;
use billing::core::plan::{MeterTerms, Plan};
use billing::core::usage::{UsageEvent, UsageOutcome};
use billing::{ConsumeOutcome, Error, SweepOptions};
use chrono::TimeDelta;
use std::ops::ControlFlow;

use crate::kit::{Bench, at, metered, on_each_store, tenant_id};

fn event(key: &str, quantity: i64, occurred_at: &str) -> UsageEvent {
    UsageEvent {
        idempotency_key: IdempotencyKey::new(key).unwrap(),
        tenant_id: tenant_id(1),
        meter: MeterCode::new("api").unwrap(),
        quantity: quantity.into(),
        occurred_at: at(occurred_at),
        properties: [].into(),
    }
}

async fn metered_plan(bench: &Bench, with: impl FnOnce(&mut MeterTerms)) -> Plan {
    bench
        .plan("pro", |plan| {
            metered(plan, 0, "0.01");
            with(plan.meters.get_mut(&MeterCode::new("api").unwrap()).unwrap());
        })
        .await
}

async fn sweep(bench: &Bench, now: &str) {
    bench.clock.set(at(now));
    let report = bench
        .billing
        .sweep(at(now), &SweepOptions::default(), |_| ControlFlow::Continue(()))
        .await
        .unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}

/// Whatever the sweep does at once: two periods that fall due together, and what came late for the first of them.
#[test]
fn what_comes_late_is_told_so_and_billed_once_in_its_own_period() {
    on_each_store(async |bench| {
        let plan = metered_plan(&bench, |terms| terms.maximum = Some(1.into())).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let record = async |event| bench.billing.record_usage(vec![event]).await.unwrap().remove(0);
        bench.clock.set(at("2026-01-31"));
        assert_eq!(record(event("a", 60, "2026-01-10")).await, UsageOutcome::Accepted);
        sweep(&bench, "2026-02-01").await;
        bench.pay(id).await;
        let late = UsageOutcome::Late {
            billed_until: at("2026-02-01"),
        };
        assert_eq!(record(event("b", 30, "2026-01-11")).await, late);
        assert_eq!(
            record(event("b", 30, "2026-01-11")).await,
            UsageOutcome::Duplicate
        );
        assert_eq!(
            record(event("c", 500, "2026-02-01")).await,
            UsageOutcome::Accepted
        );
        // 60 + 30 of January are below its maximum of 1.00; February's 500 are above it.
        sweep(&bench, "2026-03-01").await;
        bench.pay(id).await;
        bench.clock.set(at("2026-04-02"));
        assert_eq!(
            record(event("d", 30, "2026-01-12")).await,
            UsageOutcome::Late {
                billed_until: at("2026-03-01")
            }
        );
        sweep(&bench, "2026-04-02").await;
        let found = bench.invoices(id).await.into_iter().map(|invoice| {
            let lines = invoice.lines.into_iter().filter(|line| line.meter.is_some());
            lines
                .map(|line| (line.kind, line.amount.minor))
                .collect::<Vec<_>>()
        });
        let (usage, adjustment) = (LineKind::Usage, LineKind::UsageAdjustment);
        let expected: [&[_]; 4] = [
            &[],
            &[(usage, 60)],
            &[(usage, 100), (adjustment, 30)],
            &[(adjustment, 10)],
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    });
}

/// Seats are limited by how many there are, not by how many were ever reported.
#[test]
fn a_limit_of_seats_is_about_seats() {
    on_each_store(async |bench| {
        let plan = metered_plan(&bench, |terms| {
            terms.aggregation = Aggregation::WeightedSum {
                unit: HeldUnit::Period,
            };
            terms.hard_limit = Some(10.into());
        })
        .await;
        bench.subscribe(1, &plan).await;
        bench.clock.set(at("2026-01-20"));
        let consume = async |event| bench.billing.consume(vec![event]).await.unwrap().remove(0);
        for (key, seats, day) in [
            ("a", 8, "2026-01-10"),
            ("b", 10, "2026-01-11"),
            ("c", 3, "2026-01-12"),
        ] {
            let outcome = consume(event(key, seats, day)).await;
            assert!(matches!(outcome, ConsumeOutcome::Accepted(_)), "{outcome:?}");
        }
        let outcome = consume(event("d", 11, "2026-01-13")).await;
        let ConsumeOutcome::OverLimit(check) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (check.answer.taken, check.answer.remaining),
            (3.into(), Some(10.into()))
        );
        // A part of it cannot be held, since two holds do not add up to seats.
        let meter = MeterCode::new("api").unwrap();
        let key = IdempotencyKey::new("lease").unwrap();
        let reserved = bench
            .billing
            .reserve(tenant_id(1), &key, &meter, 1.into(), TimeDelta::hours(1))
            .await;
        assert!(
            matches!(reserved, Err(Error::NotReservable { .. })),
            "{reserved:?}"
        );
    });
}

/// Whatever they measure, calls are counted.
#[test]
fn a_limit_of_a_count_is_about_events() {
    on_each_store(async |bench| {
        let plan = metered_plan(&bench, |terms| {
            terms.aggregation = Aggregation::Count;
            terms.hard_limit = Some(2.into());
        })
        .await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        bench.clock.set(at("2026-01-20"));
        let batch = |keys: &[&str]| {
            keys.iter()
                .map(|key| event(key, 700, "2026-01-10"))
                .collect::<Vec<_>>()
        };
        let outcomes = bench.billing.consume(batch(&["a", "b", "c"])).await.unwrap();
        assert!(
            matches!(outcomes[2], ConsumeOutcome::OverLimit(_)),
            "{outcomes:?}"
        );
        let outcomes = bench.billing.consume(batch(&["a", "b"])).await.unwrap();
        assert!(matches!(outcomes[1], ConsumeOutcome::Accepted(_)), "{outcomes:?}");
        sweep(&bench, "2026-02-01").await;
        let invoice = bench.invoices(id).await.remove(1);
        let line = invoice.lines.iter().find(|line| line.meter.is_some()).unwrap();
        assert_eq!(line.explanation, "2 x 0.01 = 0.02 USD");
    });
}

/// An invoice waits for the usage of its period; what comes within that time is on it and not late. A command does not wait.
#[test]
fn an_invoice_waits_for_its_usage() {
    on_each_store(async |bench| {
        let plan = metered_plan(&bench, |_| {}).await;
        let plan = bench
            .plan("waiting", |waiting| {
                waiting.meters = plan.meters.clone();
                waiting.closing_window_hours = 24;
            })
            .await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let record = async |event| bench.billing.record_usage(vec![event]).await.unwrap().remove(0);
        bench.clock.set(at("2026-01-20"));
        record(event("a", 100, "2026-01-10")).await;
        let draft = bench.billing.upcoming_invoice(id).await.unwrap().unwrap();
        assert_eq!((draft.period.start, draft.total.minor), (at("2026-02-01"), 11_00));
        sweep(&bench, "2026-02-01").await;
        assert_eq!(bench.invoices(id).await.len(), 1, "it waits");
        assert_eq!(record(event("b", 50, "2026-01-31")).await, UsageOutcome::Accepted);
        assert_eq!(
            record(event("next", 7, "2026-02-01")).await,
            UsageOutcome::Accepted
        );
        sweep(&bench, "2026-02-02").await;
        let invoice = bench.invoices(id).await.remove(1);
        let lines: Vec<_> = invoice
            .lines
            .iter()
            .map(|line| (line.kind, line.amount.minor))
            .collect();
        assert_eq!(
            lines,
            [(LineKind::RecurringInAdvance, 10_00), (LineKind::Usage, 1_50)]
        );
        assert_eq!(
            (invoice.period.start, invoice.opened_at),
            (at("2026-02-01"), at("2026-02-02"))
        );
        bench.pay(id).await;

        // A plan change within the time closes the period first, and is prorated in the next one.
        bench.clock.set(at("2026-03-01"));
        let receipt = bench
            .billing
            .cancel(
                &crate::kit::request("leave"),
                id,
                billing::core::subscription::When::Now,
                "leaving",
                billing::core::subscription::UnusedOnCancel::None,
            )
            .await
            .unwrap();
        let of = |invoices: Vec<billing::core::invoice::Invoice>| -> Vec<_> {
            invoices
                .iter()
                .skip(2)
                .map(|invoice| (invoice.kind, invoice.total.minor))
                .collect()
        };
        use billing::core::invoice::InvoiceKind::{Closing, Renewal};
        assert_eq!(receipt.invoices.len(), 2);
        assert_eq!(of(bench.invoices(id).await), [(Renewal, 10_07), (Closing, 7)]);
    });
}
