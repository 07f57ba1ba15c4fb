//! The lines of an invoice: recurring prices, usage, proration.

use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::decision::Draft;
use super::rejection::Rejection;
use super::state::Term;
use crate::calendar::Period;
use crate::charge::{RatingError, Used};
use crate::invoice::{InvoiceLine, LineKind, explain};
use crate::money::{Money, MoneyError};
use crate::payment::Debit;
use crate::plan::{BillingTiming, Plan, ProrationRule};
use crate::proration::Share;
use crate::rating::PeriodTerms;
use crate::usage::{MeterUsage, add_quantities};
use crate::{proration, rating};

impl Draft<'_> {
    /// The part of `period` that is left at `at`, by the rule of `plan`.
    pub(super) fn left(&self, period: Period, at: DateTime<Utc>, plan: &Plan) -> Share {
        proration::left(period, at, plan.proration, self.next.anchor.zone)
    }

    /// The price of a period that begins, if the plan bills in advance and has a price.
    pub(super) fn advance_line(&self, period: Period) -> Option<InvoiceLine> {
        let plan = self.plan;
        match plan.timing {
            BillingTiming::InArrears => None,
            BillingTiming::InAdvance if plan.price.is_zero() => None,
            BillingTiming::InAdvance => {
                let explanation = explain(format_args!("{} for {}", plan.price, plan.interval));
                Some(price_line(
                    LineKind::RecurringInAdvance,
                    plan,
                    period,
                    plan.price,
                    explanation,
                ))
            }
        }
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
        let whole = term.period;
        let until = until.clamp(whole.start, whole.end);
        let Ok(period) = Period::new(term.plan_since, until) else {
            return Ok(None);
        };
        // Used is what was left at the change minus what is left now: exact parts of the whole period. Without
        // proration only a period that was served to its end is due.
        let at_start = self.left(whole, term.plan_since, plan);
        let used = match plan.proration {
            ProrationRule::Second | ProrationRule::Day => at_start.without(self.left(whole, until, plan)),
            ProrationRule::None if until >= whole.end => at_start,
            ProrationRule::None => at_start.without(at_start),
        };
        let amount = used.of(plan.price, plan.rounding)?;
        if amount.is_zero() {
            return Ok(None);
        }
        let explanation = if used.part == used.whole {
            explain(format_args!("{} for {}", plan.price, plan.interval))
        } else {
            explain(format_args!("{} x {used}", plan.price))
        };
        Ok(Some(price_line(
            LineKind::RecurringInArrears,
            plan,
            period,
            amount,
            explanation,
        )))
    }

    /// The price of what is left of `period` from now on, by `rule`.
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
        let amount = left.of(plan.price, plan.rounding)?;
        let Ok(rest) = Period::new(now, period.end) else {
            return Ok(None);
        };
        if amount.is_zero() {
            return Ok(None);
        }
        let explanation = explain(format_args!("{} x {left}", plan.price));
        Ok(Some(price_line(
            LineKind::ProrationCharge,
            plan,
            rest,
            amount,
            explanation,
        )))
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
            let explanation = explain(format_args!("unused {} x {left}", debit.amount));
            let mut line = price_line(
                LineKind::ProrationCredit,
                plan,
                rest,
                unused.checked_neg()?,
                explanation,
            );
            line.source = Some(debit.source);
            lines.push(line);
        }
        Ok(())
    }

    /// The usage from where it was last billed until `until`, rated by `plan`; moves the usage cursor there.
    ///
    /// Late usage of closed periods stands on lines of its own and draws on the allowance that is left.
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
        if plan.meters.is_empty() {
            // Nothing was read, so the watermark stays; by the origin this time's usage is not late later on.
            self.next.usage.origin = until;
            self.next.usage.from = until;
            return Ok(Vec::new());
        }
        let usage = self.facts.usage.ok_or_else(|| self.missing("usage"))?;
        let mut lines = Vec::new();
        for (meter, terms) in &plan.meters {
            let used = usage.meters.get(meter).copied().unwrap_or_default();
            if term.is_none() && used == MeterUsage::default() {
                // Outside of a period nothing is due for a meter that was not used, whatever its tiers ask for.
                continue;
            }
            let granted = match term {
                // A plan that was in force for a part of the period grants and asks for that part.
                Some(term) => PeriodTerms::of_part(terms, (term.plan_since, until), term.period),
                None => PeriodTerms::outside(terms),
            };
            let line = |kind: LineKind, quantity: Decimal, rated: rating::Rated| InvoiceLine {
                kind,
                plan_id: plan.id,
                meter: Some(meter.clone()),
                period: window,
                quantity,
                unit_price: rated.unit_price,
                amount: rated.amount,
                explanation: rated.explanation,
                source: None,
            };
            // The count is of both together, and stays with what is there.
            let only_late = used.quantity.is_zero() && !used.late_quantity.is_zero();
            let in_time = Used::Total {
                quantity: used.quantity,
                events: if only_late { 0 } else { used.events },
            };
            let (currency, rounding) = (plan.currency(), plan.rounding);
            let rated = rating::rate(&terms.charge, &in_time, &granted, currency, rounding)
                .map_err(|error| self.not_rated(error))?;
            // A minimum is due without usage too.
            if !used.quantity.is_zero() || !rated.amount.is_zero() {
                lines.push(line(LineKind::Usage, used.quantity, rated));
            }
            if !used.late_quantity.is_zero() {
                let quantity = add_quantities(used.quantity, used.late_quantity)
                    .map_err(|_| MoneyError::Overflow { currency })?;
                let events = used.events;
                let all = Used::Total { quantity, events };
                let rated = rating::rate_more(&terms.charge, &in_time, &all, &granted, currency, rounding)
                    .map_err(|error| self.not_rated(error))?;
                lines.push(line(LineKind::UsageAdjustment, used.late_quantity, rated));
            }
        }
        self.next.usage.from = until;
        self.next.usage.watermark = usage.watermark;
        Ok(lines)
    }

    /// A plan that was checked needs nothing that usage does not carry; see [`MeterTerms`](crate::plan::MeterTerms).
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

#[inline]
fn price_line(
    kind: LineKind,
    plan: &Plan,
    period: Period,
    amount: Money,
    explanation: alloc::string::String,
) -> InvoiceLine {
    InvoiceLine {
        kind,
        plan_id: plan.id,
        meter: None,
        period,
        quantity: Decimal::ONE,
        unit_price: Some(plan.price.to_decimal()),
        amount,
        explanation,
        source: None,
    }
}
