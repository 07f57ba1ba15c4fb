//! A plan, subscriptions of it, and the commits that core decides for them.

use billing_core::audit::Actor;
use billing_core::calendar::MonthEnd;
use billing_core::id::{InvoiceId, JobId, PaymentMethodId, SubscriptionId, TenantId};
use billing_core::invoice::Invoice;
use billing_core::outbox::Job;
use billing_core::payment::PaymentOutcome;
use billing_core::plan::{Plan, TenantProfile};
use billing_core::ports::{Commit, Store as _};
use billing_core::subscription::{
    Command, Context, Create, CreateFacts, Decision, Facts, Subscription, create, decide,
};
use billing_core::usage::Usage;
use chrono::{DateTime, TimeDelta, Utc};
use futures_executor::block_on;
use uuid::Uuid;

use crate::SqliteStore;

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + seconds, 0).unwrap()
}

pub(super) fn days(count: i64) -> DateTime<Utc> {
    at(0) + TimeDelta::days(count)
}

pub(crate) fn tenant(number: u128) -> TenantId {
    TenantId::new(Uuid::from_u128(1 << 100 | number))
}

pub(super) fn subscription(number: u128) -> SubscriptionId {
    SubscriptionId::new(Uuid::from_u128(2 << 100 | number))
}

/// Thirty dollars every thirty days, with a meter; the trial is taken when it is asked for.
pub(super) fn plan() -> Plan {
    serde_json::from_str(
        r#"{
            "id": "00000000-0000-0000-0000-000000000001", "code": "pro", "version": 1, "product": "main",
            "name": "Pro", "price": {"minor": 3000, "currency": "USD"}, "interval": {"count": 30, "unit": "day"},
            "trial": {"days": 14, "family": "main"}, "grace_period_days": 7, "is_active": true,
            "meters": {"api": {"allowance": "1000", "charge": {"per_unit": {"unit_price": "0.001"}}}}
        }"#,
    )
    .unwrap()
}

pub(super) fn store() -> SqliteStore {
    let store = SqliteStore::in_memory().unwrap();
    block_on(store.put_plan(&plan())).unwrap();
    store
}

/// Subscription `number`, of tenant `number`, created at `now`.
pub(super) fn created(number: u128, now: DateTime<Utc>, trial: bool) -> Commit {
    let request = Create {
        id: subscription(number),
        tenant_id: tenant(number),
        tenant: TenantProfile::default(),
        zone: chrono_tz::UTC,
        month_end: MonthEnd::default(),
        payment_method: Some(PaymentMethodId::new(Uuid::from_u128(7))),
        auto_renew: true,
        trial,
        coupon: None,
        add_ons: [].into(),
        quantity: 1,
    };
    let plan = plan();
    let facts = CreateFacts {
        plan: &plan,
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
        invoice_id: InvoiceId::new(Uuid::from_u128(3 << 100 | number << 20)),
    };
    commit(0, create(&request, &facts, &context).unwrap(), now)
}

/// What follows from `command`, with no usage.
pub(super) fn decided(current: &Subscription, command: &Command, now: DateTime<Utc>) -> Commit {
    decided_with(current, command, None, now)
}

/// What follows when the first invoice, that of `created`, is paid.
pub(super) fn paid(created: &Commit, now: DateTime<Utc>) -> Commit {
    let invoice = created.decision.opened.as_ref().unwrap();
    let command = Command::RecordPayment {
        invoice_id: invoice.id,
        outcome: PaymentOutcome::Settled {
            amount: invoice.total,
            reference: "ref".into(),
            settled_at: now,
        },
    };
    decided_with(&created.decision.next, &command, Some(invoice), now)
}

fn decided_with(
    current: &Subscription,
    command: &Command,
    invoice: Option<&Invoice>,
    now: DateTime<Utc>,
) -> Commit {
    let (plan, usage) = (plan(), Usage::default());
    let facts = Facts {
        usage: Some(&usage),
        invoice,
        ..Facts::of(&plan)
    };
    let number = current.id.uuid().as_u128() & 0xffff_ffff;
    let invoice = 3 << 100 | number << 20 | u128::from(current.invoices + 1);
    let context = Context {
        now,
        actor: &Actor::System,
        ip: Some("192.0.2.1".parse().unwrap()),
        invoice_id: InvoiceId::new(Uuid::from_u128(invoice)),
    };
    let decision = decide(current, command, &facts, &context).unwrap();
    commit(current.version, decision, now)
}

/// With a job for each effect.
fn commit(expected_version: u64, decision: Decision, now: DateTime<Utc>) -> Commit {
    let next = &decision.next;
    let number = next.id.uuid().as_u128() & 0xffff_ffff;
    let jobs = (0_u128..)
        .zip(&decision.effects)
        .map(|(index, effect)| Job {
            id: JobId::new(Uuid::from_u128(
                4 << 100 | number << 40 | u128::from(next.version) << 8 | index,
            )),
            subscription_id: next.id,
            effect: effect.clone(),
            created_at: now,
        })
        .collect();
    Commit {
        expected_version,
        decision,
        jobs,
        command: None,
    }
}

/// Everything that is in the store, to see that a refusal left no trace.
pub(super) fn dump(store: &SqliteStore) -> String {
    let dump = store.readers.read(|connection| {
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut statement = connection.prepare(tables).unwrap();
        let tables: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut dump = String::new();
        for table in tables {
            let mut statement = connection
                .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
                .unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let values: Vec<rusqlite::types::Value> =
                    (0..columns).map(|index| row.get(index).unwrap()).collect();
                dump.push_str(&format!("{table} {values:?}\n"));
            }
        }
        Ok(dump)
    });
    dump.unwrap()
}
