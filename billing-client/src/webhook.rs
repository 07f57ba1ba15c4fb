//! What a provider tells by itself: one typed event for all of them.
//!
//! Check the signature over the bytes as they came, before anything reads them as JSON: that is what `parse` of
//! [`paystack::Webhooks`](crate::paystack::Webhooks) and [`flutterwave::Webhooks`](crate::flutterwave::Webhooks) do. Then keep
//! the event under its provider and [`event_id`](WebhookEvent::event_id), and apply it once: providers send the same event
//! again, and out of order.

use billing_core::gateway::{RefundOutcome, UnknownReason};
use billing_core::money::Money;
use billing_core::retry::DeclineClass;
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// The longest body that is looked at. Providers send a few kilobytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// An event of a provider, whose origin was checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookEvent {
    /// Which provider: `paystack` or `flutterwave`.
    pub provider: &'static str,
    /// The same for the same event, however often it is sent: the provider's id, with what tells its events apart, or a hash of
    /// the body where there is no id.
    pub event_id: String,
    /// What happened.
    pub news: WebhookNews,
    /// Whether to ask the provider before this is applied: the signature does not cover the body, or something in it is missing
    /// or not as documented. What is not in doubt may be applied as it is.
    pub needs_verification: bool,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WebhookNews {
    /// Something about a payment.
    Payment {
        /// Our reference of it, as it came; not necessarily one of ours.
        reference: String,
        /// What.
        state: PaymentNews,
    },
    /// Something about a refund.
    Refund {
        /// Our reference of the payment that is paid back.
        payment: String,
        /// How much, if it is told and can be read.
        amount: Option<Money>,
        /// What.
        outcome: RefundOutcome,
    },
    /// The customer disputes a payment with the bank.
    Dispute {
        /// Our reference of the payment, if it is told.
        payment: Option<String>,
        /// The provider's name of the event.
        name: String,
    },
    /// Something that billing does not go by, such as the provider's own subscriptions.
    Other {
        /// The provider's name of the event.
        name: String,
    },
}

/// What became of a payment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PaymentNews {
    /// Money arrived. Whether it is what was asked for is to be compared, as
    /// [`Settlement::confirm`](billing_core::gateway::Settlement::confirm) does.
    Settled {
        /// How much; none if it cannot be read.
        amount: Option<Money>,
        /// The provider's id of the payment.
        provider_id: String,
        /// When, by the provider.
        settled_at: Option<DateTime<Utc>>,
    },
    /// It did not, and will not.
    Declined {
        /// What that means for the next attempt.
        class: DeclineClass,
        /// The provider's words.
        code: String,
    },
    /// It may still.
    Pending {
        /// The provider's word for it.
        code: String,
    },
    /// The provider's word says neither.
    Unknown(UnknownReason),
}

/// Why a webhook was not taken. Nothing in it is to be believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookRefusal {
    /// The header with the signature is not there.
    #[error("the webhook has no header `{header}`")]
    MissingSignature {
        /// Which.
        header: &'static str,
    },
    /// It is not from the provider, or was changed on its way.
    #[error("the webhook's signature is wrong")]
    BadSignature,
    /// The body is too long.
    #[error("the webhook has {found} bytes, expected at most {max}")]
    TooLarge {
        /// How many.
        found: usize,
        /// How many may be.
        max: usize,
    },
    /// It is from the provider, and is not what the provider documents.
    #[error("the webhook cannot be read: {detail}")]
    Unreadable {
        /// Where, without what stands there.
        detail: String,
    },
}

pub(crate) fn bounded(body: &[u8]) -> Result<(), WebhookRefusal> {
    let (found, max) = (body.len(), BODY_BYTES_MAX);
    if found > max {
        return Err(WebhookRefusal::TooLarge { found, max });
    }
    Ok(())
}

pub(crate) fn unreadable(error: &serde_json::Error) -> WebhookRefusal {
    // The message of the library may quote the body.
    WebhookRefusal::Unreadable {
        detail: format!("line {}, column {}", error.line(), error.column()),
    }
}

/// An id for an event that has none.
pub(crate) fn hash(body: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(body))
}
