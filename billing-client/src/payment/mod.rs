//! The payment service, by the contract in `openapi/payment.v1.json`.
//!
//! **No fallback.** A call that moves money and has no answer that can be believed is
//! [`Unknown`](billing_core::gateway::ChargeOutcome::Unknown), never declined, and is not repeated: its reference is verified.
//! Only what was certainly not carried out (no connection, or 429) is repeated, under the same idempotency key.

use std::fmt;
use std::sync::Arc;

use billing_core::gateway::{
    ChargeOutcome, ChargeRequest, Checkout, CheckoutRequest, GatewayError, GatewayFuture, Health,
    MethodCheck, MethodsQuery, PaymentGateway, PaymentQuery, RefundOutcome, RefundRequest,
    RefundVerification, StoredMethod, UsableMethod, Verification,
};
use billing_core::ports::{Clock, PortFuture};
use billing_core::resilience::{BreakerPolicy, BreakerSnapshot};
use chrono::{DateTime, Utc};
use reqwest::Method;

use crate::breaker::BreakerListener;
use crate::config::{ConfigError, ServiceConfig};
use crate::fault::Fault;
use crate::identity::wire::{Problem, is_well};
use crate::service::Service;
use crate::transport::{Call, Reply};

mod wire;

/// The contract of the service, as an OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("../../openapi/payment.v1.json");

const NAME: &str = "payment";

/// A payment service of ours, as a gateway.
///
/// ```
/// use billing_client::payment::PaymentClient;
/// # use billing_core::ports::Clock;
/// # #[derive(Debug)]
/// # struct SystemClock;
/// # impl Clock for SystemClock {
/// #     fn now(&self) -> chrono::DateTime<chrono::Utc> { chrono::DateTime::UNIX_EPOCH }
/// # }
///
/// let variables = |name: &str| match name {
///     "PAYMENT_MICROSERVICE_URL" => Some("https://payment.example.com".into()),
///     "PAYMENT_MICROSERVICE_KEY" => Some("key".into()),
///     _ => None,
/// };
/// let config = PaymentClient::config_from(variables)?; // or `|name| std::env::var(name).ok()`
/// let gateway = PaymentClient::new(&config, std::sync::Arc::new(SystemClock))?;
/// assert_eq!(gateway.breaker().failures_max, 3);
/// # Ok::<(), billing_client::ConfigError>(())
/// ```
pub struct PaymentClient {
    service: Service,
}

impl fmt::Debug for PaymentClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentClient")
            .field("service", &self.service)
            .finish()
    }
}

impl PaymentClient {
    /// A client for the service that `config` names.
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
        })
    }

    /// The configuration from `PAYMENT_MICROSERVICE_URL` and `PAYMENT_MICROSERVICE_KEY`, with [`BreakerPolicy::PAYMENT`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn config_from(variable: impl Fn(&str) -> Option<String>) -> Result<ServiceConfig, ConfigError> {
        let url = ("PAYMENT_MICROSERVICE_URL", None);
        let mut config = ServiceConfig::from_variables(variable, url, "PAYMENT_MICROSERVICE_KEY")?;
        config.breaker = BreakerPolicy::PAYMENT;
        Ok(config)
    }

    /// How the breaker stands.
    pub fn breaker(&self) -> BreakerSnapshot {
        self.service.breaker()
    }
}

impl PaymentGateway for PaymentClient {
    fn charge<'a>(&'a self, request: &'a ChargeRequest) -> GatewayFuture<'a, ChargeOutcome> {
        Box::pin(async move {
            let body = body(&wire::Charge::of(request))?;
            let call = Call::post("charge", &["v1", "charges"], &request.idempotency_key, body);
            let now = self.service.now();
            let read = |reply: &Reply| match reply.status {
                200..=299 => Ok(Ok(reply.read::<wire::Payment>()?.outcome(
                    &request.reference,
                    request.amount,
                    now,
                ))),
                409 if is_in_progress(reply) => Ok(Ok(ChargeOutcome::Unknown(wire::in_progress()))),
                _ => Ok(Err(refused(reply))),
            };
            match self.service.read(&call, read).await {
                Ok(answer) => answer,
                Err(fault) => fault.of_a_movement(NAME).map(ChargeOutcome::Unknown),
            }
        })
    }

    fn checkout<'a>(&'a self, request: &'a CheckoutRequest) -> GatewayFuture<'a, Checkout> {
        Box::pin(async move {
            let body = body(&wire::NewCheckout::of(request))?;
            let call = Call::post("checkout", &["v1", "checkouts"], &request.idempotency_key, body);
            let read = |reply: &Reply| match reply.status {
                200..=299 => reply.read::<wire::Checkout>()?.into_checkout(request).map(Ok),
                _ => Ok(Err(refused(reply))),
            };
            let answer = self.service.read(&call, read).await;
            answer.map_err(|fault| fault.of_a_question(NAME))?
        })
    }

    fn verify<'a>(&'a self, payment: &'a PaymentQuery) -> GatewayFuture<'a, Verification> {
        Box::pin(async move {
            let path = ["v1", "payments", payment.reference.as_str()];
            let call = Call::get("verify", &path);
            let now = self.service.now();
            let read = |reply: &Reply| match reply.status {
                200..=299 => {
                    let found = reply.read::<wire::Payment>()?;
                    let outcome = found.outcome(&payment.reference, payment.amount, now);
                    Ok(Ok(Verification::Found(outcome)))
                }
                404 if Problem::code_of(reply) == wire::UNKNOWN_PAYMENT => Ok(Ok(Verification::NotFound)),
                _ => Ok(Err(refused(reply))),
            };
            let answer = self.service.read(&call, read).await;
            answer.map_err(|fault| fault.of_a_question(NAME))?
        })
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundOutcome> {
        Box::pin(async move {
            let body = body(&wire::NewRefund::of(request))?;
            let call = Call::post("refund", &["v1", "refunds"], &request.idempotency_key, body);
            let read = |reply: &Reply| match reply.status {
                200..=299 => Ok(Ok(reply.read::<wire::Refund>()?.outcome(request))),
                409 if is_in_progress(reply) => Ok(Ok(RefundOutcome::Unknown(wire::in_progress()))),
                _ => Ok(Err(refused(reply))),
            };
            match self.service.read(&call, read).await {
                Ok(answer) => answer,
                Err(fault) => fault.of_a_movement(NAME).map(RefundOutcome::Unknown),
            }
        })
    }

    fn verify_refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundVerification> {
        Box::pin(async move {
            let path = ["v1", "refunds", request.reference.as_str()];
            let call = Call::get("verify_refund", &path);
            let read = |reply: &Reply| match reply.status {
                200..=299 => {
                    let outcome = reply.read::<wire::Refund>()?.outcome(request);
                    Ok(Ok(RefundVerification::Found(outcome)))
                }
                404 if Problem::code_of(reply) == wire::UNKNOWN_REFUND => {
                    Ok(Ok(RefundVerification::NotFound))
                }
                _ => Ok(Err(refused(reply))),
            };
            let answer = self.service.read(&call, read).await;
            answer.map_err(|fault| fault.of_a_question(NAME))?
        })
    }

    fn methods<'a>(&'a self, query: &'a MethodsQuery) -> GatewayFuture<'a, Vec<UsableMethod>> {
        Box::pin(async move {
            let tenant_id = query.tenant_id.to_string();
            let call = Call {
                query: &[("tenant_id", &tenant_id), ("email", query.email.as_str())],
                ..Call::get("methods", &["v1", "payment-methods"])
            };
            let read = |reply: &Reply| match reply.status {
                200..=299 => reply.read::<wire::Methods>()?.into_methods(query).map(Ok),
                _ => Ok(Err(refused(reply))),
            };
            let answer = self.service.read(&call, read).await;
            answer.map_err(|fault| fault.of_a_question(NAME))?
        })
    }

    fn validate_method<'a>(
        &'a self,
        query: &'a MethodsQuery,
        method: &'a StoredMethod,
        now: DateTime<Utc>,
    ) -> GatewayFuture<'a, MethodCheck> {
        Box::pin(async move {
            let body = body(&wire::MethodToCheck::of(query, method, now))?;
            // A question, although in a body: in a path the token would stand in logs.
            let call = Call {
                method: Method::POST,
                body: Some(body),
                ..Call::get("validate_method", &["v1", "payment-methods", "validate"])
            };
            let read = |reply: &Reply| match reply.status {
                200..=299 => Ok(Ok(reply.read::<wire::Checked>()?.into())),
                _ => Ok(Err(refused(reply))),
            };
            let answer = self.service.read(&call, read).await;
            answer.map_err(|fault| fault.of_a_question(NAME))?
        })
    }

    fn health(&self) -> PortFuture<'_, Health> {
        Box::pin(async move {
            let call = Call::get("health", &["v1", "health"]);
            self.service.health(&call, is_well).await
        })
    }
}

fn body(content: &impl serde::Serialize) -> Result<Vec<u8>, GatewayError> {
    serde_json::to_vec(content).map_err(|_| Fault::NotSent { code: "request" }.of_a_question(NAME))
}

/// Another request with the key is being carried out: what becomes of it is not known yet.
fn is_in_progress(reply: &Reply) -> bool {
    Problem::code_of(reply) == wire::IN_PROGRESS
}

/// A 4xx: by the contract nothing was carried out.
fn refused(reply: &Reply) -> GatewayError {
    match reply.status {
        401 | 403 => GatewayError::Unauthorized { service: NAME },
        _ => GatewayError::Refused {
            service: NAME,
            code: Problem::code_of(reply),
        },
    }
}
