//! What the engine's tests share: plans, requests, and every store in turn.

use std::sync::Arc;

use billing::core::audit::Actor;
use billing::core::calendar::Interval;
use billing::core::charge::ChargeModel;
use billing::core::id::{IdempotencyKey, MeterCode, PlanCode, ProductCode, SubscriptionId, TenantId};
use billing::core::invoice::Invoice;
use billing::core::money::{Currency, Money, Rounding};
use billing::core::payment::PaymentOutcome;
use billing::core::plan::{Activation, BillingTiming, MeterTerms, Plan, ProrationRule};
use billing::core::retry::{ExponentialBackoff, RetryPolicy};
use billing::core::usage::UsageEvent;
use billing::{Billing, MemoryStore, NewSubscription, Receipt, Request, SqliteStore, Store, TestClock};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An engine with its clock on a store.
pub(crate) struct Bench {
    pub(crate) billing: Billing,
    pub(crate) clock: Arc<TestClock>,
    /// Keeps the file of a SQLite store.
    _folder: Option<tempfile::TempDir>,
}

/// The same test on each store.
pub(crate) fn on_each_store(test: impl AsyncFn(Bench)) {
    let clock = || Arc::new(TestClock::at(at("2026-01-01")));
    let folder = tempfile::tempdir().unwrap();
    let file: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("billing.db")).unwrap());
    let stores: [(Arc<dyn Store>, _); 2] = [(Arc::new(MemoryStore::default()), None), (file, Some(folder))];
    for (store, folder) in stores {
        futures_executor::block_on(test(Bench {
            _folder: folder,
            ..Bench::on(store, clock())
        }));
    }
}

impl Bench {
    pub(crate) fn on(store: Arc<dyn Store>, clock: Arc<TestClock>) -> Self {
        Self {
            billing: Billing::new(store, clock.clone()),
            clock,
            _folder: None,
        }
    }

    /// A monthly plan at 10.00 USD, changed by `with`, in the catalogue.
    pub(crate) async fn plan(&self, code: &str, with: impl FnOnce(&mut Plan)) -> Plan {
        let mut plan = Plan {
            id: self.billing.new_plan_id(),
            code: PlanCode::new(code).unwrap(),
            version: 1,
            product: ProductCode::new("app").unwrap(),
            name: code.into(),
            price: usd(10_00),
            interval: Interval::MONTHLY,
            minimum_commitment: None,
            timing: BillingTiming::InAdvance,
            activation: Activation::Immediate,
            trial: None,
            grace_period_days: 7,
            restricted: None,
            retention_days: 30,
            retry: RetryPolicy::Exponential(ExponentialBackoff {
                base_hours: 24,
                factor: 2,
                cap_hours: 720,
                retries_max: 3,
                jitter_percent: 0,
            }),
            proration: ProrationRule::Second,
            rounding: Rounding::HalfAwayFromZero,
            closing_window_hours: 0,
            net_terms_days: 0,
            invoice_series: None,
            invoice_lines_per_day_max: 1_000,
            regions: [].into(),
            industries: [].into(),
            required_compliance: [].into(),
            is_active: true,
            discontinued: false,
            features: [].into(),
            meters: [].into(),
            add_ons: [].into(),
        };
        with(&mut plan);
        self.billing.put_plan(&plan).await.unwrap();
        plan
    }

    /// A subscription of tenant number `tenant`, its first invoice not paid yet.
    pub(crate) async fn subscribe(&self, tenant: u128, plan: &Plan) -> Receipt {
        let new = NewSubscription::new(tenant_id(tenant), plan.id);
        self.billing
            .create(&request(&format!("create-{tenant}-{}", plan.code)), &new)
            .await
            .unwrap()
    }

    /// Settles the open invoice of a subscription, if it has one.
    pub(crate) async fn pay(&self, id: SubscriptionId) {
        let invoices = self.billing.invoices_of(id).await.unwrap();
        if let Some(invoice) = invoices.iter().find(|invoice| invoice.is_open()) {
            self.billing
                .record_payment(
                    &request(&format!("pay-{}", invoice.id)),
                    id,
                    invoice.id,
                    self.settled(invoice),
                )
                .await
                .unwrap();
        }
    }

    pub(crate) fn settled(&self, invoice: &Invoice) -> PaymentOutcome {
        let reference = format!("ref-{}", invoice.id);
        PaymentOutcome::Settled {
            amount: invoice.total,
            reference,
            settled_at: self.billing.now(),
        }
    }

    pub(crate) async fn invoices(&self, id: SubscriptionId) -> Vec<Invoice> {
        self.billing.invoices_of(id).await.unwrap()
    }

    /// Records one event.
    pub(crate) async fn use_meter(&self, tenant: u128, key: &str, quantity: &str, at: &str) {
        let event = UsageEvent {
            idempotency_key: IdempotencyKey::new(key).unwrap(),
            tenant_id: tenant_id(tenant),
            meter: MeterCode::new("api").unwrap(),
            quantity: quantity.parse().unwrap(),
            occurred_at: self::at(at),
            properties: [].into(),
        };
        self.billing.record_usage(vec![event]).await.unwrap();
    }
}

/// A meter `api` at so much per unit, with an allowance.
pub(crate) fn metered(plan: &mut Plan, allowance: i64, unit_price: &str) {
    let terms = MeterTerms {
        allowance: allowance.into(),
        warn_at: Vec::new(),
        ..MeterTerms::new(ChargeModel::PerUnit {
            unit_price: unit_price.parse().unwrap(),
        })
    };
    plan.meters.insert(MeterCode::new("api").unwrap(), terms);
}

pub(crate) fn tenant_id(number: u128) -> TenantId {
    TenantId::new(Uuid::from_u128(number))
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").unwrap())
}

pub(crate) fn request(key: &str) -> Request {
    Request::new(IdempotencyKey::new(key).unwrap(), Actor::System)
}

/// Midnight of a date, or an instant.
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.into()
    };
    text.parse().unwrap()
}
