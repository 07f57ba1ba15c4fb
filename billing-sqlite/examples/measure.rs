//! Temporary.
#![allow(
    missing_docs,
    clippy::all,
    clippy::print_stdout,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason
)]
use billing_core::audit::Actor;
use billing_core::calendar::MonthEnd;
use billing_core::id::*;
use billing_core::plan::{Plan, TenantProfile};
use billing_core::ports::{Commit, Job, Store as _};
use billing_core::subscription::*;
use billing_core::usage::*;
use billing_sqlite::{Options, SqliteStore};
use chrono::{DateTime, TimeDelta, Utc};
use futures_executor::block_on;
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

fn at(s: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + s, 0).unwrap()
}
fn mix(n: u128) -> u128 {
    n.wrapping_mul(0x9E3779B97F4A7C15F39CC0605CEDC835)
}
fn v7(n: u128, kind: u128) -> Uuid {
    Uuid::from_u128((0x0190_0000_0000 + n) << 80 | kind << 72 | (mix(n * 16 + kind) & ((1 << 72) - 1)))
}
fn plan() -> Plan {
    serde_json::from_str(r#"{ "id": "00000000-0000-0000-0000-000000000001", "code": "pro", "version": 1, "product": "main",
            "name": "Pro", "price": {"minor": 3000, "currency": "USD"}, "interval": {"count": 30, "unit": "day"},
            "trial": {"days": 14, "family": "main"}, "grace_period_days": 7, "is_active": true,
            "meters": {"api": {"allowance": "1000", "charge": {"per_unit": {"unit_price": "0.001"}}}} }"#).unwrap()
}
fn commit(n: u128, expected_version: u64, decision: Decision, now: DateTime<Utc>) -> Commit {
    let jobs = (0u128..)
        .zip(&decision.effects)
        .map(|(i, e)| Job {
            id: JobId::new(v7(n, 5 + i)),
            subscription_id: decision.next.id,
            effect: e.clone(),
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
fn created(plan: &Plan, n: u128) -> Commit {
    let request = Create {
        id: SubscriptionId::new(v7(n, 1)),
        tenant_id: TenantId::new(v7(n, 2)),
        tenant: TenantProfile::default(),
        zone: chrono_tz::UTC,
        month_end: MonthEnd::default(),
        payment_method: Some(PaymentMethodId::new(Uuid::from_u128(7))),
        auto_renew: true,
        trial: true,
    };
    let facts = CreateFacts {
        plan,
        live: None,
        trial_used: false,
        siblings: &[],
    };
    // spread creation randomly over a day so due order is not id order
    let now = at((mix(n) % 86400) as i64);
    let context = Context {
        now,
        actor: &Actor::System,
        ip: None,
        invoice_id: InvoiceId::new(v7(n, 3)),
    };
    commit(n, 0, create(&request, &facts, &context).unwrap(), now)
}
fn advance(plan: &Plan, n: u128, current: &Subscription) -> Commit {
    let now = at(86400 * 20);
    let usage = Usage::default();
    let facts = Facts {
        usage: Some(&usage),
        ..Facts::of(plan)
    };
    let context = Context {
        now,
        actor: &Actor::System,
        ip: None,
        invoice_id: InvoiceId::new(v7(n, 3)),
    };
    commit(
        n,
        current.version,
        decide(current, &Command::Advance, &facts, &context).unwrap(),
        now,
    )
}
fn fresh(dir: &std::path::Path, name: &str, count: u128) -> std::path::PathBuf {
    let path = dir.join(name);
    let store = SqliteStore::open(&path).unwrap();
    block_on(store.put_plan(&plan())).unwrap();
    let plan = plan();
    for chunk in 0..count / 1000 {
        let c = (chunk * 1000..chunk * 1000 + 1000)
            .map(|n| created(&plan, n))
            .collect();
        assert!(block_on(store.commit(c)).unwrap().iter().all(Result::is_ok));
    }
    path
}
fn bare_write(c: &Connection, commit: &Commit, body: &str, inv: &str, effect: &str) {
    let d = &commit.decision;
    let s = &d.next;
    c.prepare_cached("UPDATE subscriptions SET version=?2,status=?3,next_due_at=?4,body=?5 WHERE id=?1")
        .unwrap()
        .execute(params![
            s.id.uuid().as_bytes(),
            s.version as i64,
            s.status().code(),
            s.next_due().map(|d| d.timestamp_micros()),
            body
        ])
        .unwrap();
    for e in &d.audit {
        c.prepare_cached("INSERT INTO audit_entries (subscription_id, sequence, at, actor_kind, actor_name, ip, action, details, hash) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)").unwrap().execute(params![e.subscription_id.uuid().as_bytes(), e.sequence as i64, e.at.timestamp_micros(), "system", None::<String>, None::<String>, e.action.code(), e.details, e.hash.0]).unwrap();
    }
    let o = d.opened.as_ref().unwrap();
    c.prepare_cached("INSERT INTO invoices (id, subscription_id, number, kind, status, buys_from, total_minor, currency, body) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)").unwrap().execute(params![o.id.uuid().as_bytes(), o.subscription_id.uuid().as_bytes(), o.number, o.kind.code(), o.state.code(), o.period.start.timestamp_micros(), o.total.minor, o.total.currency.code(), inv]).unwrap();
    let j = &commit.jobs[0];
    c.prepare_cached(
        "INSERT INTO jobs (id, key, subscription_id, created_at, effect) VALUES (?1,?2,?3,?4,?5)",
    )
    .unwrap()
    .execute(params![
        j.id.uuid().as_bytes(),
        j.effect.idempotency_key(),
        j.subscription_id.uuid().as_bytes(),
        j.created_at.timestamp_micros(),
        effect
    ])
    .unwrap();
}
fn bare_conn(path: &std::path::Path) -> Connection {
    let c = Connection::open(path).unwrap();
    for p in [
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA cache_size=-8192",
        "PRAGMA foreign_keys=ON",
        "PRAGMA wal_autocheckpoint=4000",
    ] {
        let _ = c.execute_batch(p);
    }
    c.set_prepared_statement_cache_capacity(64);
    c
}
fn main() {
    let dir = tempfile::tempdir_in(std::env::var("MEASURE_DIR").unwrap_or("/tmp".into())).unwrap();
    let plan = plan();
    let n: u128 = std::env::var("N").map(|s| s.parse().unwrap()).unwrap_or(20_000);
    for round in 0..2 {
        // bare batches
        let path = fresh(dir.path(), &format!("bare{round}"), n);
        let c = bare_conn(&path);
        let store = SqliteStore::open(&path).unwrap();
        let mut subs = Vec::new();
        for k in 0..n {
            subs.push(
                block_on(store.subscription(SubscriptionId::new(v7(k, 1))))
                    .unwrap()
                    .unwrap(),
            );
        }
        drop(store);
        let mut order: Vec<usize> = (0..n as usize).collect();
        order.sort_by_key(|&k| (subs[k].next_due(), subs[k].id));
        let pre: Vec<_> = order
            .iter()
            .map(|&k| {
                let cm = advance(&plan, k as u128, &subs[k]);
                let b = serde_json::to_string(&cm.decision.next).unwrap();
                let i = serde_json::to_string(cm.decision.opened.as_ref().unwrap()).unwrap();
                let e = serde_json::to_string(&cm.jobs[0].effect).unwrap();
                (cm, b, i, e)
            })
            .collect();
        if round == 0 {
            println!(
                "body {} inv {} details {} effect {}",
                pre[0].1.len(),
                pre[0].2.len(),
                pre[0].0.decision.audit[0].details.len(),
                pre[0].3.len()
            );
            println!("{}", pre[0].1);
        }
        let t = Instant::now();
        for chunk in pre.chunks(1000) {
            c.execute_batch("BEGIN IMMEDIATE").unwrap();
            for (cm, b, i, e) in chunk {
                bare_write(&c, cm, b, i, e);
            }
            c.execute_batch("COMMIT").unwrap();
        }
        let bare = t.elapsed();
        println!(
            "bare batch 1000: {:.1} us/commit",
            bare.as_secs_f64() * 1e6 / n as f64
        );
        drop(c);
        // store batches e2e: due page -> decide -> commit
        let path = fresh(dir.path(), &format!("store{round}"), n);
        let store = SqliteStore::open_with(&path, Options::default()).unwrap();
        let t = Instant::now();
        let mut prep = std::time::Duration::ZERO;
        let mut read = std::time::Duration::ZERO;
        let mut done = 0;
        let mut num = std::collections::HashMap::new();
        for k in 0..n {
            num.insert(SubscriptionId::new(v7(k, 1)), k);
        }
        let mut after = None;
        loop {
            let t0 = Instant::now();
            let page = block_on(store.due(at(86400 * 20), after, 1000)).unwrap();
            read += t0.elapsed();
            if page.is_empty() {
                break;
            }
            let last = page.last().unwrap();
            after = Some(billing_core::ports::DueCursor {
                due_at: last.next_due().unwrap(),
                id: last.id,
            });
            let t0 = Instant::now();
            let cs: Vec<_> = page.iter().map(|s| advance(&plan, num[&s.id], s)).collect();
            prep += t0.elapsed();
            done += cs.len();
            assert!(block_on(store.commit(cs)).unwrap().iter().all(Result::is_ok));
        }
        let e2e = t.elapsed();
        println!(
            "store batch 1000 e2e: {:.1} us/commit ({:.2}x) read {:.1} decide {:.1} commit {:.1} n={done}",
            e2e.as_secs_f64() * 1e6 / n as f64,
            e2e.as_secs_f64() / bare.as_secs_f64(),
            read.as_secs_f64() * 1e6 / n as f64,
            prep.as_secs_f64() * 1e6 / n as f64,
            (e2e - read - prep).as_secs_f64() * 1e6 / n as f64
        );
        // point read
        let product = plan.product.clone();
        let c = bare_conn(&path);
        let reads = 100_000u128;
        let pick = |k: u128| TenantId::new(v7(mix(k) % n.min(1000), 2));
        for (name, warm) in [("warm", true), ("again", true)] {
            let _ = warm;
            let t = Instant::now();
            for k in 0..reads {
                let s: String = c
                    .prepare_cached(
                        "SELECT body FROM subscriptions WHERE tenant_id=?1 AND product=?2 AND is_live=1",
                    )
                    .unwrap()
                    .query_row(params![pick(k).uuid().as_bytes(), product.as_str()], |r| r.get(0))
                    .unwrap();
                std::hint::black_box(s);
            }
            let b = t.elapsed();
            let t = Instant::now();
            for k in 0..reads {
                let s: String = c
                    .prepare_cached(
                        "SELECT body FROM subscriptions WHERE tenant_id=?1 AND product=?2 AND is_live=1",
                    )
                    .unwrap()
                    .query_row(params![pick(k).uuid().as_bytes(), product.as_str()], |r| r.get(0))
                    .unwrap();
                std::hint::black_box(serde_json::from_str::<Subscription>(&s).unwrap());
            }
            let bj = t.elapsed();
            let t = Instant::now();
            for k in 0..reads {
                std::hint::black_box(
                    block_on(store.live_subscription(pick(k), &product))
                        .unwrap()
                        .unwrap(),
                );
            }
            let s = t.elapsed();
            let us = |d: std::time::Duration| d.as_secs_f64() * 1e6 / reads as f64;
            println!(
                "{name}: bare {:.2} us, bare+json {:.2} us, store {:.2} us ({:.2}x / {:.2}x)",
                us(b),
                us(bj),
                us(s),
                us(s) / us(b),
                us(s) / us(bj)
            );
        }
    }
    // alone
    let path = fresh(dir.path(), "alone", n);
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let subs: Vec<_> = (0..n)
        .map(|k| {
            block_on(store.subscription(SubscriptionId::new(v7(k, 1))))
                .unwrap()
                .unwrap()
        })
        .collect();
    let subs = Arc::new(subs);
    let m = 2000usize;
    let t = Instant::now();
    for k in 0..m {
        assert_eq!(
            block_on(store.commit(vec![advance(&plan, k as u128, &subs[k])])).unwrap(),
            [Ok(())]
        );
    }
    println!("alone: {:.0} commits/s", m as f64 / t.elapsed().as_secs_f64());
    let before = store.transactions();
    let t = Instant::now();
    let threads: Vec<_> = (0..64)
        .map(|th| {
            let (store, subs, plan) = (store.clone(), subs.clone(), plan.clone());
            std::thread::spawn(move || {
                let per = 200;
                for i in 0..per {
                    let k = m + th * per + i;
                    assert_eq!(
                        block_on(store.commit(vec![advance(&plan, k as u128, &subs[k])])).unwrap(),
                        [Ok(())]
                    );
                }
            })
        })
        .collect();
    for th in threads {
        th.join().unwrap();
    }
    let total = 64 * 200;
    println!(
        "64 concurrent threads: {:.0} commits/s, {} transactions",
        total as f64 / t.elapsed().as_secs_f64(),
        store.transactions() - before
    );
    // bare alone
    let c = bare_conn(&path);
    let pre: Vec<_> = (15_000..17_000usize)
        .map(|k| {
            let cm = advance(&plan, k as u128, &subs[k]);
            let b = serde_json::to_string(&cm.decision.next).unwrap();
            let i = serde_json::to_string(cm.decision.opened.as_ref().unwrap()).unwrap();
            let e = serde_json::to_string(&cm.jobs[0].effect).unwrap();
            (cm, b, i, e)
        })
        .collect();
    let t = Instant::now();
    for (cm, b, i, e) in &pre {
        c.execute_batch("BEGIN IMMEDIATE").unwrap();
        bare_write(&c, cm, b, i, e);
        c.execute_batch("COMMIT").unwrap();
    }
    println!(
        "bare alone: {:.0} commits/s",
        pre.len() as f64 / t.elapsed().as_secs_f64()
    );
    // usage
    let t = Instant::now();
    let ev = 200_000u128;
    for chunk in 0..ev / 1000 {
        let events = (chunk * 1000..chunk * 1000 + 1000)
            .map(|k| UsageEvent {
                idempotency_key: IdempotencyKey::new(&v7(k, 9).to_string()).unwrap(),
                tenant_id: TenantId::new(v7(mix(k) % 100, 2)),
                meter: MeterCode::new("api").unwrap(),
                quantity: rust_decimal::Decimal::new((k % 1000) as i64, 2),
                occurred_at: at(k as i64),
                properties: Default::default(),
            })
            .collect();
        block_on(store.record_usage(events, at(ev as i64))).unwrap();
    }
    println!(
        "usage: {:.1} us/event",
        t.elapsed().as_secs_f64() * 1e6 / ev as f64
    );
    let q = UsageQuery {
        tenant_id: TenantId::new(v7(1, 2)),
        origin: at(0),
        from: at(100_000),
        until: at(200_000),
        watermark: 190_000,
    };
    let t = Instant::now();
    let mut e = 0;
    for _ in 0..100 {
        e = block_on(store.usage(&[q])).unwrap()[0]
            .meters
            .values()
            .next()
            .unwrap()
            .events;
    }
    println!(
        "usage sum: {:.1} us for {e} events",
        t.elapsed().as_secs_f64() * 1e4
    );
    let _ = TimeDelta::zero();
}
