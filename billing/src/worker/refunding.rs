//! Paying back: of settled payments only, and never more than was paid.

use billing_core::credit_note::Disposition;
use billing_core::gateway::{RefundOutcome, RefundRequest, RefundVerification};
use billing_core::id::{InvoiceId, PaymentReference};
use billing_core::invoice::InvoiceStatus;
use billing_core::money::Money;
use billing_core::outbox::{JobResult, LeasedJob};

use super::charging::{internal, key};
use super::{Worker, done, parked};
use crate::Error;

impl Worker {
    /// Pays back a payment of an invoice, or a part of it.
    pub(super) async fn refund_payment(
        &self,
        leased: &LeasedJob,
        invoice_id: InvoiceId,
        amount: Money,
        payment: &str,
    ) -> Result<JobResult, Error> {
        let Some(invoice) = self.billing.store.invoice(invoice_id).await? else {
            return Ok(parked(format!("invoice `{invoice_id}` is not there")));
        };
        let Ok(payment) = PaymentReference::new(payment) else {
            return Ok(parked(format!(
                "payment `{payment}` was not made through the gateway"
            )));
        };
        let request = RefundRequest {
            tenant_id: invoice.tenant_id,
            payment,
            reference: PaymentReference::new(&format!("rf-{}", leased.job.id)).map_err(internal)?,
            idempotency_key: key(&leased.job.effect.idempotency_key())?,
            amount,
            reason: format!("invoice {}", invoice.number),
        };
        self.refund(leased, &request).await
    }

    /// Pays back what was paid for time that is not used, out of the settled payments, the newest first. Each part has a
    /// reference of its own, and is looked up when the job is taken again.
    pub(super) async fn refund_unused(
        &self,
        leased: &LeasedJob,
        invoice_id: InvoiceId,
        amount: Money,
    ) -> Result<JobResult, Error> {
        let mut left = amount;
        let mut notes = Vec::new();
        for (number, payment, paid) in self.settled_payments(leased).await? {
            let part = Money::new(left.minor.min(paid.minor), left.currency);
            if part.minor <= 0 {
                continue;
            }
            let Ok(payment) = PaymentReference::new(&payment) else {
                return Ok(parked(format!(
                    "payment `{payment}` was not made through the gateway"
                )));
            };
            let Some(invoice) = self.billing.store.invoice(invoice_id).await? else {
                return Ok(parked(format!("invoice `{invoice_id}` is not there")));
            };
            let request = RefundRequest {
                tenant_id: invoice.tenant_id,
                payment,
                reference: PaymentReference::new(&format!("rf-{}-{number}", leased.job.id))
                    .map_err(internal)?,
                idempotency_key: key(&format!("{}:{number}", leased.job.effect.idempotency_key()))?,
                amount: part,
                reason: "unused time".into(),
            };
            match self.refund(leased, &request).await? {
                JobResult::Done { note } => notes.push(note),
                other @ (JobResult::Again { .. } | JobResult::Parked { .. }) => return Ok(other),
            }
            left = left.checked_sub(part).map_err(internal)?;
        }
        if left.minor > 0 {
            return Ok(parked(format!(
                "{left} of {amount} exceed what was paid through the gateway"
            )));
        }
        Ok(done(notes.join(", ")))
    }

    /// The settled payments of the job's subscription, the newest first: the number of the invoice, the reference, and what of
    /// it was not paid back by a credit note before the job was made. So the parts are the same whenever it is taken.
    async fn settled_payments(&self, leased: &LeasedJob) -> Result<Vec<(u32, String, Money)>, Error> {
        let mut payments = Vec::new();
        for invoice in self.billing.invoices_of(leased.job.subscription_id).await? {
            let InvoiceStatus::Paid {
                reference: Some(reference),
                ..
            } = &invoice.state
            else {
                continue;
            };
            let mut paid = invoice.total;
            for note in self.billing.store.credit_notes_of(invoice.id).await? {
                if note.disposition == Disposition::Refund && note.issued_at <= leased.job.created_at {
                    paid = paid.checked_sub(note.total).map_err(internal)?;
                }
            }
            payments.push((invoice.number, reference.clone(), paid));
        }
        payments.reverse();
        Ok(payments)
    }

    async fn refund(&self, leased: &LeasedJob, request: &RefundRequest) -> Result<JobResult, Error> {
        let outcome = if leased.lease > 1 {
            match self.gateway.verify_refund(request).await {
                Ok(RefundVerification::Found(outcome)) => Some(outcome),
                Ok(RefundVerification::NotFound) => None,
                Err(error) => return Ok(self.refused(leased, &error)),
            }
        } else {
            None
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None if !self.still_holds(leased).await? => return Ok(done("taken over by another worker")),
            None => match self.gateway.refund(request).await {
                Ok(outcome) => outcome,
                Err(error) => return Ok(self.refused(leased, &error)),
            },
        };
        Ok(match outcome {
            RefundOutcome::Refunded { provider_id, .. } => done(format!("paid back: {provider_id}")),
            RefundOutcome::Pending { provider_id } => {
                self.unknown(leased, format!("on its way back: {provider_id}"))
            }
            RefundOutcome::Declined { code } => parked(format!("not paid back: {code}")),
            RefundOutcome::Unknown(reason) => self.not_known(leased, &reason),
        })
    }
}
