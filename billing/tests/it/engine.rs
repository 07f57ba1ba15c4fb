//! The engine: commands are idempotent, meet the state that time has left, and change nothing when refused.

use crate::kit::{Bench, at, metered, on_each_store, request, tenant_id, usd};
use billing::core::audit::{Actor, AuditAction};
use billing::core::id::{ActorName, IdempotencyKey, InvoiceId, ProductCode, SubscriptionId, TrialFamily};
use billing::core::invoice::{Invoice, InvoiceKind, InvoiceStatus, LineKind};
use billing::core::payment::PaymentOutcome;
use billing::core::plan::{Plan, TenantProfile, Trial, TrialEnd};
use billing::core::retry::DeclineClass;
use billing::core::subscription::{
    Command, Effect, Rejection, State, Status, Suspension, UnusedOnCancel, UnusedOnPause, When,
};
use billing::{Error, NewSubscription, PlanStored, Request};
use uuid::Uuid;

fn cancel_now(reason: &str) -> Command {
    Command::Cancel {
        when: When::Now,
        reason: reason.into(),
        unused: UnusedOnCancel::None,
    }
}

#[test]
fn a_repeated_command_has_the_same_answer_and_changes_nothing() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let other = bench.plan("max", |plan| plan.price = usd(20_00)).await;
        let created = bench.subscribe(1, &plan).await;
        assert_eq!(bench.subscribe(1, &plan).await, created);
        let id = created.id();
        bench.pay(id).await;
        bench.pay(id).await;

        let commands = [
            Command::SetAutoRenew { auto_renew: false },
            Command::SetAutoRenew { auto_renew: true },
            Command::ChangePlan {
                plan_id: other.id,
                when: Some(When::AtPeriodEnd),
                tenant: TenantProfile::default(),
            },
            Command::DropPendingChange,
            Command::ChangeQuantity {
                quantity: 5,
                when: Some(When::AtPeriodEnd),
            },
            Command::DropPendingChange,
            Command::Cancel {
                when: When::AtPeriodEnd,
                reason: "too dear".into(),
                unused: UnusedOnCancel::None,
            },
            Command::UndoCancel,
            Command::Suspend {
                reason: "fraud?".into(),
            },
            Command::Reactivate,
            Command::Pause {
                when: When::Now,
                resume_at: None,
                unused: UnusedOnPause::Carry,
            },
            Command::Resume,
            cancel_now("bye"),
        ];
        for (index, command) in commands.into_iter().enumerate() {
            let request = request(&format!("command-{index}"));
            let receipt = bench
                .billing
                .execute(&request, id, command.clone())
                .await
                .unwrap();
            let after = bench.billing.subscription(id).await.unwrap();
            assert_eq!(after, receipt.subscription);
            bench.clock.advance(chrono::TimeDelta::minutes(1));
            assert_eq!(
                bench
                    .billing
                    .execute(&request, id, command.clone())
                    .await
                    .unwrap(),
                receipt,
                "{command:?}"
            );
            assert_eq!(
                bench.billing.subscription(id).await.unwrap(),
                after,
                "{command:?}"
            );

            let reused = bench.billing.suspend(&request, id, "something else").await;
            assert_eq!(reused, Err(Error::KeyReused { key: request.key }), "{command:?}");
        }
        bench.billing.verify_audit(id).await.unwrap();
    });
}

#[test]
fn a_key_belongs_to_its_tenant() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let request = request("same");
        let first = bench
            .billing
            .create(&request, &NewSubscription::new(tenant_id(1), plan.id))
            .await
            .unwrap();
        let second = bench
            .billing
            .create(&request, &NewSubscription::new(tenant_id(2), plan.id))
            .await
            .unwrap();
        assert_ne!(first.id(), second.id());
    });
}

#[test]
fn what_is_refused_changes_nothing_and_may_be_tried_again_under_its_key() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let before = bench.billing.subscription(id).await.unwrap();
        let request = request("undo");
        let refused = bench.billing.undo_cancel(&request, id).await;
        assert!(
            matches!(refused, Err(Error::Rejected(Rejection::NothingScheduled { .. }))),
            "{refused:?}"
        );
        assert_eq!(bench.billing.subscription(id).await.unwrap(), before);

        let flag = crate::kit::request("flag");
        bench
            .billing
            .cancel(&flag, id, When::AtPeriodEnd, "later", UnusedOnCancel::None)
            .await
            .unwrap();
        bench.billing.undo_cancel(&request, id).await.unwrap();
    });
}

#[test]
fn unknown_things_are_named() {
    on_each_store(async |bench| {
        let id = SubscriptionId::new(Uuid::from_u128(7));
        let error = bench.billing.resume(&request("k"), id).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown subscription `00000000-0000-0000-0000-000000000007`"
        );
        let plan = bench.plan("pro", |_| {}).await;
        let subscribed = bench.subscribe(1, &plan).await.id();
        let invoice = InvoiceId::new(Uuid::from_u128(8));
        let outcome = PaymentOutcome::Failed {
            class: DeclineClass::Retry,
            code: "x".into(),
        };
        let error = bench
            .billing
            .record_payment(&request("k"), subscribed, invoice, outcome)
            .await
            .unwrap_err();
        assert_eq!(error, Error::UnknownInvoice { id: invoice });
        let plan = bench.billing.new_plan_id();
        let error = bench
            .billing
            .create(&request("k"), &NewSubscription::new(tenant_id(1), plan))
            .await
            .unwrap_err();
        assert_eq!(error, Error::UnknownPlan { id: plan });
    });
}

#[test]
fn a_command_meets_the_state_that_time_has_left() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let flag = request("flag");
        bench
            .billing
            .cancel(&flag, id, When::AtPeriodEnd, "later", UnusedOnCancel::None)
            .await
            .unwrap();
        // No sweep has run, but the period was over before the customer changed their mind.
        bench.clock.set(at("2026-02-03"));
        let late = bench.billing.undo_cancel(&request("undo"), id).await;
        assert!(
            matches!(
                late,
                Err(Error::Rejected(Rejection::WrongState {
                    status: Status::Canceled,
                    ..
                }))
            ),
            "{late:?}"
        );

        let other = bench.subscribe(2, &plan).await.id();
        bench.pay(other).await;
        bench.clock.set(at("2026-03-10"));
        let receipt = bench
            .billing
            .suspend(&request("suspend"), other, "review")
            .await
            .unwrap();
        assert_eq!(receipt.status(), Status::Suspended);
        assert_eq!(receipt.invoices.len(), 1, "the renewal that was due came first");
        let trail = bench.billing.audit_trail(other).await.unwrap();
        let actions: Vec<_> = trail.iter().map(|entry| entry.action).collect();
        assert_eq!(
            actions.last_chunk(),
            Some(&[AuditAction::Renewed, AuditAction::Suspended])
        );
        bench.billing.verify_audit(other).await.unwrap();
    });
}

#[test]
fn a_month_of_usage_is_billed_once_and_late_usage_with_the_next() {
    on_each_store(async |bench| {
        let plan = bench.plan("usage", |plan| metered(plan, 100, "0.015")).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        bench.clock.set(at("2026-02-01"));
        bench.use_meter(1, "a", "120.5", "2026-01-01").await;
        bench.use_meter(1, "a", "120.5", "2026-01-01").await;
        bench
            .use_meter(1, "b", "79.5", "2026-01-31T23:59:59.999999Z")
            .await;
        bench.use_meter(1, "c", "1000", "2026-02-01").await;
        bench.billing.advance(&request("renew"), id).await.unwrap();
        let renewal = bench.invoices(id).await.pop().unwrap();
        assert_eq!(renewal.kind, InvoiceKind::Renewal);
        let amounts: Vec<_> = renewal
            .lines
            .iter()
            .map(|line| (line.kind, line.amount))
            .collect();
        assert_eq!(
            amounts,
            [
                (LineKind::RecurringInAdvance, usd(10_00)),
                (LineKind::Usage, usd(1_50))
            ]
        );
        assert_eq!(
            renewal.lines[1].explanation,
            "(200 - 100 included) x 0.015 = 1.5 USD"
        );

        bench.pay(id).await;
        bench.clock.set(at("2026-02-02"));
        bench.use_meter(1, "late", "10", "2026-01-15").await;
        bench.clock.set(at("2026-03-01"));
        bench.billing.advance(&request("renew-again"), id).await.unwrap();
        let renewal = bench.invoices(id).await.pop().unwrap();
        let amounts: Vec<_> = renewal
            .lines
            .iter()
            .map(|line| (line.kind, line.amount))
            .collect();
        assert_eq!(
            amounts,
            [
                (LineKind::RecurringInAdvance, usd(10_00)),
                (LineKind::Usage, usd(13_50)),
                (LineKind::UsageAdjustment, usd(15)),
            ]
        );
        assert!(renewal.adds_up());
    });
}

#[test]
fn dunning_ends_in_suspension_and_a_late_payment_brings_it_back() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        for (attempt, date) in (1..).zip(["2026-02-01", "2026-02-02", "2026-02-04", "2026-02-08"]) {
            bench.clock.set(at(date));
            bench.billing.advance(&request(date), id).await.unwrap();
            let invoice = bench.invoices(id).await.pop().unwrap();
            let jobs = bench.billing.jobs(None, 100).await.unwrap();
            let last = jobs.last().unwrap().effect.clone();
            let expected = Effect::ChargeInvoice {
                invoice_id: invoice.id,
                amount: usd(10_00),
                attempt,
            };
            assert_eq!(last, expected, "{date}");
            let failed = PaymentOutcome::Failed {
                class: DeclineClass::Retry,
                code: "insufficient_funds".into(),
            };
            let failure = request(&format!("fail-{date}"));
            bench
                .billing
                .record_payment(&failure, id, invoice.id, failed.clone())
                .await
                .unwrap();
            bench
                .billing
                .record_payment(&failure, id, invoice.id, failed)
                .await
                .unwrap();
        }
        let suspended = bench.billing.subscription(id).await.unwrap();
        let State::Suspended(state) = &suspended.state else {
            panic!("{suspended:?}")
        };
        assert!(
            matches!(state.suspension, Suspension::Unpaid { retention_ends_at, .. }
            if retention_ends_at == at("2026-03-10"))
        );

        bench.clock.set(at("2026-02-20"));
        bench.pay(id).await;
        let back = bench.billing.subscription(id).await.unwrap();
        assert_eq!(back.status(), Status::Active);
        assert_eq!(back.term().unwrap().period.end, at("2026-03-20"));
        let invoice = bench.invoices(id).await.pop().unwrap();
        assert!(
            matches!(invoice.state, InvoiceStatus::Paid { covers: Some(period), .. }
            if period.start == at("2026-02-20"))
        );
        bench.billing.verify_audit(id).await.unwrap();
    });
}

#[test]
fn actor_and_address_stand_in_the_audit_trail() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        let actor = Actor::User(ActorName::new("ada@example.com").unwrap());
        let request = Request::new(IdempotencyKey::new("k").unwrap(), actor.clone())
            .from_ip("2001:db8::1".parse().unwrap());
        bench
            .billing
            .suspend(&request, id, "lost \"phone\"\n")
            .await
            .unwrap();
        let entry = bench.billing.audit_trail(id).await.unwrap().pop().unwrap();
        assert_eq!(
            (entry.actor, entry.ip),
            (actor, Some("2001:db8::1".parse().unwrap()))
        );
        let details: serde_json::Value = serde_json::from_str(&entry.details).unwrap();
        assert_eq!(details, serde_json::json!({ "reason": "lost \"phone\"\n" }));
    });
}

#[test]
fn a_cleaned_up_audit_trail_still_verifies() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        for day in 2..10 {
            bench.clock.set(at(&format!("2026-01-0{day}")));
            bench
                .billing
                .set_auto_renew(&request(&format!("day-{day}")), id, day % 2 == 0)
                .await
                .unwrap();
        }
        assert_eq!(bench.billing.prune_audit(id, at("2026-01-05")).await, Ok(4));
        let head = bench.billing.verify_audit(id).await.unwrap();
        assert_eq!(
            (head.sequence, bench.billing.audit_trail(id).await.unwrap().len()),
            (9, 5)
        );
        assert_eq!(
            bench.billing.prune_audit(id, at("2030-01-01")).await,
            Ok(4),
            "the last one stays"
        );
        bench.billing.verify_audit(id).await.unwrap();
    });
}

#[test]
fn a_plan_in_use_keeps_its_terms() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let mut dearer = plan.clone();
        dearer.price = usd(11_00);
        assert_eq!(bench.billing.put_plan(&dearer).await, Ok(PlanStored::Replaced));
        assert_eq!(bench.billing.put_plan(&dearer).await, Ok(PlanStored::Unchanged));
        bench.subscribe(1, &dearer).await;
        let error = bench.billing.put_plan(&plan).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "plan `pro` version 1 is in use and cannot change"
        );

        let mut next = plan.clone();
        next.id = bench.billing.new_plan_id();
        let error = bench.billing.put_plan(&next).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("plan `pro` version 1 exists as `{}`", plan.id)
        );
        next.version = 2;
        assert_eq!(bench.billing.put_plan(&next).await, Ok(PlanStored::Created));

        bench
            .billing
            .set_plan_availability(plan.id, true, true)
            .await
            .unwrap();
        let refused = bench
            .billing
            .create(&request("new"), &NewSubscription::new(tenant_id(2), plan.id))
            .await;
        let message = refused.unwrap_err().to_string();
        assert_eq!(
            message,
            format!("plan `{}` is not available: the plan is discontinued", plan.id)
        );
    });
}

#[test]
fn a_plan_with_faults_is_refused_with_all_of_them() {
    on_each_store(async |bench| {
        let mut plan = bench.plan("pro", |_| {}).await;
        plan.version = 0;
        plan.price = usd(-1);
        let error = bench.billing.put_plan(&plan).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "plan `pro` is not valid: version: expected at least 1, got 0; price.minor: expected 0 or more, got -1"
        );
    });
}

#[test]
fn a_trial_moves_only_to_a_plan_that_is_there_and_fits() {
    on_each_store(async |bench| {
        let mut plan = bench.plan("pro", |_| {}).await;
        let other = bench
            .plan("other", |plan| plan.product = ProductCode::new("other").unwrap())
            .await;
        let missing = bench.billing.new_plan_id();
        let mut to = async |plan_id| {
            plan.trial = Some(Trial {
                days: 14,
                payment_method_required: false,
                family: TrialFamily::new("app").unwrap(),
                without_payment_method: TrialEnd::MoveTo { plan_id },
            });
            bench.billing.put_plan(&plan).await
        };
        assert_eq!(to(missing).await, Err(Error::UnknownPlan { id: missing }));
        assert_eq!(
            to(other.id).await.unwrap_err().to_string(),
            "plan `pro` is not valid: trial.without_payment_method.move_to.plan_id: expected product `app`, got `other`"
        );
    });
}

#[test]
fn a_meter_is_billed_by_one_subscription_of_a_tenant_now_and_after_a_scheduled_change() {
    on_each_store(async |bench| {
        let plain = bench.plan("plain", |_| {}).await;
        let metered_later = bench.plan("metered", |plan| metered(plan, 0, "1")).await;
        let other = bench
            .plan("other", |plan| {
                plan.product = ProductCode::new("other").unwrap();
                metered(plan, 0, "1");
            })
            .await;
        let id = bench.subscribe(1, &plain).await.id();
        bench.pay(id).await;
        let later = Some(When::AtPeriodEnd);
        let tenant = TenantProfile::default();
        bench
            .billing
            .change_plan(&request("change"), id, metered_later.id, later, tenant)
            .await
            .unwrap();
        let refused = bench
            .billing
            .create(&request("other"), &NewSubscription::new(tenant_id(1), other.id))
            .await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("meter `api` is billed by subscription `{id}` already")
        );
    });
}

#[test]
fn a_plan_that_a_change_is_scheduled_to_keeps_its_terms() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let mut next = bench.plan("max", |plan| plan.price = usd(20_00)).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let later = Some(When::AtPeriodEnd);
        bench
            .billing
            .change_plan(&request("change"), id, next.id, later, TenantProfile::default())
            .await
            .unwrap();
        next.price = usd(99_00);
        let error = bench.billing.put_plan(&next).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "plan `max` version 1 is in use and cannot change"
        );
    });
}

#[test]
fn a_time_finer_than_a_microsecond_does_not_break_the_audit_chain() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let now = at("2026-02-01T00:00:00.123456789Z");
        let options = billing::SweepOptions::default();
        let report = bench
            .billing
            .sweep(now, &options, |_| std::ops::ControlFlow::Continue(()))
            .await
            .unwrap();
        assert_eq!(report.steps, 1);
        bench.billing.verify_audit(id).await.unwrap();
    });
}

#[test]
fn a_step_that_cannot_be_decided_keeps_nobody_from_suspending() {
    on_each_store(async |bench| {
        let plan = bench
            .plan("huge", |plan| metered(plan, 0, "1000000000000000000"))
            .await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        bench.clock.set(at("2026-02-01"));
        bench.use_meter(1, "event", "10000000000", "2026-01-20").await;
        let stuck = bench.billing.advance(&request("advance"), id).await;
        assert_eq!(stuck.unwrap_err().to_string(), "amount in USD is too large");
        let receipt = bench
            .billing
            .suspend(&request("suspend"), id, "look at it")
            .await
            .unwrap();
        assert_eq!(receipt.status(), Status::Suspended);
    });
}

#[test]
fn seats_are_bought_added_and_given_up() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let new = NewSubscription {
            quantity: 5,
            ..NewSubscription::new(tenant_id(1), plan.id)
        };
        let billing = &bench.billing;
        let id = billing.create(&request("create"), &new).await.unwrap().id();
        bench.pay(id).await;
        bench.clock.set(at("2026-01-11"));
        let more = billing
            .change_quantity(&request("more"), id, 8, None)
            .await
            .unwrap();
        assert_eq!(more.subscription.quantity, 8);
        let refused = billing.change_quantity(&request("none"), id, 0, None).await;
        assert_eq!(refused, Err(Error::Rejected(Rejection::Quantity)));
        bench.pay(id).await;
        let fewer = billing
            .change_quantity(&request("fewer"), id, 3, None)
            .await
            .unwrap();
        assert_eq!((fewer.subscription.quantity, fewer.invoices), (8, vec![]));
        // What was scheduled is in force before the command that finds it due.
        bench.clock.set(at("2026-02-02"));
        let after = billing.set_auto_renew(&request("off"), id, false).await.unwrap();
        assert_eq!(after.subscription.quantity, 3);
        let explained: Vec<_> = bench
            .invoices(id)
            .await
            .iter()
            .flat_map(|invoice| &invoice.lines)
            .map(|line| line.explanation.clone())
            .collect();
        assert_eq!(
            explained,
            [
                "5 x 10.00 USD for every month",
                "unused 50.00 USD x 1814400 s / 2678400 s",
                "8 x 10.00 USD x 1814400 s / 2678400 s",
                "3 x 10.00 USD for every month"
            ]
        );
    });
}

/// A host that repeats a request after an upgrade of this crate must not be told that it asked for something else.
#[test]
fn a_request_for_one_is_written_as_before_there_were_quantities() {
    let one = NewSubscription::new(tenant_id(1), billing::core::id::PlanId::new(Uuid::from_u128(1)));
    let json = serde_json::to_string(&one).unwrap();
    assert!(!json.contains("quantity"), "{json}");
    assert_eq!(serde_json::from_str::<NewSubscription>(&json).unwrap(), one);
}

#[test]
fn a_refund_at_the_end_includes_credit_held_before() {
    on_each_store(async |bench| {
        let plan = bench.plan("max", |plan| plan.price = usd(31_00)).await;
        let cheaper = bench.plan("pro", |plan| plan.price = usd(10_00)).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        // Of 31.00 for January 21.00 are unused on the 11th; the cheaper plan takes 6.77 of it, 14.23 are kept.
        bench.clock.set(at("2026-01-11"));
        let now = Some(When::Now);
        let receipt = bench
            .billing
            .change_plan(&request("down"), id, cheaper.id, now, TenantProfile::default())
            .await
            .unwrap();
        assert_eq!(receipt.subscription.credit, usd(14_23));
        let receipt = bench
            .billing
            .cancel(&request("bye"), id, When::Now, "bye", UnusedOnCancel::Refund)
            .await
            .unwrap();
        assert_eq!(receipt.subscription.credit, usd(0));
        let refund = bench.billing.jobs(None, 100).await.unwrap().pop().unwrap().effect;
        assert!(
            matches!(refund, Effect::RefundUnused { amount, .. } if amount == usd(21_00)),
            "{refund:?}"
        );
        assert!(bench.invoices(id).await.iter().all(Invoice::adds_up));
    });
}

#[test]
fn a_command_may_withdraw_the_invoice_of_a_step_that_was_due_before_it() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |plan| metered(plan, 0, "1")).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        bench.clock.set(at("2026-02-03"));
        bench.use_meter(1, "event", "3", "2026-01-20").await;
        let receipt = bench
            .billing
            .execute(&request("bye"), id, cancel_now("bye"))
            .await
            .unwrap();
        assert_eq!((receipt.status(), receipt.invoices.len()), (Status::Canceled, 2));
        let invoices = bench.invoices(id).await;
        let states: Vec<_> = invoices
            .iter()
            .map(|invoice| (invoice.state.code(), invoice.total))
            .collect();
        assert_eq!(
            states,
            [("paid", usd(10_00)), ("void", usd(13_00)), ("open", usd(3_00))]
        );
    });
}

#[test]
fn a_trial_is_granted_once_per_tenant_and_family() {
    on_each_store(async |bench: Bench| {
        let trial = |plan: &mut Plan| {
            plan.trial = Some(Trial {
                days: 14,
                payment_method_required: false,
                family: TrialFamily::new("app").unwrap(),
                without_payment_method: TrialEnd::Expire,
            });
        };
        let plan = bench.plan("pro", trial).await;
        let other = bench.plan("max", trial).await;
        let first = bench.subscribe(1, &plan).await;
        assert_eq!(first.status(), Status::Trial);
        bench
            .billing
            .execute(&request("bye"), first.id(), cancel_now("bye"))
            .await
            .unwrap();
        assert_eq!(
            bench.subscribe(1, &other).await.status(),
            Status::Active,
            "another plan of the family"
        );
        assert_eq!(
            bench.subscribe(2, &other).await.status(),
            Status::Trial,
            "another tenant"
        );
    });
}
