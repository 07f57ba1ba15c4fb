//! Who may redeem a coupon, and from which invoices it takes something off.

use std::ops::ControlFlow;
use std::sync::Arc;

use billing::{Billing, Clock, Error, MemoryStore, NewSubscription, Request, SweepOptions, TestClock};
use billing_core::audit::Actor;
use billing_core::calendar::{Anchor, Interval, MonthEnd};
use billing_core::charge::ChargeModel;
use billing_core::coupon::{Coupon, CouponRefusal};
use billing_core::id::{InvoiceId, PaymentMethodId, SubscriptionId};
use billing_core::invoice::InvoiceStatus;
use billing_core::money::Money;
use billing_core::payment::PaymentOutcome;
use billing_core::plan::{MeterTerms, Plan};
use billing_core::subscription::Rejection;
use billing_tests::kit::{at, event, key, meter, plan, tenant, wait};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::same;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CouponCase {
    #[serde(rename = "name")]
    _name: String,
    price: Money,
    /// What usage of each month comes to, in minor units.
    #[serde(default)]
    usage: Vec<i64>,
    redeem: Vec<Redeemed>,
    expect: CouponExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redeemed {
    before_invoice: u32,
    coupon: Coupon,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CouponExpectation {
    totals: Vec<i64>,
    refused: Option<Vec<Option<String>>>,
}

pub(crate) fn run(case: Value) -> Result<(), String> {
    let case: CouponCase = serde_json::from_value(case).map_err(|error| error.to_string())?;
    wait(months(&case))
}

/// A subscription from the new year on, for as many months as there are totals; each invoice is paid at once.
async fn months(case: &CouponCase) -> Result<(), String> {
    let told = |error: Error| error.to_string();
    let start = at("2026-01-01T00:00:00Z");
    let clock = Arc::new(TestClock::at(start));
    let billing = Billing::new(Arc::new(MemoryStore::new()), Arc::clone(&clock) as Arc<dyn Clock>);
    let plan = plan_of(case.price);
    billing.put_plan(&plan).await.map_err(told)?;
    let mut refused = Vec::new();
    let first = case.redeem.iter().find(|one| one.before_invoice == 1);
    if let Some(one) = first {
        billing.put_coupon(&one.coupon).await.map_err(told)?;
        refused.push(None);
    }
    let new = NewSubscription {
        coupon: first.map(|one| one.coupon.code.clone()),
        payment_method: Some(PaymentMethodId::new(Uuid::from_u128(1))),
        ..NewSubscription::new(tenant(1), plan.id)
    };
    let created = billing.create(&request("create"), &new).await.map_err(told)?;
    let id = created.id();
    pay(&billing, id, created.invoices).await?;
    for number in 2..=u32::try_from(case.expect.totals.len()).unwrap_or_default() {
        let ends = boundary(start, number - 1)?;
        clock.set(ends - TimeDelta::days(1));
        for one in case.redeem.iter().filter(|one| one.before_invoice == number) {
            billing.put_coupon(&one.coupon).await.map_err(told)?;
            let code = one.coupon.code.clone();
            let redeemed = billing
                .redeem_coupon(&request(&format!("{code}-{number}")), id, code.clone())
                .await;
            refused.push(match redeemed {
                Ok(_) => None,
                Err(Error::Rejected(Rejection::Coupon(refusal))) => Some(code_of(&refusal)?.into()),
                Err(error) => return Err(error.to_string()),
            });
        }
        let month = usize::try_from(number).unwrap_or_default() - 2;
        if let Some(quantity) = case.usage.get(month) {
            let mut used = event(tenant(1), &format!("use-{number}"), "m", "0", billing.now());
            used.quantity = Decimal::from(*quantity);
            billing.record_usage(vec![used]).await.map_err(told)?;
        }
        clock.set(ends);
        let go_on = |_: billing::SweepPage<'_>| ControlFlow::Continue(());
        billing
            .sweep(ends, &SweepOptions::default(), go_on)
            .await
            .map_err(told)?;
        let opened = billing.invoices_of(id).await.map_err(told)?;
        let opened = opened.iter().filter(|invoice| invoice.number == number);
        pay(&billing, id, opened.map(|invoice| invoice.id).collect()).await?;
    }
    let invoices = billing.invoices_of(id).await.map_err(told)?;
    let totals: Vec<_> = invoices.iter().map(|invoice| invoice.total.minor).collect();
    same("totals", Some(&case.expect.totals), Some(&totals))?;
    let none = vec![None; case.redeem.len()];
    same(
        "refused",
        Some(case.expect.refused.as_ref().unwrap_or(&none)),
        Some(&refused),
    )
}

/// A month costs `price`, and a unit of the meter one minor unit.
fn plan_of(price: Money) -> Plan {
    let exponent = price.currency.exponent();
    let charge = ChargeModel::PerUnit {
        unit_price: Decimal::new(1, exponent),
    };
    let mut plan = Plan {
        price,
        ..plan(1, "plan")
    };
    plan.meters.insert(meter("m"), MeterTerms::new(charge));
    plan
}

fn boundary(start: DateTime<Utc>, index: u32) -> Result<DateTime<Utc>, String> {
    let anchor = Anchor {
        at: start,
        zone: chrono_tz::Tz::UTC,
        month_end: MonthEnd::default(),
    };
    anchor
        .boundary(Interval::MONTHLY, index)
        .map_err(|error| error.to_string())
}

fn request(name: &str) -> Request {
    Request::new(key(name), Actor::System)
}

async fn pay(billing: &Billing, id: SubscriptionId, invoices: Vec<InvoiceId>) -> Result<(), String> {
    for invoice_id in invoices {
        let found = billing
            .invoice(invoice_id)
            .await
            .map_err(|error| error.to_string())?;
        let Some(invoice) = found.filter(|invoice| invoice.state == InvoiceStatus::Open) else {
            continue;
        };
        let outcome = PaymentOutcome::Settled {
            amount: invoice.total,
            reference: format!("pay-{}", invoice.number),
            settled_at: billing.now(),
        };
        billing
            .record_payment(
                &request(&format!("pay-{}", invoice.number)),
                id,
                invoice_id,
                outcome,
            )
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn code_of(refusal: &CouponRefusal) -> Result<&'static str, String> {
    match refusal {
        CouponRefusal::Inactive { .. } => Ok("inactive"),
        CouponRefusal::Over { .. } => Ok("over"),
        CouponRefusal::WrongPlan { .. } => Ok("wrong_plan"),
        CouponRefusal::CurrencyMismatch { .. } => Ok("currency_mismatch"),
        CouponRefusal::Held { .. } => Ok("held"),
        CouponRefusal::AlreadyRedeemed { .. } => Ok("already_redeemed"),
        CouponRefusal::Spent { .. } => Ok("spent"),
        other => Err(format!("no code for: {other}")),
    }
}
