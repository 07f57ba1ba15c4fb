use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::Debug;
use core::future::ready;
use core::pin::Pin;

use chrono::{DateTime, Utc};

use super::TaxTreatment;
use crate::id::TenantId;
use crate::money::Currency;
use crate::validate::Faults;

/// Who asks for a treatment, and for what.
#[derive(Clone, Copy, Debug)]
pub struct TaxRequest {
    /// Who is charged.
    pub tenant_id: TenantId,
    /// In what they are charged.
    pub currency: Currency,
    /// When: a rate holds from a day on.
    pub at: DateTime<Utc>,
}

/// A future that a [`TaxPort`] returns.
pub type TaxFuture<'a> = Pin<Box<dyn Future<Output = Result<TaxTreatment, TaxError>> + Send + 'a>>;

/// Says which taxes fall on a tenant: a table of the host, or a service that knows the places. The host knows where its tenants
/// are; billing does not keep it.
pub trait TaxPort: Send + Sync + Debug {
    /// The treatment of what is asked. It passes [`TaxTreatment::validate`].
    ///
    /// # Errors
    ///
    /// [`TaxError`]: then nothing is billed, rather than with a tax that is guessed.
    fn treatment(&self, request: TaxRequest) -> TaxFuture<'_>;
}

/// Why there is no treatment.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TaxError {
    /// The service did not answer.
    #[error("the tax service did not answer: {detail}")]
    Unavailable {
        /// What was seen.
        detail: String,
    },
    /// What is known of the tenant does not say which taxes apply, such as no region.
    #[error("cannot tell the tax of tenant `{tenant_id}`: {detail}")]
    Undetermined {
        /// Who.
        tenant_id: TenantId,
        /// What is missing.
        detail: String,
    },
}

impl TaxError {
    /// Whether the same question may be answered later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Undetermined { .. } => false,
        }
    }
}

/// Nobody is taxed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to set")]
pub struct NoTax;

impl TaxPort for NoTax {
    fn treatment(&self, _: TaxRequest) -> TaxFuture<'_> {
        Box::pin(ready(Ok(TaxTreatment::NONE)))
    }
}

/// Everybody is taxed alike: for who sells in one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlatTax(TaxTreatment);

impl FlatTax {
    /// Taxes everybody by `treatment`.
    ///
    /// # Errors
    ///
    /// [`Faults`] of the treatment.
    pub fn new(treatment: TaxTreatment) -> Result<Self, Faults> {
        treatment.validate()?;
        Ok(Self(treatment))
    }
}

impl TaxPort for FlatTax {
    fn treatment(&self, _: TaxRequest) -> TaxFuture<'_> {
        Box::pin(ready(Ok(self.0.clone())))
    }
}

#[cfg(test)]
mod tests {
    use core::task::{Context, Poll, Waker};
    use std::string::ToString;
    use std::vec;

    use uuid::Uuid;

    use super::*;
    use crate::tax::{TaxBehavior, TaxRate};

    fn vat(percent: i64) -> TaxTreatment {
        TaxTreatment {
            rates: vec![TaxRate {
                name: "VAT".into(),
                percent: percent.into(),
                jurisdiction: None,
            }],
            behavior: TaxBehavior::Inclusive,
            exemption: None,
        }
    }

    #[test]
    fn a_flat_tax_and_none_are_ports() {
        #[track_caller]
        fn check(port: &dyn TaxPort, expected: &TaxTreatment) {
            let request = TaxRequest {
                tenant_id: TenantId::new(Uuid::from_u128(1)),
                currency: Currency::from_code("USD").unwrap(),
                at: DateTime::from_timestamp(0, 0).unwrap(),
            };
            let found = port
                .treatment(request)
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(found, Poll::Ready(Ok(expected.clone())));
        }
        let treatment = vat(19);
        check(&NoTax, &TaxTreatment::NONE);
        check(&FlatTax::new(treatment.clone()).unwrap(), &treatment);
        assert!(FlatTax::new(vat(-19)).is_err());
    }

    #[test]
    fn an_error_says_what_happened_and_whether_it_passes() {
        let unavailable = TaxError::Unavailable {
            detail: "timeout".into(),
        };
        let undetermined = TaxError::Undetermined {
            tenant_id: TenantId::new(Uuid::from_u128(1)),
            detail: "no region".into(),
        };
        assert!(unavailable.is_transient() && !undetermined.is_transient());
        assert_eq!(
            undetermined.to_string(),
            "cannot tell the tax of tenant `00000000-0000-0000-0000-000000000001`: no region"
        );
    }
}
