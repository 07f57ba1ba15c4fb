//! An account as an engine and a store keep it, with every promise of the domain checked after each decision.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::super::*;
use super::kit::*;
use crate::audit::{Actor, AuditEntry, verify};
use crate::coupon::{Coupon, CouponDuration, CouponValue};
use crate::credit::LedgerEntry;
use crate::credit_note::{CreditNote, credited_elsewhere};
use crate::id::{ActorName, IdempotencyKey, MeterCode};
use crate::invoice::{Invoice, InvoiceStatus, LineKind};
use crate::payment::PaymentOutcome;
use crate::retry::DeclineClass;
use crate::tax::TaxTreatment;
use crate::usage::{BilledWindow, Usage, UsageEvent};

#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) event: UsageEvent,
    pub(super) sequence: u64,
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
    pub(super) jobs: BTreeSet<String>,
    pub(super) usage: Vec<Recorded>,
    /// What billed usage must add up to on invoices that are not void.
    pub(super) billed: BTreeMap<MeterCode, Decimal>,
    /// Windows whose usage was billed.
    pub(super) windows: Vec<BilledWindow>,
    pub(super) tax: Option<TaxTreatment>,
    pub(super) coupon: Option<Coupon>,
    pub(super) redemptions: u32,
    /// What was bought, when and how many.
    pub(super) bought: Vec<(DateTime<Utc>, Decimal)>,
    pub(super) ledger: Vec<LedgerEntry>,
    pub(super) notes: Vec<CreditNote>,
    pub(super) payments: BTreeMap<(InvoiceId, String), i64>,
    pub(super) refunds: BTreeMap<String, i64>,
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
            tax: None,
            coupon: None,
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
            windows: Vec::new(),
            tax: None,
            coupon: Some(coupon(CouponValue::Percent(10.into()), CouponDuration::Forever)),
            redemptions: 0,
            bought: Vec::new(),
            ledger: Vec::new(),
            notes: Vec::new(),
            payments: BTreeMap::new(),
            refunds: BTreeMap::new(),
            ids: 0,
            is_quick: false,
        };
        for (code, quantity) in &request.add_ons {
            if plans[&plan_id].recurring_add_on(code).is_none() {
                account.bought.push((now, (*quantity).into()));
            }
        }
        account.apply(now, None, decision);
        account
    }

    /// What would be decided; facts are exactly what `needs` asks for, so that asking for too little is found.
    pub(super) fn ask(&self, now: DateTime<Utc>, command: &Command) -> Result<Decision, Rejection> {
        let plan = &self.plans[&self.sub.plan_id];
        let needs = needs(&self.sub, command, plan, now);
        let usage = needs.usage.map(|query| self.found(&query));
        let siblings: Vec<_> = self.siblings.iter().map(|(id, plan)| (*id, plan)).collect();
        let noted = needs.invoice.filter(|_| needs.notes);
        let earlier: Vec<_> = self
            .notes
            .iter()
            .filter(|note| Some(note.invoice_id) == noted)
            .cloned()
            .collect();
        let elsewhere = noted.map_or_else(Vec::new, |id| credited_elsewhere(id, &self.invoices));
        let facts = Facts {
            plan,
            target: needs.target.and_then(|id| self.plans.get(&id)),
            usage: usage.as_ref(),
            invoice: needs
                .invoice
                .and_then(|id| self.invoices.iter().find(|invoice| invoice.id == id)),
            siblings: if needs.siblings { &siblings } else { &[] },
            tax: self.tax.as_ref().filter(|_| needs.tax),
            coupon: self
                .coupon
                .as_ref()
                .filter(|_| needs.coupon)
                .map(|coupon| CouponFacts {
                    coupon,
                    redemptions: self.redemptions,
                    redeemed_before: self.redemptions > 0,
                }),
            notes: needs.notes.then_some(NoteFacts {
                earlier: &earlier,
                elsewhere: &elsewhere,
            }),
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
        self.usage.push(Recorded { event, sequence });
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

    fn found(&self, query: &UsageQuery<'_>) -> Usage {
        let mut events: Vec<_> = self
            .usage
            .iter()
            .map(|recorded| (recorded.sequence, &recorded.event))
            .collect();
        events.sort_by_key(|(sequence, event)| (event.occurred_at, *sequence));
        let billed: Vec<_> = self
            .windows
            .iter()
            .map(|billed| (*billed, &self.plans[&billed.plan_id]))
            .collect();
        query.answer(&events, &billed, self.usage.len() as u64).unwrap()
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
        if let Some(Command::BuyAddOn { quantity, .. }) = command {
            self.bought.push((now, (*quantity).into()));
            self.bought.sort_unstable();
        }
        self.ledger.extend(decision.ledger);
        self.notes.extend(decision.note);
        self.redemptions += u32::from(decision.redemption.is_some());
        self.effects = decision.effects;
        self.check_effects(&before);
        self.check_usage(&before, decision.billed);
        self.check_invoices();
        self.check_quantity(&before);
        self.check_commitment();
        self.check_purchases(&before);
        self.check_cash();
        self.check_credit();
        self.check_time_is_sold_once();
        self.check_state();
        if command == Some(&Command::Advance) {
            self.check_access(&before, now);
        }
    }
}
