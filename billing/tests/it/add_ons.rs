//! Add-ons and minimum commitments through the engine.

use std::ops::ControlFlow;

use billing::core::id::AddOnCode;
use billing::core::invoice::{Invoice, LineKind};
use billing::core::plan::{AddOn, AddOnCharge, Plan};
use billing::core::subscription::{Command, When};
use billing::{NewSubscription, Quotable, SweepOptions};
use chrono::TimeDelta;

use crate::kit::{at, metered, on_each_store, request, tenant_id, usd};

fn code(code: &str) -> AddOnCode {
    AddOnCode::new(code).unwrap()
}

fn sells(plan: &mut Plan) {
    for (name, minor, charged) in [
        ("backup", 3_00, AddOnCharge::Recurring),
        ("setup", 50_00, AddOnCharge::Once),
    ] {
        let add_on = AddOn {
            name: name.into(),
            price: usd(minor),
            charged,
        };
        plan.add_ons.insert(code(name), add_on);
    }
}

fn lines(invoice: &Invoice) -> Vec<(LineKind, i64)> {
    let lines = invoice.lines.iter();
    lines.map(|line| (line.kind, line.amount.minor)).collect()
}

#[test]
fn add_ons_are_held_bought_quoted_and_billed() {
    on_each_store(async |bench| {
        bench.clock.set(at("2026-06-01"));
        let plan = bench.plan("pro", sells).await;
        let new = NewSubscription {
            add_ons: [(code("backup"), 2), (code("setup"), 1)].into(),
            ..NewSubscription::new(tenant_id(1), plan.id)
        };
        let receipt = bench.billing.create(&request("create"), &new).await.unwrap();
        let id = receipt.id();
        bench.pay(id).await;
        let first = bench.invoices(id).await.remove(0);
        assert_eq!(
            lines(&first),
            [
                (LineKind::RecurringInAdvance, 10_00),
                (LineKind::RecurringInAdvance, 6_00),
                (LineKind::AddOn, 50_00)
            ]
        );

        // Bought twice under one key, it is bought once; the draft of the next invoice shows it.
        bench.clock.set(at("2026-06-16"));
        for _ in 0..2 {
            let bought = bench
                .billing
                .buy_add_on(&request("buy"), id, code("setup"), 2)
                .await;
            assert!(bought.is_ok());
        }
        let draft = bench.billing.upcoming_invoice(id).await.unwrap().unwrap();
        assert_eq!(
            lines(&draft),
            [
                (LineKind::RecurringInAdvance, 10_00),
                (LineKind::RecurringInAdvance, 6_00),
                (LineKind::AddOn, 10_000)
            ]
        );

        // Half of June is left, and the quote is what is charged; what was bought goes on this invoice, since it is the next.
        let more = Command::ChangeAddOn {
            add_on: code("backup"),
            quantity: 6,
            when: Some(When::Now),
        };
        let asked = Quotable::Execute { id, command: more };
        let quote = bench.billing.quote(asked, TimeDelta::hours(1)).await.unwrap();
        let executed = bench
            .billing
            .execute_quote(&request("more"), &quote)
            .await
            .unwrap();
        let opened = executed.invoices.first().copied().unwrap();
        let opened = bench.billing.invoice(opened).await.unwrap().unwrap();
        assert_eq!(
            lines(&opened),
            [
                (LineKind::ProrationCredit, -3_00),
                (LineKind::ProrationCharge, 9_00),
                (LineKind::AddOn, 10_000)
            ]
        );
        assert_eq!(quote.invoices[0].lines, opened.lines);
        bench.pay(id).await;

        let fewer = bench
            .billing
            .change_add_on(&request("fewer"), id, code("backup"), 0, None)
            .await;
        assert!(fewer.is_ok());
        bench.clock.set(at("2026-07-01"));
        let done = bench
            .billing
            .sweep(at("2026-07-01"), &SweepOptions::default(), |_| {
                ControlFlow::Continue(())
            })
            .await;
        assert!(done.is_ok());
        let july = bench.invoices(id).await.pop().unwrap();
        assert_eq!(lines(&july), [(LineKind::RecurringInAdvance, 10_00)]);
    });
}

/// Both stores keep what the usage of a window had to come to, so that late usage makes up for it.
#[test]
fn late_usage_makes_up_for_a_commitment() {
    on_each_store(async |bench| {
        bench.clock.set(at("2026-06-01"));
        let plan = bench
            .plan("pro", |plan| {
                metered(plan, 0, "1");
                plan.minimum_commitment = Some(usd(30_00));
            })
            .await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        bench.clock.set(at("2026-06-11"));
        bench.use_meter(1, "e1", "5", "2026-06-10").await;
        let month = async |date: &str| {
            bench.clock.set(at(date));
            let done = bench
                .billing
                .sweep(at(date), &SweepOptions::default(), |_| ControlFlow::Continue(()))
                .await;
            assert!(done.is_ok());
            bench.pay(id).await;
            bench.invoices(id).await.pop().unwrap()
        };
        let july = month("2026-07-01").await;
        assert_eq!(
            lines(&july),
            [
                (LineKind::RecurringInAdvance, 10_00),
                (LineKind::Usage, 5_00),
                (LineKind::CommitmentTrueUp, 25_00)
            ]
        );
        bench.clock.set(at("2026-07-05"));
        bench.use_meter(1, "e2", "22", "2026-06-20").await;
        let august = month("2026-08-01").await;
        let of_june = august
            .lines
            .iter()
            .filter(|line| line.period.end == at("2026-07-01"));
        let of_june: Vec<_> = of_june.map(|line| (line.kind, line.amount.minor)).collect();
        assert_eq!(
            of_june,
            [
                (LineKind::UsageAdjustment, 22_00),
                (LineKind::CommitmentTrueUp, -22_00)
            ]
        );
    });
}
