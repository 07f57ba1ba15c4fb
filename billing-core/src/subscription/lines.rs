//! The lines of an invoice: recurring prices, usage, proration.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::decision::Draft;
use super::rejection::Rejection;
use super::state::Term;
use crate::calendar::Period;
use crate::charge::{ChargeModel, RatingError};
use crate::id::MeterCode;
use crate::invoice::{InvoiceLine, LineCell, LineKind, explain};
use crate::money::{Money, MoneyError};
use crate::payment::Debit;
use crate::plan::{BillingTiming, MeterTerms, Plan, ProrationRule};
use crate::proration::Share;
use crate::rating::PeriodTerms;
use crate::usage::{BilledWindow, CellUsage, ChargeCell, LateUsage, MeterUsage};
use crate::{proration, rating};

impl Draft<'_> {
    /// The part of `period` that is left at `at`, by the rule of `plan`.
    pub(super) fn left(&self, period: Period, at: DateTime<Utc>, plan: &Plan) -> Share {
        proration::left(period, at, plan.proration, self.next.anchor.zone)
    }

    /// The recurring price of `plan` at the quantity in force.
    fn recurring(&self, plan: &Plan) -> Result<Recurring, Rejection> {
        let quantity = self.next.quantity;
        let amount = plan.price.checked_mul(quantity)?;
        Ok(Recurring {
            price: plan.price,
            quantity,
            amount,
        })
    }

    /// The price of a period that begins, if the plan bills in advance and has a price.
    pub(super) fn advance_line(&self, period: Period) -> Result<Option<InvoiceLine>, Rejection> {
        let plan = self.plan;
        Ok(match plan.timing {
            BillingTiming::InArrears => None,
            BillingTiming::InAdvance if plan.price.is_zero() => None,
            BillingTiming::InAdvance => {
                let recurring = self.recurring(plan)?;
                let explanation = explain(format_args!("{recurring} for {}", plan.interval));
                let kind = LineKind::RecurringInAdvance;
                Some(recurring.line(kind, plan, period, recurring.amount, explanation))
            }
        })
    }

    /// What a plan in arrears costs from the last change, or the start of the term, until `until`.
    pub(super) fn arrears_line(
        &self,
        plan: &Plan,
        term: &Term,
        until: DateTime<Utc>,
    ) -> Result<Option<InvoiceLine>, Rejection> {
        match plan.timing {
            BillingTiming::InAdvance => return Ok(None),
            BillingTiming::InArrears => {}
        }
        let whole = term.priced_by(plan.proration);
        let until = until.clamp(whole.start, whole.end);
        let since = term.owed_since();
        let Ok(period) = Period::new(since, until) else {
            return Ok(None);
        };
        // Used is what was left at the change minus what is left now: exact parts of the whole period. Without
        // proration only a period that was served to its end is due.
        let at_start = self.left(whole, since, plan);
        let used = match plan.proration {
            ProrationRule::Second | ProrationRule::Day => at_start.without(self.left(whole, until, plan)),
            ProrationRule::None if until >= whole.end => at_start,
            ProrationRule::None => at_start.without(at_start),
        };
        let recurring = self.recurring(plan)?;
        let amount = used.of(recurring.amount, plan.rounding)?;
        if amount.is_zero() {
            return Ok(None);
        }
        let explanation = if used.part == used.whole {
            explain(format_args!("{recurring} for {}", plan.interval))
        } else {
            explain(format_args!("{recurring} x {used}"))
        };
        let kind = LineKind::RecurringInArrears;
        Ok(Some(recurring.line(kind, plan, period, amount, explanation)))
    }

    /// The price of what is left of the whole `period` from now on, by `rule`.
    pub(super) fn proration_charge(
        &self,
        plan: &Plan,
        period: Period,
        rule: ProrationRule,
    ) -> Result<Option<InvoiceLine>, Rejection> {
        match plan.timing {
            BillingTiming::InArrears => return Ok(None),
            BillingTiming::InAdvance => {}
        }
        let now = self.now();
        let left = proration::left(period, now, rule, self.next.anchor.zone);
        let recurring = self.recurring(plan)?;
        let amount = left.of(recurring.amount, plan.rounding)?;
        let Ok(rest) = Period::new(now, period.end) else {
            return Ok(None);
        };
        if amount.is_zero() {
            return Ok(None);
        }
        let explanation = explain(format_args!("{recurring} x {left}"));
        let kind = LineKind::ProrationCharge;
        Ok(Some(recurring.line(kind, plan, rest, amount, explanation)))
    }

    /// Adds what was paid for time after now and is not used, one line per debit; negative.
    pub(super) fn proration_credits(
        &self,
        plan: &Plan,
        debits: &[Debit],
        lines: &mut Vec<InvoiceLine>,
    ) -> Result<(), Rejection> {
        let now = self.now();
        for debit in debits {
            let left = self.left(debit.period, now, plan);
            let unused = left.of(debit.amount, plan.rounding)?;
            let Ok(rest) = Period::new(now.max(debit.period.start), debit.period.end) else {
                continue;
            };
            if unused.is_zero() {
                continue;
            }
            lines.push(InvoiceLine {
                kind: LineKind::ProrationCredit,
                plan_id: plan.id,
                meter: None,
                cell: None,
                period: rest,
                quantity: Decimal::ONE,
                unit_price: Some(debit.amount.to_decimal()),
                amount: unused.checked_neg()?,
                explanation: explain(format_args!("unused {} x {left}", debit.amount)),
                source: Some(debit.source),
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
            let billed = BilledWindow {
                window,
                plan_id: plan.id,
                term: term.map(Term::window_term),
            };
            for (meter, terms) in &plan.meters {
                let used = usage.meters.get(meter);
                self.meter_lines(plan, (meter, terms), &billed, used, &mut lines)?;
            }
            for late in &usage.late {
                self.late_lines(late, &mut lines)?;
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
            lines.extend(self.arrears_line(plan, term, until)?);
        }
        lines.extend(self.usage_lines(plan, term, until)?);
        Ok(lines)
    }
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

/// A plan's price and how many times it is due.
#[derive(Clone, Copy, Debug)]
struct Recurring {
    price: Money,
    quantity: u32,
    /// The product.
    amount: Money,
}

impl Recurring {
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

/// The product as a customer would write it: `5 x 29.00 USD`, or `29.00 USD` for one.
impl fmt::Display for Recurring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quantity != 1 {
            f.write_str(itoa::Buffer::new().format(self.quantity))?;
            f.write_str(" x ")?;
        }
        self.price.fmt(f)
    }
}
