//! An account as an engine and a store keep it, with every promise of the domain checked after each decision.

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;
use std::{format, vec};

use rust_decimal::Decimal;
use uuid::Uuid;

use super::super::*;
use crate::audit::{Actor, AuditEntry, verify};
use crate::calendar::{Interval, MonthEnd};
use crate::id::{ActorName, FeatureCode, IdempotencyKey, MeterCode, PlanCode, TrialFamily};
use crate::invoice::{Invoice, InvoiceStatus, LineKind};
use crate::money::{Currency, Rounding};
use crate::payment::{CollectionPhase, PaymentOutcome};
use crate::plan::{
    Activation, Aggregation, BillingTiming, ChargeModel, Feature, MeterTerms, ProrationRule, RestrictedStage,
    TenantProfile, Trial,
};
use crate::retry::{DeclineClass, RetryPolicy};
use crate::usage::{Usage, UsageEvent};

pub(super) const SUBSCRIPTION: SubscriptionId = SubscriptionId::new(Uuid::from_u128(1001)); // no jitter
pub(super) const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));
pub(super) const CARD: PaymentMethodId = PaymentMethodId::new(Uuid::from_u128(8));

pub(super) const BASIC: PlanId = PlanId::new(Uuid::from_u128(1));
pub(super) const PRO: PlanId = PlanId::new(Uuid::from_u128(2));
pub(super) const YEARLY: PlanId = PlanId::new(Uuid::from_u128(3));
pub(super) const FREE: PlanId = PlanId::new(Uuid::from_u128(4));
pub(super) const ARREARS: PlanId = PlanId::new(Uuid::from_u128(5));
pub(super) const TRIAL: PlanId = PlanId::new(Uuid::from_u128(6));
pub(super) const TRIAL_THEN_FREE: PlanId = PlanId::new(Uuid::from_u128(7));
pub(super) const TRIAL_THEN_END: PlanId = PlanId::new(Uuid::from_u128(8));
pub(super) const PREPAID: PlanId = PlanId::new(Uuid::from_u128(9));
pub(super) const UNPRORATED: PlanId = PlanId::new(Uuid::from_u128(10));
pub(super) const UNPRORATED_ARREARS: PlanId = PlanId::new(Uuid::from_u128(11));
pub(super) const ARREARS_PRO: PlanId = PlanId::new(Uuid::from_u128(12));
pub(super) const FREE_METERED: PlanId = PlanId::new(Uuid::from_u128(13));

/// The start of a month of 31 days, when most accounts are created.
pub(super) const MARCH: &str = "2026-03-01T00:00:00Z";
pub(super) const APRIL: &str = "2026-04-01T00:00:00Z";

#[track_caller]
pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(super) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").unwrap())
}

pub(super) fn meter(code: &str) -> MeterCode {
    MeterCode::new(code).unwrap()
}

/// 31.00 USD a month in advance, 3 days of grace, then 2 restricted ones, retries after 1, 2 and 4 days.
pub(super) fn plan(id: PlanId) -> Plan {
    let archive = FeatureCode::new("archive").unwrap();
    Plan {
        id,
        code: PlanCode::new(&format!("plan-{}", id.uuid().as_u128())).unwrap(),
        version: 1,
        product: ProductCode::new("core").unwrap(),
        name: "A plan".into(),
        price: usd(31_00),
        interval: Interval::MONTHLY,
        timing: BillingTiming::InAdvance,
        activation: Activation::Immediate,
        trial: None,
        grace_period_days: 3,
        restricted: Some(RestrictedStage {
            days: 2,
            features: [archive.clone()].into(),
        }),
        retention_days: 30,
        retry: RetryPolicy::default(),
        proration: ProrationRule::Second,
        rounding: Rounding::default(),
        invoice_lines_per_day_max: 1_000,
        regions: BTreeSet::new(),
        industries: BTreeSet::new(),
        required_compliance: BTreeSet::new(),
        is_active: true,
        discontinued: false,
        features: [(archive, Feature::Flag(true))].into(),
        meters: BTreeMap::new(),
    }
}

/// `plan` with a meter of so many free units a period, and 0.10 USD for each more.
pub(super) fn metered(mut plan: Plan, code: &str, allowance: i64) -> Plan {
    let terms = MeterTerms {
        aggregation: Aggregation::Sum,
        allowance: allowance.into(),
        soft_limit: None,
        hard_limit: None,
        charge: ChargeModel::PerUnit {
            unit_price: Decimal::new(10, 2),
        },
    };
    plan.meters.insert(meter(code), terms);
    plan
}

pub(super) fn with_trial(plan: Plan, without_payment_method: TrialEnd) -> Plan {
    let trial = Trial {
        days: 14,
        payment_method_required: false,
        family: TrialFamily::new("core").unwrap(),
        without_payment_method,
    };
    Plan {
        trial: Some(trial),
        ..plan
    }
}

/// The plans that an account can move among.
pub(super) fn catalog() -> Arc<BTreeMap<PlanId, Plan>> {
    let basic = |id| metered(plan(id), "api", 310);
    let plans = vec![
        basic(BASIC),
        metered(
            metered(
                Plan {
                    price: usd(62_00),
                    ..plan(PRO)
                },
                "api",
                620,
            ),
            "gb",
            0,
        ),
        Plan {
            price: usd(365_00),
            interval: Interval::YEARLY,
            ..basic(YEARLY)
        },
        Plan {
            price: usd(0),
            ..plan(FREE)
        },
        Plan {
            timing: BillingTiming::InArrears,
            ..basic(ARREARS)
        },
        with_trial(basic(TRIAL), TrialEnd::Expire),
        with_trial(basic(TRIAL_THEN_FREE), TrialEnd::MoveTo { plan_id: FREE }),
        with_trial(basic(TRIAL_THEN_END), TrialEnd::Cancel),
        Plan {
            activation: Activation::OnPayment { pay_within_hours: 24 },
            ..basic(PREPAID)
        },
        Plan {
            proration: ProrationRule::None,
            ..basic(UNPRORATED)
        },
        Plan {
            proration: ProrationRule::None,
            timing: BillingTiming::InArrears,
            ..basic(UNPRORATED_ARREARS)
        },
        Plan {
            price: usd(62_00),
            timing: BillingTiming::InArrears,
            ..basic(ARREARS_PRO)
        },
        Plan {
            price: usd(0),
            ..basic(FREE_METERED)
        },
    ];
    Arc::new(plans.into_iter().map(|plan| (plan.id, plan)).collect())
}

pub(super) fn request() -> Create {
    Create {
        id: SUBSCRIPTION,
        tenant_id: TENANT,
        tenant: TenantProfile::default(),
        zone: chrono_tz::Tz::UTC,
        month_end: MonthEnd::Clamp,
        payment_method: Some(CARD),
        auto_renew: true,
        trial: true,
    }
}

pub(super) fn cancel(when: When, unused: UnusedOnCancel) -> Command {
    Command::Cancel {
        when,
        reason: "enough".into(),
        unused,
    }
}

pub(super) fn suspend() -> Command {
    Command::Suspend {
        reason: "abuse".into(),
    }
}

pub(super) fn pause(when: When, resume_at: Option<&str>, unused: UnusedOnPause) -> Command {
    Command::Pause {
        when,
        resume_at: resume_at.map(at),
        unused,
    }
}

pub(super) fn change(plan_id: PlanId, when: impl Into<Option<When>>) -> Command {
    Command::ChangePlan {
        plan_id,
        when: when.into(),
        tenant: TenantProfile::default(),
    }
}

#[derive(Clone, Debug)]
struct Recorded {
    event: UsageEvent,
    sequence: u64,
    /// Whether a window that held it was closed, billed or not.
    closed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) plans: Arc<BTreeMap<PlanId, Plan>>,
    pub(super) siblings: Vec<(SubscriptionId, Plan)>,
    pub(super) now: DateTime<Utc>,
    pub(super) sub: Subscription,
    pub(super) invoices: Vec<Invoice>,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) trials: Vec<TrialGrant>,
    /// What the last decision asked for.
    pub(super) effects: Vec<Effect>,
    jobs: BTreeSet<String>,
    usage: Vec<Recorded>,
    /// What billed usage must add up to on invoices that are not void.
    billed: BTreeMap<MeterCode, Decimal>,
    /// Time whose usage no meter charged.
    unmetered: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    payments: BTreeMap<(InvoiceId, String), i64>,
    refunds: BTreeMap<String, i64>,
    ids: u128,
    /// Leaves out the checks that take long: JSON, and deciding twice.
    pub(super) is_quick: bool,
}

impl Account {
    #[track_caller]
    pub(super) fn on(plan_id: PlanId, now: &str) -> Self {
        Self::created(plan_id, now, &request())
    }

    #[track_caller]
    pub(super) fn created(plan_id: PlanId, now: &str, request: &Create) -> Self {
        Self::with(catalog(), plan_id, now, request)
    }

    #[track_caller]
    pub(super) fn with(
        plans: Arc<BTreeMap<PlanId, Plan>>,
        plan_id: PlanId,
        now: &str,
        request: &Create,
    ) -> Self {
        let now = at(now);
        let facts = CreateFacts {
            plan: &plans[&plan_id],
            live: None,
            trial_used: false,
            siblings: &[],
        };
        let context = Context {
            now,
            actor: &Actor::System,
            ip: None,
            invoice_id: InvoiceId::new(Uuid::from_u128(1)),
        };
        let decision = create(request, &facts, &context).unwrap();
        let mut blank = decision.next.clone();
        blank.audit = ChainHead::default();
        blank.version = 0;
        blank.invoices = 0;
        blank.state = State::Trial(Trialing {
            trial_starts_at: now,
            trial_ends_at: now,
            at_end: None,
        });
        let mut account = Self {
            plans: plans.clone(),
            siblings: Vec::new(),
            now,
            sub: blank,
            invoices: Vec::new(),
            audit: Vec::new(),
            trials: Vec::new(),
            effects: Vec::new(),
            jobs: BTreeSet::new(),
            usage: Vec::new(),
            billed: BTreeMap::new(),
            unmetered: Vec::new(),
            payments: BTreeMap::new(),
            refunds: BTreeMap::new(),
            ids: 0,
            is_quick: false,
        };
        account.apply(now, None, decision);
        account
    }

    /// What would be decided; facts are exactly what `needs` asks for, so that asking for too little is found.
    pub(super) fn ask(&self, now: DateTime<Utc>, command: &Command) -> Result<Decision, Rejection> {
        let plan = &self.plans[&self.sub.plan_id];
        let needs = needs(&self.sub, command, plan, now);
        let usage = needs.usage.map(|query| self.found(&query));
        let siblings: Vec<_> = self.siblings.iter().map(|(id, plan)| (*id, plan)).collect();
        let facts = Facts {
            plan,
            target: needs.target.and_then(|id| self.plans.get(&id)),
            usage: usage.as_ref(),
            invoice: needs
                .invoice
                .and_then(|id| self.invoices.iter().find(|invoice| invoice.id == id)),
            siblings: if needs.siblings { &siblings } else { &[] },
        };
        let actor = Actor::Operator(ActorName::new("op-1").unwrap());
        let context = Context {
            now,
            actor: &actor,
            ip: Some([192, 0, 2, 1].into()),
            invoice_id: InvoiceId::new(Uuid::from_u128(self.ids + 1)),
        };
        decide(&self.sub, command, &facts, &context)
    }

    #[track_caller]
    pub(super) fn run(&mut self, now: DateTime<Utc>, command: &Command) -> Result<(), Rejection> {
        assert!(now >= self.now, "time goes on");
        let decision = self.ask(now, command);
        if let Err(rejection @ Rejection::FactMissing { .. }) = &decision {
            panic!(
                "`needs` asked for too little: {rejection} in {:?}",
                self.sub.state
            );
        }
        let decision = decision?;
        if !self.is_quick {
            let again = self.ask(now, command);
            assert_eq!(
                again.as_ref(),
                Ok(&decision),
                "a decision depends on its arguments only"
            );
        }
        self.apply(now, Some(command), decision);
        Ok(())
    }

    /// Runs a command that must be accepted.
    #[track_caller]
    pub(super) fn must(&mut self, now: &str, command: &Command) -> &mut Self {
        self.run(at(now), command).unwrap();
        self
    }

    /// The message with which a command is refused.
    #[track_caller]
    pub(super) fn refused(&self, now: &str, command: &Command) -> String {
        std::string::ToString::to_string(&self.ask(at(now), command).unwrap_err())
    }

    /// Takes every step that is due, and checks that then none is; returns how many.
    #[track_caller]
    pub(super) fn catch_up(&mut self, now: DateTime<Utc>) -> usize {
        for steps in 0..2_000 {
            let due = self.sub.next_due();
            match self.run(now, &Command::Advance) {
                Ok(()) => assert!(due.is_some_and(|due| due <= now), "a step before its time"),
                Err(Rejection::NotDue { due: said, .. }) => {
                    assert!(due.is_none_or(|due| due > now), "a step refused in its time");
                    assert_eq!(said, due);
                    return steps;
                }
                Err(other) => panic!("{other} in {:?}", self.sub.state),
            }
        }
        panic!("steps without end: {:?}", self.sub.state);
    }

    #[track_caller]
    pub(super) fn until(&mut self, now: &str) -> &mut Self {
        self.catch_up(at(now));
        self
    }

    /// The open invoice settles.
    #[track_caller]
    pub(super) fn pay(&mut self, now: &str) -> &mut Self {
        let command = self.settlement(at(now));
        self.must(now, &command)
    }

    #[track_caller]
    pub(super) fn settlement(&self, settled_at: DateTime<Utc>) -> Command {
        let invoice = self.open().expect("an open invoice");
        self.settlement_of(invoice.id, settled_at)
    }

    #[track_caller]
    pub(super) fn settlement_of(&self, invoice_id: InvoiceId, settled_at: DateTime<Utc>) -> Command {
        let invoice = self.invoice(invoice_id);
        let reference = format!("ref-{}-{}", invoice.number, self.sub.version);
        let outcome = PaymentOutcome::Settled {
            amount: invoice.total,
            reference,
            settled_at,
        };
        Command::RecordPayment { invoice_id, outcome }
    }

    #[track_caller]
    pub(super) fn fail(&mut self, now: &str, class: DeclineClass) -> &mut Self {
        let command = self.failure(class);
        self.must(now, &command)
    }

    #[track_caller]
    pub(super) fn failure(&self, class: DeclineClass) -> Command {
        let invoice_id = self.open().expect("an open invoice").id;
        let outcome = PaymentOutcome::Failed {
            class,
            code: "51".into(),
        };
        Command::RecordPayment { invoice_id, outcome }
    }

    /// Records usage now, which occurred at `occurred_at`.
    pub(super) fn record(&mut self, code: &str, quantity: i64, occurred_at: DateTime<Utc>) -> &mut Self {
        let sequence = self.usage.len() as u64 + 1;
        let event = UsageEvent {
            idempotency_key: IdempotencyKey::new(&format!("e{sequence}")).unwrap(),
            tenant_id: TENANT,
            meter: meter(code),
            quantity: quantity.into(),
            occurred_at,
            properties: BTreeMap::new(),
        };
        self.usage.push(Recorded {
            event,
            sequence,
            closed: false,
        });
        self
    }

    pub(super) fn open(&self) -> Option<&Invoice> {
        self.invoices.iter().find(|invoice| invoice.is_open())
    }

    #[track_caller]
    pub(super) fn invoice(&self, id: InvoiceId) -> &Invoice {
        self.invoices.iter().find(|invoice| invoice.id == id).unwrap()
    }

    #[track_caller]
    pub(super) fn last(&self) -> &Invoice {
        self.invoices.last().unwrap()
    }

    /// The lines of the newest invoice, as kind and minor units.
    #[track_caller]
    pub(super) fn lines(&self) -> Vec<(LineKind, i64)> {
        self.last()
            .lines
            .iter()
            .map(|line| (line.kind, line.amount.minor))
            .collect()
    }

    #[track_caller]
    pub(super) fn term_ends(&self) -> DateTime<Utc> {
        self.sub.term().expect("a term").period.end
    }

    fn found(&self, query: &UsageQuery) -> Usage {
        let mut usage = Usage {
            watermark: self.usage.len() as u64,
            ..Usage::default()
        };
        for recorded in &self.usage {
            usage.add(query, &recorded.event, recorded.sequence).unwrap();
        }
        usage
    }

    #[track_caller]
    fn apply(&mut self, now: DateTime<Utc>, command: Option<&Command>, decision: Decision) {
        let before = std::mem::replace(&mut self.sub, decision.next);
        assert_eq!(self.sub.version, before.version + 1);
        assert_eq!(
            verify(SUBSCRIPTION, before.audit, &decision.audit, self.sub.audit),
            Ok(())
        );
        assert!(
            !decision.audit.is_empty(),
            "every change writes an entry: {command:?}"
        );
        for entry in &decision.audit {
            assert!(
                serde_json::from_str::<serde_json::Value>(&entry.details)
                    .unwrap()
                    .is_object()
            );
        }
        self.now = now;
        self.audit.extend(decision.audit);
        self.trials.extend(decision.trial);
        for closed in decision.closed {
            let invoice = self
                .invoices
                .iter_mut()
                .find(|invoice| invoice.id == closed.invoice_id)
                .unwrap();
            let reopened = matches!(closed.state, InvoiceStatus::Open);
            let was = matches!(
                invoice.state,
                InvoiceStatus::Open | InvoiceStatus::Uncollectible { .. }
            );
            assert!(was && !reopened, "{:?} to {:?}", invoice.state, closed.state);
            invoice.state = closed.state;
        }
        if let Some(invoice) = decision.opened {
            self.ids += 1;
            assert_eq!(invoice.id, InvoiceId::new(Uuid::from_u128(self.ids)));
            assert_eq!(invoice.number, self.sub.invoices);
            self.invoices.push(invoice);
        }
        if let Some(Command::RecordPayment {
            invoice_id,
            outcome: PaymentOutcome::Settled {
                amount, reference, ..
            },
        }) = command
        {
            self.payments
                .insert((*invoice_id, reference.clone()), amount.minor);
        }
        self.effects = decision.effects;
        self.check_effects(&before);
        self.check_usage(&before, now);
        self.check_invoices();
        self.check_cash();
        self.check_time_is_sold_once();
        self.check_state();
        if command == Some(&Command::Advance) {
            self.check_access(&before, now);
        }
    }

    #[track_caller]
    fn check_effects(&mut self, before: &Subscription) {
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
                Effect::RefundUnused { amount, .. } | Effect::RefundPayment { amount, .. } => {
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
    fn check_usage(&mut self, before: &Subscription, now: DateTime<Utc>) {
        let (from, until) = (before.usage.from, self.sub.usage.from);
        assert!(from <= until, "usage windows go back");
        assert!(self.sub.usage.watermark >= before.usage.watermark);
        let fresh = self
            .invoices
            .last()
            .filter(|invoice| invoice.number > before.invoices);
        for line in fresh.into_iter().flat_map(|invoice| &invoice.lines) {
            let usage = matches!(line.kind, LineKind::Usage | LineKind::UsageAdjustment);
            if usage && line.source.is_none() {
                assert_eq!(
                    (line.period.start, line.period.end),
                    (from, until),
                    "usage windows tile"
                );
            }
        }
        if from == until {
            return;
        }
        let plan = self.plans[&before.plan_id].clone();
        let reset = self.sub.usage.origin == until;
        if plan.meters.is_empty() || reset {
            self.unmetered.push((from, until));
        }
        for recorded in &mut self.usage {
            let occurred_at = recorded.event.occurred_at;
            let in_time = from <= occurred_at && occurred_at < until;
            let late = before.usage.origin <= occurred_at
                && occurred_at < from
                && recorded.sequence > before.usage.watermark;
            if !(in_time || late) {
                continue;
            }
            assert!(
                !recorded.closed || plan.meters.is_empty(),
                "usage billed twice: {:?} at {now}",
                recorded.event
            );
            recorded.closed = true;
            if reset {
                continue;
            }
            if plan.meters.contains_key(&recorded.event.meter) {
                let free = self
                    .unmetered
                    .iter()
                    .any(|(from, until)| *from <= occurred_at && occurred_at < *until);
                assert!(
                    !free,
                    "usage of an unmetered plan billed: {:?} at {now}",
                    recorded.event
                );
                *self.billed.entry(recorded.event.meter.clone()).or_default() += recorded.event.quantity;
            }
        }
    }

    #[track_caller]
    fn check_invoices(&self) {
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
                    | LineKind::CreditRefunded => {}
                }
            }
        }
        assert_eq!(
            self.sub.credit.minor, credit,
            "credit is what invoices carried and did not use"
        );
        assert_eq!(usage, self.billed, "usage is billed once");
        for ((id, line), amount) in credited {
            let source = self.invoice(id);
            assert!(
                matches!(source.state, InvoiceStatus::Paid { .. }),
                "credit for what was not paid"
            );
            assert!(
                amount <= source.lines[line as usize].amount.minor,
                "more credited than was debited"
            );
        }
    }

    /// What came in, less what went back, is what paid invoices say.
    #[track_caller]
    fn check_cash(&self) {
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
        assert_eq!(cash, booked, "money is conserved");
    }

    /// No instant is paid for twice, credits taken off.
    #[track_caller]
    fn check_time_is_sold_once(&self) {
        let mut steps = Vec::new();
        for invoice in &self.invoices {
            let covers = match &invoice.state {
                InvoiceStatus::Void { .. } | InvoiceStatus::Uncollectible { .. } => continue,
                InvoiceStatus::Open => None,
                InvoiceStatus::Paid { covers, .. } => *covers,
            };
            for line in &invoice.lines {
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
    fn check_state(&self) {
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
    fn check_access(&self, before: &Subscription, now: DateTime<Utc>) {
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
