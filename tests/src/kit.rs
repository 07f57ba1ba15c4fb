//! What the suites make subscriptions with: plans, ids, and a small shell that loads, decides and commits.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use billing_core::audit::{Actor, Digest};
use billing_core::calendar::{Interval, MonthEnd, Period};
use billing_core::charge::ChargeModel;
use billing_core::credit_note::{CreditNote, CreditNoteAmount, credited_elsewhere};
use billing_core::id::{
    ActorName, AddOnCode, IdempotencyKey, InvoiceId, JobId, MeterCode, PaymentMethodId, PlanCode, PlanId,
    ProductCode, SubscriptionId, TenantId, TrialFamily,
};
use billing_core::invoice::Invoice;
use billing_core::money::{Currency, Money, Rounding};
use billing_core::outbox::Job;
use billing_core::payment::PaymentOutcome;
use billing_core::plan::{
    Activation, BillingTiming, MeterTerms, Plan, ProrationRule, TenantProfile, Trial, TrialEnd,
};
use billing_core::ports::CouponState;
use billing_core::ports::{CommandRecord, Commit, CommitRefusal, Store, StoreError};
use billing_core::retry::{DeclineClass, RetryPolicy};
use billing_core::subscription::{
    self, Command, Context, Create, CreateFacts, Decision, Facts, Rejection, Subscription, UnusedOnCancel,
    When,
};
use billing_core::subscription::{CouponFacts, NoteFacts};
use billing_core::usage::{BilledWindow, Usage, UsageEvent, UsageOutcome, WindowTerm};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

/// Waits for a future of a port.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    futures_executor::block_on(future)
}

/// An instant from RFC 3339.
///
/// # Panics
///
/// When it is not one.
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// When the cases begin.
pub fn start() -> DateTime<Utc> {
    at("2024-01-31T09:00:00Z")
}

/// Tenant number `n`.
pub const fn tenant(n: u128) -> TenantId {
    TenantId::new(Uuid::from_u128(n))
}

/// A plan id that is easily told from the others.
pub const fn plan_id(n: u128) -> PlanId {
    PlanId::new(Uuid::from_u128(n))
}

/// A meter's code.
///
/// # Panics
///
/// When it is not one; so do the next few.
pub fn meter(code: &str) -> MeterCode {
    MeterCode::new(code).expect("a meter code")
}

/// A product's code.
pub fn product(code: &str) -> ProductCode {
    ProductCode::new(code).expect("a product code")
}

/// A trial family.
pub fn family(code: &str) -> TrialFamily {
    TrialFamily::new(code).expect("a trial family")
}

/// An idempotency key.
pub fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("a key")
}

/// A quantity.
pub fn decimal(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

/// The code of an add-on.
///
/// # Panics
///
/// When it is no code.
pub fn add_on(code: &str) -> AddOnCode {
    AddOnCode::new(code).expect("a code")
}

/// So many US cents.
pub fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").expect("USD is a currency"))
}

/// An operator.
pub fn operator() -> Actor {
    Actor::Operator(ActorName::new("ops@example.com").expect("a name"))
}

/// A monthly plan over 10 USD of product `main`: no trial, no meter, active at once, 3 days of grace.
pub fn plan(n: u128, code: &str) -> Plan {
    Plan {
        id: plan_id(n),
        code: PlanCode::new(code).expect("a plan code"),
        version: 1,
        product: product("main"),
        name: format!("Plan {code}"),
        price: usd(1000),
        interval: Interval::MONTHLY,
        minimum_commitment: None,
        timing: BillingTiming::InAdvance,
        activation: Activation::Immediate,
        trial: None,
        grace_period_days: 3,
        restricted: None,
        retention_days: 30,
        retry: RetryPolicy::default(),
        proration: ProrationRule::Second,
        rounding: Rounding::HalfAwayFromZero,
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1_000,
        regions: BTreeSet::new(),
        industries: BTreeSet::new(),
        required_compliance: BTreeSet::new(),
        is_active: true,
        discontinued: false,
        features: BTreeMap::new(),
        meters: BTreeMap::new(),
        add_ons: BTreeMap::new(),
    }
}

/// The same with a trial of 14 days, which needs no payment method.
pub fn with_trial(plan: Plan, trial_family: &str) -> Plan {
    let trial = Trial {
        days: 14,
        payment_method_required: false,
        family: family(trial_family),
        without_payment_method: TrialEnd::Expire,
    };
    Plan {
        trial: Some(trial),
        ..plan
    }
}

/// The same with a meter: 100 are included, each more costs 0.01 USD.
pub fn with_meter(mut plan: Plan, code: &str) -> Plan {
    let terms = MeterTerms {
        allowance: decimal("100"),
        ..MeterTerms::new(ChargeModel::PerUnit {
            unit_price: decimal("0.01"),
        })
    };
    plan.meters.insert(meter(code), terms);
    plan
}

/// An event of `quantity` at `occurred_at`, without properties.
pub fn event(
    tenant_id: TenantId,
    idempotency_key: &str,
    code: &str,
    quantity: &str,
    occurred_at: DateTime<Utc>,
) -> UsageEvent {
    UsageEvent {
        idempotency_key: key(idempotency_key),
        tenant_id,
        meter: meter(code),
        quantity: decimal(quantity),
        occurred_at,
        properties: BTreeMap::new(),
    }
}

/// Makes ids that never repeat and do not grow: what is ordered by id by mistake comes out of order.
#[derive(Debug)]
pub struct Ids {
    next: Cell<u128>,
}

impl Ids {
    /// Those of one space; two spaces share none.
    pub const fn new(space: u32) -> Self {
        Self {
            next: Cell::new((space as u128) << 64),
        }
    }

    /// The next one.
    pub fn next(&self) -> Uuid {
        let n = self.next.get() + 1;
        self.next.set(n);
        // Odd, so every n has its own product.
        Uuid::from_u128(n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
    }
}

/// What was loaded for a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The plan in force.
    pub plan: Plan,
    /// The plan to move to.
    pub target: Option<Plan>,
    /// The usage to be billed.
    pub usage: Option<Usage>,
    /// The invoice.
    pub invoice: Option<Invoice>,
    /// The plans of the tenant's other live subscriptions.
    pub siblings: Vec<(SubscriptionId, Plan)>,
    /// The coupon to redeem.
    pub coupon: Option<CouponState>,
    /// What was credited of the invoice before: by notes, and by later invoices.
    pub notes: Option<(Vec<CreditNote>, Vec<CreditNoteAmount>)>,
}

/// Loads what `command` needs from `store`; `None` when the plan in force is not there.
///
/// # Errors
///
/// [`StoreError`].
pub fn load(
    store: &dyn Store,
    current: &Subscription,
    command: &Command,
    now: DateTime<Utc>,
) -> Result<Option<Loaded>, StoreError> {
    let Some(plan) = wait(store.plan(current.plan_id))? else {
        return Ok(None);
    };
    let needs = subscription::needs(current, command, &plan, now);
    let usage = match needs.usage {
        Some(query) => wait(store.usage(&[query]))?.pop(),
        None => None,
    };
    let target = match needs.target {
        Some(id) => wait(store.plan(id))?,
        None => None,
    };
    let invoice = match needs.invoice {
        Some(id) => wait(store.invoice(id))?,
        None => None,
    };
    let siblings = if needs.siblings {
        siblings(store, current.tenant_id, current.id)?
    } else {
        Vec::new()
    };
    let coupon = match command {
        Command::RedeemCoupon { code } => wait(store.coupon(code, current.tenant_id))?,
        _ => None,
    };
    let notes = match needs.invoice {
        Some(id) if needs.notes => {
            let invoices = wait(store.invoices_of(current.id, 0, 10_000))?;
            let elsewhere = credited_elsewhere(id, &invoices);
            Some((wait(store.credit_notes_of(id))?, elsewhere))
        }
        _ => None,
    };
    Ok(Some(Loaded {
        plan,
        target,
        usage,
        invoice,
        siblings,
        coupon,
        notes,
    }))
}

fn siblings(
    store: &dyn Store,
    tenant_id: TenantId,
    but: SubscriptionId,
) -> Result<Vec<(SubscriptionId, Plan)>, StoreError> {
    let mut siblings = Vec::new();
    for other in wait(store.subscriptions_of(tenant_id))? {
        if other.is_live() && other.id != but {
            siblings.extend(wait(store.plan(other.plan_id))?.map(|plan| (other.id, plan)));
        }
    }
    Ok(siblings)
}

fn borrowed(siblings: &[(SubscriptionId, Plan)]) -> Vec<(SubscriptionId, &Plan)> {
    siblings.iter().map(|(id, plan)| (*id, plan)).collect()
}

/// Decides `command` from what was loaded.
///
/// # Errors
///
/// [`Rejection`].
pub fn decide(
    loaded: &Loaded,
    current: &Subscription,
    command: &Command,
    context: &Context<'_>,
) -> Result<Decision, Rejection> {
    let siblings = borrowed(&loaded.siblings);
    let facts = Facts {
        plan: &loaded.plan,
        target: loaded.target.as_ref(),
        usage: loaded.usage.as_ref(),
        invoice: loaded.invoice.as_ref(),
        siblings: &siblings,
        tax: None,
        coupon: loaded.coupon.as_ref().map(|state| CouponFacts {
            coupon: &state.coupon,
            redemptions: state.redemptions,
            redeemed_before: state.redeemed_before,
        }),
        notes: loaded
            .notes
            .as_ref()
            .map(|(earlier, elsewhere)| NoteFacts { earlier, elsewhere }),
    };
    subscription::decide(current, command, &facts, context)
}

/// A request for a subscription of `tenant_id` in UTC, of one, that renews by itself and takes a trial.
pub fn request(id: SubscriptionId, tenant_id: TenantId) -> Create {
    Create {
        id,
        tenant_id,
        tenant: TenantProfile::default(),
        zone: chrono_tz::Tz::UTC,
        month_end: MonthEnd::Clamp,
        payment_method: None,
        auto_renew: true,
        trial: true,
        coupon: None,
        add_ons: BTreeMap::new(),
        quantity: 1,
    }
}

/// A cancellation that takes effect at once.
pub fn cancel_now() -> Command {
    Command::Cancel {
        when: When::Now,
        reason: "moved away".into(),
        unused: UnusedOnCancel::None,
    }
}

/// Tells that the open invoice of `current` was paid; `None` when there is none.
pub fn settled(current: &Subscription, reference: &str, settled_at: DateTime<Utc>) -> Option<Command> {
    let collection = current.state.collection()?;
    Some(Command::RecordPayment {
        invoice_id: collection.invoice_id,
        outcome: PaymentOutcome::Settled {
            amount: collection.amount,
            reference: reference.into(),
            settled_at,
        },
    })
}

/// Tells that an attempt at the open invoice of `current` failed; `None` when there is none.
pub fn failed(current: &Subscription, class: DeclineClass) -> Option<Command> {
    let collection = current.state.collection()?;
    Some(Command::RecordPayment {
        invoice_id: collection.invoice_id,
        outcome: PaymentOutcome::Failed {
            class,
            code: "declined".into(),
        },
    })
}

/// A small shell over one store, for one thread: a clock that is set, ids, and decide–commit in one call.
#[derive(Debug)]
pub struct Kit<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// Where ids come from.
    pub ids: Ids,
    now: Cell<DateTime<Utc>>,
}

impl<'a> Kit<'a> {
    /// A shell over `store` at [`start`].
    pub fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            ids: Ids::new(0),
            now: Cell::new(start()),
        }
    }

    /// The same with ids of a space of its own: for one of several threads, or another process.
    pub fn in_space(store: &'a dyn Store, space: u32) -> Self {
        Self {
            ids: Ids::new(space),
            ..Self::new(store)
        }
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        self.now.get()
    }

    /// Sets the time.
    pub fn set_now(&self, now: DateTime<Utc>) {
        self.now.set(now);
    }

    /// Lets days pass.
    pub fn pass_days(&self, days: i64) {
        self.now.set(self.now.get() + TimeDelta::days(days));
    }

    /// A fresh subscription id.
    pub fn new_id(&self) -> SubscriptionId {
        SubscriptionId::new(self.ids.next())
    }

    /// A fresh payment method.
    pub fn method(&self) -> Option<PaymentMethodId> {
        Some(PaymentMethodId::new(self.ids.next()))
    }

    /// Keeps plans.
    ///
    /// # Panics
    ///
    /// When the store fails; so do all methods below.
    pub fn put_plans(&self, plans: &[&Plan]) {
        for plan in plans {
            wait(self.store.put_plan(plan)).expect("the store keeps a plan");
        }
    }

    /// What core decides of `request` for `plan`; nothing is loaded but what the store has.
    ///
    /// # Errors
    ///
    /// [`Rejection`].
    pub fn decide_create(&self, request: &Create, plan: &Plan) -> Result<Decision, Rejection> {
        let live =
            wait(self.store.live_subscription(request.tenant_id, &plan.product)).expect("the live one");
        let trial_used = plan.trial.as_ref().is_some_and(|trial| {
            wait(self.store.trial_used(request.tenant_id, &trial.family)).expect("the ledger")
        });
        self.decide_create_as_if(request, plan, live.map(|live| live.id), trial_used)
    }

    /// The same as if the store had said so: a decision from facts that are out of date.
    ///
    /// # Errors
    ///
    /// [`Rejection`].
    pub fn decide_create_as_if(
        &self,
        request: &Create,
        plan: &Plan,
        live: Option<SubscriptionId>,
        trial_used: bool,
    ) -> Result<Decision, Rejection> {
        let siblings = siblings(self.store, request.tenant_id, request.id).expect("the siblings");
        let facts = CreateFacts {
            plan,
            live,
            trial_used,
            siblings: &borrowed(&siblings),
            tax: None,
            coupon: None,
        };
        subscription::create(request, &facts, &self.context(&operator()))
    }

    /// A context at the clock's time, with a fresh invoice id.
    pub fn context<'b>(&self, actor: &'b Actor) -> Context<'b> {
        Context {
            now: self.now(),
            actor,
            ip: Some(std::net::Ipv4Addr::new(192, 0, 2, 7).into()),
            invoice_id: InvoiceId::new(self.ids.next()),
        }
    }

    /// What core decides of `command` for `current`.
    ///
    /// # Errors
    ///
    /// [`Rejection`].
    pub fn decide(&self, current: &Subscription, command: &Command) -> Result<Decision, Rejection> {
        let loaded = load(self.store, current, command, self.now())
            .expect("the store loads")
            .expect("the plan in force is there");
        decide(&loaded, current, command, &self.context(&operator()))
    }

    /// The commit of a decision, with its effects as jobs and without a command.
    pub fn commit_of(&self, decision: Decision) -> Commit {
        let jobs = decision
            .effects
            .iter()
            .map(|effect| self.job(decision.next.id, effect.clone()))
            .collect();
        Commit {
            expected_version: decision.next.version - 1,
            decision,
            jobs,
            command: None,
        }
    }

    /// A job with a fresh id.
    pub fn job(&self, subscription_id: SubscriptionId, effect: subscription::Effect) -> Job {
        Job {
            id: JobId::new(self.ids.next()),
            subscription_id,
            effect,
            created_at: self.now(),
        }
    }

    /// A record of a command whose answer is `answer`.
    pub fn record(&self, tenant_id: TenantId, idempotency_key: &str, answer: &str) -> CommandRecord {
        CommandRecord {
            tenant_id,
            key: key(idempotency_key),
            fingerprint: Digest::of(idempotency_key.as_bytes()),
            answer: answer.into(),
            recorded_at: self.now(),
        }
    }

    /// Commits one.
    ///
    /// # Errors
    ///
    /// [`CommitRefusal`].
    pub fn commit(&self, commit: Commit) -> Result<(), CommitRefusal> {
        let mut answers = self.commit_all(vec![commit]);
        assert_eq!(answers.len(), 1, "one answer per commit");
        answers.remove(0)
    }

    /// Commits several in one transaction.
    pub fn commit_all(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitRefusal>> {
        wait(self.store.commit(commits)).expect("the store commits")
    }

    /// Commits a decision of core, and finds what was decided in the store.
    #[track_caller]
    fn carry_out(&self, decision: Decision) -> Subscription {
        let next = decision.next.clone();
        self.commit(self.commit_of(decision)).expect("a commit");
        assert_eq!(self.read(next.id), next);
        next
    }

    /// Creates a subscription.
    pub fn create(&self, request: &Create, plan: &Plan) -> Subscription {
        self.carry_out(self.decide_create(request, plan).expect("a creation"))
    }

    /// Creates one for `tenant_id` with a payment method.
    pub fn subscribe(&self, tenant_id: TenantId, plan: &Plan) -> Subscription {
        let request = Create {
            payment_method: self.method(),
            ..request(self.new_id(), tenant_id)
        };
        self.create(&request, plan)
    }

    /// Carries out a command and returns the subscription afterwards.
    pub fn run(&self, id: SubscriptionId, command: &Command) -> Subscription {
        self.carry_out(self.decide(&self.read(id), command).expect("a decision"))
    }

    /// Pays the open invoice.
    pub fn pay(&self, id: SubscriptionId) -> Subscription {
        let command = settled(&self.read(id), "pay-1", self.now()).expect("an open invoice");
        self.run(id, &command)
    }

    /// A subscription that is there.
    pub fn read(&self, id: SubscriptionId) -> Subscription {
        wait(self.store.subscription(id))
            .expect("the store reads")
            .expect("the subscription is there")
    }

    /// A commit that changes nothing but the version; cases put into it what they are about.
    pub fn bare(&self, current: &Subscription) -> Commit {
        let next = Subscription {
            version: current.version + 1,
            ..current.clone()
        };
        self.commit_of(Decision {
            next,
            audit: vec![],
            opened: None,
            closed: vec![],
            billed: None,
            ledger: vec![],
            note: None,
            redemption: None,
            trial: None,
            effects: vec![],
        })
    }

    /// Commits a decision that does nothing but bill a window by the plan in force.
    ///
    /// # Panics
    ///
    /// When the store does not take it.
    pub fn bill(
        &self,
        current: &Subscription,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        term: Option<WindowTerm>,
    ) -> Subscription {
        let mut commit = self.bare(current);
        let next = commit.decision.next.clone();
        commit.decision.billed = Some(BilledWindow {
            window: Period::new(from, until).expect("a period"),
            plan_id: current.plan_id,
            term,
            usage_minimum: Some(usd(50_00)),
        });
        self.commit(commit).expect("a commit");
        next
    }

    /// Records usage at the clock's time.
    pub fn use_up(&self, events: Vec<UsageEvent>) -> Vec<UsageOutcome> {
        wait(self.store.record_usage(events, self.now())).expect("the store records")
    }
}
