//! The sweep: takes everything due, once; may be stopped at any point; its dry run lists exactly what it would do.

use std::ops::ControlFlow;

use crate::kit::{Bench, at, metered, on_each_store, request, usd};
use billing::core::invoice::InvoiceKind;
use billing::core::subscription::{Status, UnusedOnCancel, When};
use billing::{SweepOptions, SweepReport, SweepStep};

const OPTIONS: SweepOptions = SweepOptions { page: 3 };

/// Ten subscriptions: renewing, canceling, not renewing, in a trial that ends, and one that is free.
async fn ten(bench: &Bench) {
    let plan = bench.plan("pro", |plan| metered(plan, 0, "1")).await;
    let free = bench.plan("free", |plan| plan.price = usd(0)).await;
    let trial = bench
        .plan("trial", |plan| {
            plan.trial = Some(billing::core::plan::Trial {
                days: 14,
                payment_method_required: false,
                family: billing::core::id::TrialFamily::new("app").unwrap(),
                without_payment_method: billing::core::plan::TrialEnd::Expire,
            });
        })
        .await;
    for tenant in 1..=10 {
        let plan = match tenant {
            9 => &free,
            10 => &trial,
            _ => &plan,
        };
        // Another instant each, so that the order of what is due is not the order of the ids.
        bench
            .clock
            .set(at(&format!("2026-01-01T00:{:02}:00Z", (tenant * 7) % 11)));
        let id = bench.subscribe(tenant, plan).await.id();
        bench.pay(id).await;
        let flag = request(&format!("flag-{tenant}"));
        if tenant == 4 {
            bench
                .billing
                .cancel(&flag, id, When::AtPeriodEnd, "bye", UnusedOnCancel::None)
                .await
                .unwrap();
        }
        if tenant == 5 {
            bench.billing.set_auto_renew(&flag, id, false).await.unwrap();
        }
        bench.clock.set(at("2026-01-20"));
        if tenant < 9 {
            bench.use_meter(tenant, "event", "3", "2026-01-10").await;
        }
    }
}

async fn dry(bench: &Bench, now: &str) -> (Vec<SweepStep>, SweepReport) {
    let mut steps = Vec::new();
    let report = bench
        .billing
        .sweep_dry_run(at(now), &OPTIONS, |page| {
            steps.extend_from_slice(page.steps);
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    (steps, report)
}

async fn sweep(bench: &Bench, now: &str) -> (Vec<SweepStep>, SweepReport) {
    let mut steps = Vec::new();
    let report = bench
        .billing
        .sweep(at(now), &OPTIONS, |page| {
            steps.extend_from_slice(page.steps);
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    (steps, report)
}

/// Everything that the store holds of the ten.
async fn everything(bench: &Bench) -> Vec<String> {
    let mut all = Vec::new();
    for tenant in 1..=10 {
        for subscription in bench
            .billing
            .subscriptions_of(crate::kit::tenant_id(tenant))
            .await
            .unwrap()
        {
            bench.billing.verify_audit(subscription.id).await.unwrap();
            all.push(format!("{:?}", bench.invoices(subscription.id).await));
            all.push(format!("{subscription:?}"));
        }
    }
    all.push(format!("{:?}", bench.billing.jobs(None, 1_000).await.unwrap()));
    all
}

#[test]
fn a_dry_run_writes_nothing_and_lists_exactly_what_the_sweep_does() {
    on_each_store(async |bench| {
        ten(&bench).await;
        let before = everything(&bench).await;
        // Three months late: the free plan has three steps, the trial one, the others one.
        let listed = dry(&bench, "2026-04-02").await;
        assert_eq!(everything(&bench).await, before);
        assert_eq!(dry(&bench, "2026-04-02").await, listed);

        let done = sweep(&bench, "2026-04-02").await;
        assert_eq!(done, listed);
        let (steps, report) = done;
        assert_eq!((report.subscriptions, report.steps, report.failed), (10, 12, 0));
        let renewed = steps.iter().filter(|step| {
            step.invoice
                .is_some_and(|(kind, _, total)| kind == InvoiceKind::Renewal && total == usd(13_00))
        });
        assert_eq!(renewed.count(), 6);
        let to = |status: Status| {
            steps
                .iter()
                .filter(|step| step.to == status && step.from != status)
                .count()
        };
        assert_eq!((to(Status::Canceled), to(Status::Expired)), (1, 2));
    });
}

#[test]
fn a_second_sweep_finds_nothing() {
    on_each_store(async |bench| {
        ten(&bench).await;
        sweep(&bench, "2026-02-02").await;
        let before = everything(&bench).await;
        let (steps, report) = sweep(&bench, "2026-02-02").await;
        assert_eq!((steps, report), (Vec::new(), SweepReport::default()));
        assert_eq!(everything(&bench).await, before);
    });
}

#[test]
fn a_sweep_that_is_stopped_after_any_page_is_completed_by_the_next() {
    for pages in 1..4 {
        on_each_store(async |bench| {
            ten(&bench).await;
            let (listed, _) = dry(&bench, "2026-02-02").await;
            let mut seen = 0;
            let mut steps = Vec::new();
            let stopped = bench
                .billing
                .sweep(at("2026-02-02"), &OPTIONS, |page| {
                    seen += 1;
                    steps.extend_from_slice(page.steps);
                    if seen == pages {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
                .await
                .unwrap();
            assert!(stopped.stopped);
            assert_eq!(seen, pages);
            let (rest, _) = sweep(&bench, "2026-02-02").await;
            assert!(!rest.is_empty());
            steps.extend(rest);
            assert_eq!(steps, listed, "stopped after {pages} pages");
        });
    }
}

#[test]
fn a_sweep_that_is_dropped_in_the_middle_loses_nothing_and_doubles_nothing() {
    on_each_store(async |bench| {
        ten(&bench).await;
        let (listed, _) = dry(&bench, "2026-02-02").await;
        {
            let sweep = bench
                .billing
                .sweep(at("2026-02-02"), &OPTIONS, |_| ControlFlow::Continue(()));
            let mut sweep = std::pin::pin!(sweep);
            // Polled once, then dropped: whatever of it has reached the store is complete.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = sweep.as_mut().poll(&mut context);
        }
        sweep(&bench, "2026-02-02").await;
        let invoices: usize = {
            let mut count = 0;
            for tenant in 1..=10 {
                for subscription in bench
                    .billing
                    .subscriptions_of(crate::kit::tenant_id(tenant))
                    .await
                    .unwrap()
                {
                    count += bench
                        .invoices(subscription.id)
                        .await
                        .iter()
                        .filter(|invoice| invoice.opened_at == at("2026-02-02"))
                        .count();
                }
            }
            count
        };
        assert_eq!(
            invoices,
            listed.iter().filter(|step| step.invoice.is_some()).count()
        );
        everything(&bench).await;
    });
}

#[test]
fn two_sweeps_at_once_take_each_step_once() {
    on_each_store(async |bench| {
        ten(&bench).await;
        let (listed, _) = dry(&bench, "2026-02-02").await;
        let (one, two) =
            futures_util::future::join(sweep(&bench, "2026-02-02"), sweep(&bench, "2026-02-02")).await;
        let mut steps = [one.0, two.0].concat();
        steps.sort_by_key(|step| (step.due_at, step.subscription_id));
        assert_eq!(steps, listed);
        assert_eq!((one.1.failed, two.1.failed), (0, 0));
        everything(&bench).await;
    });
}

#[test]
fn what_cannot_be_advanced_is_reported_and_the_others_go_on() {
    on_each_store(async |bench| {
        ten(&bench).await;
        // More than can be billed: a quantity times a price that does not fit.
        let huge = bench
            .plan("huge", |plan| {
                plan.product = billing::core::id::ProductCode::new("huge").unwrap();
                metered(plan, 0, "1000000000000000000");
            })
            .await;
        let id = bench.subscribe(11, &huge).await.id();
        bench.pay(id).await;
        bench.use_meter(11, "event", "10000000000", "2026-01-20").await;
        let (_, report) = sweep(&bench, "2026-02-25").await;
        assert_eq!((report.subscriptions, report.failed), (10, 1));
        assert_eq!(report.failures[0].subscription_id, id);
        assert_eq!(report.failures[0].error.to_string(), "amount in USD is too large");
    });
}
