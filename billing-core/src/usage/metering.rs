//! From events to what each charge cell of a plan used in a window of time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::aggregation::{Total, UsageOverflow, add_quantities};
use crate::calendar::Period;
use crate::charge::{ChargeModel, Needs, Used};
use crate::id::{MeterCode, PlanId, SubscriptionId, TenantId};
use crate::money::Money;
use crate::plan::{ChargeFilter, MeterTerms, Plan};
use crate::usage::UsageEvent;

/// Which usage a decision needs: that of `tenant_id` in `[from, until)`, and what came late for before.
///
/// Late is what occurred in `[origin, from)` but was recorded after the watermark, when its window was billed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsageQuery<'a> {
    /// Whose usage.
    pub tenant_id: TenantId,
    /// Who bills it.
    pub subscription_id: SubscriptionId,
    /// The plan by whose meters it is measured.
    pub plan: &'a Plan,
    /// From when on the subscription bills usage at all.
    pub origin: DateTime<Utc>,
    /// From when on usage is not billed yet.
    pub from: DateTime<Utc>,
    /// Until when it is to be billed now.
    pub until: DateTime<Utc>,
    /// The billing period that it belongs to, if any.
    pub term: Option<WindowTerm>,
    /// How far the store's record was read the last time usage was billed.
    pub watermark: u64,
    /// How far it may be read now, where that is not all of it: when a window was billed that the store does not know of yet.
    pub up_to: Option<u64>,
}

/// The part of a billing period in which a plan was in force.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a part and its whole")]
pub struct WindowTerm {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The whole period.
    pub period: Period,
}

/// A window of time whose usage was billed. Stores keep it, so that what is recorded later for it is rated as if it had been
/// there in time: by the plan of its own time, in the tiers and with the allowance of its own period.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "what a store keeps")]
pub struct BilledWindow {
    /// What occurred when.
    pub window: Period,
    /// The plan that was in force.
    pub plan_id: PlanId,
    /// The billing period that it belonged to; none for usage in no period, such as in grace.
    pub term: Option<WindowTerm>,
    /// What its usage had to come to by the plan's [minimum commitment](Plan::minimum_commitment), the rest of which was
    /// charged; none if nothing.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub usage_minimum: Option<Money>,
}

/// The usage that a [`UsageQuery`] found, read in one snapshot of the store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// What each meter of the plan adds up to; a meter without anything is not here.
    pub meters: BTreeMap<MeterCode, MeterUsage>,
    /// Windows that were billed before and for which something was recorded since, by their time.
    pub late: Vec<LateUsage>,
    /// The store's record up to which events were seen. An event recorded later for this time is late.
    pub watermark: u64,
}

/// A billed window for which something came late.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what a store finds")]
pub struct LateUsage {
    /// Which.
    pub billed: BilledWindow,
    /// The plan of its time.
    pub plan: Plan,
    /// What its meters added up to when it was billed, adjustments since then included.
    pub before: BTreeMap<MeterCode, MeterUsage>,
    /// What they add up to now.
    pub after: BTreeMap<MeterCode, MeterUsage>,
}

/// What one meter adds up to, per charge cell that has events (or holds something): each event is in exactly one.
pub type MeterUsage = BTreeMap<ChargeCell, CellUsage>;

/// Which part of a meter is charged together.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a filter and a group")]
pub struct ChargeCell {
    /// The name of the [filter](ChargeFilter) that the events matched; none for what matched no filter.
    #[cfg_attr(feature = "serde", serde(default))]
    pub filter: Option<String>,
    /// The values of the properties that the meter [groups by](MeterTerms::group_by), in its order.
    #[cfg_attr(feature = "serde", serde(default))]
    pub group: Vec<String>,
}

impl ChargeCell {
    /// Whether it is the one cell of a meter that tells nothing apart.
    pub const fn is_whole(&self) -> bool {
        self.filter.is_none() && self.group.is_empty()
    }
}

/// What one charge cell adds up to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what a charge model takes")]
pub struct CellUsage {
    /// The quantity, by the meter's aggregation.
    pub quantity: Decimal,
    /// How many events there are.
    pub events: u64,
    /// As much more as the charge model needs.
    pub detail: Detail,
}

/// What a charge model needs besides a quantity and a number of events.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "one variant for each of `Needs`")]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// The quantity of every event, in the order in which they occurred.
    Events(Vec<Decimal>),
    /// The quantity per combination of the values of [`Matrix::by`](crate::charge::Matrix::by), in its order.
    Matrix(BTreeMap<Vec<String>, Decimal>),
}

/// Adds up the events of one window by the meters of a plan: what a store does with what it reads.
///
/// It takes the events of the tenant that occurred in the window, in the order in which they occurred, those of one instant in
/// the order in which they were recorded.
///
/// # Example: the store's part
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use std::collections::BTreeMap;
/// use billing_core::calendar::Period;
/// use billing_core::id::MeterCode;
/// use billing_core::plan::Plan;
/// use billing_core::usage::{Metering, WindowTerm};
///
/// let plan: Plan = serde_json::from_str(r#"{
///     "id": "00000000-0000-7000-8000-000000000001", "code": "pro", "version": 1, "product": "app", "name": "Pro",
///     "price": {"minor": 0, "currency": "USD"}, "interval": {"unit": "month", "count": 1}, "is_active": true,
///     "meters": {"seats": {"aggregation": {"weighted_sum": {"unit": "period"}},
///                          "charge": {"per_unit": {"unit_price": "8"}}}}}"#).unwrap();
/// let at = |text: &str| text.parse().unwrap();
/// let june = Period::new(at("2026-06-01T00:00:00Z"), at("2026-07-01T00:00:00Z")).unwrap();
///
/// let mut metering = Metering::new(&plan, june, Some(WindowTerm { since: june.start, period: june }));
/// let seats = MeterCode::new("seats").unwrap();
/// assert_eq!(metering.carried().collect::<Vec<_>>(), [&seats], "what was held before the window matters");
/// metering.carry("seats", 10.into());
/// metering.add("seats", 15.into(), at("2026-06-16T00:00:00Z"), &BTreeMap::new()).unwrap();
///
/// let usage = metering.finish().unwrap();
/// assert_eq!(usage[&seats].values().next().unwrap().quantity.to_string(), "12.5");
/// # }
/// ```
#[derive(Debug)]
pub struct Metering<'a> {
    window: Period,
    term: Option<WindowTerm>,
    meters: Vec<Metered<'a>>,
}

/// One meter of a plan, and what it adds up to so far.
#[derive(Debug)]
struct Metered<'a> {
    code: &'a MeterCode,
    terms: &'a MeterTerms,
    /// What is held when the window begins.
    level: Decimal,
    cells: BTreeMap<ChargeCell, Cell<'a>>,
}

/// One charge cell so far.
#[derive(Debug)]
struct Cell<'a> {
    total: Total<'a>,
    detail: CellDetail<'a>,
}

#[derive(Debug)]
enum CellDetail<'a> {
    None,
    Events(Vec<Decimal>),
    Matrix(BTreeMap<Vec<String>, Total<'a>>),
}

impl<'a> Metering<'a> {
    /// Nothing yet. `term` is the part of a billing period that `window` belongs to, if it belongs to one.
    pub fn new(plan: &'a Plan, window: Period, term: Option<WindowTerm>) -> Self {
        let meters = plan
            .meters
            .iter()
            .map(|(code, terms)| Metered {
                code,
                terms,
                level: Decimal::ZERO,
                cells: BTreeMap::new(),
            })
            .collect();
        Self { window, term, meters }
    }

    /// Whether the properties of events matter; else [`add`](Self::add) may be given none.
    pub fn reads_properties(&self) -> bool {
        self.meters.iter().any(|meter| meter.terms.reads_properties())
    }

    /// The meters of which must be told what was held before the window: see [`carry`](Self::carry).
    pub fn carried(&self) -> impl Iterator<Item = &'a MeterCode> {
        self.meters
            .iter()
            .filter(|meter| meter.terms.aggregation.carries_over())
            .map(|meter| meter.code)
    }

    /// Tells the quantity of the last event of a meter before the window. Only a [weighted
    /// sum](crate::aggregation::Aggregation::WeightedSum) takes it.
    pub fn carry(&mut self, meter: &str, level: Decimal) {
        let carries =
            |found: &&mut Metered<'_>| found.code.as_str() == meter && found.terms.aggregation.carries_over();
        if let Some(found) = self.meters.iter_mut().find(carries) {
            found.level = level;
        }
    }

    /// Counts an event of the window; of a meter that the plan does not have it is left out.
    ///
    /// # Errors
    ///
    /// [`UsageOverflow`].
    pub fn add(
        &mut self,
        meter: &str,
        quantity: Decimal,
        occurred_at: DateTime<Utc>,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), UsageOverflow> {
        let start = self.counts_from();
        match self.meters.iter_mut().find(|found| found.code.as_str() == meter) {
            Some(found) => found.add(start, quantity, occurred_at, properties),
            None => Ok(()),
        }
    }

    /// From when on time counts for what is held: a window may begin before its period does.
    fn counts_from(&self) -> DateTime<Utc> {
        let start = self.window.start;
        self.term.map_or(start, |term| start.max(term.since))
    }

    /// What the meters add up to.
    ///
    /// # Errors
    ///
    /// [`UsageOverflow`].
    pub fn finish(self) -> Result<BTreeMap<MeterCode, MeterUsage>, UsageOverflow> {
        let (start, end) = (self.counts_from(), self.window.end);
        let period = self.term.map(|term| term.period);
        let mut meters = BTreeMap::new();
        for mut meter in self.meters {
            if meter.cells.is_empty() && !meter.level.is_zero() && period.is_some() {
                let cell = meter.cell(start, &BTreeMap::new());
                meter.cells.insert(ChargeCell::default(), cell);
            }
            let mut usage = MeterUsage::new();
            for (key, cell) in meter.cells {
                usage.insert(key, cell.finish(end, period)?);
            }
            if !usage.is_empty() {
                meters.insert(meter.code.clone(), usage);
            }
        }
        Ok(meters)
    }
}

impl<'a> Metered<'a> {
    fn add(
        &mut self,
        start: DateTime<Utc>,
        quantity: Decimal,
        occurred_at: DateTime<Utc>,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), UsageOverflow> {
        let terms = self.terms;
        let key = terms.cell_of(properties);
        if !self.cells.contains_key(&key) {
            let cell = self.cell(start, properties);
            self.cells.insert(key.clone(), cell);
        }
        let Some(cell) = self.cells.get_mut(&key) else {
            return Ok(());
        };
        match &mut cell.detail {
            CellDetail::None => {}
            CellDetail::Events(events) => events.push(quantity),
            CellDetail::Matrix(totals) => {
                if let ChargeModel::Matrix(matrix) = terms.charge_of(properties) {
                    totals
                        .entry(matrix.values_of(properties))
                        .or_insert_with(|| Total::new(&terms.aggregation, start, Decimal::ZERO))
                        .add(quantity, occurred_at, properties)?;
                }
            }
        }
        cell.total.add(quantity, occurred_at, properties)
    }

    /// An empty cell of the charge for events with these properties.
    fn cell(&self, start: DateTime<Utc>, properties: &BTreeMap<String, String>) -> Cell<'a> {
        let terms = self.terms;
        let (charge, allowance) = match terms.filter_of(properties) {
            Some(filter) => (&filter.charge, filter.allowance),
            None => (&terms.charge, terms.allowance),
        };
        Cell {
            total: Total::new(&terms.aggregation, start, self.level),
            detail: match charge.needs(allowance) {
                Needs::Total | Needs::Count => CellDetail::None,
                Needs::Events => CellDetail::Events(Vec::new()),
                Needs::Cells => CellDetail::Matrix(BTreeMap::new()),
            },
        }
    }
}

impl Cell<'_> {
    fn finish(self, end: DateTime<Utc>, period: Option<Period>) -> Result<CellUsage, UsageOverflow> {
        let events = self.total.events();
        let (quantity, detail) = match self.detail {
            CellDetail::None => (self.total.finish(end, period)?, Detail::None),
            CellDetail::Events(events) => (self.total.finish(end, period)?, Detail::Events(events)),
            CellDetail::Matrix(totals) => {
                let mut sum = Decimal::ZERO;
                let mut cells = BTreeMap::new();
                for (values, total) in totals {
                    let quantity = total.finish(end, period)?;
                    sum = add_quantities(sum, quantity)?;
                    cells.insert(values, quantity);
                }
                (sum, Detail::Matrix(cells))
            }
        };
        Ok(CellUsage {
            quantity,
            events,
            detail,
        })
    }
}

impl UsageQuery<'_> {
    /// Whether a billed window is one that something can come late for.
    pub fn is_before(&self, billed: &BilledWindow) -> bool {
        self.origin <= billed.window.start && billed.window.end <= self.from
    }

    /// What the query finds among all events of its tenant and all windows that its subscription has billed, each with the plan
    /// of its time: what every store must agree with, and all that a simple one needs.
    ///
    /// `events` come with their place in the store's record, in the order in which they occurred; `last` is the last place that
    /// was given.
    ///
    /// # Errors
    ///
    /// [`UsageOverflow`].
    pub fn answer(
        &self,
        events: &[(u64, &UsageEvent)],
        billed: &[(BilledWindow, &Plan)],
        last: u64,
    ) -> Result<Usage, UsageOverflow> {
        let watermark = self.up_to.map_or(last, |up_to| up_to.min(last));
        let mut usage = Usage {
            watermark,
            ..Usage::default()
        };
        if let Ok(window) = Period::new(self.from, self.until) {
            usage.meters = add_up(Metering::new(self.plan, window, self.term), events, watermark)?;
        }
        let before = billed.iter().filter(|(billed, _)| self.is_before(billed));
        for (billed, plan) in before {
            let up_to = |sequence| add_up(billed.metering(plan), events, sequence);
            let (before, after) = (up_to(self.watermark)?, up_to(watermark)?);
            if before != after {
                usage.late.push(LateUsage {
                    billed: *billed,
                    plan: (*plan).clone(),
                    before,
                    after,
                });
            }
        }
        Ok(usage)
    }
}

/// Counts the events that were recorded up to `sequence`.
fn add_up(
    mut metering: Metering<'_>,
    events: &[(u64, &UsageEvent)],
    sequence: u64,
) -> Result<BTreeMap<MeterCode, MeterUsage>, UsageOverflow> {
    let window = metering.window;
    for (_, event) in events.iter().filter(|(recorded, _)| *recorded <= sequence) {
        if event.occurred_at < window.start {
            metering.carry(event.meter.as_str(), event.quantity);
        } else if event.occurred_at < window.end {
            let meter = event.meter.as_str();
            metering.add(meter, event.quantity, event.occurred_at, &event.properties)?;
        }
    }
    metering.finish()
}

impl BilledWindow {
    /// Adds up its events by `plan`, the plan of its time.
    pub fn metering<'a>(&self, plan: &'a Plan) -> Metering<'a> {
        Metering::new(plan, self.window, self.term)
    }
}

impl CellUsage {
    /// What a charge model takes.
    pub fn used(&self) -> Used<'_> {
        match &self.detail {
            Detail::None => Used::Total {
                quantity: self.quantity,
                events: self.events,
            },
            Detail::Events(events) => Used::Events(events),
            Detail::Matrix(cells) => Used::Cells(cells),
        }
    }
}

impl MeterTerms {
    /// The filter that events with these properties belong to, if there is one.
    pub fn filter_of(&self, properties: &BTreeMap<String, String>) -> Option<&ChargeFilter> {
        self.filters.iter().find(|filter| filter.matches(properties))
    }

    /// The charge cell that events with these properties land in.
    pub fn cell_of(&self, properties: &BTreeMap<String, String>) -> ChargeCell {
        if self.filters.is_empty() && self.group_by.is_empty() {
            return ChargeCell::default();
        }
        let value = |name: &String| properties.get(name).cloned().unwrap_or_default();
        ChargeCell {
            filter: self.filter_of(properties).map(|filter| filter.name.clone()),
            group: self.group_by.iter().map(value).collect(),
        }
    }

    /// The cells that are charged for whether or not they were used: those that are known without an event.
    pub fn standing_cells(&self) -> BTreeSet<ChargeCell> {
        if !self.group_by.is_empty() {
            return BTreeSet::new();
        }
        let names = self.filters.iter().map(|filter| Some(filter.name.clone()));
        let cell = |filter| ChargeCell {
            filter,
            group: Vec::new(),
        };
        core::iter::once(None).chain(names).map(cell).collect()
    }

    fn charge_of(&self, properties: &BTreeMap<String, String>) -> &ChargeModel {
        self.filter_of(properties)
            .map_or(&self.charge, |filter| &filter.charge)
    }
}
