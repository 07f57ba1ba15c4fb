//! Collecting an invoice: attempts, their outcomes, and when to try again.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use crate::calendar::Period;
use crate::credit::LedgerEntry;
use crate::id::{AddOnCode, CouponCode, InvoiceId};
use crate::invoice::{InvoiceKind, LineRef};
use crate::money::Money;
use crate::retry::{DeclineClass, RetryPolicy};

/// What a payment provider said of an attempt to pay an invoice.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an outcome is added"
)]
pub enum PaymentOutcome {
    /// The money has arrived.
    Settled {
        /// How much; must be the invoice's total.
        amount: Money,
        /// The payment's reference at its provider, 1 to 255 characters.
        reference: String,
        /// When, by the provider; not after `now`.
        settled_at: DateTime<Utc>,
    },
    /// It has not and will not by this attempt; or nobody knows ([`DeclineClass::Unknown`]).
    Failed {
        /// What that means for the next attempt.
        class: DeclineClass,
        /// The provider's code, as it came, for the audit trail.
        code: String,
    },
}

/// A line that was paid and whose time is not over: what an unused part is credited from.
///
/// Taken from the invoice lines, not from the list price, so that nobody is credited more than was debited.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Debit {
    /// The invoice line.
    pub source: LineRef,
    /// The time that it pays for.
    pub period: Period,
    /// What was paid for it.
    pub amount: Money,
    /// The add-on that it is for; none for the plan itself.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub add_on: Option<AddOnCode>,
}

/// The open invoice of a subscription and where collecting it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Collection {
    /// Which invoice.
    pub invoice_id: InvoiceId,
    /// What it is for.
    pub kind: InvoiceKind,
    /// Its total.
    pub amount: Money,
    /// From when on time is unpaid while this is: the start of the period that it buys, or the instant of a change.
    pub unpaid_from: DateTime<Utc>,
    /// How many attempts were started.
    pub attempts: u32,
    /// Where the last attempt stands.
    pub phase: CollectionPhase,
    /// What will have been debited for the running period once it is paid.
    pub debits: Vec<Debit>,
    /// What it used up, to be given back if it is withdrawn; none if nothing.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub spent: Option<Box<Spent>>,
}

/// What an open invoice used up of what the seller had granted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "what is given back")]
pub struct Spent {
    /// Prepaid credit, by grant.
    pub burned: Vec<LedgerEntry>,
    /// The coupons that took something off.
    pub coupons: Vec<CouponCode>,
}

/// Where collecting an invoice stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "phase", rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a phase is added"
)]
pub enum CollectionPhase {
    /// An attempt was asked for; its outcome is awaited, and no other attempt starts before it is known.
    Charging,
    /// The last attempt failed; the next starts then.
    Waiting {
        /// When.
        retry_at: DateTime<Utc>,
    },
    /// The customer has to act; without that, collecting is given up then.
    AwaitingCustomer {
        /// When: as long as the rest of the retries would have taken.
        until: DateTime<Utc>,
    },
    /// All attempts failed. A late settlement is still taken.
    Spent,
}

impl Collection {
    /// When the next step falls due by time alone.
    pub(crate) const fn next_due(&self) -> Option<DateTime<Utc>> {
        match self.phase {
            CollectionPhase::Charging | CollectionPhase::Spent => None,
            CollectionPhase::Waiting { retry_at } => Some(retry_at),
            CollectionPhase::AwaitingCustomer { until } => Some(until),
        }
    }

    /// The same after another attempt was asked for.
    pub(crate) fn charging(&self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            phase: CollectionPhase::Charging,
            ..self.clone()
        }
    }

    /// The same after the attempt failed at `now`.
    ///
    /// The retry counts from the failure. [`DeclineClass::Unknown`] is not a failure: nothing moves until the
    /// payment was verified.
    pub(crate) fn failed(
        &self,
        class: DeclineClass,
        policy: &RetryPolicy,
        seed: u128,
        now: DateTime<Utc>,
    ) -> Self {
        let phase = match class {
            DeclineClass::Unknown => CollectionPhase::Charging,
            DeclineClass::Stop => CollectionPhase::Spent,
            DeclineClass::Retry => {
                match policy
                    .delay(self.attempts, seed)
                    .and_then(|delay| now.checked_add_signed(delay))
                {
                    Some(retry_at) => CollectionPhase::Waiting { retry_at },
                    None => CollectionPhase::Spent,
                }
            }
            DeclineClass::AskCustomer => {
                let rest = policy.remaining(self.attempts, seed);
                match now.checked_add_signed(rest).filter(|until| *until > now) {
                    Some(until) => CollectionPhase::AwaitingCustomer { until },
                    None => CollectionPhase::Spent,
                }
            }
        };
        Self {
            phase,
            ..self.clone()
        }
    }

    /// The same, given up.
    pub(crate) fn spent(&self) -> Self {
        Self {
            phase: CollectionPhase::Spent,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::money::Currency;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hours * 3600, 0).unwrap()
    }

    fn collection(attempts: u32) -> Collection {
        Collection {
            invoice_id: InvoiceId::new(Uuid::from_u128(1)),
            kind: InvoiceKind::Renewal,
            amount: Money::new(31_00, Currency::from_code("USD").unwrap()),
            unpaid_from: at(0),
            attempts,
            phase: CollectionPhase::Charging,
            debits: Vec::new(),
            spent: None,
        }
    }

    #[test]
    fn a_failure_waits_asks_or_ends_by_its_class_and_the_retries_that_are_left() {
        use CollectionPhase::{AwaitingCustomer, Charging, Spent, Waiting};
        use DeclineClass::{AskCustomer, Retry, Stop, Unknown};
        let policy = RetryPolicy::default();
        for (attempts, class, phase, due) in [
            (1, Retry, Waiting { retry_at: at(24) }, Some(at(24))),
            (3, Retry, Waiting { retry_at: at(96) }, Some(at(96))),
            (4, Retry, Spent, None),
            (1, AskCustomer, AwaitingCustomer { until: at(168) }, Some(at(168))),
            (3, AskCustomer, AwaitingCustomer { until: at(96) }, Some(at(96))),
            (4, AskCustomer, Spent, None),
            (1, Stop, Spent, None),
            (1, Unknown, Charging, None),
        ] {
            let failed = collection(attempts).failed(class, &policy, 0, at(0));
            assert_eq!(
                (failed.phase, failed.next_due()),
                (phase, due),
                "{class:?} after {attempts}"
            );
            assert_eq!(
                failed,
                Collection {
                    phase,
                    ..collection(attempts)
                },
                "nothing else changes"
            );
        }
    }

    #[test]
    fn an_attempt_counts_when_it_is_asked_for() {
        let again = collection(1).spent().charging();
        assert_eq!(
            (again.attempts, again.phase, again.next_due()),
            (2, CollectionPhase::Charging, None)
        );
    }
}
