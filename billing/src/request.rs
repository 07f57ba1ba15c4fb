//! What comes with every command, and what is answered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use billing_core::audit::Actor;
use billing_core::calendar::MonthEnd;
use billing_core::id::{
    AddOnCode, CouponCode, IdempotencyKey, InvoiceId, PaymentMethodId, PlanId, SubscriptionId, TenantId,
};
use billing_core::plan::TenantProfile;
use billing_core::subscription::{Status, Subscription};
use chrono_tz::Tz;

/// Who asks, from where, and under which key: the same key with the same command is answered as the first time, with
/// another command it is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Scoped by tenant.
    pub key: IdempotencyKey,
    /// Who asks, for the audit trail.
    pub actor: Actor,
    /// From which address, if the host knows it, for the audit trail.
    pub ip: Option<IpAddr>,
}

impl Request {
    /// A request of `actor` under `key`, from no known address.
    pub const fn new(key: IdempotencyKey, actor: Actor) -> Self {
        Self { key, actor, ip: None }
    }

    /// The same from `ip`.
    #[must_use]
    pub const fn from_ip(mut self, ip: IpAddr) -> Self {
        self.ip = Some(ip);
        self
    }
}

/// What is asked for when a subscription is created.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct NewSubscription {
    /// Whose it will be.
    pub tenant_id: TenantId,
    /// The plan version.
    pub plan_id: PlanId,
    /// What is known of the tenant, for the plan's availability.
    pub tenant: TenantProfile,
    /// The billing zone, in which days and months are counted.
    pub zone: Tz,
    /// What an anchor on day 29, 30 or 31 means in a shorter month.
    pub month_end: MonthEnd,
    /// The payment method, if one is known.
    pub payment_method: Option<PaymentMethodId>,
    /// Whether it renews by itself.
    pub auto_renew: bool,
    /// Whether a trial is wanted if there is one to be had.
    pub trial: bool,
    /// A coupon to redeem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<CouponCode>,
    /// How many of the plan, seats for example; at least 1.
    // Left out at 1: the fingerprints of requests that were answered before there were quantities stay what they were.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub quantity: u32,
    /// Add-ons of the plan, and how many of each, at least 1: recurring ones are held from now on, others are bought.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add_ons: BTreeMap<AddOnCode, u32>,
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(quantity: &u32) -> bool {
    *quantity == 1
}

impl NewSubscription {
    /// One of the plan, in UTC, that renews by itself and takes a trial if there is one.
    pub fn new(tenant_id: TenantId, plan_id: PlanId) -> Self {
        Self {
            tenant_id,
            plan_id,
            tenant: TenantProfile::default(),
            zone: Tz::UTC,
            month_end: MonthEnd::default(),
            payment_method: None,
            auto_renew: true,
            trial: true,
            coupon: None,
            quantity: 1,
            add_ons: BTreeMap::new(),
        }
    }
}

/// What a command did. A repeated command is answered with the receipt of the first time.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Receipt {
    /// The subscription right after the command.
    pub subscription: Subscription,
    /// The invoices that were opened, in order: by steps that were due before the command, then by the command.
    pub invoices: Vec<InvoiceId>,
}

impl Receipt {
    /// The subscription's id.
    pub const fn id(&self) -> SubscriptionId {
        self.subscription.id
    }

    /// The subscription's status right after the command.
    pub const fn status(&self) -> Status {
        self.subscription.status()
    }
}
