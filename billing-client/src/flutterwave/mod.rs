//! Flutterwave, version 3 of its public API: charge a token, a payment link, verify, refund; webhooks of versions 3 and 4.
//!
//! - **The reference is the idempotency key** (`tx_ref`): a second charge under it is refused as a duplicate, and a duplicate is
//!   [`Unknown`](ChargeOutcome::Unknown), since an earlier request got through. `Idempotency-Key` is sent all the same.
//! - **A refusal that is in no table is unknown.** Declines and mistakes of ours come with the same status and without codes, so
//!   of words that nobody has listed it is not certain that nothing was charged: the reference is verified.
//! - **Refunds cannot be found again** by a reference of ours: [`verify_refund`](PaymentGateway::verify_refund) is
//!   [`Unsupported`](GatewayError::Unsupported). A refund whose outcome is unknown is for a person to look at; it must not be
//!   asked for again by itself.
//! - **Amounts** are in major units, exact: 19.99 NGN, 1500 UGX.
//! - **Stored methods are not listed** by version 3: [`methods`](PaymentGateway::methods) and
//!   [`validate_method`](PaymentGateway::validate_method) are `Unsupported`.
//! - **Schedule and retries are ours.** Payment plans of Flutterwave are not used.

use std::fmt;
use std::sync::Arc;

use billing_core::gateway::{
    ChargeOutcome, ChargeRequest, Checkout, CheckoutRequest, GatewayError, GatewayFuture, Health,
    MethodCheck, MethodsQuery, PaymentGateway, PaymentQuery, RefundOutcome, RefundRequest,
    RefundVerification, StoredMethod, UnknownReason, UsableMethod, Verification,
};
use billing_core::id::PaymentReference;
use billing_core::money::Money;
use billing_core::ports::{Clock, PortFuture};
use billing_core::resilience::{BreakerPolicy, BreakerSnapshot};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::breaker::BreakerListener;
use crate::config::{ConfigError, ServiceConfig};
use crate::decline::DeclineTable;
use crate::fault::Fault;
use crate::service::Service;
use crate::transport::{Call, Reply};
use crate::units::to_major;

pub use self::declines::declines;
pub use self::webhook::Webhooks;

mod declines;
mod webhook;
mod wire;

const NAME: &str = "flutterwave";

/// What is charged here.
const CURRENCIES: [&str; 8] = ["GHS", "KES", "NGN", "RWF", "UGX", "USD", "XOF", "ZAR"];

/// Flutterwave as a gateway.
pub struct Flutterwave {
    service: Service,
    declines: DeclineTable,
}

impl fmt::Debug for Flutterwave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flutterwave")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Flutterwave {
    /// A client with the [`declines()`] of this module.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(config: &ServiceConfig, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        Self::with_listener(config, clock, None)
    }

    /// The same, with somebody told of what the breaker does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn with_listener(
        config: &ServiceConfig,
        clock: Arc<dyn Clock>,
        listener: Option<BreakerListener>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            service: Service::new(NAME, config, clock, listener)?,
            declines: declines(),
        })
    }

    /// The configuration from `FLUTTERWAVE_SECRET_KEY`, and `FLUTTERWAVE_BASE_URL` if it is not
    /// `https://api.flutterwave.com/v3`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn config_from(variable: impl Fn(&str) -> Option<String>) -> Result<ServiceConfig, ConfigError> {
        let url = ("FLUTTERWAVE_BASE_URL", Some("https://api.flutterwave.com/v3"));
        let mut config = ServiceConfig::from_variables(variable, url, "FLUTTERWAVE_SECRET_KEY")?;
        config.breaker = BreakerPolicy::PAYMENT;
        Ok(config)
    }

    /// The same with another table of declines.
    #[must_use]
    pub fn declines(mut self, declines: DeclineTable) -> Self {
        self.declines = declines;
        self
    }

    /// How the breaker stands.
    pub fn breaker(&self) -> BreakerSnapshot {
        self.service.breaker()
    }

    async fn transaction(
        &self,
        reference: &PaymentReference,
    ) -> Result<Option<wire::Transaction>, GatewayError> {
        let call = Call {
            query: &[("tx_ref", reference.as_str())],
            ..Call::get("verify", &["transactions", "verify_by_reference"])
        };
        let read = |reply: &Reply| {
            let envelope: wire::Envelope<wire::Transaction> = reply.read()?;
            if reply.is_success() && envelope.is_success() {
                let transaction = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
                return Ok(Ok(Some(transaction)));
            }
            if envelope.is_unknown_reference(reply.status) {
                return Ok(Ok(None));
            }
            Ok(Err(envelope.refusal(reply.status)))
        };
        let answer = self.service.read(&call, read).await;
        answer.map_err(|fault| fault.of_a_question(NAME))?
    }
}

/// As a JSON number, exact.
fn amount(money: Money) -> Result<Box<RawValue>, GatewayError> {
    if !CURRENCIES.contains(&money.currency.code()) {
        return Err(GatewayError::UnsupportedCurrency {
            service: NAME,
            currency: money.currency,
        });
    }
    let major = to_major(money).filter(|_| money.minor > 0);
    let number = major.and_then(|major| RawValue::from_string(major.to_string()).ok());
    number.ok_or(GatewayError::Invalid {
        service: NAME,
        field: "amount",
        expected: "more than zero",
    })
}

const fn unsupported(operation: &'static str) -> GatewayError {
    GatewayError::Unsupported {
        service: NAME,
        operation,
    }
}

impl PaymentGateway for Flutterwave {
    fn charge<'a>(&'a self, request: &'a ChargeRequest) -> GatewayFuture<'a, ChargeOutcome> {
        Box::pin(async move {
            let body = wire::body(&wire::Charge {
                token: request.method.token.expose(),
                email: request.method.email.as_str(),
                currency: request.amount.currency,
                country: request.method.country,
                amount: amount(request.amount)?,
                tx_ref: request.reference.as_str(),
                narration: &request.description,
            })?;
            let call = Call::post("charge", &["tokenized-charges"], &request.idempotency_key, body);
            let now = self.service.now();
            let read = |reply: &Reply| {
                let envelope: wire::Envelope<wire::Transaction> = reply.read()?;
                if reply.is_success() && envelope.is_success() {
                    let transaction = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
                    let outcome =
                        transaction.outcome(&request.reference, request.amount, &self.declines, now);
                    return Ok(Ok(outcome));
                }
                if matches!(reply.status, 401 | 403) {
                    return Ok(Err(envelope.refusal(reply.status)));
                }
                let code = envelope.message;
                if !wire::is_duplicate(&code)
                    && let Some(class) = self.declines.known(&code)
                {
                    return Ok(Ok(wire::declined(class, code)));
                }
                Ok(Ok(ChargeOutcome::Unknown(UnknownReason::Provider { code })))
            };
            match self.service.read(&call, read).await {
                Ok(answer) => answer,
                Err(fault) => fault.of_a_movement(NAME).map(ChargeOutcome::Unknown),
            }
        })
    }

    fn checkout<'a>(&'a self, request: &'a CheckoutRequest) -> GatewayFuture<'a, Checkout> {
        Box::pin(async move {
            let body = wire::body(&wire::NewLink {
                tx_ref: request.reference.as_str(),
                amount: amount(request.amount)?,
                currency: request.amount.currency,
                redirect_url: &request.return_url,
                customer: wire::Payer {
                    email: request.email.as_str(),
                },
                customizations: wire::Customizations {
                    title: &request.description,
                },
            })?;
            let call = Call::post("checkout", &["payments"], &request.idempotency_key, body);
            let read = |reply: &Reply| {
                let envelope: wire::Envelope<wire::Link> = reply.read()?;
                if !reply.is_success() || !envelope.is_success() {
                    return Ok(Err(envelope.refusal(reply.status)));
                }
                let link = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
                Ok(Ok(Checkout {
                    reference: request.reference.clone(),
                    url: link.link,
                    expires_at: None,
                }))
            };
            let answer = self.service.read(&call, read).await;
            answer.map_err(|fault| fault.of_a_question(NAME))?
        })
    }

    fn verify<'a>(&'a self, payment: &'a PaymentQuery) -> GatewayFuture<'a, Verification> {
        Box::pin(async move {
            let Some(transaction) = self.transaction(&payment.reference).await? else {
                return Ok(Verification::NotFound);
            };
            let now = self.service.now();
            let outcome = transaction.outcome(&payment.reference, payment.amount, &self.declines, now);
            Ok(Verification::Found(outcome))
        })
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundOutcome> {
        Box::pin(async move {
            let amount = amount(request.amount)?;
            let Some(transaction) = self.transaction(&request.payment).await? else {
                return Err(GatewayError::Refused {
                    service: NAME,
                    code: "transaction_not_found".into(),
                });
            };
            let body = wire::body(&wire::NewRefund {
                amount,
                comments: format!("{}: {}", request.reference, request.reason),
            })?;
            let id = transaction.id();
            let path = ["transactions", id.as_str(), "refund"];
            let call = Call::post("refund", &path, &request.idempotency_key, body);
            let read = |reply: &Reply| {
                let envelope: wire::Envelope<wire::Refund> = reply.read()?;
                if !reply.is_success() || !envelope.is_success() {
                    return Ok(Err(envelope.refusal(reply.status)));
                }
                let refund = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
                Ok(Ok(refund.outcome(request.amount)))
            };
            match self.service.read(&call, read).await {
                Ok(answer) => answer,
                Err(fault) => fault.of_a_movement(NAME).map(RefundOutcome::Unknown),
            }
        })
    }

    fn verify_refund<'a>(&'a self, _: &'a RefundRequest) -> GatewayFuture<'a, RefundVerification> {
        Box::pin(async { Err(unsupported("find a refund by its reference")) })
    }

    fn methods<'a>(&'a self, _: &'a MethodsQuery) -> GatewayFuture<'a, Vec<UsableMethod>> {
        Box::pin(async { Err(unsupported("list payment methods")) })
    }

    fn validate_method<'a>(
        &'a self,
        _: &'a MethodsQuery,
        _: &'a StoredMethod,
        _: DateTime<Utc>,
    ) -> GatewayFuture<'a, MethodCheck> {
        Box::pin(async { Err(unsupported("validate a payment method")) })
    }

    /// Asks for the balances: the smallest question that needs our key.
    fn health(&self) -> PortFuture<'_, Health> {
        Box::pin(async move {
            let call = Call::get("health", &["balances"]);
            self.service.health(&call, wire::is_well).await
        })
    }
}
