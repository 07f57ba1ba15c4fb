//! What is legal in a plan and probably a mistake.

mod price;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rust_decimal::Decimal;

use self::price::Price;
use super::meter::warn_at;
use super::{Feature, LimitReset, MeterTerms, Plan, RestrictedStage};
use crate::charge::ChargeModel;
use crate::id::FeatureCode;
use crate::rating::PeriodTerms;

/// One thing in a plan that is legal and probably a mistake; see [`Plan::lint`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub struct PlanFinding {
    /// The part of the plan, from the outside in, such as `meters.api.charge.graduated.tiers[1]`.
    pub path: String,
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// What was found, for a person, with the numbers to check it by.
    pub message: String,
}

impl fmt::Display for PlanFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The rules by which [`Plan::lint`] finds something.
///
/// Quantities are those of a whole billing period, in which the hard limit was kept. In a part of a period the
/// allowance is smaller and the limit is not, so that more of the price is in reach.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FindingKind {
    /// The restricted stage keeps no feature.
    EmptyRestrictedStage,
    /// A feature of the restricted stage is switched off in the plan, so the stage does not grant it either.
    UngrantedFeature,
    /// A feature is granted within a meter whose hard limit is zero, so every use of it is refused.
    UnusableFeature,
    /// A soft limit at the hard limit: it warns only when nothing is left.
    LateSoftLimit,
    /// Marks to warn at, but no limit and no allowance that they could be parts of. The default marks are not told.
    IdleWarnings,
    /// Usage above the allowance costs nothing, and no hard limit ends it.
    FreeOverage,
    /// A price for what is above the allowance, but the hard limit is the allowance. A price of zero is not told.
    UnreachedPrice,
    /// No usage reaches the tier: it begins at the hard limit or above, or it ends within the allowance of a
    /// [`Volume`](crate::charge::Volume) price of the whole usage, or the maximum is reached before a graduated tier
    /// begins.
    DeadTier,
    /// The tier changes no amount: its price is that of the tier before, and so is the flat fee of a volume tier. A
    /// graduated tier with a flat fee adds it, so it is never repeated.
    RepeatedTier,
    /// More usage costs less: where a volume tier begins, one unit more costs less in total. Where less than a unit
    /// is left of the tier, or up to the hard limit, that is compared. What is compared are the rounded amounts of a
    /// period.
    CheaperWithMore,
    /// What is above the allowance is cheaper than what is in it. As many units again as the allowance holds, or as
    /// the hard limit leaves, cost less a unit than the recurring price comes to for each included unit. The minimum
    /// and the maximum are left out. Told only when the plan has a recurring price and exactly one meter with an
    /// allowance, and not for a model without any price, nor one that needs to know single events. What else the
    /// recurring price is for is not known.
    CheapOverage,
    /// A minimum above zero that usage never stays below: what is due without any usage comes to it. Volume prices
    /// are not looked at.
    IdleMinimum,
    /// A minimum that usage never comes to: all that the hard limit allows costs less, so the prices change no
    /// amount. Volume prices, those by the number of events, and models without any price are not looked at.
    UnreachedMinimum,
    /// A maximum that is cut off already from what the first unit above the allowance costs.
    LowMaximum,
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<PlanFinding>);

impl Findings {
    fn push(&mut self, path: String, kind: FindingKind, message: String) {
        self.0.push(PlanFinding { path, kind, message });
    }
}

impl Plan {
    /// Finds what is legal and probably a mistake, each with the path of its field as in JSON.
    ///
    /// What is wrong is told by [`validate`](Self::validate); this is for a plan in which nothing is. Each finding
    /// follows the rule of its [`FindingKind`], and none is a reason to refuse the plan. Amounts are those of
    /// [`rate`](crate::rating::rate). No finding does not mean that the plan is as it was meant.
    ///
    /// They come in the order restricted stage, features, meters; within a meter limits come before prices.
    ///
    /// # Example: eleven units cost less than ten
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// use billing_core::plan::{FindingKind, Plan};
    ///
    /// let plan: Plan = serde_json::from_str(
    ///     r#"{
    ///         "id": "00000000-0000-0000-0000-000000000001", "code": "pro", "version": 1, "product": "core",
    ///         "name": "Pro", "price": {"minor": 3100, "currency": "USD"},
    ///         "interval": {"unit": "month", "count": 1}, "is_active": true,
    ///         "meters": {"api": {"charge": {"volume": {"tiers": [
    ///             {"up_to": "10", "unit_price": "0.5"}, {"unit_price": "0.4"}
    ///         ]}}}}
    ///     }"#,
    /// )
    /// .unwrap();
    /// let found = plan.lint();
    /// assert_eq!(found[0].kind, FindingKind::CheaperWithMore);
    /// assert_eq!(
    ///     found[0].to_string(),
    ///     "meters.api.charge.volume.tiers[1]: 11 used costs 4.40 USD, less than 10 used for 5.00 USD: \
    ///      11 x 0.4 = 4.4 USD and 10 x 0.5 = 5 USD"
    /// );
    /// # }
    /// ```
    pub fn lint(&self) -> Vec<PlanFinding> {
        let mut findings = Findings::default();
        if let Some(restricted) = &self.restricted {
            self.lint_restricted(restricted, &mut findings);
        }
        for (code, feature) in &self.features {
            self.lint_feature(code, feature, &mut findings);
        }
        let of_filters = self.meters.values().flat_map(|terms| &terms.filters);
        let allowances = self
            .meters
            .values()
            .map(|terms| terms.allowance)
            .chain(of_filters.map(|filter| filter.allowance))
            .filter(|allowance| !allowance.is_zero());
        // Where events are grouped, each group has an allowance.
        let is_grouped = self.meters.values().any(|terms| !terms.group_by.is_empty());
        let one_allowance = allowances.count() == 1 && !is_grouped;
        for (code, terms) in &self.meters {
            let at = format!("meters.{code}");
            lint_limits(&at, terms, &mut findings);
            let most = most_in_period(terms);
            let whole = PeriodTerms::whole(terms);
            Price::new(self, at.clone(), &terms.charge, whole, most).lint(one_allowance, &mut findings);
            for (index, filter) in terms.filters.iter().enumerate() {
                let at = format!("{at}.filters[{index}]");
                let whole = PeriodTerms::of_filter(filter);
                Price::new(self, at, &filter.charge, whole, most).lint(one_allowance, &mut findings);
            }
        }
        findings.0
    }

    fn lint_restricted(&self, restricted: &RestrictedStage, findings: &mut Findings) {
        let path = "restricted.features";
        if restricted.features.is_empty() {
            findings.push(
                path.into(),
                FindingKind::EmptyRestrictedStage,
                format!("the stage has {} days, but no feature stays", restricted.days),
            );
        }
        for code in &restricted.features {
            if self.features.get(code) == Some(&Feature::Flag(false)) {
                findings.push(
                    path.into(),
                    FindingKind::UngrantedFeature,
                    format!("`{code}` is switched off in the plan, so it does not stay either"),
                );
            }
        }
    }

    fn lint_feature(&self, code: &FeatureCode, feature: &Feature, findings: &mut Findings) {
        match feature {
            Feature::Flag(_) | Feature::Value(_) => {}
            Feature::Metered(meter) => {
                let terms = self.meters.get(meter);
                if terms.is_some_and(|terms| terms.hard_limit == Some(Decimal::ZERO)) {
                    findings.push(
                        format!("features.{code}.metered"),
                        FindingKind::UnusableFeature,
                        format!("the hard limit of meter `{meter}` is 0, so every use is refused"),
                    );
                }
            }
        }
    }
}

fn lint_limits(at: &str, terms: &MeterTerms, findings: &mut Findings) {
    if let (Some(soft), Some(hard)) = (terms.soft_limit, terms.hard_limit)
        && soft >= hard
        && !hard.is_zero()
    {
        let (soft, hard) = (soft.normalize(), hard.normalize());
        findings.push(
            format!("{at}.soft_limit"),
            FindingKind::LateSoftLimit,
            format!("a warning at {soft} comes when nothing is left of the hard limit of {hard}"),
        );
    }
    let has_whole = terms.hard_limit.or(terms.soft_limit).is_some() || !terms.allowance.is_zero();
    // The default stands in every meter whose file does not say otherwise.
    if !has_whole && !terms.warn_at.is_empty() && terms.warn_at != warn_at() {
        findings.push(
            format!("{at}.warn_at"),
            FindingKind::IdleWarnings,
            "there is no hard limit, soft limit or allowance to warn at a part of".into(),
        );
    }
    if terms.hard_limit.is_none() {
        lint_overage(at, &terms.charge, terms.allowance, findings);
        for (index, filter) in terms.filters.iter().enumerate() {
            lint_overage(
                &format!("{at}.filters[{index}]"),
                &filter.charge,
                filter.allowance,
                findings,
            );
        }
    }
}

/// Usage above an allowance that nothing ends.
fn lint_overage(at: &str, charge: &ChargeModel, allowance: Decimal, findings: &mut Findings) {
    if !allowance.is_zero() && is_free(charge) {
        let allowance = allowance.normalize();
        findings.push(
            format!("{at}.charge"),
            FindingKind::FreeOverage,
            format!("usage above the allowance of {allowance} costs nothing, and no hard limit ends it"),
        );
    }
}

/// The most that a billing period is charged for, as far as the plan says: limits that count by the calendar do not say it, nor
/// does one of what is held at a time.
fn most_in_period(terms: &MeterTerms) -> Option<Decimal> {
    match terms.reset {
        LimitReset::BillingPeriod if terms.aggregation.carries_over() => None,
        LimitReset::BillingPeriod => terms
            .hard_limit
            .and_then(|limit| limit.checked_add(terms.rollover_max.unwrap_or(Decimal::ZERO))),
        LimitReset::Calendar(_) => None,
    }
}

/// Whether more usage never costs less.
const fn only_rises(charge: &ChargeModel) -> bool {
    match charge {
        ChargeModel::Volume(_) => false,
        ChargeModel::Flat { .. }
        | ChargeModel::PerUnit { .. }
        | ChargeModel::Graduated(_)
        | ChargeModel::Package(_)
        | ChargeModel::Percentage(_)
        | ChargeModel::GraduatedPercentage(_)
        | ChargeModel::Matrix(_) => true,
    }
}

/// Whether every price of the model is zero.
fn is_free(charge: &ChargeModel) -> bool {
    match charge {
        ChargeModel::Flat { amount } => amount.is_zero(),
        ChargeModel::PerUnit { unit_price } => unit_price.is_zero(),
        ChargeModel::Graduated(graduated) => graduated
            .tiers
            .iter()
            .all(|tier| tier.unit_price.is_zero() && tier.flat_fee.is_zero()),
        ChargeModel::Volume(volume) => volume
            .tiers
            .iter()
            .all(|tier| tier.unit_price.is_zero() && tier.flat_fee.is_zero()),
        ChargeModel::Package(package) => package.price.is_zero(),
        ChargeModel::Percentage(percentage) => {
            let event_minimum = percentage.event_minimum.unwrap_or_default();
            percentage.percent.is_zero() && percentage.fixed_fee.is_zero() && event_minimum.is_zero()
        }
        ChargeModel::GraduatedPercentage(graduated) => graduated
            .tiers
            .iter()
            .all(|tier| tier.percent.is_zero() && tier.flat_fee.is_zero()),
        ChargeModel::Matrix(matrix) => {
            matrix.otherwise.unwrap_or_default().is_zero()
                && matrix.rows.iter().all(|row| row.unit_price.is_zero())
        }
    }
}

// Plans are read from JSON here, so that a new field of a meter changes no test.
#[cfg(test)]
#[cfg(feature = "serde")]
mod tests;
