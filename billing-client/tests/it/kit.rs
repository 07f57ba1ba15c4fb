//! Requests, clients and a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use billing_client::{Backoff, SecretString, ServiceConfig};
use billing_core::gateway::{
    ChargeRequest, CheckoutRequest, MethodToken, MethodsQuery, PaymentQuery, RefundRequest, StoredMethod,
};
use billing_core::id::{IdempotencyKey, PaymentReference, TenantId};
use billing_core::money::{Currency, Money};
use billing_core::ports::Clock;
use chrono::{DateTime, TimeDelta, Utc};

use super::server::Server;

pub(crate) const KEY: &str = "sk_live_never-to-be-seen";
pub(crate) const TOKEN: &str = "tok_4711";
pub(crate) const REFERENCE: &str = "ch-00000000-0000-0000-0000-000000000007-1";
pub(crate) const REFUND: &str = "re-00000000-0000-0000-0000-000000000009";

/// 2026-01-31T10:00:00Z, and as much later as it is told.
#[derive(Debug, Default)]
pub(crate) struct Hand(AtomicI64);

impl Hand {
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        at("2026-01-31T10:00:00Z") + TimeDelta::seconds(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn clock() -> Arc<Hand> {
    Arc::default()
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Two retries without a wait worth the name. Nothing but what a test hangs on purpose comes near the timeout.
pub(crate) fn config(server: &Server) -> ServiceConfig {
    let mut config = ServiceConfig::new(&server.url(), SecretString::from(KEY)).unwrap();
    config.timeout = Duration::from_secs(30);
    config.connect_timeout = Duration::from_secs(20);
    config.response_bytes_max = 64 << 10;
    config.backoff = Backoff {
        base: Duration::from_millis(2),
        cap: Duration::from_millis(4),
        ..Backoff::default()
    };
    config.breaker.failures_max = 100;
    config
}

pub(crate) fn money(minor: i64, currency: &str) -> Money {
    Money::new(minor, Currency::from_code(currency).unwrap())
}

pub(crate) fn tenant_id() -> TenantId {
    TenantId::new("6f2c1d4e-0000-4000-8000-000000000001".parse().unwrap())
}

pub(crate) fn reference(text: &str) -> PaymentReference {
    PaymentReference::new(text).unwrap()
}

pub(crate) fn method() -> StoredMethod {
    StoredMethod {
        token: MethodToken::new(TOKEN).unwrap(),
        email: "jane@example.com".parse().unwrap(),
        country: Some("NG".parse().unwrap()),
    }
}

pub(crate) fn charge() -> ChargeRequest {
    ChargeRequest {
        tenant_id: tenant_id(),
        reference: reference(REFERENCE),
        idempotency_key: IdempotencyKey::new("charge:7:1").unwrap(),
        amount: money(5000, "NGN"),
        method: method(),
        description: "Pro, January".into(),
    }
}

pub(crate) fn checkout() -> CheckoutRequest {
    CheckoutRequest {
        tenant_id: tenant_id(),
        reference: reference(REFERENCE),
        idempotency_key: IdempotencyKey::new("checkout:7:1").unwrap(),
        amount: money(5000, "NGN"),
        email: "jane@example.com".parse().unwrap(),
        return_url: "https://app.example.com/paid".into(),
        description: "Pro, January".into(),
    }
}

pub(crate) fn query() -> PaymentQuery {
    PaymentQuery {
        tenant_id: tenant_id(),
        reference: reference(REFERENCE),
        amount: money(5000, "NGN"),
    }
}

pub(crate) fn refund() -> RefundRequest {
    RefundRequest {
        tenant_id: tenant_id(),
        payment: reference(REFERENCE),
        reference: reference(REFUND),
        idempotency_key: IdempotencyKey::new("refund:7:1").unwrap(),
        amount: money(2000, "NGN"),
        reason: "credit note 3".into(),
    }
}

pub(crate) fn customer() -> MethodsQuery {
    MethodsQuery {
        tenant_id: tenant_id(),
        email: "jane@example.com".parse().unwrap(),
    }
}

/// What a payment service says of a settled payment.
pub(crate) fn settled() -> String {
    format!(
        r#"{{"id":"pay_1","reference":"{REFERENCE}","amount":{{"minor":5000,"currency":"NGN"}},"status":"settled","settled_at":"2026-01-31T09:00:00Z"}}"#
    )
}
