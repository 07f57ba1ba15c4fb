//! The lines of an invoice: recurring prices, usage, proration.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::change::Part;
use super::decision::Draft;
use super::rejection::Rejection;
use super::state::Term;
use crate::calendar::Period;
use crate::charge::{ChargeModel, RatingError};
use crate::id::{AddOnCode, MeterCode};
use crate::invoice::{Invoice, InvoiceLine, LineCell, LineKind, explain};
use crate::money::{Money, MoneyError};
use crate::payment::Debit;
use crate::plan::{BillingTiming, MeterTerms, Plan, ProrationRule};
use crate::proration::Share;
use crate::rating::PeriodTerms;
use crate::usage::{BilledWindow, CellUsage, ChargeCell, LateUsage, MeterUsage, WindowTerm};
use crate::{proration, rating};

impl Draft<'_> {
    /// The part of `period` that is left at `at`, by the rule of `plan`.
    pub(super) fn left(&self, period: Period, at: DateTime<Utc>, plan: &Plan) -> Share {
        proration::left(period, at, plan.proration, &self.next.anchor)
    }

    /// The recurring prices of `plan` at the quantities in force: its own first, then those of the add-ons that are held.
    fn recurring(&self, plan: &Plan, part: Part<'_>) -> Result<Vec<Recurring>, Rejection> {
        let mut recurring = Vec::new();
        if part.holds(None) && !plan.price.is_zero() {
            recurring.push(Recurring::new(None, plan.price, self.next.quantity)?);
        }
        for (code, quantity) in &self.next.add_ons {
            match plan.recurring_add_on(code) {
                Some(sold) if part.holds(Some(code)) => {
                    recurring.push(Recurring::new(Some(code.clone()), sold.price, *quantity)?);
                }
                Some(_) | None => {}
            }
        }
        Ok(recurring)
    }

    /// The prices of a period that begins, if the plan bills in advance and has any.
    pub(super) fn advance_lines(&self, period: Period) -> Result<Vec<InvoiceLine>, Rejection> {
        let plan = self.plan;
        match plan.timing {
            BillingTiming::InArrears => return Ok(Vec::new()),
            BillingTiming::InAdvance => {}
        }
        let mut lines = Vec::new();
        for recurring in self.recurring(plan, Part::All)? {
            let explanation = explain(format_args!("{recurring} for {}", plan.interval));
            let amount = recurring.amount;
            lines.push(recurring.line(LineKind::RecurringInAdvance, plan, period, amount, explanation));
        }
        Ok(lines)
    }

    /// The part of the whole period that was served by what is in force, from the last change, or the start of the term, until
    /// `until`; and the time of that part.
    fn served(&self, plan: &Plan, term: &Term, until: DateTime<Utc>) -> Option<(Period, Share)> {
        let rule = term.rule(plan);
        let whole = term.priced_by(rule);
        let until = until.clamp(whole.start, whole.end);
        let since = term.owed_since();
        let period = Period::new(since, until).ok()?;
        let left = |at| proration::left(whole, at, rule, &self.next.anchor);
        // Used is what was left at the change minus what is left now: exact parts of the whole period. Without
        // proration only a period that was served to its end is due.
        let at_start = left(since);
        let used = match rule {
            ProrationRule::Second
            | ProrationRule::Day
            | ProrationRule::StartedDay
            | ProrationRule::StartedMonth => at_start.without(left(until)),
            ProrationRule::None if until >= whole.end => at_start,
            ProrationRule::None => at_start.without(at_start),
        };
        Some((period, used))
    }

    /// What a plan in arrears costs from the last change, or the start of the term, until `until`.
    pub(super) fn arrears_lines(
        &self,
        plan: &Plan,
        term: &Term,
        until: DateTime<Utc>,
    ) -> Result<Vec<InvoiceLine>, Rejection> {
        let mut lines = Vec::new();
        match plan.timing {
            BillingTiming::InAdvance => return Ok(lines),
            BillingTiming::InArrears => {}
        }
        let Some((period, used)) = self.served(plan, term, until) else {
            return Ok(lines);
        };
        for recurring in self.recurring(plan, Part::All)? {
            let amount = used.of(recurring.amount, plan.rounding)?;
            if amount.is_zero() {
                continue;
            }
            let explanation = if used.part == used.whole {
                explain(format_args!("{recurring} for {}", plan.interval))
            } else {
                explain(format_args!("{recurring} x {used}"))
            };
            lines.push(recurring.line(LineKind::RecurringInArrears, plan, period, amount, explanation));
        }
        Ok(lines)
    }

    /// The prices in `part` of what is left of the whole `period` from now on, by `rule`.
    pub(super) fn proration_charges(
        &self,
        plan: &Plan,
        period: Period,
        rule: ProrationRule,
        part: Part<'_>,
    ) -> Result<Vec<InvoiceLine>, Rejection> {
        let mut lines = Vec::new();
        match plan.timing {
            BillingTiming::InArrears => return Ok(lines),
            BillingTiming::InAdvance => {}
        }
        let (now, anchor) = (self.now(), &self.next.anchor);
        let left = proration::left(period, now, rule, anchor);
        let Some(rest) = proration::rest(period, now, rule, anchor) else {
            return Ok(lines);
        };
        for recurring in self.recurring(plan, part)? {
            let amount = left.of(recurring.amount, plan.rounding)?;
            if amount.is_zero() {
                continue;
            }
            let explanation = explain(format_args!("{recurring} x {left}"));
            lines.push(recurring.line(LineKind::ProrationCharge, plan, rest, amount, explanation));
        }
        Ok(lines)
    }

    /// Adds what was paid for time after now and is not used, one line per debit; negative.
    pub(super) fn proration_credits<'d>(
        &self,
        plan: &Plan,
        debits: impl IntoIterator<Item = &'d Debit>,
        lines: &mut Vec<InvoiceLine>,
    ) -> Result<(), Rejection> {
        let now = self.now();
        for debit in debits {
            let left = self.left(debit.period, now, plan);
            let unused = left.of(debit.amount, plan.rounding)?;
            let Some(rest) = proration::rest(debit.period, now, plan.proration, &self.next.anchor) else {
                continue;
            };
            if unused.is_zero() {
                continue;
            }
            lines.push(InvoiceLine {
                plan_id: plan.id,
                add_on: debit.add_on.clone(),
                unit_price: Some(debit.amount.to_decimal()),
                explanation: explain(format_args!("unused {} x {left}", debit.amount)),
                source: Some(debit.source),
                ..self.plain_line(LineKind::ProrationCredit, rest, unused.checked_neg()?)
            });
        }
        Ok(())
    }

    /// The usage from where it was last billed until `until`, rated by `plan`; moves the usage cursor there.
    ///
    /// Late usage stands on lines of its own: what its window would have cost with it, less what was billed for it.
    pub(super) fn usage_lines(
        &mut self,
        plan: &Plan,
        term: Option<&Term>,
        until: DateTime<Utc>,
    ) -> Result<Vec<InvoiceLine>, Rejection> {
        let cursor = self.next.usage;
        let Ok(window) = Period::new(cursor.from, until) else {
            return Ok(Vec::new());
        };
        let mut lines = Vec::new();
        if !plan.meters.is_empty() || cursor.has_billed() {
            let usage = self.facts.usage.ok_or_else(|| self.missing("usage"))?;
            let mut billed = BilledWindow {
                window,
                plan_id: plan.id,
                term: term.map(Term::window_term),
                usage_minimum: None,
            };
            for (meter, terms) in &plan.meters {
                let used = usage.meters.get(meter);
                self.meter_lines(plan, (meter, terms), &billed, used, &mut lines)?;
            }
            if let (Some(minimum), Some(term)) = (plan.minimum_commitment, term) {
                billed.usage_minimum = self.commitment_line(plan, minimum, term, until, &mut lines)?;
            }
            for late in &usage.late {
                self.late_lines(late, &mut lines)?;
                lines.extend(self.late_commitment_line(late)?);
            }
            self.next.usage.watermark = usage.watermark;
            if !plan.meters.is_empty() {
                self.billed = Some(billed);
            }
        } else {
            // Nothing was read, so the watermark stays; by the origin this time's usage is not late later on.
            self.next.usage.origin = until;
        }
        self.next.usage.from = until;
        Ok(lines)
    }

    /// What one meter costs for a window, one line per charge cell.
    fn meter_lines(
        &self,
        plan: &Plan,
        (meter, terms): (&MeterCode, &MeterTerms),
        billed: &BilledWindow,
        used: Option<&MeterUsage>,
        lines: &mut Vec<InvoiceLine>,
    ) -> Result<(), Rejection> {
        let nothing = CellUsage::default();
        let mut rate = |cell: &ChargeCell, used: &CellUsage| -> Result<(), Rejection> {
            let (model, granted) = in_window(terms, cell, billed);
            let rated = rating::rate(model, &used.used(), &granted, plan.currency(), plan.rounding)
                .map_err(|error| self.not_rated(error))?;
            // A minimum is due without usage too.
            if !used.quantity.is_zero() || !rated.amount.is_zero() {
                lines.push(usage_line(
                    LineKind::Usage,
                    plan,
                    (meter, terms, cell),
                    billed,
                    used.quantity,
                    rated,
                ));
            }
            Ok(())
        };
        // Outside of a period nothing is due for what was not used, whatever its tiers ask for.
        if billed.term.is_some() {
            for cell in terms.standing_cells() {
                if used.is_none_or(|used| !used.contains_key(&cell)) {
                    rate(&cell, &nothing)?;
                }
            }
        }
        for (cell, used) in used.into_iter().flatten() {
            rate(cell, used)?;
        }
        Ok(())
    }

    /// Adds what the usage lines that are there are short of the plan's `minimum`, for the time from when the plan came into
    /// force until `until`; returns what they had to come to.
    fn commitment_line(
        &self,
        plan: &Plan,
        minimum: Money,
        term: &Term,
        until: DateTime<Utc>,
        lines: &mut Vec<InvoiceLine>,
    ) -> Result<Option<Money>, Rejection> {
        let whole = term.whole();
        let Some(part) = committed(term.window_term(), until) else {
            return Ok(None);
        };
        let (micros, whole_micros) = (part.microseconds(), whole.microseconds());
        let due = minimum.fraction(micros, whole_micros, plan.rounding)?;
        let used = Invoice::sum(plan.currency(), lines)?;
        let missing = due.checked_sub(used)?;
        if missing.minor > 0 {
            let of = if micros == whole_micros {
                ""
            } else {
                " for a part of the period"
            };
            lines.push(InvoiceLine {
                plan_id: plan.id,
                explanation: explain(format_args!("minimum {due}{of} - {used} usage = {missing}")),
                ..self.plain_line(LineKind::CommitmentTrueUp, part, missing)
            });
        }
        Ok(Some(due))
    }

    /// What late usage changes of what was missing from a minimum: nothing is paid for twice.
    fn late_commitment_line(&self, late: &LateUsage) -> Result<Option<InvoiceLine>, Rejection> {
        let LateUsage {
            billed,
            plan,
            before,
            after,
        } = late;
        let part = billed.term.and_then(|term| committed(term, billed.window.end));
        let (Some(minimum), Some(part)) = (billed.usage_minimum, part) else {
            return Ok(None);
        };
        let missing = |usage: &BTreeMap<MeterCode, MeterUsage>| -> Result<Money, Rejection> {
            let mut lines = Vec::new();
            for (meter, terms) in &plan.meters {
                self.meter_lines(plan, (meter, terms), billed, usage.get(meter), &mut lines)?;
            }
            let missing = minimum.checked_sub(Invoice::sum(plan.currency(), &lines)?)?;
            Ok(Money::new(missing.minor.max(0), missing.currency))
        };
        let (was, is) = (missing(before)?, missing(after)?);
        let amount = is.checked_sub(was)?;
        if amount.is_zero() {
            return Ok(None);
        }
        Ok(Some(InvoiceLine {
            plan_id: plan.id,
            explanation: explain(format_args!(
                "{is} missing from the minimum with late usage, less {was} before"
            )),
            ..self.plain_line(LineKind::CommitmentTrueUp, part, amount)
        }))
    }

    /// What came late for a window that was billed: what its cells cost now, less what they cost before.
    fn late_lines(&self, late: &LateUsage, lines: &mut Vec<InvoiceLine>) -> Result<(), Rejection> {
        let LateUsage {
            billed,
            plan,
            before,
            after,
        } = late;
        let nothing = CellUsage::default();
        for (meter, terms) in &plan.meters {
            let cells = |usage: &BTreeMap<MeterCode, MeterUsage>| {
                usage
                    .get(meter)
                    .into_iter()
                    .flat_map(BTreeMap::keys)
                    .cloned()
                    .collect::<BTreeSet<_>>()
            };
            let of = |usage: &'_ BTreeMap<MeterCode, MeterUsage>, cell: &ChargeCell| {
                usage.get(meter).and_then(|cells| cells.get(cell)).cloned()
            };
            for cell in cells(before).union(&cells(after)) {
                let was = of(before, cell).unwrap_or_else(|| nothing.clone());
                let is = of(after, cell).unwrap_or_else(|| nothing.clone());
                if was == is {
                    continue;
                }
                let (model, granted) = in_window(terms, cell, billed);
                let (currency, rounding) = (plan.currency(), plan.rounding);
                let was_charged = of(before, cell).is_some()
                    || (billed.term.is_some() && terms.standing_cells().contains(cell));
                let rated = if !was_charged {
                    rating::rate(model, &is.used(), &granted, currency, rounding)
                } else {
                    rating::rate_more(model, &was.used(), &is.used(), &granted, currency, rounding)
                };
                let rated = rated.map_err(|error| self.not_rated(error))?;
                let quantity = is.quantity.checked_sub(was.quantity);
                let quantity = quantity.ok_or(MoneyError::Overflow { currency })?;
                lines.push(usage_line(
                    LineKind::UsageAdjustment,
                    plan,
                    (meter, terms, cell),
                    billed,
                    quantity,
                    rated,
                ));
            }
        }
        Ok(())
    }

    /// A plan that was checked needs nothing that usage does not carry; see [`MeterTerms`].
    fn not_rated(&self, error: RatingError) -> Rejection {
        match error {
            RatingError::Money(error) => error.into(),
            RatingError::Missing { .. } => self.missing("usage in the detail that the plan needs"),
            RatingError::NoPrice { .. } | RatingError::NoTier { .. } => self.missing("a price for all usage"),
        }
    }

    /// What is owed for time that is over at `until`: usage, and the price of a plan in arrears.
    pub(super) fn closing_lines(
        &mut self,
        plan: &Plan,
        term: Option<&Term>,
        until: DateTime<Utc>,
    ) -> Result<Vec<InvoiceLine>, Rejection> {
        let mut lines = Vec::new();
        if let Some(term) = term {
            lines.extend(self.arrears_lines(plan, term, until)?);
        }
        lines.extend(self.usage_lines(plan, term, until)?);
        Ok(lines)
    }
}

/// The part of a period for which a minimum is due until `until`.
fn committed(term: WindowTerm, until: DateTime<Utc>) -> Option<Period> {
    let within = |at: DateTime<Utc>| at.clamp(term.period.start, term.period.end);
    Period::new(within(term.since), within(until)).ok()
}

/// The charge model of a cell, and what of its terms holds in a window: a plan that was in force for a part of the period
/// grants and asks for that part.
fn in_window<'a>(
    terms: &'a MeterTerms,
    cell: &ChargeCell,
    billed: &BilledWindow,
) -> (&'a ChargeModel, PeriodTerms) {
    let filter = terms
        .filters
        .iter()
        .find(|filter| cell.filter.as_ref() == Some(&filter.name));
    let (model, whole) = match filter {
        Some(filter) => (&filter.charge, PeriodTerms::of_filter(filter)),
        None => (&terms.charge, PeriodTerms::whole(terms)),
    };
    let granted = match billed.term {
        Some(term) => whole.of_part((term.since, billed.window.end), term.period),
        None => whole.outside(),
    };
    (model, granted)
}

fn usage_line(
    kind: LineKind,
    plan: &Plan,
    (meter, terms, cell): (&MeterCode, &MeterTerms, &ChargeCell),
    billed: &BilledWindow,
    quantity: Decimal,
    rated: rating::Rated,
) -> InvoiceLine {
    let names = terms.group_by.iter().cloned();
    InvoiceLine {
        kind,
        plan_id: plan.id,
        meter: Some(meter.clone()),
        add_on: None,
        cell: (!cell.is_whole()).then(|| {
            Box::new(LineCell {
                filter: cell.filter.clone(),
                group: names.zip(cell.group.iter().cloned()).collect(),
            })
        }),
        period: billed.window,
        quantity,
        unit_price: rated.unit_price,
        amount: rated.amount,
        explanation: rated.explanation,
        source: None,
    }
}

/// A recurring price and how many times it is due.
#[derive(Clone, Debug)]
struct Recurring {
    /// The add-on whose price it is; none for the plan's own.
    add_on: Option<AddOnCode>,
    price: Money,
    quantity: u32,
    /// The product.
    amount: Money,
}

impl Recurring {
    fn new(add_on: Option<AddOnCode>, price: Money, quantity: u32) -> Result<Self, MoneyError> {
        Ok(Self {
            add_on,
            price,
            quantity,
            amount: price.checked_mul(quantity)?,
        })
    }

    #[inline]
    fn line(
        self,
        kind: LineKind,
        plan: &Plan,
        period: Period,
        amount: Money,
        explanation: String,
    ) -> InvoiceLine {
        InvoiceLine {
            kind,
            plan_id: plan.id,
            meter: None,
            add_on: self.add_on,
            cell: None,
            period,
            quantity: self.quantity.into(),
            unit_price: Some(self.price.to_decimal()),
            amount,
            explanation,
            source: None,
        }
    }
}

/// The product as a customer would write it: `5 x 29.00 USD`, or `29.00 USD` for one; after the code of an add-on.
impl fmt::Display for Recurring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(add_on) = &self.add_on {
            f.write_str(add_on.as_str())?;
            f.write_str(": ")?;
        }
        if self.quantity != 1 {
            f.write_str(itoa::Buffer::new().format(self.quantity))?;
            f.write_str(" x ")?;
        }
        self.price.fmt(f)
    }
}
