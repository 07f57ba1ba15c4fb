use std::fmt;

use billing_core::gateway::{RefundOutcome, UnknownReason};
use billing_core::money::Money;
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::wire::{self, Stage};
use super::{NAME, declines};
use crate::decline::DeclineTable;
use crate::webhook::{PaymentNews, WebhookEvent, WebhookNews, WebhookRefusal, bounded, hash, unreadable};

/// Reads the webhooks of Flutterwave.
///
/// *Version 3* sends the secret hash itself, in the header `verif-hash`: whoever has seen one webhook can make another. So each
/// of its events [needs verification](WebhookEvent::needs_verification), whatever it says. *Version 4* sends the HMAC-SHA256 of the
/// body under the secret hash, in Base64, in `flutterwave-signature`. Where both headers are there, the signature counts.
///
/// # Source
///
/// Flutterwave documentation, "Webhooks", of versions 3.0 and 4.0.
///
/// ```
/// use billing_client::SecretString;
/// use billing_client::flutterwave::Webhooks;
/// use billing_client::webhook::WebhookRefusal;
///
/// let webhooks = Webhooks::new(SecretString::from("hash-4711"));
/// let body = br#"{"event":"charge.completed","data":{}}"#;
/// assert_eq!(webhooks.parse(Some("hash-0815"), None, body).unwrap_err(), WebhookRefusal::BadSignature);
/// ```
#[derive(Clone)]
pub struct Webhooks {
    secret_hash: SecretString,
    declines: DeclineTable,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flutterwave::Webhooks")
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    /// Version 3.
    #[serde(default)]
    event: Option<String>,
    /// Version 4.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// Version 4.
    #[serde(default)]
    webhook_id: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// A charge of version 4.
#[derive(Deserialize)]
struct Charge {
    id: String,
    reference: String,
    amount: Box<RawValue>,
    currency: String,
    status: String,
    #[serde(default)]
    processor_response: Option<ProcessorResponse>,
    #[serde(default, deserialize_with = "crate::instant::lenient")]
    created_datetime: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Deserialize)]
struct ProcessorResponse {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

/// What is read of a charge, of either version.
struct Seen {
    id: String,
    reference: String,
    amount: Option<Money>,
    status: String,
    words: String,
    at: Option<chrono::DateTime<chrono::Utc>>,
}

impl Webhooks {
    /// The header of version 3.
    pub const VERIF_HASH: &'static str = "verif-hash";
    /// The header of version 4.
    pub const SIGNATURE: &'static str = "flutterwave-signature";

    /// For the account with this secret hash.
    pub fn new(secret_hash: SecretString) -> Self {
        Self {
            secret_hash,
            declines: declines(),
        }
    }

    /// The same with another table of declines: that which the gateway has.
    #[must_use]
    pub fn with(mut self, declines: DeclineTable) -> Self {
        self.declines = declines;
        self
    }

    /// Checks the origin of a webhook by the headers that it has, and reads the event. `body` is the bytes as they came.
    ///
    /// # Errors
    ///
    /// [`WebhookRefusal`], in order: too large, neither header, a wrong one, unreadable.
    pub fn parse(
        &self,
        verif_hash: Option<&str>,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<WebhookEvent, WebhookRefusal> {
        bounded(body)?;
        let covers_body = match (signature, verif_hash) {
            (Some(signature), _) => {
                self.check_signature(signature, body)?;
                true
            }
            (None, Some(hash)) => {
                self.check_hash(hash)?;
                false
            }
            (None, None) => {
                return Err(WebhookRefusal::MissingSignature {
                    header: Self::SIGNATURE,
                });
            }
        };
        let mut event = self.read(body).map_err(|error| unreadable(&error))?;
        event.needs_verification |= !covers_body;
        Ok(event)
    }

    fn check_signature(&self, signature: &str, body: &[u8]) -> Result<(), WebhookRefusal> {
        let refused = || WebhookRefusal::BadSignature;
        let key = self.secret_hash.expose_secret().as_bytes();
        let signature = BASE64
            .decode(signature.trim().as_bytes())
            .map_err(|_| refused())?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| refused())?;
        mac.update(body);
        // In constant time.
        mac.verify_slice(&signature).map_err(|_| refused())
    }

    /// In constant time, but for the length. An empty hash is that of an account that has not set one, and anybody's.
    fn check_hash(&self, hash: &str) -> Result<(), WebhookRefusal> {
        let own = self.secret_hash.expose_secret().as_bytes();
        if own.is_empty() || !bool::from(own.ct_eq(hash.as_bytes())) {
            return Err(WebhookRefusal::BadSignature);
        }
        Ok(())
    }

    fn read(&self, body: &[u8]) -> Result<WebhookEvent, serde_json::Error> {
        let Event {
            event,
            kind,
            webhook_id,
            data,
        } = serde_json::from_slice(body)?;
        let is_version_3 = event.is_some();
        let name = event.or(kind).unwrap_or_default();
        let (id, news, needs_verification) = match name.as_str() {
            "charge.completed" | "charge.failed" => {
                let seen = if is_version_3 {
                    let transaction: wire::Transaction = serde_json::from_str(data.get())?;
                    Seen {
                        id: transaction.id(),
                        amount: transaction.money(),
                        words: transaction.words(),
                        at: transaction.created_at,
                        reference: transaction.tx_ref,
                        status: transaction.status,
                    }
                } else {
                    serde_json::from_str::<Charge>(data.get())?.into()
                };
                // The same charge may be told of again with another status.
                let id = format!("{}:{}", seen.id, seen.status);
                let reference = seen.reference.clone();
                let (state, in_doubt) = self.state(seen);
                (id, WebhookNews::Payment { reference, state }, in_doubt)
            }
            "refund.completed" | "refund.failed" => (hash(body), refund(&name, data)?, true),
            _ => (hash(body), WebhookNews::Other { name: name.clone() }, false),
        };
        Ok(WebhookEvent {
            provider: NAME,
            event_id: webhook_id.unwrap_or_else(|| format!("{name}:{id}")),
            news,
            needs_verification,
        })
    }

    /// What became of a payment, and whether there is doubt.
    fn state(&self, seen: Seen) -> (PaymentNews, bool) {
        match wire::stage(&seen.status) {
            Stage::Success => {
                let in_doubt = seen.amount.is_none();
                let state = PaymentNews::Settled {
                    amount: seen.amount,
                    provider_id: seen.id,
                    settled_at: seen.at,
                };
                (state, in_doubt)
            }
            Stage::Failed => {
                let class = self.declines.class(&seen.words);
                let code = seen.words;
                (
                    PaymentNews::Declined { class, code },
                    class == billing_core::retry::DeclineClass::Unknown,
                )
            }
            Stage::Pending => (PaymentNews::Pending { code: seen.status }, true),
            Stage::Other => {
                let code = seen.status;
                (PaymentNews::Unknown(UnknownReason::Provider { code }), true)
            }
        }
    }
}

impl From<Charge> for Seen {
    fn from(charge: Charge) -> Self {
        let response = charge.processor_response;
        let words = response.and_then(|response| match (response.kind, response.code) {
            (Some(kind), Some(code)) => Some(format!("{kind} {code}")),
            (kind, code) => kind.or(code),
        });
        Self {
            amount: wire::money(&charge.amount, &charge.currency),
            words: words.unwrap_or_else(|| charge.status.clone()),
            id: charge.id,
            reference: charge.reference,
            status: charge.status,
            at: charge.created_datetime,
        }
    }
}

/// Its shape is not documented well enough to go by: it says only where to look.
fn refund(name: &str, data: &RawValue) -> Result<WebhookNews, serde_json::Error> {
    #[derive(Deserialize)]
    struct Refund {
        #[serde(default)]
        reference: Option<String>,
        #[serde(default)]
        tx_ref: Option<String>,
    }
    let refund: Refund = serde_json::from_str(data.get())?;
    let code = name.into();
    Ok(WebhookNews::Refund {
        payment: refund.tx_ref.or(refund.reference).unwrap_or_default(),
        amount: None,
        outcome: RefundOutcome::Unknown(UnknownReason::Provider { code }),
    })
}
