//! What must hold after every decision, whatever it was.

use std::collections::BTreeMap;
use std::vec::Vec;

use rust_decimal::Decimal;

use super::super::*;
use super::account::Account;
use crate::aggregation::Aggregation;
use crate::credit::LedgerKind;
use crate::credit_note::Disposition;
use crate::id::MeterCode;
#[cfg(feature = "serde")]
use crate::invoice::Invoice;
use crate::invoice::{InvoiceLine, InvoiceStatus, LineKind, LineRef};
use crate::payment::CollectionPhase;
use crate::plan::ProrationRule;
use crate::tax::TaxBehavior;
use crate::usage::BilledWindow;

impl Account {
    #[track_caller]
    pub(super) fn check_effects(&mut self, before: &Subscription) {
        let mut attempt = None;
        for effect in self.effects.clone() {
            let fresh = self.jobs.insert(effect.idempotency_key());
            match effect {
                Effect::ChargeInvoice {
                    invoice_id,
                    amount,
                    attempt: number,
                } => {
                    assert!(fresh, "charged twice: {}", effect.idempotency_key());
                    assert_eq!(amount, self.invoice(invoice_id).total);
                    attempt = Some((invoice_id, number));
                }
                Effect::VerifyPayment { .. } => {}
                Effect::RefundUnused { amount, .. }
                | Effect::RefundPayment { amount, .. }
                | Effect::RefundNote { amount, .. } => {
                    assert!(amount.minor > 0);
                    self.refunds.insert(effect.idempotency_key(), amount.minor);
                }
            }
        }
        let charging = |sub: &Subscription| {
            let charging = sub
                .state
                .collection()
                .filter(|open| open.phase == CollectionPhase::Charging);
            charging.map(|open| (open.invoice_id, open.attempts))
        };
        let started = charging(&self.sub).filter(|now| charging(before).as_ref() != Some(now));
        assert_eq!(
            started, attempt,
            "an attempt is asked for exactly when it is awaited"
        );
    }

    #[track_caller]
    pub(super) fn check_usage(&mut self, before: &Subscription, billed: Option<BilledWindow>) {
        let (from, until) = (before.usage.from, self.sub.usage.from);
        assert!(from <= until, "usage windows go back");
        assert!(self.sub.usage.watermark >= before.usage.watermark);
        let fresh = self
            .invoices
            .last()
            .filter(|invoice| invoice.number > before.invoices);
        for line in fresh.into_iter().flat_map(|invoice| &invoice.lines) {
            let window = line.period;
            match line.kind {
                LineKind::Usage if line.source.is_none() => {
                    assert_eq!((window.start, window.end), (from, until), "usage windows tile");
                }
                LineKind::UsageAdjustment if line.source.is_none() => {
                    let is_known = self.windows.iter().any(|billed| billed.window == window);
                    assert!(is_known, "an adjustment of a window that was billed");
                    assert!(
                        window.end <= from,
                        "what is billed for the first time is no adjustment"
                    );
                }
                _ => {}
            }
        }
        if let Some(billed) = billed {
            assert_eq!((billed.window.start, billed.window.end), (from, until));
            assert_eq!(billed.plan_id, before.plan_id);
            self.windows.push(billed);
        }
        // From nothing but the windows: what they hold of what was seen, by the plan of their time.
        self.billed.clear();
        for recorded in &self.usage {
            let event = &recorded.event;
            let window = self
                .windows
                .iter()
                .find(|billed| billed.window.contains(event.occurred_at));
            let Some(billed) = window else { continue };
            if self.adds_up(billed.plan_id, &Some(event.meter.clone()))
                && recorded.sequence <= self.sub.usage.watermark
            {
                *self.billed.entry(event.meter.clone()).or_default() += event.quantity;
            }
        }
    }

    /// Whether the quantities of the meter's events add up to what is billed.
    fn adds_up(&self, plan_id: PlanId, meter: &Option<MeterCode>) -> bool {
        let terms = meter
            .as_ref()
            .and_then(|meter| self.plans[&plan_id].meters.get(meter));
        terms.is_some_and(|terms| terms.aggregation == Aggregation::Sum)
    }

    #[track_caller]
    pub(super) fn check_invoices(&self) {
        let open: Vec<_> = self.invoices.iter().filter(|invoice| invoice.is_open()).collect();
        assert!(open.len() <= 1, "two open invoices");
        let collection = self.sub.state.collection();
        assert_eq!(
            open.first()
                .map(|invoice| (invoice.id, invoice.total, invoice.kind)),
            collection.map(|collection| (collection.invoice_id, collection.amount, collection.kind)),
            "the open invoice is the one that is collected"
        );
        assert!(!self.sub.credit.is_negative());
        let mut credit = 0;
        let mut usage: BTreeMap<MeterCode, Decimal> = BTreeMap::new();
        let mut credited: BTreeMap<(InvoiceId, u32), i64> = BTreeMap::new();
        for invoice in &self.invoices {
            assert!(invoice.adds_up(), "{invoice:?}");
            if matches!(invoice.state, InvoiceStatus::Void { .. }) {
                continue;
            }
            for line in &invoice.lines {
                match line.kind {
                    LineKind::CreditCarried | LineKind::CreditApplied => credit += line.amount.minor,
                    LineKind::Usage | LineKind::UsageAdjustment => {
                        if !self.adds_up(line.plan_id, &line.meter) {
                            continue;
                        }
                        *usage.entry(line.meter.clone().unwrap()).or_default() += line.quantity;
                    }
                    LineKind::ProrationCredit => {
                        let mut source = line.source.unwrap();
                        // A credit that moved along points at the credit that it was.
                        while self.invoice(source.invoice_id).lines[source.line as usize].kind
                            == LineKind::ProrationCredit
                        {
                            source = self.invoice(source.invoice_id).lines[source.line as usize]
                                .source
                                .unwrap();
                        }
                        *credited.entry((source.invoice_id, source.line)).or_default() -= line.amount.minor;
                    }
                    LineKind::RecurringInAdvance
                    | LineKind::RecurringInArrears
                    | LineKind::ProrationCharge
                    | LineKind::CommitmentTrueUp
                    | LineKind::AddOn
                    | LineKind::CreditRefunded
                    | LineKind::Discount
                    | LineKind::Tax
                    | LineKind::PrepaidApplied => {}
                }
            }
        }
        for note in &self.notes {
            if note.disposition == Disposition::Credit {
                credit += note.total.minor;
            }
            for line in &note.lines {
                *credited.entry((note.invoice_id, line.line)).or_default() += line.amount.minor;
            }
        }
        assert_eq!(
            self.sub.credit.minor, credit,
            "credit is what invoices carried and did not use"
        );
        // A minimum is due without usage.
        usage.retain(|_, quantity| !quantity.is_zero());
        assert_eq!(usage, self.billed, "usage is billed once");
        for ((id, line), amount) in credited {
            let source = self.invoice(id);
            assert!(
                matches!(source.state, InvoiceStatus::Paid { .. }),
                "credit for what was not paid"
            );
            let this = LineRef { invoice_id: id, line };
            let off = source.lines.iter().filter(|other| other.source == Some(this));
            let paid =
                source.lines[line as usize].amount.minor + off.map(|other| other.amount.minor).sum::<i64>();
            assert!(amount <= paid, "more credited than was debited");
        }
    }

    /// A recurring price is that of one times the quantity in force; what was served before a change is owed in the
    /// quantity of before.
    #[track_caller]
    pub(super) fn check_quantity(&self, before: &Subscription) {
        assert!(self.sub.quantity >= 1);
        let fresh = self
            .invoices
            .last()
            .filter(|invoice| invoice.number > before.invoices);
        let lines = fresh.into_iter().flat_map(|invoice| &invoice.lines);
        for line in lines.filter(|line| line.source.is_none()) {
            let (sub, is_whole) = match line.kind {
                LineKind::RecurringInAdvance => (&self.sub, true),
                LineKind::ProrationCharge => (&self.sub, false),
                LineKind::RecurringInArrears => (before, false),
                _ => continue,
            };
            let plan = &self.plans[&line.plan_id];
            let (quantity, price) = match &line.add_on {
                Some(code) => (sub.add_ons[code], plan.add_ons[code].price),
                None => (sub.quantity, plan.price),
            };
            assert_eq!(line.quantity, quantity.into(), "{line:?}");
            assert_eq!(line.unit_price, Some(price.to_decimal()));
            let whole = price.minor * i64::from(quantity);
            assert!(0 < line.amount.minor && line.amount.minor <= whole, "{line:?}");
            assert!(!is_whole || line.amount.minor == whole, "{line:?}");
        }
    }

    /// What came in, less what went back, is what paid invoices say.
    #[track_caller]
    pub(super) fn check_cash(&self) {
        let cash = self.payments.values().sum::<i64>() - self.refunds.values().sum::<i64>();
        let mut booked = 0;
        for invoice in &self.invoices {
            if let InvoiceStatus::Paid { .. } = invoice.state {
                booked += invoice.total.minor;
                let back = invoice
                    .lines
                    .iter()
                    .filter(|line| line.kind == LineKind::CreditRefunded);
                booked -= back.map(|line| line.amount.minor).sum::<i64>();
            }
        }
        let refunded = self
            .notes
            .iter()
            .filter(|note| note.disposition == Disposition::Refund);
        booked -= refunded.map(|note| note.total.minor).sum::<i64>();
        assert_eq!(cash, booked, "money is conserved");
    }

    /// The ledger adds up to what the grants have left, and what an invoice burned is what its lines say; a withdrawn one
    /// burned nothing. Discounts and tax are what they are of.
    #[track_caller]
    pub(super) fn check_credit(&self) {
        let left: i64 = self.sub.grants.iter().map(|grant| grant.remaining.minor).sum();
        let booked: i64 = self.ledger.iter().map(|entry| entry.amount.minor).sum();
        assert_eq!(left, booked, "the ledger adds up");
        for invoice in &self.invoices {
            let of = |kind| invoice.lines.iter().filter(move |line| line.kind == kind);
            let sum = |kind| of(kind).map(|line| line.amount.minor).sum::<i64>();
            let burned = self.ledger.iter().filter(|entry| match entry.kind {
                LedgerKind::Burned { invoice_id } | LedgerKind::Returned { invoice_id } => {
                    invoice_id == invoice.id
                }
                LedgerKind::Granted | LedgerKind::Expired | LedgerKind::Voided => false,
            });
            let burned: i64 = burned.map(|entry| entry.amount.minor).sum();
            match invoice.state {
                InvoiceStatus::Void { .. } => assert_eq!(burned, 0, "withdrawn"),
                InvoiceStatus::Open | InvoiceStatus::Paid { .. } | InvoiceStatus::Uncollectible { .. } => {
                    assert_eq!(burned, sum(LineKind::PrepaidApplied));
                }
            }
            let exclusive = invoice
                .taxes
                .iter()
                .filter(|tax| tax.behavior == TaxBehavior::Exclusive);
            assert_eq!(
                sum(LineKind::Tax),
                exclusive.map(|tax| tax.amount.minor).sum::<i64>()
            );
            for line in of(LineKind::Discount) {
                let source = line.source.unwrap();
                assert_eq!(source.invoice_id, invoice.id);
                assert!(invoice.lines[source.line as usize].kind.is_charge() && line.amount.is_negative());
            }
        }
    }

    /// What was used of a window comes to its minimum, and to no more than that where it was not used.
    #[track_caller]
    pub(super) fn check_commitment(&self) {
        for billed in &self.windows {
            // A minimum is due for the period only, should the window go on after it.
            let ends = billed.term.map(|term| term.period.end.min(billed.window.end));
            let starts = billed.term.map(|term| term.since.min(billed.window.start));
            let of_window = |line: &&InvoiceLine| {
                line.plan_id == billed.plan_id
                    && (line.period.end == billed.window.end || Some(line.period.end) == ends)
                    && starts.is_none_or(|starts| line.period.start >= starts)
            };
            let lines = self
                .invoices
                .iter()
                .filter(|invoice| !matches!(invoice.state, InvoiceStatus::Void { .. }));
            let sum = |kinds: &[LineKind]| -> i64 {
                let lines = lines.clone().flat_map(|invoice| &invoice.lines).filter(of_window);
                lines
                    .filter(|line| kinds.contains(&line.kind))
                    .map(|line| line.amount.minor)
                    .sum()
            };
            let used = sum(&[LineKind::Usage, LineKind::UsageAdjustment]);
            let missing = billed
                .usage_minimum
                .map_or(0, |minimum| (minimum.minor - used).max(0));
            assert_eq!(sum(&[LineKind::CommitmentTrueUp]), missing, "{billed:?}");
        }
    }

    /// A purchase is billed once, or waits; what was bought in a time that never was paid for is neither.
    #[track_caller]
    pub(super) fn check_purchases(&mut self, before: &Subscription) {
        // A trial that ends on the plan for those who cannot pay has no paid period.
        if before.status() == Status::Trial
            && self.sub.status() == Status::Active
            && !before.pays_after_trial()
        {
            self.bought.clear();
        }
        let standing = self
            .invoices
            .iter()
            .filter(|invoice| !matches!(invoice.state, InvoiceStatus::Void { .. }));
        let lines = standing
            .flat_map(|invoice| &invoice.lines)
            .filter(|line| line.kind == LineKind::AddOn);
        let mut billed: Vec<_> = lines.map(|line| (line.period.start, line.quantity)).collect();
        billed.extend(
            self.sub
                .purchases
                .iter()
                .map(|purchase| (purchase.bought_at, purchase.quantity.into())),
        );
        billed.sort_unstable();
        if self.sub.is_live() {
            assert_eq!(billed, self.bought, "purchases are billed once");
        } else {
            assert!(
                billed.iter().all(|purchase| self.bought.contains(purchase)),
                "{billed:?}"
            );
        }
    }

    /// No instant is paid for twice, credits taken off: neither of the plan nor of an add-on.
    #[track_caller]
    pub(super) fn check_time_is_sold_once(&self) {
        self.check_sold_once(None);
        self.check_sold_once(Some(&AddOnCode::new("backup").unwrap()));
    }

    #[track_caller]
    fn check_sold_once(&self, add_on: Option<&AddOnCode>) {
        if !self.notes.is_empty() {
            return; // What a note gave back is not credited once more, so the time counts as sold.
        }
        let mut steps = Vec::new();
        for invoice in &self.invoices {
            let covers = match &invoice.state {
                InvoiceStatus::Void { .. } | InvoiceStatus::Uncollectible { .. } => continue,
                InvoiceStatus::Open => None,
                InvoiceStatus::Paid { covers, .. } => *covers,
            };
            for line in invoice.lines.iter().filter(|line| line.add_on.as_ref() == add_on) {
                if self.plans[&line.plan_id].proration == ProrationRule::None {
                    return; // Nothing is credited there, so a change pays twice by agreement.
                }
                let (period, by) = match line.kind {
                    LineKind::RecurringInAdvance => (covers.unwrap_or(line.period), 1),
                    LineKind::ProrationCharge => (line.period, 1),
                    LineKind::ProrationCredit => (line.period, -1),
                    _ => continue,
                };
                steps.push((period.start, by));
                steps.push((period.end, -by));
            }
        }
        steps.sort_unstable();
        let mut sold = 0;
        for (index, (from, by)) in steps.iter().enumerate() {
            sold += by;
            let until = steps.get(index + 1).map_or(*from, |(until, _)| *until);
            // Less than this is worth less than half a minor unit, and is not credited.
            let rounded = until - *from < chrono::TimeDelta::minutes(20);
            assert!(sold <= 1 || rounded, "{from} to {until} is paid for {sold} times");
        }
    }

    #[track_caller]
    pub(super) fn check_state(&self) {
        let expired = |expired: &Expired| {
            assert!(expired.ended_at <= expired.grace_ends_at);
            assert!(expired.grace_ends_at <= expired.restricted_ends_at);
            assert!(expired.resumes.is_none() || expired.collection.is_some());
        };
        match &self.sub.state {
            State::Pending(_) | State::Trial(_) => {}
            State::Active(active) => assert!(active.term.period.start < active.term.period.end),
            State::Expired(state) => expired(state),
            State::Suspended(suspended) => match &suspended.suspension {
                Suspension::Unpaid { held, .. }
                | Suspension::Operator {
                    held: Held::Expired(held),
                    ..
                } => {
                    expired(held);
                }
                Suspension::Operator {
                    held: Held::Trial(_) | Held::Active(_),
                    ..
                } => {}
                Suspension::Paused {
                    carried, resume_at, ..
                } => {
                    assert!(carried.as_ref().is_none_or(|carried| carried.left_micros > 0));
                    assert!(resume_at.is_none_or(|at| at > suspended.suspended_at));
                }
            },
            State::Canceled(canceled) => {
                let open = canceled.collection.as_ref();
                assert!(open.is_none_or(|open| open.kind == crate::invoice::InvoiceKind::Closing));
            }
        }
        #[cfg(feature = "serde")]
        if !self.is_quick {
            let json = serde_json::to_string(&self.sub).unwrap();
            assert_eq!(
                serde_json::from_str::<Subscription>(&json).unwrap(),
                self.sub,
                "{json}"
            );
            if let Some(invoice) = self.invoices.last() {
                let json = serde_json::to_string(invoice).unwrap();
                assert_eq!(
                    &serde_json::from_str::<Invoice>(&json).unwrap(),
                    invoice,
                    "{json}"
                );
            }
            let json = serde_json::to_string(&self.effects).unwrap();
            assert_eq!(
                serde_json::from_str::<Vec<Effect>>(&json).unwrap(),
                self.effects,
                "{json}"
            );
        }
    }

    /// A step that is taken late does not change what is granted.
    #[track_caller]
    pub(super) fn check_access(&self, before: &Subscription, now: DateTime<Utc>) {
        let full = |standing| {
            matches!(
                standing,
                Standing::Current | Standing::Renewing | Standing::InGrace
            )
        };
        let (was, is) = (before.standing(now), self.sub.standing(now));
        let agrees = (full(was) && full(is)) || was == is;
        let allowed = match (before.status(), self.sub.status()) {
            // Retries are spent: access ends by the decision, also inside grace.
            (Status::Expired, Status::Suspended) => true,
            // To a plan that the subscription does not name: it cannot know that it will be granted.
            (Status::Trial, Status::Active) if was == Standing::Lapsed => before.plan_id != self.sub.plan_id,
            // Renewed into a period that is over as well.
            (_, Status::Active) if was == Standing::Renewing => {
                self.sub.next_due().is_some_and(|due| due <= now)
            }
            _ => false,
        };
        assert!(
            agrees || allowed,
            "{was:?} became {is:?}: {:?} to {:?}",
            before.state,
            self.sub.state
        );
    }
}
