//! Paystack, by its public API documentation: charge an authorization, initialize a transaction, verify, refund.
//!
//! - **The reference is the idempotency key.** Paystack documents no other: a second charge under a reference is refused as a
//!   duplicate. So a duplicate is no refusal, but [`Unknown`](ChargeOutcome::Unknown): an earlier request got through, and is
//!   to be verified. `Idempotency-Key` is sent all the same.
//! - **Refunds have no reference there.** Ours stands at the beginning of `merchant_note`, and the refunds of the payment are
//!   looked through for it before a new one is made, so that the same request again is the same refund. Two at the very same
//!   time would not see each other: the engine must perform a refund in one place at a time.
//! - **Amounts** are in hundredths of the currency, of XOF too, which has no smaller unit by ISO 4217: see [`units`].
//! - **Schedule and retries are ours.** Plans and subscriptions of Paystack are not used.

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
use chrono::{DateTime, Datelike as _, Utc};

use crate::breaker::BreakerListener;
use crate::config::{ConfigError, ServiceConfig};
use crate::decline::DeclineTable;
use crate::fault::Fault;
use crate::service::Service;
use crate::transport::{Call, Reply};
use crate::units::CurrencyUnits;

pub use self::declines::declines;
pub use self::webhook::Webhooks;

mod declines;
mod webhook;
mod wire;

const NAME: &str = "paystack";

/// In which unit Paystack counts: hundredths of NGN, GHS, KES, ZAR, USD and XOF.
///
/// XOF has no minor unit by ISO 4217, and is sent times a hundred all the same. UGX is no currency of Paystack's. For RWF we
/// know no page that says whether it is sent in francs or in hundredths, so it is refused until the host names the unit:
/// `units().with(rwf, 2)`.
///
/// # Source
///
/// Paystack documentation, "API", section "Currency".
pub fn units() -> CurrencyUnits {
    CurrencyUnits::new(&[
        ("GHS", 2),
        ("KES", 2),
        ("NGN", 2),
        ("USD", 2),
        ("XOF", 2),
        ("ZAR", 2),
    ])
}

/// Paystack as a gateway.
pub struct Paystack {
    service: Service,
    units: CurrencyUnits,
    declines: DeclineTable,
}

impl fmt::Debug for Paystack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paystack")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Paystack {
    /// A client with the [`units`] and [`declines()`] of this module.
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
            units: units(),
            declines: declines(),
        })
    }

    /// The configuration from `PAYSTACK_SECRET_KEY`, and `PAYSTACK_BASE_URL` if it is not `https://api.paystack.co`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn config_from(variable: impl Fn(&str) -> Option<String>) -> Result<ServiceConfig, ConfigError> {
        let url = ("PAYSTACK_BASE_URL", Some("https://api.paystack.co"));
        let mut config = ServiceConfig::from_variables(variable, url, "PAYSTACK_SECRET_KEY")?;
        config.breaker = BreakerPolicy::PAYMENT;
        Ok(config)
    }

    /// The same with other units.
    #[must_use]
    pub fn units(mut self, units: CurrencyUnits) -> Self {
        self.units = units;
        self
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

    fn amount(&self, money: Money) -> Result<i64, GatewayError> {
        if !self.units.takes(money.currency) {
            return Err(GatewayError::UnsupportedCurrency {
                service: NAME,
                currency: money.currency,
            });
        }
        let units = self.units.to_provider(money).filter(|units| *units > 0);
        units.ok_or(GatewayError::Invalid {
            service: NAME,
            field: "amount",
            expected: "more than zero, and whole in the provider's unit",
        })
    }

    /// What became of a transaction, held against what was asked.
    fn outcome(
        &self,
        transaction: wire::Transaction,
        asked: &PaymentReference,
        amount: Money,
    ) -> ChargeOutcome {
        transaction.outcome(asked, amount, &self.units, &self.declines, self.service.now())
    }

    async fn transaction(
        &self,
        reference: &PaymentReference,
    ) -> Result<Option<wire::Transaction>, GatewayError> {
        let path = ["transaction", "verify", reference.as_str()];
        let call = Call::get("verify", &path);
        let read = |reply: &Reply| {
            let envelope: wire::Envelope<wire::Transaction> = reply.read()?;
            if reply.is_success() && envelope.status {
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

    /// The refund with our reference among those of a transaction.
    async fn find_refund(
        &self,
        transaction_id: &str,
        request: &RefundRequest,
    ) -> Result<Option<RefundOutcome>, GatewayError> {
        let call = Call {
            query: &[("transaction", transaction_id), ("perPage", "100")],
            ..Call::get("list_refunds", &["refund"])
        };
        let read = |reply: &Reply| {
            let envelope: wire::Envelope<Vec<wire::Refund>> = reply.read()?;
            if !reply.is_success() || !envelope.status {
                return Ok(Err(envelope.refusal(reply.status)));
            }
            let refunds = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
            let found = refunds
                .into_iter()
                .find(|refund| refund.is_of(&request.reference));
            Ok(Ok(found.map(|refund| refund.outcome(request, &self.units))))
        };
        let answer = self.service.read(&call, read).await;
        answer.map_err(|fault| fault.of_a_question(NAME))?
    }

    async fn authorizations(&self, query: &MethodsQuery) -> Result<Vec<wire::Authorization>, GatewayError> {
        let path = ["customer", query.email.as_str()];
        let call = Call::get("methods", &path);
        let read = |reply: &Reply| {
            if reply.status == 404 {
                return Ok(Ok(Vec::new()));
            }
            let envelope: wire::Envelope<wire::Customer> = reply.read()?;
            if !reply.is_success() || !envelope.status {
                return Ok(Err(envelope.refusal(reply.status)));
            }
            let customer = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
            Ok(Ok(customer.authorizations))
        };
        let answer = self.service.read(&call, read).await;
        answer.map_err(|fault| fault.of_a_question(NAME))?
    }
}

impl PaymentGateway for Paystack {
    fn charge<'a>(&'a self, request: &'a ChargeRequest) -> GatewayFuture<'a, ChargeOutcome> {
        Box::pin(async move {
            let body = wire::body(&wire::Charge {
                authorization_code: request.method.token.expose(),
                email: request.method.email.as_str(),
                amount: self.amount(request.amount)?,
                currency: request.amount.currency,
                reference: request.reference.as_str(),
            })?;
            let path = ["transaction", "charge_authorization"];
            let call = Call::post("charge", &path, &request.idempotency_key, body);
            let read = |reply: &Reply| {
                let envelope: wire::Envelope<wire::Transaction> = reply.read()?;
                if reply.is_success() && envelope.status {
                    let transaction = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
                    return Ok(Ok(self.outcome(transaction, &request.reference, request.amount)));
                }
                // It may be our own earlier request that was first.
                if envelope.is_duplicate_reference() {
                    let code = envelope.message;
                    return Ok(Ok(ChargeOutcome::Unknown(UnknownReason::Provider { code })));
                }
                if let Some(class) = self.declines.known(&envelope.message) {
                    let code = envelope.message;
                    return Ok(Ok(wire::declined(class, code)));
                }
                Ok(Err(envelope.refusal(reply.status)))
            };
            match self.service.read(&call, read).await {
                Ok(answer) => answer,
                Err(fault) => fault.of_a_movement(NAME).map(ChargeOutcome::Unknown),
            }
        })
    }

    fn checkout<'a>(&'a self, request: &'a CheckoutRequest) -> GatewayFuture<'a, Checkout> {
        Box::pin(async move {
            let body = wire::body(&wire::Initialize {
                email: request.email.as_str(),
                amount: self.amount(request.amount)?,
                currency: request.amount.currency,
                reference: request.reference.as_str(),
                callback_url: &request.return_url,
            })?;
            let path = ["transaction", "initialize"];
            let call = Call::post("checkout", &path, &request.idempotency_key, body);
            let read = |reply: &Reply| {
                let envelope: wire::Envelope<wire::Initialized> = reply.read()?;
                if !reply.is_success() || !envelope.status {
                    return Ok(Err(envelope.refusal(reply.status)));
                }
                let page = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
                if page.reference != request.reference.as_str() {
                    return Err(Fault::Unreadable {
                        code: "reference_mismatch",
                    });
                }
                Ok(Ok(Checkout {
                    reference: request.reference.clone(),
                    url: page.authorization_url,
                    expires_at: None,
                }))
            };
            let answer = self.service.read(&call, read).await;
            answer.map_err(|fault| fault.of_a_question(NAME))?
        })
    }

    fn verify<'a>(&'a self, payment: &'a PaymentQuery) -> GatewayFuture<'a, Verification> {
        Box::pin(async move {
            let found = self.transaction(&payment.reference).await?;
            Ok(match found {
                None => Verification::NotFound,
                Some(transaction) => {
                    Verification::Found(self.outcome(transaction, &payment.reference, payment.amount))
                }
            })
        })
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundOutcome> {
        Box::pin(async move {
            let amount = self.amount(request.amount)?;
            let Some(transaction) = self.transaction(&request.payment).await? else {
                return Err(GatewayError::Refused {
                    service: NAME,
                    code: "transaction_not_found".into(),
                });
            };
            let transaction_id = transaction.id();
            if let Some(made) = self.find_refund(&transaction_id, request).await? {
                return Ok(made);
            }
            let body = wire::body(&wire::NewRefund {
                transaction: &transaction_id,
                amount,
                currency: request.amount.currency,
                merchant_note: wire::note(request),
            })?;
            let call = Call::post("refund", &["refund"], &request.idempotency_key, body);
            let read = |reply: &Reply| {
                let envelope: wire::Envelope<wire::Refund> = reply.read()?;
                if !reply.is_success() || !envelope.status {
                    return Ok(Err(envelope.refusal(reply.status)));
                }
                let refund = envelope.data.ok_or(Fault::Unreadable { code: "unreadable" })?;
                Ok(Ok(refund.outcome(request, &self.units)))
            };
            match self.service.read(&call, read).await {
                Ok(answer) => answer,
                Err(fault) => fault.of_a_movement(NAME).map(RefundOutcome::Unknown),
            }
        })
    }

    fn verify_refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundVerification> {
        Box::pin(async move {
            let Some(transaction) = self.transaction(&request.payment).await? else {
                return Ok(RefundVerification::NotFound);
            };
            let found = self.find_refund(&transaction.id(), request).await?;
            Ok(found.map_or(RefundVerification::NotFound, RefundVerification::Found))
        })
    }

    fn methods<'a>(&'a self, query: &'a MethodsQuery) -> GatewayFuture<'a, Vec<UsableMethod>> {
        Box::pin(async move {
            let authorizations = self.authorizations(query).await?;
            let usable = authorizations
                .iter()
                .filter(|authorization| authorization.reusable);
            usable
                .map(|authorization| authorization.method(&query.email))
                .collect::<Result<_, _>>()
                .map_err(|fault| fault.of_a_question(NAME))
        })
    }

    fn validate_method<'a>(
        &'a self,
        query: &'a MethodsQuery,
        method: &'a StoredMethod,
        now: DateTime<Utc>,
    ) -> GatewayFuture<'a, MethodCheck> {
        Box::pin(async move {
            let authorizations = self.authorizations(query).await?;
            let found = authorizations
                .iter()
                .find(|authorization| authorization.authorization_code == method.token.expose());
            Ok(match found {
                None => MethodCheck::Unusable { code: "unknown" },
                Some(authorization) if !authorization.reusable => {
                    MethodCheck::Unusable { code: "not_reusable" }
                }
                Some(authorization) => match authorization.expires() {
                    Some(expires) if expires < (now.year(), now.month()) => MethodCheck::Expired { expires },
                    Some(_) | None => MethodCheck::Usable,
                },
            })
        })
    }

    /// Asks for the balance: the smallest question that needs our key.
    fn health(&self) -> PortFuture<'_, Health> {
        Box::pin(async move {
            let call = Call::get("health", &["balance"]);
            self.service.health(&call, wire::is_well).await
        })
    }
}
