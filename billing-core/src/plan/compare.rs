//! What one plan grants that another does not.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use rust_decimal::Decimal;

use super::{Feature, LimitReset, MeterTerms, Plan, yearly};
use crate::calendar::Interval;
use crate::id::FeatureCode;
use crate::money::Exact;

/// What two plans grant, side by side; see [`Plan::compare_grants`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Comparison {
    /// What the other plan grants and this one does not, or less of it.
    pub missing: Vec<Difference>,
    /// What this plan grants and the other one does not, or less of it.
    pub extra: Vec<Difference>,
}

impl Comparison {
    /// Whether this plan grants everything that the other one does.
    pub const fn grants_everything(&self) -> bool {
        self.missing.is_empty()
    }
}

/// One thing that two plans do not grant alike.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Difference {
    /// Where, as in the JSON of a plan, such as `meters.api.hard_limit`.
    pub path: String,
    /// What this plan grants there, for a person.
    pub this: String,
    /// What the other plan grants there, for a person.
    pub other: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, not {}", self.path, self.this, self.other)
    }
}

impl Plan {
    /// Compares what this plan grants with what `other` does, whatever either costs.
    ///
    /// This plan grants everything that `other` does when all of this holds:
    ///
    /// - Its trial and its grace period last at least as long. Its restricted stage, if the other has one that keeps a
    ///   feature, ends no earlier after the paid time and keeps each of those features; a grace period of that length
    ///   keeps all of them.
    /// - It is sold wherever the other is, to every industry that the other is, and asks for no more compliance tags.
    /// - It grants every feature that the other does. A flag may become a value, and a metered feature either of
    ///   them; a flag may become metered if the meter has no hard limit. A value is the same text, or, where both are
    ///   whole numbers, at least as large. A metered feature is granted within the same meter.
    /// - It has every meter that the other has, with the same aggregation, the same groups, filters that match the same and
    ///   include the same, and an allowance that is at least as large.
    ///   Its soft and hard limits are none, or at least as large and counted in the same windows.
    ///
    /// Where plans are billed at other intervals, a quantity of this one must hold as many of the other's quantities
    /// as the other has periods in its own period, and at least one: 12 000 a year hold 1 000 a month, but not the
    /// other way around, since a month may use up the year. A year has 365 days or 12 months.
    ///
    /// Left out are prices, payment, retention, and whether either plan is on sale. What cannot be compared is both
    /// missing and extra.
    ///
    /// # Example: a larger plan with another support level
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// use billing_core::plan::Plan;
    ///
    /// let plan = |allowance: &str, support: &str| -> Plan {
    ///     serde_json::from_str(&format!(
    ///         r#"{{
    ///             "id": "00000000-0000-0000-0000-000000000001", "code": "pro", "version": 1, "product": "core",
    ///             "name": "Pro", "price": {{"minor": 3100, "currency": "USD"}},
    ///             "interval": {{"unit": "month", "count": 1}}, "is_active": true,
    ///             "features": {{"api": {{"metered": "calls"}}, "support": {{"value": "{support}"}}}},
    ///             "meters": {{"calls": {{"allowance": "{allowance}", "charge": {{"flat": {{"amount": "1"}}}}}}}}
    ///         }}"#
    ///     ))
    ///     .unwrap()
    /// };
    /// let basic = plan("100", "mail");
    /// assert!(plan("200", "mail").compare_grants(&basic).grants_everything());
    ///
    /// let compared = plan("200", "phone").compare_grants(&basic);
    /// assert_eq!(compared.missing[0].to_string(), "features.support: `phone`, not `mail`");
    /// assert_eq!(compared.extra[1].to_string(), "meters.calls.allowance: 200 every month, not 100 every month");
    /// # }
    /// ```
    pub fn compare_grants(&self, other: &Self) -> Comparison {
        let mut extra = missing(other, self);
        for Difference { this, other, .. } in &mut extra {
            mem::swap(this, other);
        }
        Comparison {
            missing: missing(self, other),
            extra,
        }
    }

    /// Whether the plan grants the feature at all; within which limits is not looked at.
    fn has(&self, code: &FeatureCode) -> bool {
        match self.features.get(code) {
            None | Some(Feature::Flag(false)) => false,
            Some(Feature::Flag(true) | Feature::Value(_) | Feature::Metered(_)) => true,
        }
    }

    /// For how many days after its paid time something stays.
    fn days_after_paid(&self) -> u32 {
        let days = self.restricted.as_ref().map_or(0, |stage| stage.days);
        self.grace_period_days.saturating_add(days)
    }
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn push(&mut self, path: impl fmt::Display, this: impl fmt::Display, other: impl fmt::Display) {
        self.0.push(Difference {
            path: path.to_string(),
            this: this.to_string(),
            other: other.to_string(),
        });
    }
}

/// What `other` grants and `this` does not, in the order of a plan's fields.
fn missing(this: &Plan, other: &Plan) -> Vec<Difference> {
    let mut found = Differences::default();
    compare_stages(this, other, &mut found);
    compare_availability(this, other, &mut found);
    for (code, granted) in &other.features {
        let feature = this.features.get(code);
        if !grants_as_much(this, feature, granted) {
            found.push(
                format_args!("features.{code}"),
                feature_text(feature),
                feature_text(Some(granted)),
            );
        }
    }
    for (code, granted) in &other.meters {
        let path = format!("meters.{code}");
        match this.meters.get(code) {
            None => {
                let allowance = per(granted.allowance, other.interval);
                found.push(path, "no such meter", format_args!("{allowance} included"));
            }
            Some(terms) => compare_meter(&path, (this, terms), (other, granted), &mut found),
        }
    }
    found.0
}

/// The trial, and what stays after paid time.
fn compare_stages(this: &Plan, other: &Plan, found: &mut Differences) {
    let trial = |plan: &Plan| plan.trial.as_ref().map_or(0, |trial| trial.days);
    let mut days = |path: &str, this: u32, other: u32| {
        if this < other {
            found.push(path, days_text(this), days_text(other));
        }
    };
    days("trial.days", trial(this), trial(other));
    days(
        "grace_period_days",
        this.grace_period_days,
        other.grace_period_days,
    );
    let Some(stage) = &other.restricted else {
        return;
    };
    let kept: Vec<_> = stage.features.iter().filter(|code| other.has(code)).collect();
    if kept.is_empty() || this.grace_period_days >= other.days_after_paid() {
        return;
    }
    if this.days_after_paid() < other.days_after_paid() {
        let until = |plan: &Plan| format!("until {} after paid time", days_text(plan.days_after_paid()));
        found.push("restricted.days", until(this), until(other));
    }
    if let Some(own) = &this.restricted {
        for code in kept.into_iter().filter(|code| !own.features.contains(*code)) {
            found.push(
                "restricted.features",
                format_args!("without `{code}`"),
                format_args!("`{code}` stays"),
            );
        }
    }
}

/// Who may take the plan.
fn compare_availability(this: &Plan, other: &Plan, found: &mut Differences) {
    let is_sold = |region| this.regions.iter().any(|sold| sold.contains(region));
    if !this.regions.is_empty() && (other.regions.is_empty() || !other.regions.iter().all(is_sold)) {
        found.push(
            "regions",
            list(&this.regions, "everywhere"),
            list(&other.regions, "everywhere"),
        );
    }
    let is_narrower = other.industries.is_empty() || !other.industries.is_subset(&this.industries);
    if !this.industries.is_empty() && is_narrower {
        found.push(
            "industries",
            list(&this.industries, "all"),
            list(&other.industries, "all"),
        );
    }
    if !this.required_compliance.is_subset(&other.required_compliance) {
        found.push(
            "required_compliance",
            list(&this.required_compliance, "none"),
            list(&other.required_compliance, "none"),
        );
    }
}

/// Whether `feature` of `this` is at least what another plan grants.
fn grants_as_much(this: &Plan, feature: Option<&Feature>, granted: &Feature) -> bool {
    match (granted, feature) {
        (Feature::Flag(false), _) => true,
        (
            Feature::Flag(true) | Feature::Value(_) | Feature::Metered(_),
            None | Some(Feature::Flag(false)),
        )
        | (Feature::Value(_), Some(Feature::Flag(true) | Feature::Metered(_))) => false,
        (Feature::Flag(true) | Feature::Metered(_), Some(Feature::Flag(true) | Feature::Value(_))) => true,
        (Feature::Flag(true), Some(Feature::Metered(meter))) => {
            let terms = this.meters.get(meter);
            terms.is_some_and(|terms| terms.hard_limit.is_none())
        }
        (Feature::Value(granted), Some(Feature::Value(value))) => {
            let numbers = value.parse::<u64>().ok().zip(granted.parse::<u64>().ok());
            value == granted || numbers.is_some_and(|(value, granted)| value >= granted)
        }
        (Feature::Metered(granted), Some(Feature::Metered(meter))) => meter == granted,
    }
}

/// One meter that both have, each with its plan.
fn compare_meter(
    path: &str,
    (this, terms): (&Plan, &MeterTerms),
    (other, granted): (&Plan, &MeterTerms),
    found: &mut Differences,
) {
    if terms.aggregation != granted.aggregation {
        let path = format_args!("{path}.aggregation");
        found.push(path, &terms.aggregation, &granted.aggregation);
        return;
    }
    if terms.group_by != granted.group_by {
        let text = |terms: &MeterTerms| match &terms.group_by[..] {
            [] => String::from("one allowance"),
            names => format!("one allowance for each {}", names.join(", ")),
        };
        found.push(format_args!("{path}.group_by"), text(terms), text(granted));
        return;
    }
    let allowances = |terms: &MeterTerms| -> Vec<_> {
        let filters = terms.filters.iter();
        filters
            .map(|filter| (filter.matching.clone(), filter.allowance))
            .collect()
    };
    if allowances(terms) != allowances(granted) {
        let text = |terms: &MeterTerms| match terms.filters.len() {
            0 => String::from("all events together"),
            1 => String::from("one filter with an allowance of its own"),
            count => format!("{count} filters with allowances of their own"),
        };
        found.push(format_args!("{path}.filters"), text(terms), text(granted));
        return;
    }
    if !holds(
        (terms.allowance, this.interval),
        (granted.allowance, other.interval),
    ) {
        found.push(
            format_args!("{path}.allowance"),
            per(terms.allowance, this.interval),
            per(granted.allowance, other.interval),
        );
    }
    let limits = [
        ("soft_limit", terms.soft_limit, granted.soft_limit),
        ("hard_limit", terms.hard_limit, granted.hard_limit),
    ];
    for (field, limit, granted_limit) in limits {
        let is_enough = match (limit, granted_limit) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(limit), Some(granted_limit)) => match (terms.reset, granted.reset) {
                (LimitReset::BillingPeriod, LimitReset::BillingPeriod) => {
                    holds((limit, this.interval), (granted_limit, other.interval))
                }
                (LimitReset::Calendar(interval), LimitReset::Calendar(other)) => {
                    interval == other && limit >= granted_limit
                }
                // A billing period may hold the ends of two windows of the calendar, and the other way around.
                (LimitReset::BillingPeriod, LimitReset::Calendar(_))
                | (LimitReset::Calendar(_), LimitReset::BillingPeriod) => false,
            },
        };
        if !is_enough {
            found.push(
                format_args!("{path}.{field}"),
                limit_text(limit, this, terms.reset),
                limit_text(granted_limit, other, granted.reset),
            );
        }
    }
    // Without a hard limit nothing has to roll over.
    let rolls = |terms: &MeterTerms| terms.rollover_max.unwrap_or(Decimal::ZERO);
    if terms.hard_limit.is_some() && rolls(terms) < rolls(granted) {
        found.push(
            format_args!("{path}.rollover_max"),
            rolls(terms).to_string(),
            rolls(granted).to_string(),
        );
    }
}

/// Whether a quantity for each interval is enough for whoever uses another one for each of another interval.
fn holds((quantity, interval): (Decimal, Interval), (needed, needed_interval): (Decimal, Interval)) -> bool {
    let (times, per) = yearly(interval);
    let (needed_times, needed_per) = yearly(needed_interval);
    // How many of the other intervals there are in one, as a fraction.
    let number = |number: i128| Decimal::try_from_i128_with_scale(number, 0).ok();
    let count = number(needed_times.saturating_mul(per)).zip(number(needed_per.saturating_mul(times)));
    quantity >= needed
        && count.is_some_and(|(count, of)| Exact::product(quantity, of) >= Exact::product(needed, count))
}

fn days_text(days: u32) -> String {
    format!("{days} day{}", if days == 1 { "" } else { "s" })
}

fn per(quantity: Decimal, interval: Interval) -> String {
    format!("{} {interval}", quantity.normalize())
}

fn limit_text(limit: Option<Decimal>, plan: &Plan, reset: LimitReset) -> String {
    match (limit, reset) {
        (None, _) => "no limit".into(),
        (Some(limit), LimitReset::BillingPeriod) => per(limit, plan.interval),
        (Some(limit), LimitReset::Calendar(interval)) => format!("{} by the calendar", per(limit, interval)),
    }
}

fn feature_text(feature: Option<&Feature>) -> String {
    match feature {
        None | Some(Feature::Flag(false)) => "not granted".into(),
        Some(Feature::Flag(true)) => "granted".into(),
        Some(Feature::Value(value)) => format!("`{}`", value.escape_debug()),
        Some(Feature::Metered(meter)) => format!("within meter `{meter}`"),
    }
}

/// The codes, or what it means that there are none.
fn list<T: fmt::Display>(codes: &BTreeSet<T>, when_empty: &str) -> String {
    if codes.is_empty() {
        return when_empty.into();
    }
    let codes: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
    codes.join(", ")
}

// Plans are read from JSON here, so that a new field of a meter changes no test.
#[cfg(test)]
#[cfg(feature = "serde")]
mod tests;
