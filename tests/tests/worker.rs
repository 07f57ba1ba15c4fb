//! The worker of the outbox beside a gateway that keeps its own books: what was really paid is what invoices say.

use std::ops::ControlFlow;
use std::sync::Arc;

use billing::core::audit::Actor;
use billing::core::id::{IdempotencyKey, PaymentMethodId, SubscriptionId};
use billing::core::invoice::{Invoice, InvoiceStatus};
use billing::core::outbox::JobResult;
use billing::core::plan::{Activation, Plan};
use billing::core::retry::DeclineClass;
use billing::core::subscription::{Status, UnusedOnCancel, When};
use billing::{
    Billing, MemoryStore, NewSubscription, Request, Store, SweepOptions, TestClock, WorkReport, Worker,
    WorkerOptions,
};
use billing_sqlite::SqliteStore;
use billing_tests::gateway::{FakeGateway, Fault, FullVault};
use billing_tests::kit::{plan, tenant, usd, wait};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

struct Scene {
    billing: Billing,
    clock: Arc<TestClock>,
    gateway: Arc<FakeGateway>,
    worker: Worker,
    plan: Plan,
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn request(key: &str) -> Request {
    Request::new(IdempotencyKey::new(key).expect("a key"), Actor::System)
}

impl Scene {
    fn on(store: Arc<dyn Store>) -> Self {
        let clock = Arc::new(TestClock::at(at("2026-03-01T00:00:00Z")));
        let billing = Billing::new(store, clock.clone());
        let gateway = Arc::new(FakeGateway::new(clock.clone()));
        let worker = Worker::new(
            billing.clone(),
            gateway.clone(),
            Arc::new(FullVault),
            WorkerOptions::default(),
        );
        let plan = Plan {
            activation: Activation::Immediate,
            ..plan(1, "pro")
        };
        wait(billing.put_plan(&plan)).expect("a plan");
        Self {
            billing,
            clock,
            gateway,
            worker,
            plan,
        }
    }

    /// A subscription whose first invoice is open.
    fn subscribe(&self) -> SubscriptionId {
        let new = NewSubscription {
            payment_method: Some(PaymentMethodId::new(Uuid::from_u128(9))),
            trial: false,
            ..NewSubscription::new(tenant(1), self.plan.id)
        };
        wait(self.billing.create(&request("create"), &new))
            .expect("a subscription")
            .id()
    }

    fn work(&self) -> WorkReport {
        let report = wait(self.worker.run(|_| ControlFlow::Continue(()))).expect("a run");
        assert_eq!(report.failed, []);
        report
    }

    /// Works until `days` later, an hour at a time, with a sweep before each run.
    fn pass(&self, hours: i64) {
        for _ in 0..hours {
            self.clock.set(self.clock_now() + TimeDelta::hours(1));
            let now = self.clock_now();
            wait(
                self.billing
                    .sweep(now, &SweepOptions::default(), |_| ControlFlow::Continue(())),
            )
            .expect("a sweep");
            self.work();
        }
    }

    fn clock_now(&self) -> DateTime<Utc> {
        self.billing.now()
    }

    fn invoices(&self, id: SubscriptionId) -> Vec<Invoice> {
        wait(self.billing.invoices_of(id)).expect("invoices")
    }

    fn status(&self, id: SubscriptionId) -> Status {
        wait(self.billing.subscription(id))
            .expect("a subscription")
            .status()
    }

    /// What invoices say was paid is what the provider has.
    #[track_caller]
    fn check_books(&self, id: SubscriptionId) {
        let paid = self.invoices(id).into_iter().filter(|invoice| {
            matches!(
                &invoice.state,
                InvoiceStatus::Paid {
                    reference: Some(_),
                    ..
                }
            )
        });
        let paid: i64 = paid.map(|invoice| invoice.total.minor).sum();
        let payments = self.gateway.payments();
        let settled = payments
            .values()
            .filter(|booked| matches!(booked.outcome, Some(Ok(_))));
        assert_eq!(settled.map(|booked| booked.amount.minor).sum::<i64>(), paid);
    }
}

fn on_each_store(scene: impl Fn(Scene)) {
    scene(Scene::on(Arc::new(MemoryStore::new())));
    let folder = tempfile::tempdir().expect("a folder");
    scene(Scene::on(Arc::new(
        SqliteStore::open(folder.path().join("billing.db")).expect("a store"),
    )));
}

#[test]
fn an_open_invoice_is_charged_once() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        let report = scene.work();
        assert_eq!((report.done, report.again, report.parked), (1, 0, 0));
        assert_eq!(scene.work(), WorkReport::default(), "nothing is left to do");
        let first = &scene.invoices(id)[0];
        assert!(matches!(&first.state, InvoiceStatus::Paid { .. }), "{first:?}");
        assert_eq!(
            (scene.gateway.charges(), scene.gateway.kept()),
            (1, first.total.minor)
        );
        scene.check_books(id);
    });
}

/// The card was debited although nobody was told: it is found by its reference, and not debited again.
#[test]
fn a_lost_answer_is_looked_up_before_anything_else() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene.gateway.fail_next([Fault::AnswerLost]);
        assert_eq!(scene.work().again, 1);
        assert!(scene.invoices(id)[0].is_open());
        // Nor does it help to ask while the provider cannot be asked.
        scene.gateway.fail_next([Fault::Unreachable]);
        scene.pass(3);
        assert_eq!(scene.gateway.charges(), 1);
        assert!(!scene.invoices(id)[0].is_open());
        scene.check_books(id);
    });
}

#[test]
fn a_request_that_never_arrived_is_sent_again() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene
            .gateway
            .fail_next([Fault::RequestLost, Fault::None, Fault::Unreachable]);
        assert_eq!(scene.work().again, 1);
        scene.pass(3);
        assert_eq!(scene.gateway.charges(), 1);
        assert_eq!(scene.status(id), Status::Active);
        scene.check_books(id);
    });
}

/// One attempt is declined, four in all with three retries; then it is suspended, and a late settlement is taken.
#[test]
fn declines_run_down_the_ladder() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene.gateway.fail_next([Fault::Declined(DeclineClass::Retry)]);
        scene.work();
        assert_eq!(scene.status(id), Status::Expired);
        let decline = Fault::Declined(DeclineClass::Retry);
        for _ in 0..3 {
            scene.gateway.fail_next([decline]);
            let charges = scene.gateway.charges();
            while scene.gateway.charges() == charges {
                scene.pass(1);
            }
        }
        assert_eq!(scene.status(id), Status::Suspended);
        scene.pass(24);
        assert_eq!(scene.gateway.charges(), 4, "no more than the plan allows");
        scene.check_books(id);
    });
}

#[test]
fn a_decline_for_the_customer_is_not_tried_again() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene
            .gateway
            .fail_next([Fault::Declined(DeclineClass::AskCustomer)]);
        scene.work();
        scene.pass(48);
        assert_eq!(scene.gateway.charges(), 1);
        wait(scene.billing.renew(&request("again"), id)).expect("another attempt");
        scene.work();
        assert_eq!((scene.status(id), scene.gateway.charges()), (Status::Active, 2));
        scene.check_books(id);
    });
}

/// Canceled between the decision and the charge: nothing is taken.
#[test]
fn the_last_look_comes_before_the_charge() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        wait(scene.billing.cancel(
            &request("cancel"),
            id,
            When::Now,
            "changed my mind",
            UnusedOnCancel::Refund,
        ))
        .expect("canceled");
        let report = scene.work();
        assert_eq!((report.done, scene.gateway.charges()), (1, 0));
        scene.check_books(id);
    });
}

/// Unused time goes back, and an answer that was lost does not pay it back twice.
#[test]
fn a_refund_is_paid_back_once() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene.work();
        let paid = scene.gateway.kept();
        scene.clock.set(at("2026-03-16T12:00:00Z"));
        wait(scene.billing.cancel(
            &request("cancel"),
            id,
            When::Now,
            "enough",
            UnusedOnCancel::Refund,
        ))
        .expect("canceled");
        scene.gateway.fail_next([Fault::AnswerLost]);
        assert_eq!(scene.work().again, 1);
        scene.pass(2);
        assert_eq!((scene.gateway.kept(), scene.gateway.refunds()), (paid / 2, 1));
        assert_eq!(wait(scene.billing.store().parked_jobs(None, 10)), Ok(vec![]));
    });
}

/// A worker is stopped after the money moved and before it said so; another takes over when the lease is over.
#[test]
fn a_worker_that_was_stopped_leaves_its_job_to_another() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        let now = scene.clock_now();
        let store = scene.billing.store();
        let leased = wait(store.lease_jobs(now, now + TimeDelta::minutes(5), 1))
            .expect("jobs")
            .remove(0);
        let invoice = scene.invoices(id).remove(0);
        let request = billing::core::gateway::ChargeRequest {
            tenant_id: invoice.tenant_id,
            reference: billing::core::gateway::charge_reference(invoice.id, 1).expect("a reference"),
            idempotency_key: IdempotencyKey::new(&leased.job.effect.idempotency_key()).expect("a key"),
            amount: invoice.total,
            method: wait(billing::core::gateway::PaymentMethodVault::find(
                &FullVault,
                invoice.tenant_id,
                PaymentMethodId::new(Uuid::from_u128(9)),
            ))
            .expect("a vault")
            .expect("a method"),
            description: String::new(),
        };
        wait(billing::core::gateway::PaymentGateway::charge(
            &*scene.gateway,
            &request,
        ))
        .expect("charged");
        assert_eq!(scene.work(), WorkReport::default(), "the lease is not over");
        scene.pass(1);
        assert_eq!(scene.gateway.charges(), 1);
        scene.check_books(id);
        let late = wait(store.finish_job(
            leased.job.id,
            leased.lease,
            JobResult::Done { note: String::new() },
            now,
        ));
        assert_eq!(late, Ok(false));
    });
}

/// What is pending waits; what is wrong, and what nobody tells for days, is for a person.
#[test]
fn what_cannot_be_known_is_parked_with_its_reason() {
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene.gateway.fail_next([Fault::WrongAmount]);
        assert_eq!(scene.work().parked, 1);
        let parked = wait(scene.billing.store().parked_jobs(None, 10)).expect("jobs");
        assert!(parked[0].note.contains("was received"), "{}", parked[0].note);
        assert!(scene.invoices(id)[0].is_open());
    });
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene.gateway.fail_next([Fault::Pending]);
        assert_eq!(scene.work().again, 1);
        scene.pass(1);
        assert!(!scene.invoices(id)[0].is_open());
        scene.check_books(id);
    });
    on_each_store(|scene| {
        scene.subscribe();
        // The worker was off for a week: what it sends now was not unknown before.
        scene.clock.set(scene.clock_now() + TimeDelta::days(7));
        scene.gateway.fail_next([Fault::Pending; 200]);
        assert_eq!(scene.work().again, 1);
        scene.pass(70);
        assert_eq!(wait(scene.billing.store().parked_jobs(None, 10)), Ok(vec![]));
        scene.pass(10);
        let parked = wait(scene.billing.store().parked_jobs(None, 10)).expect("jobs");
        assert!(
            parked[0].note.starts_with("not known for 7"),
            "{}",
            parked[0].note
        );
    });
}

/// Canceled while nobody knew that the card had been debited: the money is found, and goes back.
#[test]
fn money_that_arrives_for_a_withdrawn_invoice_goes_back() {
    for (fault, by_webhook) in [
        (Fault::AnswerLost, false),
        (Fault::AnswerLost, true),
        (Fault::Late, false),
    ] {
        on_each_store(|scene| {
            let id = scene.subscribe();
            let invoice = scene.invoices(id).remove(0);
            scene.gateway.fail_next([fault]);
            assert_eq!(scene.work().again, 1);
            let (request, unused) = (request("cancel"), UnusedOnCancel::None);
            let canceled = scene
                .billing
                .cancel(&request, id, When::Now, "changed my mind", unused);
            wait(canceled).expect("canceled");
            if by_webhook {
                let reference = billing::core::gateway::charge_reference(invoice.id, 1).expect("a reference");
                assert_eq!(
                    wait(scene.worker.told_of(&reference)),
                    Ok(billing::Told::Recorded)
                );
                assert_eq!(
                    wait(scene.worker.told_of(&reference)),
                    Ok(billing::Told::Recorded)
                );
            }
            for _ in 0..30 {
                scene.clock.set(scene.clock_now() + TimeDelta::minutes(1));
                scene.work();
            }
            assert_eq!((scene.gateway.charges(), scene.gateway.kept()), (1, 0));
            assert_eq!(scene.gateway.refunds(), 1);
        });
    }
}

/// A run that is stopped gives nothing up: what it did not finish is taken by the next one.
#[test]
fn a_run_may_be_stopped_at_any_job() {
    on_each_store(|scene| {
        for n in 1..=5 {
            let new = NewSubscription {
                payment_method: Some(PaymentMethodId::new(Uuid::from_u128(9))),
                trial: false,
                ..NewSubscription::new(tenant(n), scene.plan.id)
            };
            wait(scene.billing.create(&request("create"), &new)).expect("a subscription");
        }
        let mut seen = 0;
        let report = wait(scene.worker.run(|_| {
            seen += 1;
            if seen == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }));
        let first = report.expect("a run").done;
        scene.pass(1);
        assert_eq!(scene.gateway.charges(), 5, "{first} before the stop");
        assert_eq!(scene.gateway.kept(), 5 * scene.plan.price.minor);
        assert_eq!(usd(scene.gateway.kept()).minor, scene.gateway.kept());
    });
}

/// A webhook is a hint: told twice, late, or of another's payment, it changes what the provider's books say and nothing else.
#[test]
fn a_webhook_is_looked_up_and_recorded_once() {
    use billing::Told;
    use billing::core::gateway::charge_reference;
    use billing::core::id::PaymentReference;

    on_each_store(|scene| {
        let id = scene.subscribe();
        let invoice = scene.invoices(id).remove(0);
        let first = charge_reference(invoice.id, 1).expect("a reference");
        let told = |reference: &PaymentReference| wait(scene.worker.told_of(reference)).expect("an answer");
        let unknown = PaymentReference::new("order.17").expect("a reference");
        assert_eq!(told(&unknown), Told::NotOurs);
        // Before anything was charged: somebody made it up.
        assert_eq!(
            told(&first),
            Told::NotKnown {
                because: "not found".into()
            }
        );
        scene.gateway.fail_next([Fault::AnswerLost]);
        assert_eq!(scene.work().again, 1);
        assert_eq!(told(&first), Told::Recorded);
        assert_eq!(told(&first), Told::Old);
        assert!(!scene.invoices(id)[0].is_open());
        // Of an attempt that was not made.
        let second = charge_reference(invoice.id, 2).expect("a reference");
        assert_eq!(told(&second), Told::Old);
        scene.pass(2);
        assert_eq!(scene.gateway.charges(), 1);
        scene.check_books(id);
    });
    // Late news of an attempt that another one has followed.
    on_each_store(|scene| {
        let id = scene.subscribe();
        scene
            .gateway
            .fail_next([Fault::Declined(DeclineClass::AskCustomer)]);
        scene.work();
        wait(scene.billing.renew(&request("again"), id)).expect("another attempt");
        let invoice = scene.invoices(id).remove(0);
        let first = charge_reference(invoice.id, 1).expect("a reference");
        assert_eq!(wait(scene.worker.told_of(&first)), Ok(Told::Old));
        scene.work();
        scene.check_books(id);
    });
}
