//! Collecting an invoice: one attempt, found again by its reference whatever became of the answer.

use billing_core::gateway::{
    ChargeOutcome, ChargeRequest, GatewayError, PaymentQuery, StoredMethod, Verification, charge_reference,
};
use billing_core::id::{IdempotencyKey, InvoiceId, PaymentReference};
use billing_core::invoice::Invoice;
use billing_core::outbox::{JobResult, LeasedJob};
use billing_core::payment::{CollectionPhase, PaymentOutcome};
use billing_core::retry::DeclineClass;
use billing_core::subscription::{Rejection, Subscription};

use chrono::TimeDelta;

use super::{Worker, done, parked};
use crate::{Error, StoreError};

/// Within which time what was sent has arrived, or never will: far above any time-out.
const ARRIVES_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// An attempt at an invoice, which may have been closed since.
pub(super) struct Attempt {
    pub(super) invoice: Invoice,
    number: u32,
    reference: PaymentReference,
}

impl Worker {
    /// Charges an invoice, unless it is not to be paid any more. What was begun before is looked up first, also when the invoice
    /// was closed since: money that arrived for it all the same has to go back.
    pub(super) async fn charge(
        &self,
        leased: &LeasedJob,
        invoice_id: InvoiceId,
        number: u32,
    ) -> Result<JobResult, Error> {
        let Some(attempt) = self.attempt(invoice_id, number).await? else {
            return Ok(parked(format!("invoice `{invoice_id}` is not there")));
        };
        if leased.lease > 1 {
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
        let subscription = match self.awaiting(invoice_id, number).await? {
            Ok(subscription) => subscription,
            Err(over) => return Ok(self.over(leased, over)),
        };
        let method = match self.method(&subscription).await? {
            Ok(method) => method,
            Err(code) => return self.declined(&attempt, DeclineClass::AskCustomer, code).await,
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
        number: u32,
    ) -> Result<JobResult, Error> {
        let Some(attempt) = self.attempt(invoice_id, number).await? else {
            return Ok(parked(format!("invoice `{invoice_id}` is not there")));
        };
        match self.gateway.verify(&attempt.query()).await {
            Ok(Verification::Found(outcome)) => self.conclude(leased, &attempt, outcome).await,
            Ok(Verification::NotFound) => Ok(match self.awaiting(invoice_id, number).await? {
                // A request that is on its way may still arrive.
                Ok(_) => self.unknown(leased, "not found".into()),
                Err(over) => self.over(leased, over),
            }),
            Err(error) => Ok(self.refused(leased, &error)),
        }
    }

    /// An attempt that is not awaited any more, and that the provider has not seen. What was sent a moment ago may still arrive,
    /// so it is looked up for a while longer.
    fn over(&self, leased: &LeasedJob, over: String) -> JobResult {
        if leased.lease > 1 && self.waited(leased) < ARRIVES_WITHIN {
            self.again(leased, over)
        } else {
            done(over)
        }
    }

    /// The attempt, if there is such an invoice.
    pub(super) async fn attempt(&self, invoice_id: InvoiceId, number: u32) -> Result<Option<Attempt>, Error> {
        let invoice = self.billing.store.invoice(invoice_id).await?;
        let reference = charge_reference(invoice_id, number).map_err(internal)?;
        Ok(invoice.map(|invoice| Attempt {
            invoice,
            number,
            reference,
        }))
    }

    /// The subscription that waits for the outcome of an attempt, or why none does.
    pub(super) async fn awaiting(
        &self,
        invoice_id: InvoiceId,
        number: u32,
    ) -> Result<Result<Subscription, String>, Error> {
        let Some(invoice) = self.billing.store.invoice(invoice_id).await? else {
            return Ok(Err(format!("invoice `{invoice_id}` is not there")));
        };
        if !invoice.is_open() {
            return Ok(Err(format!("the invoice is {}", invoice.state.code())));
        }
        let id = invoice.subscription_id;
        let Some(subscription) = self.billing.store.subscription(id).await? else {
            return Ok(Err(format!("subscription `{id}` is not there")));
        };
        let is_awaited = subscription.state.collection().is_some_and(|collection| {
            collection.invoice_id == invoice_id
                && collection.attempts == number
                && collection.phase == CollectionPhase::Charging
        });
        Ok(if is_awaited {
            Ok(subscription)
        } else {
            Err(format!("attempt {number} is over"))
        })
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
            // A failure belongs to the attempt that is awaited, and to no later one.
            ChargeOutcome::Declined { code, .. } => {
                let declined = format!("declined: {code}");
                match self.awaiting(attempt.invoice.id, attempt.number).await? {
                    Ok(_) => declined,
                    Err(over) => return Ok(done(format!("{declined}; {over}"))),
                }
            }
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
        let (id, invoice_id) = (attempt.invoice.subscription_id, attempt.invoice.id);
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
