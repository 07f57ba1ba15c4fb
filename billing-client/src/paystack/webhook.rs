use std::fmt;

use billing_core::gateway::{RefundOutcome, UnknownReason};
use billing_core::retry::DeclineClass;
use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha512;

use super::wire::{self, Stage, Transaction};
use super::{NAME, declines, units};
use crate::decline::DeclineTable;
use crate::units::CurrencyUnits;
use crate::webhook::{PaymentNews, WebhookEvent, WebhookNews, WebhookRefusal, bounded, hash, unreadable};

/// Reads the webhooks of Paystack.
///
/// Each carries the HMAC-SHA512 of its body under our secret key, in hexadecimal, in the header `x-paystack-signature`. It covers
/// all of the body, so an event of which everything can be read is not in doubt.
///
/// # Source
///
/// Paystack documentation, "Webhooks", section "Verify event origin".
///
/// ```
/// use billing_client::SecretString;
/// use billing_client::paystack::Webhooks;
/// use billing_client::webhook::WebhookRefusal;
///
/// let webhooks = Webhooks::new(SecretString::from("sk_test_4711"));
/// let forged = webhooks.parse(Some("00"), br#"{"event":"charge.success"}"#);
/// assert_eq!(forged.unwrap_err(), WebhookRefusal::BadSignature);
/// ```
#[derive(Clone)]
pub struct Webhooks {
    key: SecretString,
    units: CurrencyUnits,
    declines: DeclineTable,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("paystack::Webhooks")
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    event: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Refund {
    #[serde(default)]
    id: Option<Box<RawValue>>,
    #[serde(default)]
    refund_reference: Option<String>,
    transaction_reference: String,
    #[serde(default)]
    amount: Option<Box<RawValue>>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct Dispute {
    id: Box<RawValue>,
    #[serde(default)]
    transaction: Option<DisputedTransaction>,
}

#[derive(Deserialize)]
struct DisputedTransaction {
    reference: String,
}

impl Webhooks {
    /// The header with the signature.
    pub const SIGNATURE: &'static str = "x-paystack-signature";

    /// For the account with this secret key.
    pub fn new(secret_key: SecretString) -> Self {
        Self {
            key: secret_key,
            units: units(),
            declines: declines(),
        }
    }

    /// The same with other units and another table of declines: those that the gateway has.
    #[must_use]
    pub fn with(mut self, units: CurrencyUnits, declines: DeclineTable) -> Self {
        self.units = units;
        self.declines = declines;
        self
    }

    /// Checks the signature over the bytes of `body` as they came, and reads the event.
    ///
    /// # Errors
    ///
    /// [`WebhookRefusal`], in order: too large, no signature, a wrong one, unreadable.
    pub fn parse(&self, signature: Option<&str>, body: &[u8]) -> Result<WebhookEvent, WebhookRefusal> {
        bounded(body)?;
        let signature = signature.ok_or(WebhookRefusal::MissingSignature {
            header: Self::SIGNATURE,
        })?;
        let refused = || WebhookRefusal::BadSignature;
        let signature = HEXLOWER_PERMISSIVE
            .decode(signature.trim().as_bytes())
            .map_err(|_| refused())?;
        let mut mac =
            Hmac::<Sha512>::new_from_slice(self.key.expose_secret().as_bytes()).map_err(|_| refused())?;
        mac.update(body);
        // In constant time.
        mac.verify_slice(&signature).map_err(|_| refused())?;
        self.read(body).map_err(|error| unreadable(&error))
    }

    fn read(&self, body: &[u8]) -> Result<WebhookEvent, serde_json::Error> {
        let Event { event, data } = serde_json::from_slice(body)?;
        // There is no id of the event: that of its object, which makes each event once.
        let id = |id: &str| if id.is_empty() { hash(body) } else { id.into() };
        let (id, news, needs_verification) = match event.as_str() {
            "charge.success" | "charge.failed" => {
                let transaction: Transaction = serde_json::from_str(data.get())?;
                let (state, in_doubt) = self.state(&transaction);
                let reference = transaction.reference.clone();
                (
                    id(&transaction.id()),
                    WebhookNews::Payment { reference, state },
                    in_doubt,
                )
            }
            "refund.pending"
            | "refund.processing"
            | "refund.processed"
            | "refund.failed"
            | "refund.needs-attention" => {
                let refund: Refund = serde_json::from_str(data.get())?;
                let of = refund
                    .id
                    .as_deref()
                    .map(wire::text)
                    .or(refund.refund_reference.as_deref());
                let of = id(of.unwrap_or_default());
                let (news, in_doubt) = self.refund(&event, refund, &of);
                (of, news, in_doubt)
            }
            name if name.starts_with("charge.dispute.") => {
                let dispute: Dispute = serde_json::from_str(data.get())?;
                let news = WebhookNews::Dispute {
                    payment: dispute.transaction.map(|transaction| transaction.reference),
                    name: event.clone(),
                };
                // A reminder comes more than once for one dispute.
                let of = format!("{}:{}", wire::text(&dispute.id), hash(body));
                (of, news, true)
            }
            _ => (hash(body), WebhookNews::Other { name: event.clone() }, false),
        };
        Ok(WebhookEvent {
            provider: NAME,
            event_id: format!("{event}:{id}"),
            news,
            needs_verification,
        })
    }

    /// What became of a payment, and whether there is doubt.
    fn state(&self, transaction: &Transaction) -> (PaymentNews, bool) {
        let words = transaction.words();
        match transaction.stage() {
            Stage::Success => {
                let amount = transaction.money(&self.units);
                let provider_id = transaction.id();
                let in_doubt = amount.is_none() || provider_id.is_empty();
                let settled_at = transaction.settled_at();
                let state = PaymentNews::Settled {
                    amount,
                    provider_id,
                    settled_at,
                };
                (state, in_doubt)
            }
            Stage::Failed => {
                let class = self.declines.class(&words);
                let in_doubt = class == DeclineClass::Unknown;
                (PaymentNews::Declined { class, code: words }, in_doubt)
            }
            Stage::Pending => (PaymentNews::Pending { code: words }, true),
            Stage::Other => (
                PaymentNews::Unknown(UnknownReason::Provider { code: words }),
                true,
            ),
        }
    }

    fn refund(&self, event: &str, refund: Refund, id: &str) -> (WebhookNews, bool) {
        let amount = wire::money(refund.amount.as_deref(), refund.currency.as_deref(), &self.units);
        let provider_id = String::from(id);
        // The event and the status say the same, or there is doubt.
        let agreed = event.strip_prefix("refund.") == Some(refund.status.as_str());
        let outcome = match (event, amount) {
            ("refund.processed", Some(amount)) => RefundOutcome::Refunded { amount, provider_id },
            ("refund.processed", None) => RefundOutcome::Unknown(UnknownReason::Unreadable),
            ("refund.failed", _) => RefundOutcome::Declined { code: refund.status },
            _ => RefundOutcome::Pending { provider_id },
        };
        let news = WebhookNews::Refund {
            payment: refund.transaction_reference,
            amount,
            outcome,
        };
        (news, !agreed || amount.is_none())
    }
}
