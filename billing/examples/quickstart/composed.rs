//! Invoices with everything on them: seats, tiers, a limit, add-ons, an event that came late, a coupon, tax and prepaid credit.

use std::sync::Arc;

use billing::core::coupon::Coupon;
use billing::core::credit::GrantSource;
use billing::core::id::{AddOnCode, GrantId, IdempotencyKey, MeterCode, SubscriptionId, TenantId};
use billing::core::invoice::Invoice;
use billing::core::money::{Currency, Money};
use billing::core::plan::Plan;
use billing::core::subscription::GrantCredit;
use billing::core::tax::{FlatTax, TaxTreatment};
use billing::core::usage::UsageEvent;
use billing::{Billing, ConsumeOutcome, NewSubscription, Store, TestClock};
use uuid::Uuid;

use crate::{Result, at, pay, print, request};

/// 49.00 a month, seats by the time that they are held, and calls that get cheaper, up to 50,000.
const TEAM: &str = r#"{
    "id": "01941f29-7c00-7000-8000-00000000000a", "code": "team", "version": 1, "product": "suite", "name": "Team",
    "price": {"minor": 4900, "currency": "USD"}, "interval": {"unit": "month", "count": 1}, "is_active": true,
    "net_terms_days": 14, "invoice_series": "QS-2024",
    "meters": {
        "seats": {"aggregation": {"weighted_sum": {"unit": "period"}}, "allowance": "3",
                  "charge": {"per_unit": {"unit_price": "8"}}},
        "calls": {"allowance": "1000", "hard_limit": "50000", "charge": {"graduated": {"tiers": [
                  {"up_to": "9000", "unit_price": "0.002"}, {"unit_price": "0.0015"}]}}}
    },
    "add_ons": {
        "archive": {"name": "Archive", "price": {"minor": 500, "currency": "USD"}, "charged": "recurring"},
        "import": {"name": "Import of old data", "price": {"minor": 4000, "currency": "USD"}, "charged": "once"}
    }
}"#;

const COUPON: &str =
    r#"{"code": "LAUNCH", "value": {"percent": "20"}, "duration": {"invoices": 2}, "is_active": true}"#;

const TAX: &str = r#"{"rates": [{"name": "VAT", "percent": "19"}], "behavior": "exclusive"}"#;

/// Subscribes, uses, renews and prints the invoice; a second run is answered with what the first one did.
pub(crate) async fn show(store: &Arc<dyn Store>) -> Result<()> {
    let clock = Arc::new(TestClock::at(at("2024-09-01")?));
    let tax: TaxTreatment = serde_json::from_str(TAX)?;
    let billing = Billing::new(Arc::clone(store), clock.clone()).with_tax(Arc::new(FlatTax::new(tax)?));
    let plan: Plan = serde_json::from_str(TEAM)?;
    billing.put_plan(&plan).await?;
    let coupon: Coupon = serde_json::from_str(COUPON)?;
    billing.put_coupon(&coupon).await?;
    let tenant_id = TenantId::new(Uuid::from_u128(3));
    let new = NewSubscription {
        coupon: Some(coupon.code),
        add_ons: [(AddOnCode::new("archive")?, 2)].into(),
        ..NewSubscription::new(tenant_id, plan.id)
    };
    let receipt = billing.create(&request("team:create")?, &new).await?;
    let id = receipt.id();
    pay(&billing, "team:paid", &receipt, "2024-09-01").await?;
    let prepaid = GrantCredit {
        id: GrantId::new(Uuid::from_u128(30)),
        amount: Money::new(25_00, Currency::from_code("USD")?),
        source: GrantSource::Prepaid,
        priority: 50,
        expires_at: Some(at("2025-09-01")?),
    };
    billing
        .grant_credit(&request("team:prepaid")?, id, prepaid)
        .await?;

    clock.set(at("2024-09-30")?);
    let event = |key: &str, meter: &str, quantity: i64, date: &str| -> Result<UsageEvent> {
        Ok(UsageEvent {
            idempotency_key: IdempotencyKey::new(key)?,
            tenant_id,
            meter: MeterCode::new(meter)?,
            quantity: quantity.into(),
            occurred_at: at(date)?,
            properties: [].into(),
        })
    };
    let used = vec![
        event("team:seats:1", "seats", 5, "2024-09-01")?,
        event("team:seats:2", "seats", 8, "2024-09-16")?,
        event("team:calls:1", "calls", 14_000, "2024-09-20")?,
    ];
    billing.consume(used).await?;
    let too_much = billing
        .consume(vec![event("team:calls:2", "calls", 40_000, "2024-09-21")?])
        .await?;
    if let Some(ConsumeOutcome::OverLimit(check)) = too_much.first() {
        let limit = check.answer.hard_limit.unwrap_or_default();
        print(&format!(
            "\n40,000 calls more are refused: they would pass the hard limit of {limit}"
        ));
    }
    let import = AddOnCode::new("import")?;
    billing
        .buy_add_on(&request("team:import")?, id, import, 1)
        .await?;
    let october = renew(&billing, &clock, id, "2024-10-01").await?;
    show_invoice(&october);

    // Reported when September was billed already: it stands on the next invoice, in September's tiers.
    clock.set(at("2024-10-05")?);
    billing
        .record_usage(vec![event("team:calls:late", "calls", 500, "2024-09-29")?])
        .await?;
    let november = renew(&billing, &clock, id, "2024-11-01").await?;
    show_invoice(&november);
    Ok(())
}

/// Takes the renewal that is due on `date` and settles it; the invoice as it was paid.
async fn renew(billing: &Billing, clock: &TestClock, id: SubscriptionId, date: &str) -> Result<Invoice> {
    clock.set(at(date)?);
    let receipt = billing
        .advance(&request(&format!("team:renewal:{date}"))?, id)
        .await?;
    pay(billing, &format!("team:paid:{date}"), &receipt, date).await?;
    let invoice_id = receipt.invoices.first().copied().ok_or("no renewal invoice")?;
    Ok(billing.invoice(invoice_id).await?.ok_or("no renewal invoice")?)
}

fn show_invoice(invoice: &Invoice) {
    let number = invoice
        .serial
        .as_ref()
        .map(|serial| format!("{} {}", serial.series, serial.number));
    print(&format!(
        "\ninvoice {} of {}, due {}",
        number.unwrap_or_default(),
        invoice.opened_at.date_naive(),
        invoice
            .due_at
            .map_or_else(|| "at once".into(), |due_at| due_at.date_naive().to_string()),
    ));
    for line in &invoice.lines {
        let meter = line
            .meter
            .as_ref()
            .map_or_else(String::new, |meter| format!("{meter}: "));
        print(&format!(
            "{:>12}  {meter}{}",
            line.amount.to_string(),
            line.explanation
        ));
    }
    print(&format!("{:>12}  to pay", invoice.total.to_string()));
}
