//! The shapes of Flutterwave's API, version 3, as far as we read them.

use billing_core::gateway::{
    ChargeOutcome, GatewayError, Mismatch, RefundOutcome, Settlement, UnknownReason,
};
use billing_core::id::PaymentReference;
use billing_core::money::{Currency, Money};
use billing_core::retry::DeclineClass;
use billing_core::validate::Country;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::NAME;
use crate::decline::DeclineTable;
use crate::fault::Fault;
use crate::transport::Reply;
use crate::units::from_major;

/// Around everything.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    status: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default = "none")]
    pub(super) data: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

impl<T> Envelope<T> {
    pub(super) fn is_success(&self) -> bool {
        self.status == "success"
    }

    pub(super) fn is_unknown_reference(&self, status: u16) -> bool {
        let message = self.message.to_ascii_lowercase();
        matches!(status, 400 | 404) && message.contains("no transaction was found")
    }

    pub(super) fn refusal(self, status: u16) -> GatewayError {
        match status {
            401 | 403 => GatewayError::Unauthorized { service: NAME },
            _ => GatewayError::Refused {
                service: NAME,
                code: self.message,
            },
        }
    }
}

pub(super) fn is_duplicate(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("duplicate") || message.contains("already exist")
}

pub(super) fn body(content: &impl Serialize) -> Result<Vec<u8>, GatewayError> {
    serde_json::to_vec(content).map_err(|_| Fault::NotSent { code: "request" }.of_a_question(NAME))
}

#[derive(Serialize)]
pub(super) struct Charge<'a> {
    pub(super) token: &'a str,
    pub(super) email: &'a str,
    pub(super) currency: Currency,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) country: Option<Country>,
    pub(super) amount: Box<RawValue>,
    pub(super) tx_ref: &'a str,
    pub(super) narration: &'a str,
}

#[derive(Serialize)]
pub(super) struct NewLink<'a> {
    pub(super) tx_ref: &'a str,
    pub(super) amount: Box<RawValue>,
    pub(super) currency: Currency,
    pub(super) redirect_url: &'a str,
    pub(super) customer: Payer<'a>,
    pub(super) customizations: Customizations<'a>,
}

#[derive(Serialize)]
pub(super) struct Payer<'a> {
    pub(super) email: &'a str,
}

#[derive(Serialize)]
pub(super) struct Customizations<'a> {
    pub(super) title: &'a str,
}

#[derive(Deserialize)]
pub(super) struct Link {
    pub(super) link: String,
}

/// A transaction, in answers and in webhooks.
#[derive(Deserialize)]
pub(super) struct Transaction {
    id: Box<RawValue>,
    pub(super) tx_ref: String,
    amount: Box<RawValue>,
    currency: String,
    pub(super) status: String,
    #[serde(default)]
    processor_response: Option<String>,
    #[serde(default, deserialize_with = "crate::instant::lenient")]
    pub(super) created_at: Option<DateTime<Utc>>,
    #[serde(default)]
    meta: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Meta {
    authorization: Redirect,
}

#[derive(Deserialize)]
struct Redirect {
    redirect: String,
}

/// What a status means.
pub(super) enum Stage {
    Success,
    Failed,
    Pending,
    Other,
}

/// Of versions 3 and 4.
pub(super) fn stage(status: &str) -> Stage {
    match status {
        "successful" | "succeeded" => Stage::Success,
        "failed" => Stage::Failed,
        "pending" => Stage::Pending,
        _ => Stage::Other,
    }
}

impl Transaction {
    pub(super) fn id(&self) -> String {
        text(&self.id).into()
    }

    pub(super) fn money(&self) -> Option<Money> {
        money(&self.amount, &self.currency)
    }

    /// The bank's words, or the status.
    pub(super) fn words(&self) -> String {
        let words = self.processor_response.as_ref().filter(|words| !words.is_empty());
        words.unwrap_or(&self.status).clone()
    }

    /// Where the customer has to confirm; what else stands in `meta` is ours and may be anything.
    fn action_url(&self) -> Option<String> {
        let meta: Meta = serde_json::from_str(self.meta.as_deref()?.get()).ok()?;
        Some(meta.authorization.redirect)
    }

    pub(super) fn outcome(
        self,
        asked: &PaymentReference,
        amount: Money,
        declines: &DeclineTable,
        now: DateTime<Utc>,
    ) -> ChargeOutcome {
        let words = self.words();
        match stage(&self.status) {
            Stage::Success => {
                let Some(seen) = self.money() else {
                    return ChargeOutcome::Unknown(UnknownReason::Unreadable);
                };
                let at = self.created_at.unwrap_or(now).min(now);
                match Settlement::confirm(asked, amount, &self.tx_ref, seen, &self.id(), at) {
                    Ok(settlement) => ChargeOutcome::Settled(settlement),
                    Err(mismatch) => ChargeOutcome::Unknown(UnknownReason::Mismatch(mismatch)),
                }
            }
            // Of another payment nothing is believed.
            _ if self.tx_ref != asked.as_str() => {
                ChargeOutcome::Unknown(UnknownReason::Mismatch(Mismatch::Reference {
                    asked: asked.clone(),
                }))
            }
            Stage::Failed => declined(declines.class(&words), words),
            Stage::Pending => ChargeOutcome::Pending {
                action_url: self.action_url(),
                code: self.status,
            },
            Stage::Other => ChargeOutcome::Unknown(UnknownReason::Provider { code: self.status }),
        }
    }
}

pub(super) fn declined(class: DeclineClass, code: String) -> ChargeOutcome {
    match class {
        DeclineClass::Unknown => ChargeOutcome::Unknown(UnknownReason::Provider { code }),
        DeclineClass::Retry | DeclineClass::AskCustomer | DeclineClass::Stop => {
            ChargeOutcome::Declined { class, code }
        }
    }
}

/// The text of a number or a string.
pub(super) fn text(raw: &RawValue) -> &str {
    raw.get().trim_matches('"')
}

/// From the text of the number, and not through a float.
pub(super) fn money(amount: &RawValue, currency: &str) -> Option<Money> {
    let major: Decimal = text(amount).parse().ok()?;
    from_major(major, Currency::from_code(currency).ok()?)
}

#[derive(Serialize)]
pub(super) struct NewRefund {
    pub(super) amount: Box<RawValue>,
    pub(super) comments: String,
}

#[derive(Deserialize)]
pub(super) struct Refund {
    id: Box<RawValue>,
    amount_refunded: Box<RawValue>,
    #[serde(default)]
    status: String,
}

impl Refund {
    pub(super) fn outcome(self, asked: Money) -> RefundOutcome {
        if money(&self.amount_refunded, asked.currency.code()) != Some(asked) {
            let code = "amount_mismatch".into();
            return RefundOutcome::Unknown(UnknownReason::Provider { code });
        }
        let provider_id = text(&self.id).into();
        // `completed-mpgs` and the like name the processor too.
        match self.status.split('-').next().unwrap_or_default() {
            "completed" => RefundOutcome::Refunded {
                amount: asked,
                provider_id,
            },
            "pending" | "new" | "" => RefundOutcome::Pending { provider_id },
            "failed" => RefundOutcome::Declined { code: self.status },
            _ => RefundOutcome::Unknown(UnknownReason::Provider { code: self.status }),
        }
    }
}

pub(super) fn is_well(reply: &Reply) -> Result<(), &'static str> {
    match reply.status {
        200..=299 => Ok(()),
        401 | 403 => Err("unauthorized"),
        _ => Err("refused"),
    }
}
