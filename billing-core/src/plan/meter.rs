//! What a plan says of a meter: how it counts, what it allows, what it costs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::{DAYS_MAX, interval_days};
use crate::aggregation::Aggregation;
use crate::calendar::Interval;
use crate::charge::{ChargeModel, ENTRIES_MAX, Needs, check_decimal, check_range};
use crate::validate::Faults;

/// What a plan says of one meter. Quantities are in the meter's own unit.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct MeterTerms {
    /// How events become one quantity.
    #[cfg_attr(feature = "serde", serde(default))]
    pub aggregation: Aggregation,
    /// What a period holds before anything is charged.
    #[cfg_attr(feature = "serde", serde(default))]
    pub allowance: Decimal,
    /// From here on a check warns.
    #[cfg_attr(feature = "serde", serde(default))]
    pub soft_limit: Option<Decimal>,
    /// From here on a check refuses.
    #[cfg_attr(feature = "serde", serde(default))]
    pub hard_limit: Option<Decimal>,
    /// How much of what was left of the hard limit in the window before adds to it, at most; none for nothing. What rolled over
    /// once does not roll over again. The allowance is not raised: what is above it is charged as ever. Of a sum or a count.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rollover_max: Option<Decimal>,
    /// What usage above the allowance costs.
    pub charge: ChargeModel,
    /// What the meter costs a period at least, in major units, whatever was used: what usage does not come to is
    /// added. A part of a period has its part of it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub minimum: Option<Decimal>,
    /// What the meter costs a period at most, in major units. A part of a period has its part of it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub maximum: Option<Decimal>,
    /// In which windows the limits count.
    #[cfg_attr(feature = "serde", serde(default))]
    pub reset: LimitReset,
    /// At which fractions of the hard limit (or else of the soft limit, or else of the allowance) a check warns: 0.8 is
    /// 80 %. Above 0, at most 1.
    #[cfg_attr(feature = "serde", serde(default = "warn_at"))]
    pub warn_at: Vec<Decimal>,
    /// Events that are charged apart from the rest, by their properties. An event belongs to the first filter that it
    /// matches, and to the meter's own terms when it matches none. At most 100.
    #[cfg_attr(feature = "serde", serde(default))]
    pub filters: Vec<ChargeFilter>,
    /// The names of properties, at most 8: events with other values of them are other lines, each with the whole
    /// allowance, minimum and maximum, as if each were a meter of its own.
    #[cfg_attr(feature = "serde", serde(default))]
    pub group_by: Vec<String>,
}

/// What is charged for events that have certain properties.
///
/// Its allowance, minimum and maximum are its own, as if it were a meter of its own; the limits are those of the meter, and
/// count all its events.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct ChargeFilter {
    /// What customers read on the line. 1 to 120 characters, another one than that of the filters before.
    pub name: String,
    /// For each property that matters the values that match, all of them at once. An event without the property has the
    /// empty value.
    pub matching: BTreeMap<String, BTreeSet<String>>,
    /// What a period holds before anything is charged.
    #[cfg_attr(feature = "serde", serde(default))]
    pub allowance: Decimal,
    /// What usage above the allowance costs.
    pub charge: ChargeModel,
    /// What it costs a period at least, in major units.
    #[cfg_attr(feature = "serde", serde(default))]
    pub minimum: Option<Decimal>,
    /// What it costs a period at most, in major units.
    #[cfg_attr(feature = "serde", serde(default))]
    pub maximum: Option<Decimal>,
}

impl ChargeFilter {
    /// Whether an event with these properties belongs to it.
    pub fn matches(&self, properties: &BTreeMap<String, String>) -> bool {
        self.matching.iter().all(|(name, values)| {
            let value = properties.get(name).map_or("", String::as_str);
            values.contains(value)
        })
    }
}

/// 80 % and 100 %.
pub(super) fn warn_at() -> Vec<Decimal> {
    Vec::from([Decimal::new(8, 1), Decimal::ONE])
}

/// In which windows of time the limits of a meter count. What is billed always goes by the billing period.
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
pub enum LimitReset {
    /// In each billing period.
    #[default]
    BillingPeriod,
    /// In each stretch of the calendar of the billing zone, such as a day or a month; see
    /// [`calendar_period`](crate::calendar::calendar_period).
    Calendar(Interval),
}

impl MeterTerms {
    /// The terms that the JSON of a meter has by default: every event counts by its quantity, `charge` is for all of it, and
    /// nothing limits it.
    pub fn new(charge: ChargeModel) -> Self {
        Self {
            aggregation: Aggregation::Sum,
            allowance: Decimal::ZERO,
            soft_limit: None,
            hard_limit: None,
            rollover_max: None,
            charge,
            minimum: None,
            maximum: None,
            reset: LimitReset::BillingPeriod,
            warn_at: warn_at(),
            filters: Vec::new(),
            group_by: Vec::new(),
        }
    }

    /// Whether its events must be told apart by their properties.
    pub fn reads_properties(&self) -> bool {
        let by_value = match self.aggregation {
            Aggregation::UniqueCount { .. } => true,
            Aggregation::Sum
            | Aggregation::Count
            | Aggregation::Max
            | Aggregation::Min
            | Aggregation::Last
            | Aggregation::WeightedSum { .. } => false,
        };
        by_value
            || !self.filters.is_empty()
            || !self.group_by.is_empty()
            || self.charge.needs(self.allowance) == Needs::Cells
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        check_decimal(faults, "allowance", self.allowance);
        let limits = [("soft_limit", self.soft_limit), ("hard_limit", self.hard_limit)];
        for (field, limit) in limits {
            if let Some(limit) = limit {
                check_decimal(faults, field, limit);
            }
        }
        if let (Some(soft), Some(hard)) = (self.soft_limit, self.hard_limit)
            && soft > hard
        {
            faults.push(
                "soft_limit",
                "above_hard_limit",
                format!("expected at most the hard limit {hard}, got {soft}"),
            );
        }
        if let Some(hard) = self.hard_limit
            && self.allowance > hard
        {
            faults.push(
                "allowance",
                "above_hard_limit",
                format!("expected at most the hard limit {hard}, got {}", self.allowance),
            );
        }
        if let Some(most) = self.rollover_max {
            check_decimal(faults, "rollover_max", most);
            if self.hard_limit.is_none() || !self.aggregation.is_additive() {
                faults.push(
                    "rollover_max",
                    "nothing_left",
                    "expected a hard limit on a sum or a count, of which something can be left",
                );
            }
        }
        if let Err(charge) = self.charge.validate() {
            faults.at("charge", charge);
        }
        check_range(faults, ["minimum", "maximum"], self.minimum, self.maximum);
        if let LimitReset::Calendar(interval) = self.reset
            && interval_days(interval) > u64::from(DAYS_MAX)
        {
            faults.push(
                "reset.calendar.count",
                "out_of_range",
                format!("expected at most ten years, got {interval}"),
            );
        }
        if self.warn_at.len() > 10 {
            faults.push(
                "warn_at",
                "too_many",
                format!("expected at most 10, got {}", self.warn_at.len()),
            );
        }
        for (index, fraction) in self.warn_at.iter().enumerate() {
            check_decimal(faults, format!("warn_at[{index}]"), *fraction);
            if fraction.is_zero() || *fraction > Decimal::ONE {
                faults.push(
                    format!("warn_at[{index}]"),
                    "out_of_range",
                    format!("expected more than 0 and at most 1, got {fraction}"),
                );
            }
        }
        self.check_cells(faults);
    }

    /// What is wrong with how events are told apart, and with what their aggregation does not allow.
    fn check_cells(&self, faults: &mut Faults) {
        const TOGETHER: &str =
            "a weighted sum is of all events together, expected none: use one meter for each";
        let is_weighted = self.aggregation.carries_over();
        if let Aggregation::UniqueCount { property } = &self.aggregation {
            check_name(faults, "aggregation.unique_count.property", property);
        }
        if (self.soft_limit.is_some() || self.hard_limit.is_some()) && !self.aggregation.has_running_total() {
            faults.push(
                "aggregation",
                "not_limited",
                "limits need a running total: a sum, a count, a maximum, the last or a weighted sum",
            );
        }
        self.check_detail(faults, "charge", &self.charge, self.allowance);
        if self.filters.len() > FILTERS_MAX || (is_weighted && !self.filters.is_empty()) {
            let expected = format!("expected at most {FILTERS_MAX}, got {}", self.filters.len());
            faults.push(
                "filters",
                "too_many",
                if is_weighted { TOGETHER.into() } else { expected },
            );
        }
        let mut names = BTreeSet::new();
        for (index, filter) in self.filters.iter().enumerate() {
            let mut part = Faults::default();
            filter.check(&mut part);
            if !names.insert(&filter.name) {
                part.push("name", "repeated", format!("`{}` is there before", filter.name));
            }
            self.check_detail(&mut part, "charge", &filter.charge, filter.allowance);
            faults.at(format!("filters[{index}]"), part);
        }
        if self.group_by.len() > GROUPS_MAX || (is_weighted && !self.group_by.is_empty()) {
            let expected = format!("expected at most {GROUPS_MAX}, got {}", self.group_by.len());
            faults.push(
                "group_by",
                "too_many",
                if is_weighted { TOGETHER.into() } else { expected },
            );
        }
        let mut names = BTreeSet::new();
        for (index, name) in self.group_by.iter().enumerate() {
            check_name(faults, &format!("group_by[{index}]"), name);
            if !names.insert(name) {
                faults.push(
                    format!("group_by[{index}]"),
                    "repeated",
                    format!("`{name}` is there before"),
                );
            }
        }
    }

    /// What is wrong with a model for events that are aggregated so.
    fn check_detail(&self, faults: &mut Faults, path: &str, charge: &ChargeModel, allowance: Decimal) {
        match charge.needs(allowance) {
            Needs::Total | Needs::Count => {}
            Needs::Events if self.aggregation == Aggregation::Sum => {}
            Needs::Events => faults.push(
                path,
                "not_summed",
                "what is charged by single events needs the aggregation `sum`",
            ),
            Needs::Cells if self.aggregation.carries_over() => faults.push(
                path,
                "not_told_apart",
                "a weighted sum is of all events together: use one meter for each price",
            ),
            Needs::Cells => {}
        }
        if let ChargeModel::Matrix(matrix) = charge
            && matrix.otherwise.is_none()
        {
            faults.push(
                format!("{path}.matrix.otherwise"),
                "missing",
                "expected a price: usage with other values could not be billed",
            );
        }
    }
}

impl ChargeFilter {
    fn check(&self, faults: &mut Faults) {
        let length = self.name.chars().count();
        if self.name.trim().is_empty() || length > 120 {
            faults.push(
                "name",
                "length",
                format!("expected 1 to 120 characters, got {length}"),
            );
        }
        if self.matching.is_empty() || self.matching.len() > GROUPS_MAX {
            faults.push(
                "matching",
                "length",
                format!(
                    "expected 1 to {GROUPS_MAX} properties, got {}",
                    self.matching.len()
                ),
            );
        }
        for (name, values) in &self.matching {
            check_name(faults, &format!("matching.{name}"), name);
            if values.is_empty() || values.len() > ENTRIES_MAX {
                faults.push(
                    format!("matching.{name}"),
                    "length",
                    format!("expected 1 to {ENTRIES_MAX} values, got {}", values.len()),
                );
            }
        }
        check_decimal(faults, "allowance", self.allowance);
        if let Err(charge) = self.charge.validate() {
            faults.at("charge", charge);
        }
        check_range(faults, ["minimum", "maximum"], self.minimum, self.maximum);
    }
}

/// The most filters of a meter: each event is held against them.
const FILTERS_MAX: usize = 100;

/// The most properties that events are told apart by.
const GROUPS_MAX: usize = 8;

/// Notes what is wrong with the name of a property.
fn check_name(faults: &mut Faults, path: &str, name: &str) {
    let length = name.chars().count();
    if !(1..=64).contains(&length) {
        faults.push(
            path,
            "length",
            format!("expected 1 to 64 characters, got {length}"),
        );
    }
}
