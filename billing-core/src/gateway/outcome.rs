use alloc::string::String;

use chrono::{DateTime, Utc};

use crate::id::PaymentReference;
use crate::money::Money;
use crate::payment::PaymentOutcome;
use crate::retry::DeclineClass;

/// What became of a charge.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an engine must fail to compile when an outcome is added"
)]
pub enum ChargeOutcome {
    /// The money has arrived: as much as was asked, in the currency that was asked.
    Settled(Settlement),
    /// It has not and will not, by this attempt.
    Declined {
        /// What that means for the next attempt; never [`DeclineClass::Unknown`].
        class: DeclineClass,
        /// The provider's code, or its message where it has no codes, for the audit trail.
        code: String,
    },
    /// It may still: the provider waits for somebody. The reference is asked again later.
    Pending {
        /// The provider's code for what it waits for.
        code: String,
        /// Where the customer can do something about it, if anywhere.
        action_url: Option<String>,
    },
    /// Nobody knows here. To be verified by its reference before anything else happens.
    Unknown(UnknownReason),
}

impl ChargeOutcome {
    /// As the command to record a payment takes it; none while it is pending.
    pub fn into_payment(self) -> Option<PaymentOutcome> {
        match self {
            Self::Settled(settlement) => Some(PaymentOutcome::Settled {
                amount: settlement.amount,
                reference: settlement.reference.as_str().into(),
                settled_at: settlement.settled_at,
            }),
            Self::Declined { class, code } => Some(PaymentOutcome::Failed { class, code }),
            Self::Pending { .. } => None,
            Self::Unknown(reason) => Some(PaymentOutcome::Failed {
                class: DeclineClass::Unknown,
                code: reason.code().into(),
            }),
        }
    }
}

/// Proof that a payment has arrived: made only where what was seen is what was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settlement {
    amount: Money,
    reference: PaymentReference,
    provider_id: String,
    settled_at: DateTime<Utc>,
}

impl Settlement {
    /// Compares what a provider says it has received with what was asked for.
    ///
    /// Under a reference other money may have arrived than was asked for: a page that was opened before the invoice changed, a
    /// mistaken unit, a forged answer. None of it settles the invoice; a person has to look.
    ///
    /// # Errors
    ///
    /// [`Mismatch`], in order: the reference, the currency, the amount.
    ///
    /// # Example: one kobo less is not settled
    ///
    /// ```
    /// use billing_core::gateway::{Mismatch, Settlement};
    /// use billing_core::id::PaymentReference;
    /// use billing_core::money::{Currency, Money};
    /// use chrono::DateTime;
    ///
    /// let naira = |minor| Money::new(minor, Currency::from_code("NGN").unwrap());
    /// let reference = PaymentReference::new("ch-1").unwrap();
    /// let at = DateTime::from_timestamp(0, 0).unwrap();
    /// let seen = Settlement::confirm(&reference, naira(5000), "ch-1", naira(4999), "696105928", at);
    /// assert_eq!(seen, Err(Mismatch::Amount { asked: naira(5000), seen: naira(4999) }));
    /// ```
    pub fn confirm(
        asked_reference: &PaymentReference,
        asked: Money,
        seen_reference: &str,
        seen: Money,
        provider_id: &str,
        settled_at: DateTime<Utc>,
    ) -> Result<Self, Mismatch> {
        if seen_reference != asked_reference.as_str() {
            return Err(Mismatch::Reference {
                asked: asked_reference.clone(),
            });
        }
        if seen.currency != asked.currency || seen.minor != asked.minor {
            return Err(Mismatch::Amount { asked, seen });
        }
        Ok(Self {
            amount: asked,
            reference: asked_reference.clone(),
            provider_id: provider_id.into(),
            settled_at,
        })
    }

    /// How much.
    pub const fn amount(&self) -> Money {
        self.amount
    }

    /// Our reference.
    pub const fn reference(&self) -> &PaymentReference {
        &self.reference
    }

    /// The provider's id of the payment.
    pub fn provider_id(&self) -> &str {
        &self.provider_id
    }

    /// When, by the provider.
    pub const fn settled_at(&self) -> DateTime<Utc> {
        self.settled_at
    }
}

/// What a provider says is not what was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// It told of another payment.
    #[error("asked for payment `{asked}`, and was told of another")]
    Reference {
        /// What was asked for.
        asked: PaymentReference,
    },
    /// It received another amount, or another currency.
    #[error("asked for {} {}, and {} {} was received, in minor units", asked.minor, asked.currency, seen.minor, seen.currency)]
    Amount {
        /// What was asked for.
        asked: Money,
        /// What it says it has.
        seen: Money,
    },
}

/// Why nobody knows what became of a payment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an engine must fail to compile when a reason is added"
)]
pub enum UnknownReason {
    /// It was sent, and no answer came in time.
    Timeout,
    /// The connection broke after it was sent.
    ConnectionLost,
    /// The service answered that it failed (5xx): before or after the payment, it does not say.
    ServerError {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not of the documented form, or too large.
    Unreadable,
    /// The provider's own word for not knowing.
    Provider {
        /// Its code.
        code: String,
    },
    /// Money arrived, but not what was asked for: asking again changes nothing, a person has to look.
    Mismatch(Mismatch),
}

impl UnknownReason {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::ServerError { .. } => "server_error",
            Self::Unreadable => "unreadable",
            Self::Provider { .. } => "provider_unknown",
            Self::Mismatch(Mismatch::Reference { .. }) => "reference_mismatch",
            Self::Mismatch(Mismatch::Amount { .. }) => "amount_mismatch",
        }
    }
}

/// What a provider says of a reference.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an engine must fail to compile when one is added"
)]
pub enum Verification {
    /// It has not seen it, up to now.
    NotFound,
    /// What became of it.
    Found(ChargeOutcome),
}

/// What became of a refund.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an engine must fail to compile when an outcome is added"
)]
pub enum RefundOutcome {
    /// The money went back.
    Refunded {
        /// How much.
        amount: Money,
        /// The provider's id of the refund.
        provider_id: String,
    },
    /// The provider took it over, and is at it.
    Pending {
        /// The provider's id of the refund.
        provider_id: String,
    },
    /// It will not go back by this attempt.
    Declined {
        /// The provider's code, or its message where it has no codes.
        code: String,
    },
    /// Nobody knows here.
    Unknown(UnknownReason),
}

/// What a provider says of a refund.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an engine must fail to compile when one is added"
)]
pub enum RefundVerification {
    /// It has not seen it, up to now.
    NotFound,
    /// What became of it.
    Found(RefundOutcome),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    fn money(minor: i64, code: &str) -> Money {
        Money::new(minor, Currency::from_code(code).unwrap())
    }

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    #[test]
    fn only_what_was_asked_is_settled() {
        let asked = PaymentReference::new("ch-1").unwrap();
        #[track_caller]
        fn check(asked: &PaymentReference, reference: &str, seen: Money, code: Option<&str>) {
            let found = Settlement::confirm(asked, money(500, "NGN"), reference, seen, "1", at());
            assert_eq!(
                found
                    .err()
                    .map(|mismatch| UnknownReason::Mismatch(mismatch).code()),
                code
            );
        }
        check(&asked, "ch-1", money(500, "NGN"), None);
        check(&asked, "ch-2", money(499, "NGN"), Some("reference_mismatch"));
        check(&asked, "ch-1", money(500, "GHS"), Some("amount_mismatch"));
        check(&asked, "ch-1", money(499, "NGN"), Some("amount_mismatch"));
        check(&asked, "ch-1", money(501, "NGN"), Some("amount_mismatch"));
    }

    #[test]
    fn an_outcome_is_recorded_as_a_payment_unless_it_is_pending() {
        let reference = PaymentReference::new("ch-1").unwrap();
        let amount = money(500, "NGN");
        let settled = Settlement::confirm(&reference, amount, "ch-1", amount, "77", at()).unwrap();
        assert_eq!(settled.provider_id(), "77");
        assert_eq!(
            ChargeOutcome::Settled(settled).into_payment(),
            Some(PaymentOutcome::Settled {
                amount,
                reference: "ch-1".into(),
                settled_at: at()
            })
        );
        let failed = |class, code: &str| {
            Some(PaymentOutcome::Failed {
                class,
                code: code.into(),
            })
        };
        let declined = ChargeOutcome::Declined {
            class: DeclineClass::Stop,
            code: "stolen".into(),
        };
        assert_eq!(declined.into_payment(), failed(DeclineClass::Stop, "stolen"));
        let unknown = ChargeOutcome::Unknown(UnknownReason::ServerError { status: 502 });
        assert_eq!(
            unknown.into_payment(),
            failed(DeclineClass::Unknown, "server_error")
        );
        let pending = ChargeOutcome::Pending {
            code: "send_otp".into(),
            action_url: None,
        };
        assert_eq!(pending.into_payment(), None);
    }
}
