//! Coupons, tax, prepaid credit and credit notes through the engine.

use std::sync::{Arc, Barrier};

use billing::core::coupon::{Coupon, CouponDuration, CouponValue};
use billing::core::credit::GrantSource;
use billing::core::credit_note::{CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition};
use billing::core::id::CouponCode;
use billing::core::subscription::{Effect, GrantCredit, Rejection};
use billing::core::tax::{
    FlatTax, TaxBehavior, TaxError, TaxFuture, TaxPort, TaxRate, TaxRequest, TaxTreatment,
};
use billing::{Error, NewSubscription, Quotable, SweepOptions};
use chrono::TimeDelta;
use std::ops::ControlFlow;

use crate::kit::{at, on_each_store, request, tenant_id, usd};

fn launch(redemptions_max: Option<u32>) -> Coupon {
    Coupon {
        code: CouponCode::new("LAUNCH").unwrap(),
        value: CouponValue::Percent(50.into()),
        duration: CouponDuration::Once,
        plans: [].into(),
        redeem_by: None,
        redemptions_max,
        once_per_tenant: false,
        is_active: true,
    }
}

fn vat() -> Arc<FlatTax> {
    let treatment = TaxTreatment {
        rates: vec![TaxRate {
            name: "VAT".into(),
            percent: 20.into(),
            jurisdiction: None,
        }],
        behavior: TaxBehavior::Exclusive,
        exemption: None,
    };
    Arc::new(FlatTax::new(treatment).unwrap())
}

fn with_coupon(tenant: u128, plan: &billing::core::plan::Plan) -> NewSubscription {
    NewSubscription {
        coupon: Some(launch(None).code),
        ..NewSubscription::new(tenant_id(tenant), plan.id)
    }
}

#[test]
fn sixteen_tenants_redeem_the_last_five_coupons() {
    const TENANTS: u128 = 16;
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        bench.billing.put_coupon(&launch(Some(5))).await.unwrap();
        let barrier = Arc::new(Barrier::new(TENANTS as usize));
        let tasks: Vec<_> = (1..=TENANTS)
            .map(|n| {
                let (billing, plan, barrier) = (bench.billing.clone(), plan.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    let asked = request(&format!("create-{n}"));
                    futures_executor::block_on(billing.create(&asked, &with_coupon(n, &plan)))
                })
            })
            .collect();
        let outcomes: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
        let redeemed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(redeemed, 5);
        for outcome in outcomes.into_iter().filter_map(Result::err) {
            assert!(
                matches!(outcome, Error::Rejected(Rejection::Coupon(_))),
                "{outcome:?}"
            );
        }
    });
}

/// The preview is the bill: discount, tax and credit are in it, and a tax that changes meanwhile is told.
#[test]
fn a_quote_shows_discount_and_tax_and_is_charged_so() {
    on_each_store(async |bench| {
        let billing = bench.billing.clone().with_tax(vat());
        let plan = bench.plan("pro", |_| {}).await;
        billing.put_coupon(&launch(None)).await.unwrap();
        let asked = Quotable::Create(with_coupon(1, &plan));

        let quote = billing.quote(asked, TimeDelta::hours(1)).await.unwrap();
        assert_eq!(
            quote.invoices[0].total,
            usd(6_00),
            "half of 10.00, and 20 % of that"
        );
        let untaxed = bench.billing.execute_quote(&request("create"), &quote).await;
        assert!(matches!(untaxed, Err(Error::QuoteChanged { .. })), "{untaxed:?}");
        let receipt = billing.execute_quote(&request("create"), &quote).await.unwrap();
        let invoice = billing.invoice(receipt.invoices[0]).await.unwrap().unwrap();
        assert_eq!((invoice.total, invoice.taxes[0].amount), (usd(6_00), usd(1_00)));
    });
}

#[test]
fn prepaid_credit_pays_renewals_and_a_note_gives_back_what_was_paid() {
    on_each_store(async |bench| {
        let billing = &bench.billing;
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        let first = bench.invoices(id).await.remove(0);
        let grant = GrantCredit {
            id: billing.new_grant_id(),
            amount: usd(25_00),
            source: GrantSource::Prepaid,
            priority: 50,
            expires_at: None,
        };
        billing
            .grant_credit(&request("grant"), id, grant.clone())
            .await
            .unwrap();
        billing.grant_credit(&request("grant"), id, grant).await.unwrap();
        bench.clock.set(at("2026-03-01"));
        billing
            .sweep(at("2026-03-01"), &SweepOptions::default(), |_| {
                ControlFlow::Continue(())
            })
            .await
            .unwrap();
        let totals: Vec<_> = bench
            .invoices(id)
            .await
            .iter()
            .map(|invoice| invoice.total)
            .collect();
        assert_eq!(totals, [usd(10_00), usd(0), usd(0)]);
        let ledger = billing.credit_ledger(id).await.unwrap();
        let amounts: Vec<_> = ledger.iter().map(|entry| entry.amount.minor).collect();
        assert_eq!(amounts, [25_00, -10_00, -10_00]);
        assert_eq!(
            billing.subscription(id).await.unwrap().prepaid(billing.now()),
            usd(5_00)
        );

        let note = CreditNoteRequest {
            reason: CreditNoteReason::Unsatisfactory,
            scope: CreditNoteScope::All,
            disposition: Disposition::Refund,
        };
        let issue = async |key: &str| {
            let note_id = billing.new_credit_note_id();
            billing
                .issue_credit_note(&request(key), id, note_id, first.id, note.clone())
                .await
        };
        issue("note").await.unwrap();
        assert!(matches!(
            issue("again").await,
            Err(Error::Rejected(Rejection::CreditNote(_)))
        ));
        assert_eq!(
            billing.credit_notes_of(first.id).await.unwrap()[0].total,
            usd(10_00)
        );
        let jobs = billing.jobs(None, 100).await.unwrap();
        let refunds = jobs
            .iter()
            .filter(|job| matches!(&job.effect, Effect::RefundNote { .. }));
        assert_eq!(refunds.count(), 1);
    });
}

#[derive(Debug)]
struct Unknown;

impl TaxPort for Unknown {
    fn treatment(&self, request: TaxRequest) -> TaxFuture<'_> {
        let error = TaxError::Undetermined {
            tenant_id: request.tenant_id,
            detail: "no region".into(),
        };
        Box::pin(std::future::ready(Err(error)))
    }
}

/// Nothing is billed with a tax that is guessed, and nobody else is held up.
#[test]
fn a_sweep_reports_whose_tax_is_not_known() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let id = bench.subscribe(1, &plan).await.id();
        bench.pay(id).await;
        bench.clock.set(at("2026-02-01"));
        let sweep = async |billing: &billing::Billing| {
            billing
                .sweep(at("2026-02-01"), &SweepOptions::default(), |_| {
                    ControlFlow::Continue(())
                })
                .await
                .unwrap()
        };
        let report = sweep(&bench.billing.clone().with_tax(Arc::new(Unknown))).await;
        assert!(matches!(report.failures[0].error, Error::Tax(_)), "{report:?}");
        assert_eq!(report.invoices, 0);
        assert_eq!(sweep(&bench.billing).await.invoices, 1);
    });
}
