//! Subscribers as a store that has run for a while holds them, made by core's own decisions.

use std::path::Path;

use billing::core::audit::{Actor, Digest};
use billing::core::calendar::{Interval, MonthEnd};
use billing::core::id::{
    AddOnCode, IdempotencyKey, InvoiceId, JobId, PaymentMethodId, PlanCode, PlanId, ProductCode,
    SubscriptionId, TenantId,
};
use billing::core::invoice::Invoice;
use billing::core::money::{Currency, Money, Rounding};
use billing::core::outbox::Job;
use billing::core::payment::PaymentOutcome;
use billing::core::plan::{
    Activation, AddOn, AddOnCharge, BillingTiming, Plan, ProrationRule, TenantProfile,
};
use billing::core::ports::{CommandRecord, Commit, CommitRefusal, StoreError};
use billing::core::retry::RetryPolicy;
use billing::core::subscription::{
    self, Command, Context, Create, CreateFacts, Decision, Facts, Subscription,
};
use billing::{Receipt, SqliteStore, Store};
use chrono::{DateTime, TimeDelta, Utc};
use futures_executor::block_on;
use uuid::Uuid;

/// How many subscribers [`fill`] commits at once.
const FILL_BATCH: usize = 2_000;

/// When the first subscriber came. A month with 31 days, so that whoever comes until the 28th is due exactly 31 days
/// later.
pub const FIRST_DAY: &str = "2026-01-01";

/// Midnight of a date, or an instant.
pub fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.into()
    };
    text.parse().expect("an instant")
}

/// Dollars.
pub fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").expect("USD is a currency"))
}

/// A monthly plan at 10.00 USD, in advance, without a trial and without meters.
pub fn plan(code: &str) -> Plan {
    let number = code
        .bytes()
        .fold(0_u128, |number, byte| number << 8 | u128::from(byte));
    Plan {
        id: PlanId::new(Uuid::from_u128(number)),
        code: PlanCode::new(code).expect("a code"),
        version: 1,
        product: ProductCode::new("app").expect("a code"),
        name: code.into(),
        price: usd(10_00),
        interval: Interval::MONTHLY,
        minimum_commitment: None,
        timing: BillingTiming::InAdvance,
        activation: Activation::Immediate,
        trial: None,
        grace_period_days: 7,
        restricted: None,
        retention_days: 30,
        retry: RetryPolicy::default(),
        proration: ProrationRule::Second,
        rounding: Rounding::HalfAwayFromZero,
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1_000,
        regions: [].into(),
        industries: [].into(),
        required_compliance: [].into(),
        is_active: true,
        discontinued: false,
        features: [].into(),
        meters: [].into(),
        add_ons: [
            add_on("backup", AddOnCharge::Recurring),
            add_on("setup", AddOnCharge::Once),
        ]
        .into(),
    }
}

/// The ids of subscriber `number`. Like the engine's own they grow from one to the next, with other bits below.
fn id(kind: u128, number: u64) -> Uuid {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2;
    Uuid::from_u128(kind << 120 | u128::from(number) << 80 | 7 << 76 | 2 << 62 | u128::from(random))
}

/// The tenant of subscriber `number`.
pub fn tenant_id(number: u64) -> TenantId {
    TenantId::new(id(1, number))
}

fn add_on(code: &str, charged: AddOnCharge) -> (AddOnCode, AddOn) {
    let add_on = AddOn {
        name: code.into(),
        price: usd(5_00),
        charged,
    };
    (AddOnCode::new(code).expect("a code"), add_on)
}

/// The id of subscriber `number`.
pub fn subscription_id(number: u64) -> SubscriptionId {
    SubscriptionId::new(id(2, number))
}

/// The request that creates subscriber `number`.
pub fn request(number: u64) -> Create {
    Create {
        id: subscription_id(number),
        tenant_id: tenant_id(number),
        tenant: TenantProfile::default(),
        zone: chrono_tz::Tz::UTC,
        month_end: MonthEnd::default(),
        payment_method: Some(PaymentMethodId::new(id(3, number))),
        auto_renew: true,
        trial: false,
        coupon: None,
        quantity: 1,
        add_ons: [].into(),
    }
}

/// A context for the engine itself; `invoice` numbers the invoices of a subscriber.
pub fn context(number: u64, invoice: u128, now: DateTime<Utc>) -> Context<'static> {
    Context {
        now,
        actor: &Actor::System,
        ip: None,
        invoice_id: InvoiceId::new(id(4 + invoice, number)),
    }
}

/// What tells that `invoice` was paid in full at `settled_at`.
pub fn settled(invoice: &Invoice, settled_at: DateTime<Utc>) -> Command {
    let reference = format!("pi_{}", invoice.id.uuid().simple());
    let outcome = PaymentOutcome::Settled {
        amount: invoice.total,
        reference,
        settled_at,
    };
    Command::RecordPayment {
        invoice_id: invoice.id,
        outcome,
    }
}

/// Subscriber `number`, who came at `created_at` and paid at once, as one commit: subscription, paid invoice, two audit
/// entries. The job was performed and removed.
pub fn subscriber(number: u64, created_at: DateTime<Utc>, plan: &Plan) -> Commit {
    let facts = CreateFacts {
        plan,
        live: None,
        trial_used: false,
        siblings: &[],
        tax: None,
        coupon: None,
    };
    let context = context(number, 0, created_at);
    let created = subscription::create(&request(number), &facts, &context).expect("a creation");
    let mut invoice = created.opened.expect("the first invoice");
    let facts = Facts {
        invoice: Some(&invoice),
        ..Facts::of(plan)
    };
    let paid = subscription::decide(&created.next, &settled(&invoice, created_at), &facts, &context);
    let paid = paid.expect("a settlement");
    for closed in paid.closed {
        assert_eq!(closed.invoice_id, invoice.id);
        invoice.state = closed.state;
    }
    assert!(!invoice.is_open() && paid.opened.is_none());
    let audit = created.audit.into_iter().chain(paid.audit).collect();
    let decision = Decision {
        next: paid.next,
        audit,
        opened: Some(invoice),
        closed: vec![],
        billed: None,
        ledger: vec![],
        note: None,
        redemption: None,
        trial: None,
        effects: vec![],
    };
    Commit {
        expected_version: 0,
        decision,
        jobs: vec![],
        command: None,
    }
}

/// A new store at `path` with one subscriber for each instant, numbered from 0.
pub fn fill(path: &Path, plan: &Plan, created_at: &[DateTime<Utc>]) {
    let store = SqliteStore::open(path).expect("a new store");
    block_on(store.put_plan(plan)).expect("the plan is kept");
    let committed = |answers: Result<Vec<Result<(), CommitRefusal>>, StoreError>| {
        for answer in answers.expect("a commit") {
            answer.expect("a subscriber is new");
        }
    };
    let mut numbers = 0_u64..;
    let mut pending = None;
    for batch in created_at.chunks(FILL_BATCH) {
        let commits = batch
            .iter()
            .zip(&mut numbers)
            .map(|(at, number)| subscriber(number, *at, plan));
        let commits = commits.collect();
        // The store queues it right away, so it is written while the next batch is made.
        if let Some(before) = pending.replace(store.commit(commits)) {
            committed(block_on(before));
        }
    }
    if let Some(last) = pending {
        committed(block_on(last));
    }
}

/// A second database with the same content.
pub fn copy(from: &Path, to: &Path) {
    let log = from.with_extension("db-wal");
    assert!(!log.exists(), "the store is closed, so all of it is in one file");
    std::fs::copy(from, to).expect("a database is copied");
}

/// Subscriber `number` after `created_at`, without a store.
pub fn standing(number: u64, created_at: DateTime<Utc>, plan: &Plan) -> Subscription {
    subscriber(number, created_at, plan).decision.next
}

/// The renewal of `current`, who came at `created_at`, as a command commits it: subscription, audit entry, invoice, job
/// and the answer to the command, which is what it is for the engine.
pub fn renewal(number: u64, current: &Subscription, plan: &Plan) -> Commit {
    let now = current.next_due().expect("the period ends");
    let mut decision = subscription::decide(
        current,
        &Command::Advance,
        &Facts::of(plan),
        &context(number, 1, now),
    )
    .expect("a renewal");
    let job = |effect| Job {
        id: JobId::new(id(9, number)),
        subscription_id: current.id,
        effect,
        created_at: now,
    };
    let jobs: Vec<_> = std::mem::take(&mut decision.effects)
        .into_iter()
        .map(job)
        .collect();
    assert!(
        decision.opened.is_some() && decision.audit.len() == 1 && jobs.len() == 1,
        "a whole renewal"
    );
    let invoices = decision.opened.iter().map(|invoice| invoice.id).collect();
    let receipt = Receipt {
        subscription: decision.next.clone(),
        invoices,
    };
    let key = renewal_key(current.id);
    let command = CommandRecord {
        tenant_id: current.tenant_id,
        fingerprint: Digest::of(key.as_bytes()),
        key: IdempotencyKey::new(&key).expect("a key"),
        answer: serde_json::to_string(&receipt).expect("an answer"),
        recorded_at: now,
    };
    Commit {
        expected_version: current.version,
        decision,
        jobs,
        command: Some(command),
    }
}

/// The idempotency key of a [`renewal`].
pub fn renewal_key(id: SubscriptionId) -> String {
    format!("renew:{id}")
}

/// How long after they came subscribers of [`FIRST_DAY`]'s month are due.
pub const UNTIL_DUE: TimeDelta = TimeDelta::days(31);
