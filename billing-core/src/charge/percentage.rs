use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::tally::TERMS_MAX;
use super::{Needs, RatingError, Tally, Used, check_decimal, check_range};
use crate::money::Exact;
use crate::validate::Faults;

/// A part of the quantity, which is an amount of money in major units, and a fee for each event: 2.9% and 0.30 for each
/// payment.
///
/// In this order:
///
/// 1. The first [`free_events`](Self::free_events) by `occurred_at` cost nothing.
/// 2. The allowance is drawn from the others in the same order. What fits into the rest of it costs nothing, not even
///    the fee; an event that it covers in part pays the percentage of the other part and the whole fee.
/// 3. Each event that pays costs its percentage and the fee, at least [`event_minimum`](Self::event_minimum), at most
///    [`event_maximum`](Self::event_maximum).
/// 4. The sum, if it is not zero, is held within [`period_minimum`](Self::period_minimum) and
///    [`period_maximum`](Self::period_maximum).
///
/// Nothing is rounded on the way. Single events are needed only where the result hangs on them; see
/// [`ChargeModel::needs`](super::ChargeModel::needs).
///
/// # Source
///
/// DESIGN.md, section 3; Lago (`percentage_service.rb`), which differs in two points: of free events and a free amount it
/// ends with whichever is spent first, and the event that spends the free amount to the last unit pays the fee. Here
/// both are granted, and a bound is inclusive as everywhere.
///
/// # Example: a minimum for each event
///
/// ```
/// use billing_core::charge::{ChargeModel, Percentage, Used};
/// use billing_core::money::{Currency, Rounding};
/// use billing_core::rating::{PeriodTerms, rate};
/// # use rust_decimal::Decimal;
/// # let decimal = |text: &str| text.parse::<Decimal>().unwrap();
///
/// let model = ChargeModel::Percentage(Percentage {
///     fixed_fee: decimal("0.3"),
///     free_events: 1,
///     event_minimum: Some(decimal("1")),
///     ..Percentage::of(decimal("2.9"))
/// });
/// let payments = ["50", "100", "10"].map(decimal);
/// let usd = Currency::from_code("USD")?;
/// let rated = rate(&model, &Used::Events(&payments), &PeriodTerms::default(), usd, Rounding::default())?;
/// assert_eq!(
///     rated.explanation,
///     "160 - 50 of 1 free events = 110: 2.9% of 100 + 0.3 + 1 minimum (2.9% of 10 + 0.3) = 4.2 USD"
/// );
/// # Ok::<(), billing_core::charge::RatingError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Percentage {
    /// The part of each event's quantity, in percent: `2.9` is 2.9%. May be above 100, to pass costs on with a margin.
    pub percent: Decimal,
    /// What each event costs besides, in major units.
    #[cfg_attr(feature = "serde", serde(default))]
    pub fixed_fee: Decimal,
    /// How many events cost nothing, the first by `occurred_at`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub free_events: u64,
    /// What an event that pays costs at least, in major units, the fee included.
    #[cfg_attr(feature = "serde", serde(default))]
    pub event_minimum: Option<Decimal>,
    /// What an event costs at most, in major units, the fee included.
    #[cfg_attr(feature = "serde", serde(default))]
    pub event_maximum: Option<Decimal>,
    /// What a period costs at least once it costs anything, in major units. What is due without usage too is
    /// [`MeterTerms::minimum`](crate::plan::MeterTerms::minimum).
    #[cfg_attr(feature = "serde", serde(default))]
    pub period_minimum: Option<Decimal>,
    /// What a period costs at most, in major units.
    #[cfg_attr(feature = "serde", serde(default))]
    pub period_maximum: Option<Decimal>,
}

/// An event that is not free: its quantity, and how much of that the allowance covers.
#[derive(Clone, Copy)]
struct Event {
    quantity: Exact,
    included: Exact,
    /// Whether it is covered whole, so that it costs nothing.
    covered: bool,
}

/// What is charged for.
struct Paid {
    quantity: Exact,
    events: u64,
}

impl Percentage {
    /// `percent` of the quantity and nothing else.
    pub const fn of(percent: Decimal) -> Self {
        Self {
            percent,
            fixed_fee: Decimal::ZERO,
            free_events: 0,
            event_minimum: None,
            event_maximum: None,
            period_minimum: None,
            period_maximum: None,
        }
    }

    pub(super) const fn needs(&self, allowance: Decimal) -> Needs {
        let fee_by_event = !self.fixed_fee.is_zero() && !allowance.is_zero();
        let free_by_event = !self.percent.is_zero() && self.free_events > 0;
        if self.holds_events() || fee_by_event || free_by_event {
            Needs::Events
        } else if self.fixed_fee.is_zero() {
            Needs::Total
        } else {
            Needs::Count
        }
    }

    const fn holds_events(&self) -> bool {
        self.event_minimum.is_some() || self.event_maximum.is_some()
    }

    /// About how many terms it makes: one of each event if those are held within bounds, and their number is not known.
    pub(super) const fn terms(&self) -> usize {
        if self.holds_events() { TERMS_MAX } else { 3 }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        check_decimal(faults, "percent", self.percent);
        check_decimal(faults, "fixed_fee", self.fixed_fee);
        let of_event = ["event_minimum", "event_maximum"];
        check_range(faults, of_event, self.event_minimum, self.event_maximum);
        let of_period = ["period_minimum", "period_maximum"];
        check_range(faults, of_period, self.period_minimum, self.period_maximum);
    }

    pub(super) fn charge(
        &self,
        used: &Used<'_>,
        allowance: Decimal,
        tally: &mut Tally,
    ) -> Result<(), RatingError> {
        let paid = match self.needs(allowance) {
            Needs::Total => Paid {
                quantity: tally.draw(used, allowance, ": "),
                events: 0,
            },
            Needs::Count => {
                let needs = Needs::Count;
                let events = used.events().ok_or(RatingError::Missing { needs })?;
                Paid {
                    quantity: tally.draw(used, allowance, ": "),
                    events: events.saturating_sub(self.free_events),
                }
            }
            Needs::Events | Needs::Cells => self.draw_by_event(used.single_events()?, used, allowance, tally),
        };
        if self.holds_events() {
            let (terms, events) = (EventTerms::new(self), used.single_events()?);
            if allowance.is_zero() {
                for quantity in self.not_free(events) {
                    terms.charge(&Exact::from(*quantity), &Exact::ZERO, tally);
                }
            } else {
                for event in self.events(events, allowance).filter(|event| !event.covered) {
                    terms.charge(&event.quantity, &event.included, tally);
                }
            }
        } else {
            if !self.percent.is_zero() {
                tally.percent(self.percent, &paid.quantity);
            }
            if !self.fixed_fee.is_zero() {
                self.charge_fees(paid.events, tally);
            }
        }
        if tally.is_empty() {
            tally.percent(self.percent, &paid.quantity);
        }
        if !tally.exact().is_zero() {
            tally.total();
            tally.hold_within(self.period_minimum, self.period_maximum);
        }
        Ok(())
    }

    /// The events that are not free, in their order.
    fn not_free<'a>(&self, events: &'a [Decimal]) -> &'a [Decimal] {
        let free = usize::try_from(self.free_events).unwrap_or(usize::MAX);
        events.get(free..).unwrap_or_default()
    }

    /// The same with what of the allowance each draws.
    fn events(&self, events: &[Decimal], allowance: Decimal) -> impl Iterator<Item = Event> {
        let mut left = Exact::from(allowance);
        self.not_free(events).iter().map(move |quantity| {
            let quantity = Exact::from(*quantity);
            if left.is_zero() {
                return Event {
                    quantity,
                    included: Exact::ZERO,
                    covered: false,
                };
            }
            let included = quantity.min(left);
            let covered = included == quantity;
            // Less of two that fit is there; were it not, the allowance would be spent.
            left = left.checked_sub(included).unwrap_or(Exact::ZERO);
            Event {
                quantity,
                included,
                covered,
            }
        })
    }

    /// Takes free events and the allowance off, and says so: `500 - 300 of 3 free events - 50 included = 150: `.
    fn draw_by_event(
        &self,
        events: &[Decimal],
        used: &Used<'_>,
        allowance: Decimal,
        tally: &mut Tally,
    ) -> Paid {
        if self.free_events == 0 && allowance.is_zero() {
            return Paid {
                quantity: tally.draw(used, allowance, ": "),
                events: used.events().unwrap_or_default(),
            };
        }
        let (mut included, mut quantity) = (Exact::ZERO, Exact::ZERO);
        let mut paid: u64 = 0;
        for event in self.events(events, allowance) {
            included = tally.fits(included.checked_add(event.included));
            if !event.covered {
                let rest = tally.without(&event.quantity, &event.included);
                quantity = tally.fits(quantity.checked_add(rest));
                paid = paid.saturating_add(1);
            }
        }
        tally.charge_for(quantity);
        let all = tally.fits(used.quantity());
        tally.number(&all);
        if self.free_events > 0 {
            let charged = tally.fits(quantity.checked_add(included));
            let free = tally.without(&all, &charged);
            tally.say(" - ");
            tally.number(&free);
            tally.say(" of ");
            let events = u64::try_from(events.len()).unwrap_or(u64::MAX);
            tally.count(self.free_events.min(events));
            tally.say(" free events");
        }
        if !allowance.is_zero() {
            tally.say(" - ");
            tally.number(&included);
            tally.say(" included");
        }
        tally.say(" = ");
        tally.number(&quantity);
        tally.say(": ");
        Paid {
            quantity,
            events: paid,
        }
    }

    fn charge_fees(&self, events: u64, tally: &mut Tally) {
        let amount = Exact::product(Decimal::from(events), self.fixed_fee);
        tally.term(&amount, |tally| {
            tally.count(events);
            tally.say(" events x ");
            tally.number(&self.fixed_fee.into());
        });
    }
}

/// What an event that pays costs, with the parts of its text that are the same for each.
struct EventTerms {
    percent: Decimal,
    fixed_fee: Exact,
    minimum: Option<Exact>,
    maximum: Option<Exact>,
    /// `2.9% of `
    before: Vec<u8>,
    /// ` + 0.3`
    after: Vec<u8>,
}

impl EventTerms {
    fn new(percentage: &Percentage) -> Self {
        let fixed_fee = Exact::from(percentage.fixed_fee);
        let mut before = Vec::new();
        Exact::from(percentage.percent).write_to(&mut before);
        before.extend_from_slice(b"% of ");
        let mut after = Vec::new();
        if !fixed_fee.is_zero() {
            after.extend_from_slice(b" + ");
            fixed_fee.write_to(&mut after);
        }
        Self {
            percent: percentage.percent,
            fixed_fee,
            minimum: percentage.event_minimum.map(Exact::from),
            maximum: percentage.event_maximum.map(Exact::from),
            before,
            after,
        }
    }

    /// Adds one event: `2.9% of 100 + 0.3`, or `1 minimum (2.9% of 10 + 0.3)`.
    fn charge(&self, quantity: &Exact, included: &Exact, tally: &mut Tally) {
        let mut asked = Exact::ZERO;
        if included.is_zero() {
            tally.set_percentage(&mut asked, self.percent, quantity);
        } else {
            let rest = tally.without(quantity, included);
            tally.set_percentage(&mut asked, self.percent, &rest);
        }
        tally.increase(&mut asked, &self.fixed_fee);
        let (amount, held) = match (&self.minimum, &self.maximum) {
            (_, Some(maximum)) if asked > *maximum => (maximum, " maximum ("),
            (Some(minimum), _) if asked < *minimum => (minimum, " minimum ("),
            (Some(_) | None, Some(_) | None) => (&asked, ""),
        };
        tally.term(amount, |tally| {
            if !held.is_empty() {
                tally.number(amount);
                tally.say(held);
            }
            tally.copy(&self.before);
            if included.is_zero() {
                tally.number(quantity);
            } else {
                tally.less(quantity, included);
            }
            tally.copy(&self.after);
            if !held.is_empty() {
                tally.say(")");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::ChargeModel;
    use super::super::kit::*;
    use super::*;

    fn percentage(percent: &str, fixed_fee: &str) -> Percentage {
        Percentage {
            fixed_fee: decimal(fixed_fee),
            ..Percentage::of(decimal(percent))
        }
    }

    fn held(mut percentage: Percentage, least: &str, most: &str) -> Percentage {
        percentage.event_minimum = Some(decimal(least));
        percentage.event_maximum = Some(decimal(most));
        percentage
    }

    #[track_caller]
    fn check_events(percentage: &Percentage, events: &[&str], allowance: &str, text: &str) {
        let events: Vec<_> = events.iter().map(|event| decimal(event)).collect();
        check(
            &ChargeModel::Percentage(percentage.clone()),
            &Used::Events(&events),
            allowance,
            text,
        );
    }

    #[test]
    fn a_part_of_the_amount_and_a_fee_for_each_event() {
        let plain = percentage("2.9", "0.3");
        check_events(&plain, &[], "0", "2.9% of 0 + 0 events x 0.3 = 0 USD");
        check_events(
            &plain,
            &["100", "50"],
            "0",
            "2.9% of 150 + 2 events x 0.3 = 4.95 USD",
        );
        check_events(&percentage("2.9", "0"), &["100"], "0", "2.9% of 100 = 2.9 USD");
        check_events(
            &percentage("0", "0.3"),
            &["100", "0"],
            "0",
            "2 events x 0.3 = 0.6 USD",
        );
        check_events(&percentage("0", "0"), &["100"], "0", "0% of 100 = 0 USD");
        check(
            &ChargeModel::Percentage(plain),
            &Used::Total {
                quantity: decimal("150"),
                events: 2,
            },
            "0",
            "2.9% of 150 + 2 events x 0.3 = 4.95 USD",
        );
    }

    #[test]
    fn first_events_are_free_then_the_allowance_is_drawn() {
        let free = Percentage {
            free_events: 1,
            ..percentage("10", "1")
        };
        check_events(
            &free,
            &["70", "20", "30", "40"],
            "0",
            "160 - 70 of 1 free events = 90: 10% of 90 + 3 events x 1 = 12 USD",
        );
        check_events(
            &free,
            &["70"],
            "0",
            "70 - 70 of 1 free events = 0: 10% of 0 + 0 events x 1 = 0 USD",
        );
        // 20 fits into 35 and costs nothing; of 30 the rest of 15 is covered, and its fee is due.
        check_events(
            &free,
            &["70", "20", "30", "40"],
            "35",
            "160 - 70 of 1 free events - 35 included = 55: 10% of 55 + 2 events x 1 = 7.5 USD",
        );
        // What spends the allowance to the last unit is covered; without allowance nothing is, not even zero.
        check_events(
            &percentage("10", "1"),
            &["20", "0", "1"],
            "20",
            "21 - 20 included = 1: 10% of 1 + 2 events x 1 = 2.1 USD",
        );
        check_events(
            &Percentage {
                free_events: 9,
                ..percentage("10", "1")
            },
            &["20"],
            "0",
            "20 - 20 of 1 free events = 0: 10% of 0 + 0 events x 1 = 0 USD",
        );
    }

    #[test]
    fn each_event_is_held_within_its_bounds() {
        let model = held(percentage("10", "0.5"), "2", "5");
        check_events(
            &model,
            &["15", "14.9", "45", "45.1", "0"],
            "0",
            "10% of 15 + 0.5 + 2 minimum (10% of 14.9 + 0.5) + 10% of 45 + 0.5 + 5 maximum (10% of 45.1 + 0.5) \
             + 2 minimum (10% of 0 + 0.5) = 16 USD",
        );
        check_events(
            &model,
            &["10", "20"],
            "13",
            "30 - 13 included = 17: 10% of (20 - 3 included) + 0.5 = 2.2 USD",
        );
        check_events(&model, &["10"], "13", "10 - 10 included = 0: 10% of 0 = 0 USD");
        let many = ["1"; 25];
        let events: Vec<_> = many.iter().map(|event| decimal(event)).collect();
        let rated = rated(&ChargeModel::Percentage(model), &Used::Events(&events), "0").unwrap();
        assert!(rated.explanation.ends_with(" + 10 for 5 more = 50 USD"));
    }

    #[test]
    fn a_period_with_something_to_pay_is_held_within_its_bounds() {
        let model = Percentage {
            period_minimum: Some(decimal("5")),
            period_maximum: Some(decimal("7")),
            ..percentage("10", "0")
        };
        check_events(&model, &[], "0", "10% of 0 = 0 USD");
        check_events(
            &model,
            &["1"],
            "0",
            "10% of 1 = 0.1 USD, minimum 5: 0.1 + 4.9 = 5 USD",
        );
        check_events(&model, &["60"], "0", "10% of 60 = 6 USD");
        check_events(
            &model,
            &["71"],
            "0",
            "10% of 71 = 7.1 USD, maximum 7: 7.1 - 0.1 = 7 USD",
        );
        check_events(&model, &["1"], "1", "1 - 1 included = 0: 10% of 0 = 0 USD");
        let fee_only = Percentage {
            period_minimum: Some(decimal("5")),
            ..percentage("10", "1")
        };
        check_events(
            &fee_only,
            &["0"],
            "0",
            "10% of 0 + 1 events x 1 = 1 USD, minimum 5: 1 + 4 = 5 USD",
        );
    }

    #[test]
    fn only_what_the_result_hangs_on_is_needed() {
        let needs =
            |percentage: Percentage, allowance| ChargeModel::Percentage(percentage).needs(decimal(allowance));
        let free = |percentage| Percentage {
            free_events: 1,
            ..percentage
        };
        assert_eq!(needs(percentage("2", "0"), "0"), Needs::Total);
        assert_eq!(needs(percentage("2", "0"), "5"), Needs::Total);
        assert_eq!(needs(percentage("2", "1"), "0"), Needs::Count);
        assert_eq!(needs(percentage("2", "1"), "5"), Needs::Events);
        assert_eq!(needs(free(percentage("2", "0")), "0"), Needs::Events);
        assert_eq!(needs(free(percentage("0", "1")), "0"), Needs::Count);
        assert_eq!(needs(held(percentage("2", "0"), "0", "1"), "0"), Needs::Events);
        check_error(
            &ChargeModel::Percentage(free(percentage("2", "0"))),
            &total("1"),
            "the charge model needs the quantity of every event, which was not collected",
        );
        let cells = [(Vec::new(), decimal("1"))].into();
        check_error(
            &ChargeModel::Percentage(percentage("2", "1")),
            &Used::Cells(&cells),
            "the charge model needs the number of events, which was not collected",
        );
        let only_fees = ChargeModel::Percentage(free(percentage("0", "1")));
        let used = Used::Total {
            quantity: decimal("9"),
            events: 3,
        };
        check(&only_fees, &used, "0", "2 events x 1 = 2 USD");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = Percentage {
            period_minimum: Some(decimal("-1")),
            period_maximum: Some(decimal("0.0000000000001")),
            ..held(percentage("-1", "-1"), "2", "1")
        };
        check_faults(
            &ChargeModel::Percentage(wrong),
            &[
                ("percentage.percent", "negative"),
                ("percentage.fixed_fee", "negative"),
                ("percentage.event_minimum", "above_maximum"),
                ("percentage.period_minimum", "negative"),
                ("percentage.period_maximum", "too_precise"),
            ],
        );
    }
}
