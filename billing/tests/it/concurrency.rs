//! Many callers at one subscription: no lost update, no double invoice.

use std::sync::Arc;

use crate::kit::{Bench, at, on_each_store, request, tenant_id};
use billing::core::invoice::InvoiceKind;
use billing::core::subscription::Status;
use billing::{Billing, Error, MemoryStore, NewSubscription, SqliteStore, Store};

const TASKS: usize = 16;

/// Runs `task` on sixteen threads at once, each with its own engine on the bench's store.
fn race<T: Send>(bench: &Bench, task: impl AsyncFn(usize, Billing) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(TASKS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..TASKS)
            .map(|number| {
                // An engine of its own, as another process would have: nothing is shared but the store.
                let billing = Billing::new(Arc::clone(bench.billing.store()), bench.clock.clone());
                let (task, start) = (&task, &start);
                scope.spawn(move || {
                    start.wait();
                    futures_executor::block_on(task(number, billing))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn sixteen_tasks_lose_no_update() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let before = bench.billing.subscription(id).await.unwrap().version;
        race(&bench, async |task, billing| {
            for round in 0..10 {
                let request = request(&format!("{task}-{round}"));
                billing
                    .set_auto_renew(&request, id, (task + round) % 2 == 0)
                    .await
                    .unwrap();
            }
        });
        let after = bench.billing.subscription(id).await.unwrap();
        assert_eq!(after.version, before + 160);
        assert_eq!(
            bench.billing.verify_audit(id).await.unwrap().sequence,
            after.audit.sequence
        );
    });
}

#[test]
fn sixteen_tasks_with_one_key_do_the_work_once() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let new = NewSubscription::new(tenant_id(1), plan.id);
        let receipts = race(&bench, async |_, billing| {
            billing.create(&request("create"), &new).await.unwrap()
        });
        assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
        assert_eq!(
            bench.billing.subscriptions_of(tenant_id(1)).await.unwrap().len(),
            1
        );
        assert_eq!(bench.invoices(receipts[0].id()).await.len(), 1);
    });
}

#[test]
fn sixteen_tasks_create_one_live_subscription_of_a_product() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let new = NewSubscription::new(tenant_id(1), plan.id);
        let answers = race(&bench, async |task, billing| {
            billing.create(&request(&format!("create-{task}")), &new).await
        });
        let created = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(created, 1);
        for refused in answers.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, Error::Rejected(_)), "{refused}");
        }
        assert_eq!(
            bench.billing.subscriptions_of(tenant_id(1)).await.unwrap().len(),
            1
        );
    });
}

#[test]
fn sixteen_tasks_renew_a_period_once() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        bench.clock.set(at("2026-02-01"));
        race(&bench, async |task, billing| match task % 3 {
            0 => drop(
                billing
                    .advance(&request(&format!("advance-{task}")), id)
                    .await
                    .unwrap(),
            ),
            1 => {
                let now = billing.now();
                let go_on = |_: billing::SweepPage<'_>| std::ops::ControlFlow::Continue(());
                drop(
                    billing
                        .sweep(now, &billing::SweepOptions::default(), go_on)
                        .await
                        .unwrap(),
                );
            }
            _ => drop(
                billing
                    .set_auto_renew(&request(&format!("renew-{task}")), id, true)
                    .await
                    .unwrap(),
            ),
        });
        let invoices = bench.invoices(id).await;
        let renewals = invoices
            .iter()
            .filter(|invoice| invoice.kind == InvoiceKind::Renewal)
            .count();
        assert_eq!((invoices.len(), renewals), (2, 1));
        assert_eq!(
            bench.billing.subscription(id).await.unwrap().status(),
            Status::Active
        );
        bench.billing.verify_audit(id).await.unwrap();
    });
}

/// The same futures on tokio: nothing is tied to one executor.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_tokio_tasks_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let file: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("billing.db")).unwrap());
    for store in [Arc::new(MemoryStore::default()) as Arc<dyn Store>, file] {
        let bench = Bench::on(store, Arc::new(billing::TestClock::at(at("2026-01-01"))));
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        let before = bench.billing.subscription(id).await.unwrap().version;
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let billing = bench.billing.clone();
                tokio::spawn(async move {
                    billing
                        .set_auto_renew(&request(&format!("task-{task}")), id, task % 2 == 0)
                        .await
                        .unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(bench.billing.subscription(id).await.unwrap().version, before + 16);
    }
}
