use chrono::{DateTime, Utc};

use crate::id::{GrantId, InvoiceId};
use crate::money::Money;

/// The [priority](CreditGrant::priority) of a grant that needs none: the middle, as at Stripe.
pub const PRIORITY_DEFAULT: u8 = 50;

/// Where a grant comes from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a source is added"
)]
pub enum GrantSource {
    /// The tenant paid for it.
    Prepaid,
    /// It was given for free.
    Promotional,
}

impl GrantSource {
    /// Whether the tenant's own money is in it.
    pub const fn is_paid(self) -> bool {
        match self {
            Self::Prepaid => true,
            Self::Promotional => false,
        }
    }
}

/// Credit that was granted at once, and what is left of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct CreditGrant {
    /// Its id, given by the engine.
    pub id: GrantId,
    /// How much was granted, above zero.
    pub amount: Money,
    /// What is left, from zero to `amount`. Nothing once it has expired or is void.
    pub remaining: Money,
    /// Lower burns first.
    pub priority: u8,
    /// When it was granted.
    pub granted_at: DateTime<Utc>,
    /// From when on what is left is lost; none for never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was made void, if it was.
    pub voided_at: Option<DateTime<Utc>>,
    /// Where it comes from.
    pub source: GrantSource,
}

impl CreditGrant {
    /// A grant of `amount`, whole, of the default priority, that never expires.
    pub const fn new(id: GrantId, amount: Money, source: GrantSource, granted_at: DateTime<Utc>) -> Self {
        Self {
            id,
            amount,
            remaining: amount,
            priority: PRIORITY_DEFAULT,
            granted_at,
            expires_at: None,
            voided_at: None,
            source,
        }
    }

    /// Why nothing may be taken from it at `now`, whatever is left.
    pub(super) fn ended(&self, now: DateTime<Utc>) -> Option<LedgerKind> {
        if self.voided_at.is_some() {
            Some(LedgerKind::Voided)
        } else if self.expires_at.is_some_and(|expires_at| expires_at <= now) {
            Some(LedgerKind::Expired)
        } else {
            None
        }
    }

    /// The place in the order of [`Credits`](super::Credits).
    pub(super) fn rank(&self) -> impl Ord + use<> {
        (
            self.priority,
            self.expires_at.is_none(),
            self.expires_at,
            self.source.is_paid(),
            self.granted_at,
            self.id,
        )
    }

    /// Takes or gives back, and writes it down: the only place where what is left changes.
    ///
    /// Nothing saturates: callers take at most what is left, and give back at most what was taken.
    pub(super) fn book(&mut self, kind: LedgerKind, minor: i64, at: DateTime<Utc>) -> LedgerEntry {
        self.remaining.minor = self.remaining.minor.saturating_add(minor);
        LedgerEntry {
            grant_id: self.id,
            at,
            kind,
            amount: Money::new(minor, self.amount.currency),
        }
    }

    /// Takes all that is left when it has ended.
    pub(super) fn write_off(&mut self, now: DateTime<Utc>) -> Option<LedgerEntry> {
        let kind = self.ended(now)?;
        let left = self.remaining.minor;
        (left > 0).then(|| self.book(kind, left.saturating_neg(), now))
    }
}

/// A change of what a grant has left. The sum of all entries is the balance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct LedgerEntry {
    /// Which grant.
    pub grant_id: GrantId,
    /// When it was written. Credit that expires is written off later, when it is seen.
    pub at: DateTime<Utc>,
    /// Why.
    pub kind: LedgerKind,
    /// By how much: above zero for `granted` and `returned`, below for all others.
    pub amount: Money,
}

/// Why a grant has more or less left.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a kind is added"
)]
pub enum LedgerKind {
    /// It was granted.
    Granted,
    /// An invoice took it.
    Burned {
        /// Which.
        invoice_id: InvoiceId,
    },
    /// The invoice that took it was withdrawn.
    Returned {
        /// Which.
        invoice_id: InvoiceId,
    },
    /// Its time was over.
    Expired,
    /// It was taken back.
    Voided,
}
