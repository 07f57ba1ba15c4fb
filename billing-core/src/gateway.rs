//! The port to whoever moves money: a payment service, or a provider such as Paystack or Flutterwave.
//!
//! **A payment is never assumed.** What an adapter returns says one of two things. `Ok` is what is known of a payment that may
//! have been made, and [`Unknown`](ChargeOutcome::Unknown) when that is nothing: the request was sent, and no answer that can be
//! believed came back. `Err` means that no money has moved by this call, for certain: nothing was sent, or it was refused
//! before it was carried out. So an engine verifies what is unknown, by its reference, and may try again what is an error.
//!
//! Each call that moves money carries a [`PaymentReference`] of ours, under which it can be found whatever became of the answer,
//! and an [`IdempotencyKey`], under which the same call again is the same payment.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::error::GatewayError;
pub use self::method::{
    MethodCheck, MethodKind, MethodToken, MethodsQuery, PaymentMethodVault, StoredMethod, UsableMethod,
};
pub use self::outcome::{
    ChargeOutcome, Mismatch, RefundOutcome, RefundVerification, Settlement, UnknownReason, Verification,
};
use crate::id::{IdempotencyKey, InvoiceId, PaymentReference, TenantId};
use crate::money::Money;
use crate::ports::PortFuture;
use crate::resilience::BreakerSnapshot;
use crate::validate::Email;

mod error;
mod method;
mod outcome;

/// A future that a [`PaymentGateway`] returns.
pub type GatewayFuture<'a, T> = PortFuture<'a, Result<T, GatewayError>>;

/// Moves money, and tells what became of it.
///
/// Dropping a future stops waiting, not the payment: what was sent may be carried out.
pub trait PaymentGateway: Send + Sync + fmt::Debug {
    /// Charges a payment method that the customer left for this.
    ///
    /// The same request again, with the same key and reference, is the same payment: it is answered, and not made twice.
    ///
    /// # Errors
    ///
    /// [`GatewayError`]: nothing was charged by this call.
    fn charge<'a>(&'a self, request: &'a ChargeRequest) -> GatewayFuture<'a, ChargeOutcome>;

    /// Prepares a page on which the customer pays. No money moves by it; what does later is found by the reference.
    ///
    /// # Errors
    ///
    /// [`GatewayError`], [`NoAnswer`](GatewayError::NoAnswer) among them: then a page may be there that nobody knows of, and
    /// the next attempt takes another reference.
    fn checkout<'a>(&'a self, request: &'a CheckoutRequest) -> GatewayFuture<'a, Checkout>;

    /// What became of the payment with a reference, and whether it is the one that was asked for.
    ///
    /// [`NotFound`](Verification::NotFound) means that the provider has not seen the reference up to now. A request that is still
    /// on its way may arrive later, so it is believed only when the request has been over for longer than any timeout.
    ///
    /// # Errors
    ///
    /// [`GatewayError`]: nothing is known that was not known before.
    fn verify<'a>(&'a self, payment: &'a PaymentQuery) -> GatewayFuture<'a, Verification>;

    /// Pays back a settled payment, or a part of it.
    ///
    /// # Errors
    ///
    /// [`GatewayError`]: nothing was paid back by this call.
    fn refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundOutcome>;

    /// What became of a refund.
    ///
    /// # Errors
    ///
    /// [`GatewayError`]: nothing is known that was not known before.
    fn verify_refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundVerification>;

    /// The payment methods that a customer left.
    ///
    /// # Errors
    ///
    /// [`GatewayError`]; [`Unsupported`](GatewayError::Unsupported) where the provider does not list them.
    fn methods<'a>(&'a self, query: &'a MethodsQuery) -> GatewayFuture<'a, Vec<UsableMethod>>;

    /// Whether a payment method may be charged at `now`. No money moves by it.
    ///
    /// # Errors
    ///
    /// [`GatewayError`]; [`Unsupported`](GatewayError::Unsupported) where the provider does not tell.
    fn validate_method<'a>(
        &'a self,
        query: &'a MethodsQuery,
        method: &'a StoredMethod,
        now: DateTime<Utc>,
    ) -> GatewayFuture<'a, MethodCheck>;

    /// Whether the service can be reached, by asking it. The breaker does not stop this call, and is told of it.
    fn health(&self) -> PortFuture<'_, Health>;
}

/// What to charge, and to which payment method.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a request: an engine must fill in what is added"
)]
pub struct ChargeRequest {
    /// Who pays.
    pub tenant_id: TenantId,
    /// Under which it is found again. One per attempt: see [`charge_reference`].
    pub reference: PaymentReference,
    /// The key of the job: the same when the job is performed again.
    pub idempotency_key: IdempotencyKey,
    /// How much; more than zero.
    pub amount: Money,
    /// From where.
    pub method: StoredMethod,
    /// What the customer may read on a statement.
    pub description: String,
}

/// The reference of attempt number `attempt` (from 1) to collect an invoice: always the same, so that it need not be stored.
///
/// ```
/// use billing_core::gateway::charge_reference;
/// use billing_core::id::InvoiceId;
/// use uuid::Uuid;
///
/// let reference = charge_reference(InvoiceId::new(Uuid::from_u128(7)), 2).unwrap();
/// assert_eq!(reference.as_str(), "ch-00000000-0000-0000-0000-000000000007-2");
/// ```
///
/// # Errors
///
/// None in practice: what is built always has the form of a reference.
pub fn charge_reference(
    invoice_id: InvoiceId,
    attempt: u32,
) -> Result<PaymentReference, crate::id::CodeError> {
    PaymentReference::new(&alloc::format!("ch-{invoice_id}-{attempt}"))
}

/// A payment that the customer is to make on a page.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a request: an engine must fill in what is added"
)]
pub struct CheckoutRequest {
    /// Who pays.
    pub tenant_id: TenantId,
    /// Under which the payment is found again.
    pub reference: PaymentReference,
    /// The key of the request.
    pub idempotency_key: IdempotencyKey,
    /// How much; more than zero.
    pub amount: Money,
    /// Whom the provider writes to.
    pub email: Email,
    /// Where the customer comes back to. What stands there proves nothing: verify.
    pub return_url: String,
    /// What it is for, for the customer to read.
    pub description: String,
}

/// A page on which the customer pays.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Checkout {
    /// The reference that was asked for.
    pub reference: PaymentReference,
    /// Its address. Whoever has it can pay, so it is left out of `Debug`.
    pub url: String,
    /// Until when it may be used, if the provider says so.
    pub expires_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reference,
            url: _,
            expires_at,
        } = self;
        f.debug_struct("Checkout")
            .field("reference", reference)
            .field("expires_at", expires_at)
            .finish_non_exhaustive()
    }
}

/// A payment to look for, and what it must be to count.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a request: an engine must fill in what is added"
)]
pub struct PaymentQuery {
    /// Whose.
    pub tenant_id: TenantId,
    /// Its reference.
    pub reference: PaymentReference,
    /// What was asked for. Another amount or currency is not settled.
    pub amount: Money,
}

/// What to pay back.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a request: an engine must fill in what is added"
)]
pub struct RefundRequest {
    /// Whose.
    pub tenant_id: TenantId,
    /// The payment that is paid back.
    pub payment: PaymentReference,
    /// Under which the refund is found again.
    pub reference: PaymentReference,
    /// The key of the job: the same when the job is performed again.
    pub idempotency_key: IdempotencyKey,
    /// How much; more than zero, and with what was paid back before at most what was paid.
    pub amount: Money,
    /// Why, for the books of the seller.
    pub reason: String,
}

/// How a remote service is, as seen from here.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Health {
    /// Whether it answered, and that it is well.
    pub is_up: bool,
    /// `ok`, or a short code of what went wrong.
    pub code: &'static str,
    /// How long it took to answer.
    pub took: TimeDelta,
    /// The breaker around it, after this call.
    pub breaker: BreakerSnapshot,
}
