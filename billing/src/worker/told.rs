//! What a provider tells by itself, in a webhook: a hint to look, and nothing more.

use billing_core::gateway::{ChargeOutcome, Verification, charge_reference};
use billing_core::id::{InvoiceId, PaymentReference};
use billing_core::invoice::InvoiceStatus;
use uuid::Uuid;

use super::Worker;
use super::charging::internal;
use crate::Error;

/// What came of looking a payment up.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a caller must fail to compile when one is added"
)]
pub enum Told {
    /// What became of it is recorded, now or before. Money for an invoice that is not to be paid any more goes back.
    Recorded,
    /// It is not news: the invoice was paid by it, or that attempt has failed before or was never made.
    Old,
    /// Nothing is known yet, for this reason. The job of the attempt goes on looking.
    NotKnown {
        /// Why.
        because: String,
    },
    /// The reference is not one of ours.
    NotOurs,
}

impl Worker {
    /// Hears that a provider tells something of a payment: looks the payment up, and records what became of it.
    ///
    /// Of the message nothing is taken but the reference, so it may come twice, late, out of order, or from somebody else: the
    /// provider is asked, and one settlement and one failure are recorded of a reference. What a webhook is verified by is the
    /// adapter's; see `billing-client`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Contended`].
    pub async fn told_of(&self, reference: &PaymentReference) -> Result<Told, Error> {
        let Some((invoice_id, number)) = attempt_of(reference) else {
            return Ok(Told::NotOurs);
        };
        let Some(attempt) = self.attempt(invoice_id, number).await? else {
            return Ok(Told::NotOurs);
        };
        if let InvoiceStatus::Paid {
            reference: Some(by), ..
        } = &attempt.invoice.state
            && by == reference.as_str()
        {
            return Ok(Told::Old);
        }
        let not_known = |because: String| Ok(Told::NotKnown { because });
        let verification = match self.gateway.verify(&attempt.query()).await {
            Ok(verification) => verification,
            Err(error) => return not_known(error.to_string()),
        };
        let is_awaited = self.awaiting(invoice_id, number).await?.is_ok();
        let outcome = match verification {
            Verification::NotFound | Verification::Found(ChargeOutcome::Declined { .. }) if !is_awaited => {
                return Ok(Told::Old);
            }
            Verification::NotFound => return not_known("not found".into()),
            Verification::Found(ChargeOutcome::Pending { code, .. }) => {
                return not_known(format!("pending: {code}"));
            }
            Verification::Found(ChargeOutcome::Unknown(reason)) => return not_known(reason.code().into()),
            Verification::Found(outcome @ (ChargeOutcome::Settled(_) | ChargeOutcome::Declined { .. })) => {
                outcome
            }
        };
        let payment = outcome
            .into_payment()
            .ok_or_else(|| internal("an outcome without a payment"))?;
        self.record(&attempt, payment, String::new()).await?;
        Ok(Told::Recorded)
    }
}

/// The invoice and the attempt that a reference is of, if it is one that [`charge_reference`] makes.
fn attempt_of(reference: &PaymentReference) -> Option<(InvoiceId, u32)> {
    let (invoice, attempt) = reference.as_str().strip_prefix("ch-")?.rsplit_once('-')?;
    let invoice_id = InvoiceId::new(Uuid::try_parse(invoice).ok()?);
    let attempt = attempt.parse().ok()?;
    let is_ours = charge_reference(invoice_id, attempt).is_ok_and(|made| made == *reference);
    is_ours.then_some((invoice_id, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_make_is_ours() {
        let id = InvoiceId::new(Uuid::from_u128(7));
        let of = |text: &str| attempt_of(&PaymentReference::new(text).unwrap());
        assert_eq!(attempt_of(&charge_reference(id, 12).unwrap()), Some((id, 12)));
        for other in [
            "ch-1",
            "ch-00000000-0000-0000-0000-000000000007-012",
            "ch-00000000-0000-0000-0000-000000000007-",
            "ch-00000000-0000-0000-0000-00000000000A-1",
            "rf-00000000-0000-0000-0000-000000000007-1",
            "ch-00000000000000000000000000000007-1",
            "order.17",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
