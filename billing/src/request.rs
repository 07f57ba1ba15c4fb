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
    ///
    /// # Example
    ///
    /// ```
    /// use billing::Request;
    /// use billing::core::audit::Actor;
    /// use billing::core::id::IdempotencyKey;
    ///
    /// let request = Request::new(IdempotencyKey::new("order-17").unwrap(), Actor::System);
    /// assert_eq!(request.ip, None);
    /// ```
    pub const fn new(key: IdempotencyKey, actor: Actor) -> Self {
        Self { key, actor, ip: None }
    }

    /// The same from `ip`.
    ///
    /// # Example: the address stands in the audit trail
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// let from = request("stop").from_ip([192, 0, 2, 7].into());
    /// billing.suspend(&from, id, "fraud").await?;
    /// let trail = billing.audit_trail(id).await?;
    /// assert_eq!(trail[2].ip, from.ip);
    /// # Ok(())
    /// # });
    /// ```
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
    ///
    /// # Example: ten seats, billed in Lagos
    ///
    /// ```
    /// use billing::NewSubscription;
    /// use billing::core::id::{PlanId, TenantId};
    /// # use uuid::Uuid;
    /// # let (tenant, plan) = (TenantId::new(Uuid::from_u128(1)), PlanId::new(Uuid::from_u128(2)));
    ///
    /// let new = NewSubscription {
    ///     quantity: 10,
    ///     zone: chrono_tz::Tz::Africa__Lagos,
    ///     ..NewSubscription::new(tenant, plan)
    /// };
    /// assert!(new.auto_renew && new.trial && new.payment_method.is_none());
    /// ```
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
    ///
    /// # Example
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, tenant, id, .. }| {
    /// let receipt = billing.set_auto_renew(&request("off"), id, false).await?;
    /// assert_eq!(receipt.id(), id);
    /// # Ok(())
    /// # });
    /// ```
    pub const fn id(&self) -> SubscriptionId {
        self.subscription.id
    }

    /// The subscription's status right after the command.
    ///
    /// # Example: right after the command, not now
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::Status;
    ///
    /// let receipt = billing.set_auto_renew(&request("off"), id, false).await?;
    /// clock.set(at("2026-12-01T00:00:00Z"));
    /// billing.advance(&request("winter"), id).await?;
    /// let again = billing.set_auto_renew(&request("off"), id, false).await?;
    /// assert_eq!((again.status(), &again), (Status::Active, &receipt));
    /// assert_eq!(billing.subscription(id).await?.status(), Status::Expired);
    /// # Ok(())
    /// # });
    /// ```
    pub const fn status(&self) -> Status {
        self.subscription.status()
    }
}
