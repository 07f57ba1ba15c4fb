//! The shapes of `openapi/payment.v1.json`. Unknown fields are allowed, so that the service may add some.

use billing_core::gateway::{
    self, ChargeOutcome, ChargeRequest, CheckoutRequest, MethodCheck, MethodKind, MethodToken, MethodsQuery,
    RefundOutcome, RefundRequest, Settlement, StoredMethod, UnknownReason, UsableMethod,
};
use billing_core::id::{PaymentReference, TenantId};
use billing_core::money::Money;
use billing_core::retry::DeclineClass;
use billing_core::validate::{Country, Email};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// 409: the same key is being carried out at this moment.
pub(super) const IN_PROGRESS: &str = "in_progress";
pub(super) const UNKNOWN_PAYMENT: &str = "unknown_payment";
pub(super) const UNKNOWN_REFUND: &str = "unknown_refund";

pub(super) fn in_progress() -> UnknownReason {
    UnknownReason::Provider {
        code: IN_PROGRESS.into(),
    }
}

#[derive(Serialize)]
pub(super) struct Charge<'a> {
    tenant_id: TenantId,
    reference: &'a PaymentReference,
    amount: Money,
    method: Method<'a>,
    description: &'a str,
}

#[derive(Serialize)]
struct Method<'a> {
    token: &'a str,
    email: &'a Email,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<Country>,
}

impl<'a> Method<'a> {
    fn of(method: &'a StoredMethod) -> Self {
        Self {
            token: method.token.expose(),
            email: &method.email,
            country: method.country,
        }
    }
}

impl<'a> Charge<'a> {
    pub(super) fn of(request: &'a ChargeRequest) -> Self {
        Self {
            tenant_id: request.tenant_id,
            reference: &request.reference,
            amount: request.amount,
            method: Method::of(&request.method),
            description: &request.description,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Payment {
    id: String,
    reference: String,
    amount: Money,
    #[serde(flatten)]
    state: State,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum State {
    Settled {
        settled_at: DateTime<Utc>,
    },
    Declined {
        class: DeclineClass,
        code: String,
    },
    Pending {
        code: String,
        #[serde(default)]
        action_url: Option<String>,
    },
    Unknown {
        code: String,
    },
}

impl Payment {
    pub(super) fn outcome(
        self,
        asked: &PaymentReference,
        amount: Money,
        now: DateTime<Utc>,
    ) -> ChargeOutcome {
        let Self {
            id,
            reference,
            amount: seen,
            state,
        } = self;
        // Of another payment nothing is believed, whatever it says.
        let at = match &state {
            State::Settled { settled_at } => (*settled_at).min(now),
            State::Declined { .. } | State::Pending { .. } | State::Unknown { .. } => now,
        };
        let settlement = match Settlement::confirm(asked, amount, &reference, seen, &id, at) {
            Ok(settlement) => settlement,
            Err(mismatch) => return ChargeOutcome::Unknown(UnknownReason::Mismatch(mismatch)),
        };
        match state {
            State::Settled { .. } => ChargeOutcome::Settled(settlement),
            State::Declined {
                class: DeclineClass::Unknown,
                code,
            }
            | State::Unknown { code } => ChargeOutcome::Unknown(UnknownReason::Provider { code }),
            State::Declined { class, code } => ChargeOutcome::Declined { class, code },
            State::Pending { code, action_url } => ChargeOutcome::Pending { code, action_url },
        }
    }
}

#[derive(Serialize)]
pub(super) struct NewCheckout<'a> {
    tenant_id: TenantId,
    reference: &'a PaymentReference,
    amount: Money,
    email: &'a Email,
    return_url: &'a str,
    description: &'a str,
}

impl<'a> NewCheckout<'a> {
    pub(super) fn of(request: &'a CheckoutRequest) -> Self {
        Self {
            tenant_id: request.tenant_id,
            reference: &request.reference,
            amount: request.amount,
            email: &request.email,
            return_url: &request.return_url,
            description: &request.description,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Checkout {
    reference: String,
    url: String,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

impl Checkout {
    pub(super) fn into_checkout(self, request: &CheckoutRequest) -> Result<gateway::Checkout, Fault> {
        if self.reference != request.reference.as_str() {
            return Err(Fault::Unreadable {
                code: "reference_mismatch",
            });
        }
        Ok(gateway::Checkout {
            reference: request.reference.clone(),
            url: self.url,
            expires_at: self.expires_at,
        })
    }
}

#[derive(Serialize)]
pub(super) struct NewRefund<'a> {
    tenant_id: TenantId,
    reference: &'a PaymentReference,
    payment_reference: &'a PaymentReference,
    amount: Money,
    reason: &'a str,
}

impl<'a> NewRefund<'a> {
    pub(super) fn of(request: &'a RefundRequest) -> Self {
        Self {
            tenant_id: request.tenant_id,
            reference: &request.reference,
            payment_reference: &request.payment,
            amount: request.amount,
            reason: &request.reason,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Refund {
    id: String,
    reference: String,
    amount: Money,
    status: RefundStatus,
    #[serde(default)]
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RefundStatus {
    Refunded,
    Pending,
    Declined,
}

impl Refund {
    pub(super) fn outcome(self, request: &RefundRequest) -> RefundOutcome {
        let unknown = |code: &str| RefundOutcome::Unknown(UnknownReason::Provider { code: code.into() });
        if self.reference != request.reference.as_str() {
            return unknown("reference_mismatch");
        }
        if self.amount != request.amount {
            return unknown("amount_mismatch");
        }
        match self.status {
            RefundStatus::Refunded => RefundOutcome::Refunded {
                amount: self.amount,
                provider_id: self.id,
            },
            RefundStatus::Pending => RefundOutcome::Pending { provider_id: self.id },
            RefundStatus::Declined => RefundOutcome::Declined {
                code: self.code.unwrap_or_default(),
            },
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Methods {
    methods: Vec<ListedMethod>,
}

#[derive(Deserialize)]
struct ListedMethod {
    token: String,
    kind: MethodKind,
    #[serde(default)]
    country: Option<Country>,
    #[serde(default)]
    brand: Option<String>,
    #[serde(default)]
    last4: Option<String>,
    #[serde(default)]
    expires: Option<YearMonth>,
}

#[derive(Deserialize)]
pub(super) struct YearMonth {
    year: i32,
    month: u32,
}

impl Methods {
    pub(super) fn into_methods(self, query: &MethodsQuery) -> Result<Vec<UsableMethod>, Fault> {
        let unreadable = Fault::Unreadable { code: "unreadable" };
        let methods = self.methods.into_iter().map(|method| {
            Ok(UsableMethod {
                method: StoredMethod {
                    token: MethodToken::new(&method.token).map_err(|_| unreadable.clone())?,
                    email: query.email.clone(),
                    country: method.country,
                },
                kind: method.kind,
                brand: method.brand,
                last4: method.last4,
                expires: method.expires.map(|expires| (expires.year, expires.month)),
            })
        });
        methods.collect()
    }
}

#[derive(Serialize)]
pub(super) struct MethodToCheck<'a> {
    tenant_id: TenantId,
    method: Method<'a>,
    at: DateTime<Utc>,
}

impl<'a> MethodToCheck<'a> {
    pub(super) fn of(query: &MethodsQuery, method: &'a StoredMethod, at: DateTime<Utc>) -> Self {
        Self {
            tenant_id: query.tenant_id,
            method: Method::of(method),
            at,
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Checked {
    Usable,
    Expired { expires: YearMonth },
    Unknown,
    NotReusable,
}

impl From<Checked> for MethodCheck {
    fn from(checked: Checked) -> Self {
        match checked {
            Checked::Usable => Self::Usable,
            Checked::Expired { expires } => Self::Expired {
                expires: (expires.year, expires.month),
            },
            Checked::Unknown => Self::Unusable { code: "unknown" },
            Checked::NotReusable => Self::Unusable { code: "not_reusable" },
        }
    }
}
