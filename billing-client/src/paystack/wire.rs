//! The shapes of Paystack's API, as far as we read them.

use billing_core::gateway::{
    ChargeOutcome, GatewayError, MethodKind, MethodToken, RefundOutcome, RefundRequest, Settlement,
    StoredMethod, UnknownReason, UsableMethod,
};
use billing_core::id::PaymentReference;
use billing_core::money::{Currency, Money};
use billing_core::retry::DeclineClass;
use billing_core::validate::Email;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::NAME;
use crate::decline::DeclineTable;
use crate::fault::Fault;
use crate::transport::Reply;
use crate::units::CurrencyUnits;

/// Around everything.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    /// A boolean by the documentation; one page has it as a text.
    #[serde(deserialize_with = "truth")]
    pub(super) status: bool,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default = "none")]
    pub(super) data: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?;
    Ok(matches!(text.get(), "true" | "\"true\""))
}

impl<T> Envelope<T> {
    pub(super) fn is_duplicate_reference(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.code.as_deref() == Some("duplicate_reference")
            || (message.contains("duplicate") && message.contains("reference"))
    }

    pub(super) fn is_unknown_reference(&self, status: u16) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.code.as_deref() == Some("transaction_not_found")
            || (matches!(status, 400 | 404)
                && message.contains("not found")
                && (message.contains("transaction reference")
                    || message.starts_with("transaction not found")))
    }

    /// Nothing was carried out: "a validation or client side error occurred and the request was not fulfilled".
    pub(super) fn refusal(self, status: u16) -> GatewayError {
        match status {
            401 | 403 => GatewayError::Unauthorized { service: NAME },
            _ => GatewayError::Refused {
                service: NAME,
                code: self.code.unwrap_or(self.message),
            },
        }
    }
}

pub(super) fn body(content: &impl Serialize) -> Result<Vec<u8>, GatewayError> {
    serde_json::to_vec(content).map_err(|_| Fault::NotSent { code: "request" }.of_a_question(NAME))
}

#[derive(Serialize)]
pub(super) struct Charge<'a> {
    pub(super) authorization_code: &'a str,
    pub(super) email: &'a str,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) reference: &'a str,
}

#[derive(Serialize)]
pub(super) struct Initialize<'a> {
    pub(super) email: &'a str,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) reference: &'a str,
    pub(super) callback_url: &'a str,
}

#[derive(Deserialize)]
pub(super) struct Initialized {
    pub(super) authorization_url: String,
    pub(super) reference: String,
}

/// A transaction, in answers and in webhooks.
#[derive(Deserialize)]
pub(super) struct Transaction {
    /// A number; none while a challenge is on.
    #[serde(default)]
    id: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) status: Option<String>,
    pub(super) reference: String,
    #[serde(default)]
    amount: Option<Box<RawValue>>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    gateway_response: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, deserialize_with = "crate::instant::lenient")]
    paid_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "crate::instant::lenient")]
    transaction_date: Option<DateTime<Utc>>,
    /// With a challenge: where the customer has to confirm.
    #[serde(default)]
    authorization_url: Option<String>,
    #[serde(default)]
    paused: bool,
}

/// What a status means.
pub(super) enum Stage {
    Success,
    Failed,
    Pending,
    Other,
}

impl Transaction {
    pub(super) fn id(&self) -> String {
        self.id.as_deref().map(text).unwrap_or_default().into()
    }

    pub(super) fn settled_at(&self) -> Option<DateTime<Utc>> {
        self.paid_at.or(self.transaction_date)
    }

    pub(super) fn money(&self, units: &CurrencyUnits) -> Option<Money> {
        money(self.amount.as_deref(), self.currency.as_deref(), units)
    }

    /// The bank's words, or Paystack's.
    pub(super) fn words(&self) -> String {
        let words = [&self.gateway_response, &self.message, &self.status];
        let mut words = words.into_iter().flatten().filter(|words| !words.is_empty());
        words.next().cloned().unwrap_or_default()
    }

    pub(super) fn stage(&self) -> Stage {
        // A challenge has no status.
        let Some(status) = self.status.as_deref() else {
            return if self.paused { Stage::Pending } else { Stage::Other };
        };
        match status {
            "success" => Stage::Success,
            "failed" => Stage::Failed,
            // By "Verify Payments"; abandoned means only that the customer has not completed it up to now.
            "abandoned" | "ongoing" | "pending" | "processing" | "queued" | "paused" => Stage::Pending,
            // By "Charge": what the customer has to send next.
            "send_pin" | "send_otp" | "send_phone" | "send_birthday" | "send_address" | "open_url"
            | "pay_offline" => Stage::Pending,
            // `reversed` among them: money has been there, and is not any more, and why is not told.
            _ => Stage::Other,
        }
    }

    pub(super) fn outcome(
        self,
        asked: &PaymentReference,
        amount: Money,
        units: &CurrencyUnits,
        declines: &DeclineTable,
        now: DateTime<Utc>,
    ) -> ChargeOutcome {
        let words = self.words();
        match self.stage() {
            Stage::Success => {
                let Some(seen) = self.money(units) else {
                    return ChargeOutcome::Unknown(UnknownReason::Unreadable);
                };
                let at = self.settled_at().unwrap_or(now).min(now);
                match Settlement::confirm(asked, amount, &self.reference, seen, &self.id(), at) {
                    Ok(settlement) => ChargeOutcome::Settled(settlement),
                    Err(mismatch) => ChargeOutcome::Unknown(UnknownReason::Mismatch(mismatch)),
                }
            }
            // Of another payment nothing is believed.
            _ if self.reference != asked.as_str() => ChargeOutcome::Unknown(UnknownReason::Mismatch(
                billing_core::gateway::Mismatch::Reference { asked: asked.clone() },
            )),
            Stage::Failed => declined(declines.class(&words), words),
            Stage::Pending => ChargeOutcome::Pending {
                code: self.status.unwrap_or_else(|| "challenge".into()),
                action_url: self.authorization_url,
            },
            Stage::Other => ChargeOutcome::Unknown(UnknownReason::Provider {
                code: self.status.unwrap_or_default(),
            }),
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

/// Amounts are numbers, and in some answers strings.
pub(super) fn money(
    amount: Option<&RawValue>,
    currency: Option<&str>,
    units: &CurrencyUnits,
) -> Option<Money> {
    let currency = Currency::from_code(currency?).ok()?;
    units.money(text(amount?).parse().ok()?, currency)
}

#[derive(Serialize)]
pub(super) struct NewRefund<'a> {
    pub(super) transaction: &'a str,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) merchant_note: String,
}

pub(super) fn note(request: &RefundRequest) -> String {
    format!("{}: {}", request.reference, request.reason)
}

#[derive(Deserialize)]
pub(super) struct Refund {
    id: Box<RawValue>,
    #[serde(default)]
    status: String,
    amount: Box<RawValue>,
    currency: String,
    #[serde(default)]
    merchant_note: Option<String>,
}

impl Refund {
    pub(super) fn is_of(&self, reference: &PaymentReference) -> bool {
        let rest = self
            .merchant_note
            .as_deref()
            .and_then(|note| note.strip_prefix(reference.as_str()));
        rest.is_some_and(|rest| rest.starts_with(':'))
    }

    pub(super) fn outcome(self, request: &RefundRequest, units: &CurrencyUnits) -> RefundOutcome {
        let seen = money(Some(&self.amount), Some(&self.currency), units);
        if seen != Some(request.amount) {
            let code = "amount_mismatch".into();
            return RefundOutcome::Unknown(UnknownReason::Provider { code });
        }
        let provider_id = text(&self.id).into();
        match self.status.as_str() {
            "processed" => RefundOutcome::Refunded {
                amount: request.amount,
                provider_id,
            },
            "pending" | "processing" | "needs-attention" => RefundOutcome::Pending { provider_id },
            "failed" => RefundOutcome::Declined { code: self.status },
            _ => RefundOutcome::Unknown(UnknownReason::Provider { code: self.status }),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Customer {
    #[serde(default)]
    pub(super) authorizations: Vec<Authorization>,
}

#[derive(Deserialize)]
pub(super) struct Authorization {
    pub(super) authorization_code: String,
    #[serde(default)]
    last4: Option<String>,
    #[serde(default)]
    exp_month: Option<String>,
    #[serde(default)]
    exp_year: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    country_code: Option<String>,
    #[serde(default)]
    brand: Option<String>,
    #[serde(default)]
    pub(super) reusable: bool,
}

impl Authorization {
    pub(super) fn expires(&self) -> Option<(i32, u32)> {
        let month = self.exp_month.as_deref()?.parse().ok()?;
        let year = self.exp_year.as_deref()?.parse().ok()?;
        (1..=12).contains(&month).then_some((year, month))
    }

    pub(super) fn method(&self, email: &Email) -> Result<UsableMethod, Fault> {
        let unreadable = |_| Fault::Unreadable { code: "unreadable" };
        Ok(UsableMethod {
            method: StoredMethod {
                token: MethodToken::new(&self.authorization_code).map_err(unreadable)?,
                email: email.clone(),
                country: self.country_code.as_deref().and_then(|code| code.parse().ok()),
            },
            kind: match self.channel.as_deref() {
                Some("card") => MethodKind::Card,
                Some("bank" | "direct_debit") => MethodKind::BankAccount,
                Some("mobile_money") => MethodKind::MobileMoney,
                Some(_) | None => MethodKind::Other,
            },
            brand: self.brand.clone(),
            last4: self.last4.clone(),
            expires: self.expires(),
        })
    }
}

pub(super) fn is_well(reply: &Reply) -> Result<(), &'static str> {
    match reply.status {
        200..=299 => Ok(()),
        401 | 403 => Err("unauthorized"),
        _ => Err("refused"),
    }
}
