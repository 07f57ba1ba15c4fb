//! Prepaid credit: grants, the order in which they burn down, and a ledger that adds up.
//!
//! A tenant's credit is a list of [`CreditGrant`]s. Whatever changes one writes a [`LedgerEntry`], and nothing else
//! changes one, so at every moment the sum of all entries is the sum of what the grants have left. Whatever takes or gives
//! back at `now` first writes off what has expired, so after it both sums are [`balance(now)`](Credits::balance).

use alloc::vec::Vec;

use chrono::{DateTime, Utc};

pub use self::grant::{CreditGrant, GrantSource, LedgerEntry, LedgerKind, PRIORITY_DEFAULT};
use crate::id::{GrantId, InvoiceId};
use crate::money::{Currency, Money, MoneyError};

mod grant;

/// What burning took.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Burn {
    /// How much in all: what was asked, or the balance if that is less.
    pub burned: Money,
    /// What is to be kept: what was written off before, then what each grant gave.
    pub entries: Vec<LedgerEntry>,
}

/// Why credit was not moved. Nothing has changed. Which is told when several apply, each operation says.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CreditRefusal {
    /// There is no such grant among those that were loaded.
    #[error("unknown credit grant `{grant_id}`")]
    UnknownGrant {
        /// Which.
        grant_id: GrantId,
    },
    /// The same grant came before.
    #[error("credit grant `{grant_id}` is there already")]
    DuplicateGrant {
        /// Which.
        grant_id: GrantId,
    },
    /// Nothing or less than nothing is no grant, and less than nothing cannot be asked for.
    #[error("expected an amount of at least {least}, got {found}")]
    TooLittle {
        /// What came.
        found: Money,
        /// The least that is taken.
        least: Money,
    },
    /// What is left does not fit what was granted.
    #[error("credit grant `{grant_id}` has {found} left, expected {least} to {most}")]
    Remaining {
        /// Which.
        grant_id: GrantId,
        /// What would be left.
        found: Money,
        /// The least that may be.
        least: Money,
        /// The most that may be.
        most: Money,
    },
    /// It would be over before it began.
    #[error("credit granted at {granted_at} cannot expire at {expires_at}")]
    Expiry {
        /// When it begins.
        granted_at: DateTime<Utc>,
        /// When it ends.
        expires_at: DateTime<Utc>,
    },
    /// Another currency, or more than fits.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// The credit of one tenant in one currency: its grants, in the order in which they burn down.
///
/// The order: the lowest [priority](CreditGrant::priority), then what expires first (never is last), then promotional
/// before paid, then the oldest, then the id.
///
/// # Source
///
/// Stigg documents this order; OpenMeter has priority and expiry, then the order of movements. So nothing expires that
/// need not, and what the tenant paid for stays longest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credits {
    currency: Currency,
    /// Invariant *bounds*: one currency, each remaining from zero to its amount, no id twice, and the amounts add up
    /// within an `i64`; so whatever is left does too, and what was checked on the way in cannot overflow later.
    grants: Vec<CreditGrant>,
}

impl Credits {
    /// Credit in `currency`, none yet.
    pub const fn new(currency: Currency) -> Self {
        Self {
            currency,
            grants: Vec::new(),
        }
    }

    /// Those of a tenant as they were kept, in any order. Grants that are spent are needed only to
    /// [give back](Self::give_back) to them.
    ///
    /// # Errors
    ///
    /// For the first grant that does not fit, in order: [`CreditRefusal::DuplicateGrant`],
    /// [`CreditRefusal::TooLittle`], [`CreditRefusal::Remaining`] and [`CreditRefusal::Expiry`] of the grant by itself,
    /// [`CreditRefusal::Money`] when it is in another currency or one too many.
    pub fn load(
        currency: Currency,
        grants: impl IntoIterator<Item = CreditGrant>,
    ) -> Result<Self, CreditRefusal> {
        let mut credits = Self::new(currency);
        for grant in grants {
            credits.insert(grant, Money::zero(grant.amount.currency))?;
        }
        Ok(credits)
    }

    /// What all are in.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The grants, taken out.
    pub fn into_grants(self) -> Vec<CreditGrant> {
        self.grants
    }

    /// The grants, in the order in which they burn down; those with nothing left too.
    pub fn grants(&self) -> &[CreditGrant] {
        &self.grants
    }

    /// What can be burned at `now`.
    pub fn balance(&self, now: DateTime<Utc>) -> Money {
        let live = self.grants.iter().filter(|grant| grant.ended(now).is_none());
        // By *bounds* nothing saturates.
        let minor = live.fold(0_i64, |sum, grant| sum.saturating_add(grant.remaining.minor));
        Money::new(minor, self.currency)
    }

    /// Adds a new grant, of which all is left.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); all of it must remain.
    ///
    /// # Example
    ///
    /// ```
    /// # use billing_core::credit::{CreditGrant, Credits, GrantSource};
    /// # use billing_core::id::GrantId;
    /// # use billing_core::money::{Currency, Money};
    /// # let id = GrantId::new(uuid::Uuid::from_u128(1));
    /// # let now = "2026-06-01T00:00:00Z".parse().unwrap();
    /// let usd = Currency::from_code("USD").unwrap();
    /// let mut credits = Credits::new(usd);
    /// let grant = CreditGrant::new(id, Money::new(50_00, usd), GrantSource::Prepaid, now);
    /// let entry = credits.grant(grant).unwrap();
    /// assert_eq!((entry.amount, credits.balance(now)), (grant.amount, grant.amount));
    /// ```
    pub fn grant(&mut self, grant: CreditGrant) -> Result<LedgerEntry, CreditRefusal> {
        self.insert(grant, grant.amount)?;
        Ok(LedgerEntry {
            grant_id: grant.id,
            at: grant.granted_at,
            kind: LedgerKind::Granted,
            amount: grant.amount,
        })
    }

    /// Keeps `grant` at its place when it is within the bounds, with at least `least` left.
    fn insert(&mut self, grant: CreditGrant, least: Money) -> Result<(), CreditRefusal> {
        let grant_id = grant.id;
        if self.grants.iter().any(|other| other.id == grant_id) {
            return Err(CreditRefusal::DuplicateGrant { grant_id });
        }
        let one = Money::new(1, grant.amount.currency);
        if grant.amount.minor < one.minor {
            return Err(CreditRefusal::TooLittle {
                found: grant.amount,
                least: one,
            });
        }
        let bounds = least.minor..=grant.amount.minor;
        if grant.remaining.currency != grant.amount.currency || !bounds.contains(&grant.remaining.minor) {
            return Err(CreditRefusal::Remaining {
                grant_id,
                found: grant.remaining,
                least,
                most: grant.amount,
            });
        }
        if let Some(expires_at) = grant
            .expires_at
            .filter(|expires_at| *expires_at <= grant.granted_at)
        {
            return Err(CreditRefusal::Expiry {
                granted_at: grant.granted_at,
                expires_at,
            });
        }
        let amounts = self.grants.iter().map(|grant| grant.amount);
        Money::sum(self.currency, amounts)?.checked_add(grant.amount)?;
        let place = self.grants.partition_point(|other| other.rank() < grant.rank());
        self.grants.insert(place, grant);
        Ok(())
    }

    /// Takes `asked` for an invoice, or all there is if that is less.
    ///
    /// # Errors
    ///
    /// In order: [`CreditRefusal::Money`] when `asked` is in another currency, [`CreditRefusal::TooLittle`] when it is
    /// below zero.
    ///
    /// # Example: what expires first burns first
    ///
    /// ```
    /// # use billing_core::credit::{CreditGrant, Credits, GrantSource};
    /// # use billing_core::id::{GrantId, InvoiceId};
    /// # use billing_core::money::{Currency, Money};
    /// # use uuid::Uuid;
    /// # let (id, other_id) = (GrantId::new(Uuid::from_u128(1)), GrantId::new(Uuid::from_u128(2)));
    /// # let invoice_id = InvoiceId::new(Uuid::from_u128(3));
    /// # let now = "2026-06-01T00:00:00Z".parse().unwrap();
    /// let usd = Currency::from_code("USD").unwrap();
    /// let dollars = |count: i64| Money::new(count * 100, usd);
    /// let mut credits = Credits::new(usd);
    /// credits.grant(CreditGrant::new(id, dollars(50), GrantSource::Prepaid, now)).unwrap();
    /// credits.grant(CreditGrant {
    ///     expires_at: Some("2026-07-01T00:00:00Z".parse().unwrap()),
    ///     ..CreditGrant::new(other_id, dollars(20), GrantSource::Prepaid, now)
    /// }).unwrap();
    ///
    /// let burn = credits.burn(dollars(30), invoice_id, now).unwrap();
    /// assert_eq!(burn.burned, dollars(30));
    /// let taken: Vec<_> = burn.entries.iter().map(|entry| (entry.grant_id, entry.amount)).collect();
    /// assert_eq!(taken, [(other_id, dollars(-20)), (id, dollars(-10))]);
    /// assert_eq!(credits.balance(now), dollars(40));
    /// ```
    pub fn burn(
        &mut self,
        asked: Money,
        invoice_id: InvoiceId,
        now: DateTime<Utc>,
    ) -> Result<Burn, CreditRefusal> {
        let least = Money::zero(self.currency);
        if least.checked_add(asked)?.is_negative() {
            return Err(CreditRefusal::TooLittle { found: asked, least });
        }
        let mut entries = self.expire(now);
        let mut left = asked.minor;
        // Only what is live has anything left.
        for grant in &mut self.grants {
            let taken = left.min(grant.remaining.minor);
            if taken > 0 {
                let kind = LedgerKind::Burned { invoice_id };
                entries.push(grant.book(kind, taken.saturating_neg(), now));
                left = left.saturating_sub(taken);
            }
        }
        Ok(Burn {
            burned: Money::new(asked.minor.saturating_sub(left), self.currency),
            entries,
        })
    }

    /// Gives back what an invoice that is withdrawn had taken, to each grant just what it gave.
    ///
    /// `ledger` holds at least all entries of the invoice; others do not matter. What was given back before is not
    /// given back again. To a grant that has expired or is void it returns and is lost at once, in two entries.
    ///
    /// # Errors
    ///
    /// For the first entry that does not fit, [`CreditRefusal::UnknownGrant`] or [`CreditRefusal::Money`]; then, for
    /// the first grant that would have more than it was granted, or that gave back more than was taken,
    /// [`CreditRefusal::Remaining`].
    pub fn give_back(
        &mut self,
        invoice_id: InvoiceId,
        ledger: &[LedgerEntry],
        now: DateTime<Utc>,
    ) -> Result<Vec<LedgerEntry>, CreditRefusal> {
        let taken = self.taken(invoice_id, ledger)?;
        for (grant, taken) in self.grants.iter().zip(&taken) {
            let found = grant.remaining.checked_add(*taken)?;
            if taken.is_negative() || found.minor > grant.amount.minor {
                return Err(CreditRefusal::Remaining {
                    grant_id: grant.id,
                    found,
                    least: grant.remaining,
                    most: grant.amount,
                });
            }
        }
        let mut entries = self.expire(now);
        for (grant, taken) in self.grants.iter_mut().zip(taken) {
            if !taken.is_zero() {
                entries.push(grant.book(LedgerKind::Returned { invoice_id }, taken.minor, now));
                entries.extend(grant.write_off(now));
            }
        }
        Ok(entries)
    }

    /// What the invoice holds of each grant, in their order.
    fn taken(&self, invoice_id: InvoiceId, ledger: &[LedgerEntry]) -> Result<Vec<Money>, CreditRefusal> {
        let mut taken = Vec::from_iter(self.grants.iter().map(|_| Money::zero(self.currency)));
        for entry in ledger {
            match entry.kind {
                LedgerKind::Burned { invoice_id: of } | LedgerKind::Returned { invoice_id: of }
                    if of == invoice_id =>
                {
                    let grant_id = entry.grant_id;
                    let mut places = self.grants.iter().zip(&mut taken);
                    let (_, sum) = places
                        .find(|(grant, _)| grant.id == grant_id)
                        .ok_or(CreditRefusal::UnknownGrant { grant_id })?;
                    *sum = sum.checked_sub(entry.amount)?;
                }
                LedgerKind::Burned { .. }
                | LedgerKind::Returned { .. }
                | LedgerKind::Granted
                | LedgerKind::Expired
                | LedgerKind::Voided => {}
            }
        }
        Ok(taken)
    }

    /// Writes off what has expired at `now`.
    pub fn expire(&mut self, now: DateTime<Utc>) -> Vec<LedgerEntry> {
        self.grants
            .iter_mut()
            .filter_map(|grant| grant.write_off(now))
            .collect()
    }

    /// Takes back what is left of a grant, for good: what an invoice later gives back to it is lost too. Again it does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`CreditRefusal::UnknownGrant`].
    pub fn void(&mut self, grant_id: GrantId, now: DateTime<Utc>) -> Result<Vec<LedgerEntry>, CreditRefusal> {
        let place = self.grants.iter().position(|grant| grant.id == grant_id);
        let place = place.ok_or(CreditRefusal::UnknownGrant { grant_id })?;
        let mut entries = self.expire(now);
        if let Some(grant) = self.grants.get_mut(place) {
            grant.voided_at.get_or_insert(now);
            entries.extend(grant.write_off(now));
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests;
