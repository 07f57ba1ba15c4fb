//! Plans: what is sold, to whom, at which price, and what it grants.

mod add_on;
mod compare;
mod lint;
mod meter;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub use self::add_on::{AddOn, AddOnCharge};
pub use self::compare::{Comparison, Difference};
pub use self::lint::{FindingKind, PlanFinding};
pub use self::meter::{ChargeFilter, LimitReset, MeterTerms};
use crate::calendar::{Interval, IntervalUnit};
use crate::id::{AddOnCode, FeatureCode, MeterCode, PlanCode, PlanId, ProductCode, SeriesCode, TrialFamily};
use crate::money::{Currency, Money, Rounding};
use crate::retry::RetryPolicy;
use crate::validate::{Faults, Region, Tag};

/// One version of a plan.
///
/// A version that a subscription uses is immutable; a change makes the next version. Only `is_active` and
/// `discontinued` may be set later, since they say who may come in, not what those inside agreed to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Plan {
    /// Names this version.
    pub id: PlanId,
    /// Names the plan; its versions share it.
    pub code: PlanCode,
    /// The version, from 1.
    pub version: u32,
    /// The product line: a tenant holds at most one live subscription of each.
    pub product: ProductCode,
    /// What customers read. 1 to 120 characters.
    pub name: String,
    /// The recurring price of one interval; its currency is the plan's. Zero for free or usage-only plans.
    pub price: Money,
    /// What the usage of all meters together comes to at least in a whole period, before discounts and tax: what is missing when
    /// the period is over is charged on top. Recurring prices are due beside it. Of a part of a period it is a part, by time.
    /// It does not depend on the quantity of the subscription, and is for plans with meters.
    #[cfg_attr(feature = "serde", serde(default))]
    pub minimum_commitment: Option<Money>,
    /// How often the recurring price is due.
    pub interval: Interval,
    /// Whether the recurring price is due when a period begins or when it is over.
    #[cfg_attr(feature = "serde", serde(default))]
    pub timing: BillingTiming,
    /// Whether a new subscription is active at once or when its first invoice is paid.
    #[cfg_attr(feature = "serde", serde(default))]
    pub activation: Activation,
    /// The trial, if the plan has one.
    #[cfg_attr(feature = "serde", serde(default))]
    pub trial: Option<Trial>,
    /// For how many days after its paid time a subscription keeps everything.
    #[cfg_attr(feature = "serde", serde(default))]
    pub grace_period_days: u32,
    /// What stays after grace, if anything.
    #[cfg_attr(feature = "serde", serde(default))]
    pub restricted: Option<RestrictedStage>,
    /// For how many days a suspended subscription is kept before it is canceled.
    #[cfg_attr(feature = "serde", serde(default = "retention_days"))]
    pub retention_days: u32,
    /// When a failed payment is tried again.
    #[cfg_attr(feature = "serde", serde(default))]
    pub retry: RetryPolicy,
    /// How a part of a period is priced.
    #[cfg_attr(feature = "serde", serde(default))]
    pub proration: ProrationRule,
    /// How a line is rounded.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rounding: Rounding,
    /// For how many hours after a period has ended usage of it may still come in before its invoice is opened. What comes later
    /// is adjusted on the next one. Of no matter to a plan without meters.
    #[cfg_attr(feature = "serde", serde(default))]
    pub closing_window_hours: u32,
    /// For how many days after it was opened an invoice may be paid.
    #[cfg_attr(feature = "serde", serde(default))]
    pub net_terms_days: u32,
    /// The series that numbers its invoices, such as that of the legal entity that sells it; none for no numbers but those
    /// within a subscription.
    #[cfg_attr(feature = "serde", serde(default))]
    pub invoice_series: Option<SeriesCode>,
    /// The runaway guard: a subscription with more invoice lines in a (UTC) day is parked for a human.
    #[cfg_attr(feature = "serde", serde(default = "invoice_lines_per_day_max"))]
    pub invoice_lines_per_day_max: u32,
    /// Where it is sold; empty for everywhere.
    #[cfg_attr(feature = "serde", serde(default))]
    pub regions: BTreeSet<Region>,
    /// To which industries it is sold; empty for all.
    #[cfg_attr(feature = "serde", serde(default))]
    pub industries: BTreeSet<Tag>,
    /// The compliance tags that a tenant must have, all of them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub required_compliance: BTreeSet<Tag>,
    /// Whether it is on sale.
    pub is_active: bool,
    /// Whether it was withdrawn for good: it keeps its subscribers and takes no new ones.
    #[cfg_attr(feature = "serde", serde(default))]
    pub discontinued: bool,
    /// What it grants. A feature that is not here is not granted.
    #[cfg_attr(feature = "serde", serde(default))]
    pub features: BTreeMap<FeatureCode, Feature>,
    /// What it measures, and what that costs.
    #[cfg_attr(feature = "serde", serde(default))]
    pub meters: BTreeMap<MeterCode, MeterTerms>,
    /// What is sold beside it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub add_ons: BTreeMap<AddOnCode, AddOn>,
}

/// Thirty days: long enough to find a lapsed subscription after a holiday, and the usual retention of peers.
#[cfg_attr(
    not(feature = "serde"),
    expect(dead_code, reason = "the default of a serde field")
)]
const fn retention_days() -> u32 {
    30
}

/// Far above any real day, far below what a loop produces in an hour.
#[cfg_attr(
    not(feature = "serde"),
    expect(dead_code, reason = "the default of a serde field")
)]
const fn invoice_lines_per_day_max() -> u32 {
    1_000
}

/// When the recurring price of a period is billed. Usage is always billed when its period is over.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: an adapter must fail to compile when one is added"
)]
pub enum BillingTiming {
    /// When the period begins.
    #[default]
    InAdvance,
    /// When the period is over.
    InArrears,
}

/// When a new subscription without a trial becomes active.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: an adapter must fail to compile when one is added"
)]
pub enum Activation {
    /// At once, while the first invoice is collected.
    #[default]
    Immediate,
    /// When the first invoice is paid; canceled when that takes longer than so many hours.
    OnPayment {
        /// At least 1. Peers allow 23 hours (Stripe) to a few days.
        pay_within_hours: u32,
    },
}

/// A trial: access without a charge for some days, once per tenant and family.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Trial {
    /// How long, in whole local days, at least 1.
    pub days: u32,
    /// Whether the trial starts only with a payment method on file.
    #[cfg_attr(feature = "serde", serde(default))]
    pub payment_method_required: bool,
    /// Plans of one family share one trial: who had it in one does not get it in another.
    pub family: TrialFamily,
    /// What becomes of it when it is over and no payment method is known.
    #[cfg_attr(feature = "serde", serde(default))]
    pub without_payment_method: TrialEnd,
}

/// What becomes of a trial that is over without a payment method.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: an adapter must fail to compile when one is added"
)]
pub enum TrialEnd {
    /// Expired without access, to be renewed.
    #[default]
    Expire,
    /// Canceled.
    Cancel,
    /// Active on another plan, usually a free one.
    MoveTo {
        /// The version of the plan to move to: same product, same currency.
        plan_id: PlanId,
    },
}

/// After grace: some features stay for some days, so that a customer can still reach their data.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct RestrictedStage {
    /// For how many days after grace, at least 1.
    pub days: u32,
    /// What stays; each is a feature of the plan.
    pub features: BTreeSet<FeatureCode>,
}

/// How a part of a period is priced when a plan changes or a subscription ends inside it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: an adapter must fail to compile when one is added"
)]
pub enum ProrationRule {
    /// By the exact time elapsed over the whole period.
    #[default]
    Second,
    /// By whole days of the billing zone; the day of a change belongs to the new plan.
    Day,
    /// By whole days of the billing zone; the day of a change belongs to the old plan and is still billed.
    StartedDay,
    /// By whole months from the billing anchor; the month of a change belongs to the old plan and is still billed. For
    /// intervals of months or years.
    StartedMonth,
    /// Not at all: nothing is credited, and what is new is free until the period is over.
    None,
}

/// What a plan says of one feature.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a kind is added"
)]
pub enum Feature {
    /// Granted or not.
    Flag(bool),
    /// Granted with a value that the product reads, such as a number of seats or a support level.
    Value(String),
    /// Granted within the limits of a meter of the plan.
    Metered(MeterCode),
}

/// Who asks for a plan.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct TenantProfile {
    /// Where the tenant is, if known.
    #[cfg_attr(feature = "serde", serde(default))]
    pub region: Option<Region>,
    /// What the tenant does, if known.
    #[cfg_attr(feature = "serde", serde(default))]
    pub industry: Option<Tag>,
    /// What the tenant complies with.
    #[cfg_attr(feature = "serde", serde(default))]
    pub compliance: BTreeSet<Tag>,
}

/// Why a plan is not to be had; see [`Plan::availability`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "reason", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Unavailable {
    /// It is not on sale.
    #[error("the plan is not active")]
    Inactive,
    /// It takes no new subscribers.
    #[error("the plan is discontinued")]
    Discontinued,
    /// It is not sold where the tenant is, or that is not known.
    #[error("the plan is not sold in {}", region.as_ref().map_or_else(|| String::from("an unknown region"), |region| format!("region `{region}`")))]
    Region {
        /// Where the tenant is, if known.
        region: Option<Region>,
    },
    /// It is not sold to the tenant's industry, or that is not known.
    #[error("the plan is not sold to {}", industry.as_ref().map_or_else(|| String::from("an unknown industry"), |industry| format!("industry `{industry}`")))]
    Industry {
        /// What the tenant does, if known.
        industry: Option<Tag>,
    },
    /// The tenant lacks a compliance tag.
    #[error("the plan requires compliance `{tag}`")]
    Compliance {
        /// The tag that is missing.
        tag: Tag,
    },
}

const DAYS_MAX: u32 = 3660;

/// The longest that an invoice waits for usage, and never longer than a period.
const HOURS_PER_MONTH: u64 = 720;

impl Plan {
    /// The currency of everything that the plan charges.
    pub fn currency(&self) -> Currency {
        self.price.currency
    }

    /// Reports everything that is wrong with the plan, each fault with the path of its field as in JSON.
    ///
    /// # Errors
    ///
    /// [`Faults`], at least one.
    pub fn validate(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        if self.version == 0 {
            faults.push("version", "out_of_range", "expected at least 1, got 0");
        }
        let length = self.name.chars().count();
        if self.name.trim().is_empty() || length > 120 {
            faults.push(
                "name",
                "length",
                format!("expected 1 to 120 characters, got {length}"),
            );
        }
        if self.price.is_negative() {
            faults.push(
                "price.minor",
                "negative",
                format!("expected 0 or more, got {}", self.price.minor),
            );
        }
        if let Some(minimum) = self.minimum_commitment {
            self.check_commitment(minimum, &mut faults);
        }
        if interval_days(self.interval) > u64::from(DAYS_MAX) {
            faults.push(
                "interval.count",
                "out_of_range",
                format!("expected at most ten years, got {}", self.interval),
            );
        }
        match (self.proration, self.interval.unit) {
            (ProrationRule::StartedMonth, IntervalUnit::Day | IntervalUnit::Week) => faults.push(
                "proration",
                "no_months",
                format!("expected an interval of months or years, got {}", self.interval),
            ),
            (ProrationRule::StartedMonth, IntervalUnit::Month | IntervalUnit::Year)
            | (
                ProrationRule::Second | ProrationRule::Day | ProrationRule::StartedDay | ProrationRule::None,
                _,
            ) => {}
        }
        match self.activation {
            Activation::Immediate => {}
            Activation::OnPayment { pay_within_hours } => {
                within(
                    &mut faults,
                    "activation.on_payment.pay_within_hours",
                    pay_within_hours,
                    1,
                    8760,
                );
            }
        }
        if let Some(trial) = &self.trial {
            within(&mut faults, "trial.days", trial.days, 1, DAYS_MAX);
            if trial.without_payment_method == (TrialEnd::MoveTo { plan_id: self.id }) {
                faults.push(
                    "trial.without_payment_method.move_to.plan_id",
                    "same_plan",
                    "expected another plan than this one",
                );
            }
        }
        within(
            &mut faults,
            "grace_period_days",
            self.grace_period_days,
            0,
            DAYS_MAX,
        );
        if let Some(restricted) = &self.restricted {
            within(&mut faults, "restricted.days", restricted.days, 1, DAYS_MAX);
            for feature in restricted
                .features
                .iter()
                .filter(|feature| !self.features.contains_key(feature))
            {
                faults.push(
                    "restricted.features",
                    "unknown_feature",
                    format!("`{feature}` is not a feature of the plan"),
                );
            }
        }
        within(&mut faults, "retention_days", self.retention_days, 0, DAYS_MAX);
        let closing_max = interval_days(self.interval)
            .saturating_mul(24)
            .min(HOURS_PER_MONTH);
        let closing_max = u32::try_from(closing_max).unwrap_or(u32::MAX).saturating_sub(1);
        within(
            &mut faults,
            "closing_window_hours",
            self.closing_window_hours,
            0,
            closing_max,
        );
        within(&mut faults, "net_terms_days", self.net_terms_days, 0, DAYS_MAX);
        let mut retry = Faults::default();
        self.retry.check(&mut retry);
        faults.at("retry", retry);
        if self.invoice_lines_per_day_max == 0 {
            faults.push(
                "invoice_lines_per_day_max",
                "out_of_range",
                "expected at least 1, got 0",
            );
        }
        for (code, feature) in &self.features {
            match feature {
                Feature::Flag(_) => {}
                Feature::Value(value) => {
                    if value.is_empty() || value.chars().count() > 255 {
                        faults.push(
                            format!("features.{code}.value"),
                            "length",
                            format!("expected 1 to 255 characters, got {}", value.chars().count()),
                        );
                    }
                }
                Feature::Metered(meter) => {
                    if !self.meters.contains_key(meter) {
                        faults.push(
                            format!("features.{code}.metered"),
                            "unknown_meter",
                            format!("`{meter}` is not a meter of the plan"),
                        );
                    }
                }
            }
        }
        for (code, terms) in &self.meters {
            let mut part = Faults::default();
            terms.check(&mut part);
            faults.at(format!("meters.{code}"), part);
        }
        for (code, add_on) in &self.add_ons {
            let mut part = Faults::default();
            add_on.check(self.currency(), &mut part);
            faults.at(format!("add_ons.{code}"), part);
        }
        faults.into_result()
    }

    fn check_commitment(&self, minimum: Money, faults: &mut Faults) {
        if minimum.minor <= 0 {
            faults.push(
                "minimum_commitment.minor",
                "out_of_range",
                format!("expected 1 or more, got {}", minimum.minor),
            );
        }
        if minimum.currency != self.currency() {
            let (expected, found) = (self.currency(), minimum.currency);
            faults.push(
                "minimum_commitment.currency",
                "currency",
                format!("expected {expected}, the currency of the plan, got {found}"),
            );
        }
        if self.meters.is_empty() {
            faults.push(
                "minimum_commitment",
                "no_meters",
                "expected a plan with meters, whose usage it is a minimum of",
            );
        }
    }

    /// The recurring add-on of this code, if the plan sells one.
    pub fn recurring_add_on(&self, code: &AddOnCode) -> Option<&AddOn> {
        let add_on = self.add_ons.get(code)?;
        match add_on.charged {
            AddOnCharge::Recurring => Some(add_on),
            AddOnCharge::Once => None,
        }
    }

    /// Whether a tenant may take the plan now; otherwise every reason against it.
    ///
    /// A plan for some regions or industries is not sold to a tenant whose region or industry is unknown. A plan
    /// sold in `US` is sold in `US-CA`.
    ///
    /// # Errors
    ///
    /// The reasons, at least one, in the order in which [`Unavailable`] lists them.
    pub fn availability(&self, tenant: &TenantProfile) -> Result<(), Vec<Unavailable>> {
        let mut reasons = Vec::new();
        if !self.is_active {
            reasons.push(Unavailable::Inactive);
        }
        if self.discontinued {
            reasons.push(Unavailable::Discontinued);
        }
        let region = tenant.region;
        let sold_there = region.is_some_and(|region| self.regions.iter().any(|sold| sold.contains(&region)));
        if !self.regions.is_empty() && !sold_there {
            reasons.push(Unavailable::Region { region });
        }
        let industry = &tenant.industry;
        let sold_to = industry
            .as_ref()
            .is_some_and(|industry| self.industries.contains(industry));
        if !self.industries.is_empty() && !sold_to {
            reasons.push(Unavailable::Industry {
                industry: industry.clone(),
            });
        }
        let missing = self.required_compliance.difference(&tenant.compliance);
        reasons.extend(missing.map(|tag| Unavailable::Compliance { tag: tag.clone() }));
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    /// Whether a period of this plan costs less over a year than one of `other`; equal is not less.
    ///
    /// Compared by the yearly recurring amount, a year as 365 days or 12 months: what decides whether a change waits
    /// for the period's end.
    pub fn is_cheaper_than(&self, other: &Self) -> bool {
        // price x times per year, as a fraction: cross-multiplied, so nothing is rounded.
        let (times, per) = yearly(self.interval);
        let (other_times, other_per) = yearly(other.interval);
        let amount = i128::from(self.price.minor)
            .saturating_mul(times)
            .saturating_mul(other_per);
        let other_amount = i128::from(other.price.minor)
            .saturating_mul(other_times)
            .saturating_mul(per);
        amount < other_amount
    }

    /// For how long the invoice of a period waits for its usage.
    pub fn closing_hours(&self) -> u32 {
        if self.meters.is_empty() {
            0
        } else {
            self.closing_window_hours
        }
    }

    /// Whether `other` has the same terms: all but [`is_active`](Self::is_active) and
    /// [`discontinued`](Self::discontinued).
    pub fn has_same_terms(&self, other: &Self) -> bool {
        let open = Self {
            is_active: other.is_active,
            discontinued: other.discontinued,
            ..self.clone()
        };
        open == *other
    }
}

fn within(faults: &mut Faults, path: &str, value: u32, least: u32, most: u32) {
    if !(least..=most).contains(&value) {
        faults.push(
            path,
            "out_of_range",
            format!("expected {least} to {most}, got {value}"),
        );
    }
}

fn interval_days(interval: Interval) -> u64 {
    let days = match interval.unit {
        IntervalUnit::Day => 1,
        IntervalUnit::Week => 7,
        IntervalUnit::Month => 30,
        IntervalUnit::Year => 365,
    };
    u64::from(interval.count.get()).saturating_mul(days)
}

/// How many periods a year has, as numerator and denominator.
fn yearly(interval: Interval) -> (i128, i128) {
    let count = i128::from(interval.count.get());
    match interval.unit {
        IntervalUnit::Day => (365, count),
        IntervalUnit::Week => (365, count.saturating_mul(7)),
        IntervalUnit::Month => (12, count),
        IntervalUnit::Year => (1, count),
    }
}

#[cfg(test)]
mod tests;
