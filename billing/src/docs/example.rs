// What the examples of the engine's methods begin with. Each includes it where a reader does not see it, since one of them
// shows one method and not how a subscription comes to be; `README.md` shows that.

use std::sync::Arc;

use billing::core::audit::Actor;
pub use billing::core::id::TenantId;
use billing::core::id::{IdempotencyKey, InvoiceId, MeterCode, PaymentMethodId, PlanId, SubscriptionId};
use billing::core::payment::PaymentOutcome;
use billing::core::plan::Plan;
pub use billing::core::usage::UsageEvent;
use billing::{Billing, Error, MemoryStore, NewSubscription, Receipt, Request, TestClock};
use chrono::{DateTime, Utc};
pub use uuid::Uuid;

/// A tenant that has subscribed to plan `pro` on 1 June 2026 and paid for it.
pub struct Example {
    pub billing: Billing,
    pub clock: Arc<TestClock>,
    pub tenant: TenantId,
    pub id: SubscriptionId,
    /// 29.00 USD a month; 100 calls are included, each more costs 0.01 USD, 1000 are the limit. A backup is 4.00 USD a month,
    /// a set-up 50.00 USD once.
    pub pro: Plan,
    /// 99.00 USD a month, and single sign-on.
    pub team: PlanId,
    /// That of June, which is paid.
    pub first_invoice: InvoiceId,
}

/// Runs an example.
pub fn run(example: impl AsyncFnOnce(Example) -> Result<(), Error>) {
    let run = async {
        let found = Example::new().await?;
        example(found).await
    };
    futures_executor::block_on(run).unwrap();
}

impl Example {
    async fn new() -> Result<Self, Error> {
        let clock = Arc::new(TestClock::at(at("2026-06-01T00:00:00Z")));
        let billing = Billing::new(Arc::new(MemoryStore::new()), clock.clone());
        let [pro, team] = [
            r#"{"id": "00000000-0000-7000-8000-000000000001", "code": "pro", "version": 1, "product": "app",
                "name": "Pro", "price": {"minor": 2900, "currency": "USD"}, "is_active": true, "grace_period_days": 3,
                "interval": {"unit": "month", "count": 1}, "meters": {"calls": {"allowance": "100",
                "hard_limit": "1000", "charge": {"per_unit": {"unit_price": "0.01"}}}},
                "add_ons": {"backup": {"name": "Backup", "price": {"minor": 400, "currency": "USD"}, "charged": "recurring"},
                "setup": {"name": "Set-up", "price": {"minor": 5000, "currency": "USD"}, "charged": "once"}}}"#,
            r#"{"id": "00000000-0000-7000-8000-000000000002", "code": "team", "version": 1, "product": "app",
                "name": "Team", "price": {"minor": 9900, "currency": "USD"}, "is_active": true,
                "interval": {"unit": "month", "count": 1}, "features": {"sso": {"flag": true}},
                "meters": {"calls": {"charge": {"per_unit": {"unit_price": "0"}}}}}"#,
        ]
        .map(|plan| serde_json::from_str::<Plan>(plan).unwrap());
        billing.put_plan(&pro).await?;
        billing.put_plan(&team).await?;
        let tenant = TenantId::new(Uuid::from_u128(1));
        let new = NewSubscription {
            payment_method: Some(PaymentMethodId::new(Uuid::from_u128(2))),
            ..NewSubscription::new(tenant, pro.id)
        };
        let receipt = billing.create(&request("sign-up"), &new).await?;
        let (id, first_invoice) = (receipt.id(), receipt.invoices[0]);
        pay(&billing, id, first_invoice).await?;
        Ok(Self { billing, clock, tenant, id, pro, team: team.id, first_invoice })
    }
}

/// A request under a key.
pub fn request(key: &str) -> Request {
    Request::new(IdempotencyKey::new(key).unwrap(), Actor::System)
}

/// Tells that an invoice was paid.
pub async fn pay(billing: &Billing, id: SubscriptionId, invoice_id: InvoiceId) -> Result<Receipt, Error> {
    let invoice = billing.invoice(invoice_id).await?.unwrap();
    let outcome = PaymentOutcome::Settled {
        amount: invoice.total,
        reference: format!("ch_{}", invoice.number),
        settled_at: billing.now(),
    };
    let key = format!("paid-{}", invoice.number);
    billing.record_payment(&request(&key), id, invoice_id, outcome).await
}

/// So many calls of the tenant, now.
pub fn calls(billing: &Billing, key: &str, quantity: u32) -> UsageEvent {
    UsageEvent {
        idempotency_key: IdempotencyKey::new(key).unwrap(),
        tenant_id: TenantId::new(Uuid::from_u128(1)),
        meter: MeterCode::new("calls").unwrap(),
        quantity: quantity.into(),
        occurred_at: billing.now(),
        properties: Default::default(),
    }
}

/// An instant.
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
