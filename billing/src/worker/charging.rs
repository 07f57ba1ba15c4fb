//! Collecting an invoice: one attempt, found again by its reference whatever became of the answer.

use billing_core::gateway::{
    ChargeOutcome, ChargeRequest, GatewayError, PaymentQuery, StoredMethod, Verification, charge_reference,
};
use billing_core::id::{IdempotencyKey, InvoiceId, PaymentReference, SubscriptionId};
use billing_core::invoice::Invoice;
use billing_core::outbox::{JobResult, LeasedJob};
use billing_core::payment::{CollectionPhase, PaymentOutcome};
use billing_core::retry::DeclineClass;
use billing_core::subscription::{Rejection, Subscription};

use super::{Worker, done, parked};
use crate::{Error, StoreError};

/// An attempt whose outcome is awaited.
pub(super) struct Attempt {
    invoice: Invoice,
    subscription: Subscription,
    reference: PaymentReference,
}

impl Worker {
    /// Charges an invoice, unless it is not to be paid any more. What was begun before is looked up first.
    pub(super) async fn charge(
        &self,
        leased: &LeasedJob,
        invoice_id: InvoiceId,
        attempt: u32,
    ) -> Result<JobResult, Error> {
        if leased.lease > 1 {
            let attempt = match self
                .awaited(leased.job.subscription_id, invoice_id, attempt)
                .await?
            {
                Ok(attempt) => attempt,
                Err(over) => return Ok(over),
            };
            match self.gateway.verify(&attempt.query()).await {
                // It never arrived, or has not yet: the same request again is the same payment.
                Ok(Verification::NotFound) => {}
                Ok(Verification::Found(outcome)) => return self.conclude(leased, &attempt, outcome).await,
                Err(error) => return Ok(self.refused(leased, &error)),
            }
        }
        // The last look before money moves, and the lease is still ours.
        if !self.still_holds(leased).await? {
            return Ok(done("taken over by another worker"));
        }
        let attempt = match self
            .awaited(leased.job.subscription_id, invoice_id, attempt)
            .await?
        {
            Ok(attempt) => attempt,
            Err(over) => return Ok(over),
        };
        let method = match self.method(&attempt.subscription).await? {
            Ok(method) => method,
            Err(code) => {
                return self.declined(&attempt, DeclineClass::AskCustomer, code).await;
            }
        };
        let request = ChargeRequest {
            tenant_id: attempt.invoice.tenant_id,
            reference: attempt.reference.clone(),
            idempotency_key: key(&leased.job.effect.idempotency_key())?,
            amount: attempt.invoice.total,
            method,
            description: format!("invoice {}", attempt.invoice.number),
        };
        match self.gateway.charge(&request).await {
            Ok(outcome) => self.conclude(leased, &attempt, outcome).await,
            // The provider would refuse the same request again: another payment method may help.
            Err(GatewayError::Refused { code, .. }) => {
                self.declined(&attempt, DeclineClass::AskCustomer, &code).await
            }
            Err(error) => Ok(self.refused(leased, &error)),
        }
    }

    /// Finds out what became of an attempt.
    pub(super) async fn look_up(
        &self,
        leased: &LeasedJob,
        invoice_id: InvoiceId,
        attempt: u32,
    ) -> Result<JobResult, Error> {
        let attempt = match self
            .awaited(leased.job.subscription_id, invoice_id, attempt)
            .await?
        {
            Ok(attempt) => attempt,
            Err(over) => return Ok(over),
        };
        match self.gateway.verify(&attempt.query()).await {
            Ok(Verification::Found(outcome)) => self.conclude(leased, &attempt, outcome).await,
            // A request that is on its way may still arrive.
            Ok(Verification::NotFound) => Ok(self.unknown(leased, "not found".into())),
            Err(error) => Ok(self.refused(leased, &error)),
        }
    }

    /// The attempt, if its outcome is awaited; else how the job ends.
    pub(super) async fn awaited(
        &self,
        id: SubscriptionId,
        invoice_id: InvoiceId,
        attempt: u32,
    ) -> Result<Result<Attempt, JobResult>, Error> {
        let Some(invoice) = self.billing.store.invoice(invoice_id).await? else {
            return Ok(Err(parked(format!("invoice `{invoice_id}` is not there"))));
        };
        if !invoice.is_open() {
            return Ok(Err(done(format!("the invoice is {}", invoice.state.code()))));
        }
        let Some(subscription) = self.billing.store.subscription(id).await? else {
            return Ok(Err(parked(format!("subscription `{id}` is not there"))));
        };
        let is_awaited = subscription.state.collection().is_some_and(|collection| {
            collection.invoice_id == invoice_id
                && collection.attempts == attempt
                && collection.phase == CollectionPhase::Charging
        });
        if !is_awaited {
            return Ok(Err(done(format!("attempt {attempt} is over"))));
        }
        let reference = charge_reference(invoice_id, attempt).map_err(internal)?;
        Ok(Ok(Attempt {
            invoice,
            subscription,
            reference,
        }))
    }

    /// The payment method to charge, or the code of why there is none.
    async fn method(&self, subscription: &Subscription) -> Result<Result<StoredMethod, &'static str>, Error> {
        let Some(id) = subscription.payment_method else {
            return Ok(Err("no_payment_method"));
        };
        let found = self.vault.find(subscription.tenant_id, id).await?;
        Ok(found.ok_or("unknown_payment_method"))
    }

    /// Records what became of an attempt, as far as it is known.
    async fn conclude(
        &self,
        leased: &LeasedJob,
        attempt: &Attempt,
        outcome: ChargeOutcome,
    ) -> Result<JobResult, Error> {
        let note = match &outcome {
            ChargeOutcome::Settled(settlement) => format!("settled: {}", settlement.provider_id()),
            ChargeOutcome::Declined { code, .. } => format!("declined: {code}"),
            ChargeOutcome::Pending { code, .. } => {
                return Ok(self.unknown(leased, format!("pending: {code}")));
            }
            ChargeOutcome::Unknown(reason) => return Ok(self.not_known(leased, reason)),
        };
        match outcome.into_payment() {
            Some(payment) => self.record(attempt, payment, note).await,
            None => Ok(self.unknown(leased, note)),
        }
    }

    async fn declined(&self, attempt: &Attempt, class: DeclineClass, code: &str) -> Result<JobResult, Error> {
        let payment = PaymentOutcome::Failed {
            class,
            code: code.into(),
        };
        self.record(attempt, payment, format!("declined: {code}")).await
    }

    /// Tells the subscription. One settlement and one failure are told of a reference, however often they are seen.
    pub(super) async fn record(
        &self,
        attempt: &Attempt,
        payment: PaymentOutcome,
        note: String,
    ) -> Result<JobResult, Error> {
        let told = match &payment {
            PaymentOutcome::Settled { .. } => "settled",
            PaymentOutcome::Failed { .. } => "failed",
        };
        // A provider's clock may be ahead of ours; the money is there all the same.
        let now = self.billing.now();
        let payment = match payment {
            PaymentOutcome::Settled {
                amount,
                reference,
                settled_at,
            } => PaymentOutcome::Settled {
                amount,
                reference,
                settled_at: settled_at.min(now),
            },
            failed @ PaymentOutcome::Failed { .. } => failed,
        };
        let request = Self::request(&format!("{told}:{}", attempt.reference))?;
        let (id, invoice_id) = (attempt.subscription.id, attempt.invoice.id);
        match self
            .billing
            .record_payment(&request, id, invoice_id, payment)
            .await
        {
            Ok(_) | Err(Error::KeyReused { .. }) => Ok(done(note)),
            Err(Error::Rejected(
                rejection @ (Rejection::InvoiceClosed { .. } | Rejection::NoAttempt { .. }),
            )) => Ok(done(rejection.to_string())),
            Err(error) => Err(error),
        }
    }
}

impl Attempt {
    pub(super) fn query(&self) -> PaymentQuery {
        PaymentQuery {
            tenant_id: self.invoice.tenant_id,
            reference: self.reference.clone(),
            amount: self.invoice.total,
        }
    }
}

pub(super) fn key(text: &str) -> Result<IdempotencyKey, Error> {
    IdempotencyKey::new(text).map_err(internal)
}

pub(super) fn internal(error: impl ToString) -> Error {
    let detail = error.to_string();
    StoreError::Internal { detail }.into()
}
