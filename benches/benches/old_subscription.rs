//! Invoicing a subscription that has ten years of months behind it, against one that is new.
//!
//! Both are in one database, so each look-up meets the same tables; just their own history differs.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use billing::core::audit::Actor;
use billing::core::id::IdempotencyKey;
use billing::core::plan::Plan;
use billing::core::subscription::{Command, State};
use billing::{Billing, Quotable, Request, SqliteStore, Store, SweepOptions, TestClock};
use billing_benches::callers::{all_at_once, one_after_the_other};
use billing_benches::measure::{SAMPLES_MIN, Sample, Table, Target, micros, take_turns};
use billing_benches::subscribers::{at, fill, settled, subscriber, subscription_id};
use billing_benches::usage::{metered_plan, month_of_events, record};
use billing_benches::{Random, Scratch, measuring, print};
use chrono::{DateTime, TimeDelta, Utc};
use criterion::Criterion;
use futures_executor::block_on;

/// When the old ones came.
const FIRST_YEAR: usize = 2016;

/// How many events each meter of a subscription has in a month.
const EVENTS_EACH: i32 = 4;

/// How large a run is.
struct Size {
    samples: usize,
    /// How many subscriptions of each age a sample invoices.
    each: usize,
    /// How many months the old ones have been there.
    months: usize,
    /// How often a sample quotes each of them.
    quotes: usize,
}

fn main() {
    let size = if measuring() {
        Size {
            samples: 2 * SAMPLES_MIN,
            each: 16,
            months: 120,
            quotes: 10,
        }
    } else {
        Size {
            samples: 1,
            each: 2,
            months: 4,
            quotes: 1,
        }
    };
    let scratch = Scratch::new(env!("CARGO_TARGET_TMPDIR"), "old-subscription");
    let path = scratch.file("billing.db");
    // One sample more, to warm up.
    let of_an_age = (size.samples + 1) * size.each;
    let start = Instant::now();
    live_through(&path, &metered_plan("metered"), size.months, of_an_age);
    let megabytes = std::fs::metadata(&path).expect("a file").len() >> 20;
    let set_up = start.elapsed();
    print(&format!(
        "{of_an_age} subscriptions of {} months and as many new ones in {megabytes} MiB, set up in {set_up:.0?}",
        size.months
    ));

    let store = Arc::new(SqliteStore::open(&path).expect("a store"));
    let engine = Billing::new(store, Arc::new(TestClock::at(month(size.months))));
    let invoices = [size.months, 1].map(|before| u32::try_from(before + 1).expect("a number"));
    let numbers = |contestant: usize, sample: usize| {
        let first = contestant * of_an_age + sample * size.each;
        (first..first + size.each).map(number)
    };
    let mut criterion = Criterion::default().configure_from_args();
    let names = ["old", "new"];

    // Nothing changes by a quote, so this comes first and may be repeated.
    let quote = |contestant: usize, sample: usize| {
        let start = Instant::now();
        for _ in 0..size.quotes {
            for number in numbers(contestant, sample) {
                let asked = Quotable::Execute {
                    id: subscription_id(number),
                    command: Command::Advance,
                };
                let quote = block_on(engine.quote(asked, TimeDelta::hours(1))).expect("a quote");
                assert_eq!(quote.subscription.invoices, invoices[contestant]);
            }
        }
        Sample {
            elapsed: start.elapsed(),
            elements: number(size.quotes * size.each),
        }
    };
    // One after the other: in one transaction the new ones would share pages, since their few rows lie side by side.
    let advance = |contestant: usize, sample: usize| {
        one_after_the_other(numbers(contestant, sample).collect(), async |number| {
            let id = subscription_id(number);
            let receipt = engine.advance(&request(format!("advance:{id}")), id).await;
            let receipt = receipt.expect("an invoice");
            assert_eq!(receipt.subscription.invoices, invoices[contestant]);
        })
    };
    for contestant in 0..2 {
        quote(contestant, size.samples);
    }
    let [old_quoted, new_quoted] = take_turns(&mut criterion, "quote", names, size.samples, quote);
    for contestant in 0..2 {
        advance(contestant, size.samples);
    }
    let [old, new] = take_turns(&mut criterion, "advance", names, size.samples, advance);
    criterion.final_summary();

    let mut table = Table::new(&format!(
        "Invoicing a subscription of {} months, against a new one: the same month of usage of both",
        size.months
    ));
    for (what, old, new) in [
        ("advance: read, decide, commit durably", old, new),
        ("quote: read and decide", old_quoted, new_quoted),
    ] {
        table.ratio(
            what,
            micros(&old),
            micros(&new),
            old.slower_than(&new),
            Target::AtMost(1.2),
        );
    }
    table.print();
}

/// A new store at `path` in which so many months have passed for `count` subscriptions, each invoice paid, and one for as
/// many others, with usage in each; all of them are due.
fn live_through(path: &Path, plan: &Plan, months: usize, count: usize) {
    fill(path, plan, &vec![month(0); count]);
    let store = Arc::new(SqliteStore::open(path).expect("a store"));
    let clock = Arc::new(TestClock::at(month(0)));
    let engine = Billing::new(store.clone(), clock.clone());
    let mut random = Random::new(1);
    let mut all = count;
    for begun in 0..months {
        let now = month(begun);
        clock.set(now);
        if begun > 0 {
            let options = SweepOptions::default();
            let swept = block_on(engine.sweep(now, &options, |_| std::ops::ControlFlow::Continue(())));
            let invoices = swept.expect("a sweep").invoices;
            assert_eq!(usize::try_from(invoices), Ok(count), "all are due");
            all_at_once((0..count).collect(), async |place| {
                pay(&engine, number(place), now).await;
            });
        }
        if begun + 1 == months {
            let newcomers = (count..2 * count).map(|place| subscriber(number(place), now, plan));
            let committed = block_on(store.commit(newcomers.collect())).expect("a commit");
            assert!(committed.iter().all(Result::is_ok), "they are new");
            all = 2 * count;
        }
        let events = (0..all).flat_map(|place| month_of_events(number(place), now, EVENTS_EACH, &mut random));
        record(&store, &events.collect::<Vec<_>>(), now + TimeDelta::days(28));
    }
}

/// Pays the open invoice of subscription `number`.
async fn pay(engine: &Billing, number: u64, now: DateTime<Utc>) {
    let id = subscription_id(number);
    let current = engine.subscription(id).await.expect("a subscription");
    let State::Active(active) = &current.state else {
        panic!("it renews: {:?}", current.state);
    };
    let invoice_id = active.collection.as_ref().expect("an open invoice").invoice_id;
    let invoice = engine.invoice(invoice_id).await.expect("a read");
    let paid = settled(&invoice.expect("the open invoice"), now);
    let request = request(format!("pay:{invoice_id}"));
    engine.execute(&request, id, paid).await.expect("a payment");
}

fn request(key: String) -> Request {
    Request::new(IdempotencyKey::new(&key).expect("a key"), Actor::System)
}

/// When a month begins, counted from the first one.
fn month(number: usize) -> DateTime<Utc> {
    let (year, month) = (FIRST_YEAR + number / 12, number % 12 + 1);
    at(&format!("{year}-{month:02}-01"))
}

fn number(place: usize) -> u64 {
    u64::try_from(place).expect("a number")
}
