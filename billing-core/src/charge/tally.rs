use alloc::string::String;
use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::Used;
use crate::money::{Currency, Exact};

/// How many terms an explanation spells out; what comes after is one term, so that a customer with a million events
/// still gets a text to read.
pub(crate) const TERMS_MAX: usize = 20;

/// An exact sum that notes its terms: `10 x 0.5 + 90 x 0.4 + 2 flat`.
///
/// What does not fit is remembered, not returned: [`overflows`](Self::overflows) is asked once at the end, so that
/// models read as the sums that they are. What was computed since is of no use then.
#[derive(Debug)]
pub(crate) struct Tally {
    currency: Currency,
    /// The quantity that is charged for.
    overage: Exact,
    exact: Exact,
    /// UTF-8: bytes, since most of what is noted is digits.
    text: Vec<u8>,
    /// How many terms were added, and what those add up to that are not spelled out.
    terms: usize,
    folded: Exact,
    /// The price of the first units, and whether all that was charged were units at that price.
    unit_price: Option<Decimal>,
    is_uniform: bool,
    overflows: bool,
    /// Whether the total was noted, so that no more terms come.
    ended: bool,
}

impl Tally {
    /// An empty one with room for so many terms.
    pub(crate) fn new(currency: Currency, terms: usize) -> Self {
        let room = terms.min(TERMS_MAX).saturating_mul(24).saturating_add(64);
        Self {
            currency,
            overage: Exact::ZERO,
            exact: Exact::ZERO,
            text: Vec::with_capacity(room),
            terms: 0,
            folded: Exact::ZERO,
            unit_price: None,
            is_uniform: true,
            overflows: false,
            ended: false,
        }
    }

    /// What is used above `allowance`, never below zero, and what the allowance covers.
    pub(crate) fn split(&mut self, used: &Used<'_>, allowance: Decimal) -> (Exact, Exact) {
        let quantity = self.fits(used.quantity());
        if allowance.is_zero() {
            return (quantity.max(Exact::ZERO), Exact::ZERO);
        }
        let included = quantity.min(Exact::from(allowance));
        (self.without(&quantity, &included), included)
    }

    /// Draws the allowance and says so: `130 - 30 included = 100: `. Gives what is left to charge for.
    pub(super) fn draw(&mut self, used: &Used<'_>, allowance: Decimal, then: &str) -> Exact {
        let (overage, included) = self.split(used, allowance);
        if !allowance.is_zero() {
            let quantity = self.fits(overage.checked_add(included));
            self.number(&quantity);
            self.say(" - ");
            self.number(&included);
            self.say(" included = ");
            self.number(&overage);
            self.say(then);
        }
        self.overage = overage;
        overage
    }

    /// Says what is charged for when it is not what [`draw`](Self::draw) gave.
    pub(crate) const fn charge_for(&mut self, overage: Exact) {
        self.overage = overage;
    }

    /// Adds `quantity` units: `10 x 0.5`.
    pub(crate) fn units(&mut self, quantity: &Exact, unit_price: Decimal) {
        self.units_as(quantity, unit_price, |tally| tally.number(quantity));
    }

    /// Adds units whose quantity `write` notes in its own way.
    pub(crate) fn units_as(&mut self, quantity: &Exact, unit_price: Decimal, write: impl FnOnce(&mut Self)) {
        if self.is_uniform {
            let first = *self.unit_price.get_or_insert(unit_price);
            self.is_uniform = first == unit_price;
        }
        let mut amount = Exact::ZERO;
        self.overflows |= !amount.set_product(quantity, unit_price);
        self.term(&amount, |tally| {
            write(tally);
            tally.say(" x ");
            tally.number(&unit_price.into());
        });
    }

    /// Goes through tiers, of which each has what it holds `up_to`, and lets `add` note what is charged for in each: its
    /// part of `overage`, from the bound of the one before on. `false` when the last one does not hold the rest.
    #[inline]
    pub(super) fn graduate<T>(
        &mut self,
        overage: &Exact,
        tiers: &[T],
        up_to: impl Fn(&T) -> Option<Decimal>,
        mut add: impl FnMut(&mut Self, &T, &Exact),
    ) -> bool {
        let mut below = Exact::ZERO;
        for tier in tiers {
            match up_to(tier).map(Exact::from) {
                Some(bound) if bound < *overage => {
                    let part = self.without(&bound, &below);
                    add(self, tier, &part);
                    below = bound;
                }
                Some(_) | None => {
                    let part = self.without(overage, &below);
                    add(self, tier, &part);
                    return true;
                }
            }
        }
        false
    }

    /// Adds a percentage of `quantity`: `2.9% of 100`.
    pub(super) fn percent(&mut self, percent: Decimal, quantity: &Exact) {
        let mut amount = Exact::ZERO;
        self.set_percentage(&mut amount, percent, quantity);
        self.is_uniform = false;
        self.term(&amount, |tally| {
            tally.number(&percent.into());
            tally.say("% of ");
            tally.number(quantity);
        });
    }

    /// Lets `part` be a percentage of `quantity`.
    #[inline]
    pub(super) fn set_percentage(&mut self, part: &mut Exact, percent: Decimal, quantity: &Exact) {
        self.overflows |= !part.set_percentage(quantity, percent);
    }

    /// Adds a fee that is due once: `2 flat`. A fee of zero is no term.
    pub(super) fn fee(&mut self, amount: Decimal) {
        if amount.is_zero() {
            return;
        }
        self.is_uniform = false;
        let amount = Exact::from(amount);
        self.term(&amount, |tally| {
            tally.number(&amount);
            tally.say(" flat");
        });
    }

    /// Adds any other term, which `write` notes.
    pub(super) fn term(&mut self, amount: &Exact, write: impl FnOnce(&mut Self)) {
        self.overflows |= !self.exact.add(amount);
        if self.terms < TERMS_MAX {
            if self.terms > 0 {
                self.say(" + ");
            }
            write(self);
        } else {
            self.overflows |= !self.folded.add(amount);
        }
        self.terms = self.terms.saturating_add(1);
    }

    /// Whether no term was added yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.terms == 0
    }

    /// Notes words of a model.
    #[inline]
    pub(super) fn say(&mut self, words: &str) {
        self.text.extend_from_slice(words.as_bytes());
    }

    /// Notes words that stand in a buffer.
    pub(super) fn copy(&mut self, words: &[u8]) {
        self.text.extend_from_slice(words);
    }

    /// Notes a number as its `Display` does.
    pub(super) fn number(&mut self, number: &Exact) {
        number.write_to(&mut self.text);
    }

    /// Notes a quantity and what is included of it: `(130 - 30 included)`.
    pub(crate) fn less(&mut self, quantity: &Exact, included: &Exact) {
        self.say("(");
        self.number(quantity);
        self.say(" - ");
        self.number(included);
        self.say(" included)");
    }

    /// Notes a count.
    pub(super) fn count(&mut self, count: u64) {
        self.number(&Decimal::from(count).into());
    }

    /// Ends the terms, if that was not done before: ` = 43 USD`.
    pub(crate) fn total(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        let folded = self.terms.saturating_sub(TERMS_MAX);
        if folded > 0 {
            let sum = self.folded;
            self.say(" + ");
            self.number(&sum);
            self.say(" for ");
            self.count(u64::try_from(folded).unwrap_or(u64::MAX));
            self.say(" more");
        }
        self.result();
    }

    fn result(&mut self) {
        let sum = self.exact;
        self.say(" = ");
        self.number(&sum);
        self.say(" ");
        self.say(self.currency.code());
    }

    /// After [`total`](Self::total): lifts the sum to `minimum` and cuts it at `maximum`, and says so:
    /// `, minimum 20: 5 + 15 = 20 USD`. Gives what was added and what was cut off.
    pub(crate) fn hold_within(
        &mut self,
        minimum: Option<Decimal>,
        maximum: Option<Decimal>,
    ) -> (Exact, Exact) {
        let (mut added, mut cut) = (Exact::ZERO, Exact::ZERO);
        if let Some(minimum) = minimum.map(Exact::from)
            && self.exact < minimum
        {
            added = self.fits(minimum.checked_sub(self.exact));
            self.hold_at(minimum, ", minimum ", " + ", &added);
        }
        if let Some(maximum) = maximum.map(Exact::from)
            && maximum < self.exact
        {
            cut = self.fits(self.exact.checked_sub(maximum));
            self.hold_at(maximum, ", maximum ", " - ", &cut);
        }
        (added, cut)
    }

    fn hold_at(&mut self, bound: Exact, name: &str, sign: &str, by: &Exact) {
        let exact = self.exact;
        self.say(name);
        self.number(&bound);
        self.say(": ");
        self.number(&exact);
        self.say(sign);
        self.number(by);
        self.exact = bound;
        self.is_uniform = false;
        self.result();
    }

    /// `part` without `less`.
    #[inline]
    pub(crate) fn without(&mut self, part: &Exact, less: &Exact) -> Exact {
        let mut rest = Exact::ZERO;
        self.overflows |= !rest.set_difference(part, less);
        rest
    }

    /// Adds `more` to `number`.
    #[inline]
    pub(super) fn increase(&mut self, number: &mut Exact, more: &Exact) {
        self.overflows |= !number.add(more);
    }

    /// The result; if there is none because it does not fit, that is remembered.
    #[inline]
    pub(crate) fn fits(&mut self, result: Option<Exact>) -> Exact {
        result.unwrap_or_else(|| {
            self.overflows = true;
            Exact::ZERO
        })
    }

    /// Whether something did not fit, so that nothing else here can be relied on.
    pub(crate) const fn overflows(&self) -> bool {
        self.overflows
    }

    /// The quantity that is charged for.
    pub(crate) const fn overage(&self) -> Exact {
        self.overage
    }

    /// The sum so far.
    pub(crate) const fn exact(&self) -> Exact {
        self.exact
    }

    /// The price of one unit, if all cost the same and nothing else is charged.
    pub(crate) fn unit_price(&self) -> Option<Decimal> {
        self.unit_price.filter(|_| self.is_uniform)
    }

    /// The arithmetic as text.
    pub(crate) fn into_text(self) -> String {
        // All that was noted is text.
        String::from_utf8(self.text)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}
