//! Usage: what is recorded, what a query finds, what is late.

use billing_core::id::TenantId;
use billing_core::invoice::LineKind;
use billing_core::ports::Store;
use billing_core::subscription::Command;
use billing_core::usage::{Usage, UsageEvent, UsageField, UsageOutcome, UsageQuery, UsageRefusal};
use chrono::{DateTime, TimeDelta, Utc};

use crate::kit::{Kit, at, decimal, event, key, meter, plan, start, tenant, wait, with_meter};

const FIRST: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;
const LAST: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

fn hour(n: i64) -> DateTime<Utc> {
    start() + TimeDelta::hours(n)
}

/// What `tenant_id` used in `[from, until)`, and late since `origin` after `watermark`.
fn query(
    tenant_id: TenantId,
    origin: DateTime<Utc>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    watermark: u64,
) -> UsageQuery {
    UsageQuery {
        tenant_id,
        origin,
        from,
        until,
        watermark,
    }
}

fn usage(store: &dyn Store, query: UsageQuery) -> Usage {
    wait(store.usage(&[query])).expect("usage").remove(0)
}

/// All usage of a tenant, whenever it was.
fn all(store: &dyn Store, tenant_id: TenantId) -> Usage {
    usage(store, query(tenant_id, FIRST, FIRST, LAST, 0))
}

/// Per meter: in time, late, events.
fn totals(usage: &Usage) -> Vec<(&str, String, String, u64)> {
    usage
        .meters
        .iter()
        .map(|(code, total)| {
            let text = |quantity: rust_decimal::Decimal| quantity.normalize().to_string();
            (
                code.as_str(),
                text(total.quantity),
                text(total.late_quantity),
                total.events,
            )
        })
        .collect()
}

#[track_caller]
fn check(usage: &Usage, expected: &[(&str, &str, &str, u64)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(code, in_time, late, events)| (*code, String::from(*in_time), String::from(*late), *events))
        .collect();
    assert_eq!(totals(usage), expected);
}

#[track_caller]
fn accept(kit: &Kit<'_>, events: Vec<UsageEvent>) {
    let count = events.len();
    assert_eq!(kit.use_up(events), vec![UsageOutcome::Accepted; count]);
}

/// The start is inside, the end is not; tenants and meters do not mix.
pub fn usage_is_summed_per_meter_in_a_half_open_window(store: &dyn Store) {
    let kit = Kit::new(store);
    let micro = TimeDelta::microseconds(1);
    let mut events = Vec::new();
    for (n, occurred_at) in [hour(10) - micro, hour(10), hour(15), hour(20) - micro, hour(20)]
        .into_iter()
        .enumerate()
    {
        events.push(event(tenant(1), &format!("a{n}"), "api", "1.5", occurred_at));
        events.push(event(tenant(1), &format!("b{n}"), "API", "0", occurred_at));
        events.push(event(tenant(2), &format!("c{n}"), "api", "100", occurred_at));
    }
    accept(&kit, events);
    // From its origin on, so nothing is late.
    let found = usage(store, query(tenant(1), hour(10), hour(10), hour(20), 0));
    check(&found, &[("API", "0", "0", 3), ("api", "4.5", "0", 3)]);
    let found = usage(store, query(tenant(1), hour(10), hour(10), hour(10), 0));
    check(&found, &[]);
    let found = usage(store, query(tenant(2), hour(20), hour(20), LAST, 0));
    check(&found, &[("api", "100", "0", 1)]);
    check(
        &all(store, tenant(1)),
        &[("API", "0", "0", 5), ("api", "7.5", "0", 5)],
    );
    check(&all(store, tenant(3)), &[]);
}

/// For time before the window, from the origin on; what was there at the watermark was billed already.
pub fn late_usage_is_what_came_after_the_watermark(store: &dyn Store) {
    let kit = Kit::new(store);
    let one = |name: &str, quantity: &str, n| event(tenant(1), name, "api", quantity, hour(n));
    accept(
        &kit,
        vec![one("a", "1", 2), one("b", "2", 12), one("early", "1000", 0)],
    );
    let first = usage(store, query(tenant(1), hour(1), hour(1), hour(10), 0));
    check(&first, &[("api", "1", "0", 1)]);

    // Recorded later: for the closed window, before the origin, at its bounds, and for the next window.
    let recorded = vec![
        one("late", "10", 9),
        one("late-first", "20", 1),
        one("late-other", "40", 3),
        one("too-early", "2000", 0),
        one("at-bound", "4", 10),
        one("after", "8000", 20),
    ];
    accept(&kit, recorded);
    accept(
        &kit,
        vec![
            event(tenant(2), "other", "api", "500", hour(2)),
            event(tenant(1), "gb", "gb", "7", hour(2)),
        ],
    );
    let second = query(tenant(1), hour(1), hour(10), hour(20), first.watermark);
    let found = usage(store, second);
    check(&found, &[("api", "6", "70", 5), ("gb", "0", "7", 1)]);
    // An empty window still finds what is late.
    let empty = usage(
        store,
        UsageQuery {
            until: hour(10),
            ..second
        },
    );
    check(&empty, &[("api", "0", "70", 3), ("gb", "0", "7", 1)]);
    // Billed again from there, nothing is late twice.
    let third = query(tenant(1), hour(1), hour(20), hour(30), found.watermark);
    check(&usage(store, third), &[("api", "8000", "0", 1)]);
    // A duplicate is not recorded a second time, so it is not late either.
    assert_eq!(kit.use_up(vec![one("late", "10", 9)]), [UsageOutcome::Duplicate]);
    check(&usage(store, third), &[("api", "8000", "0", 1)]);
    let beyond = UsageQuery {
        watermark: u64::MAX,
        ..third
    };
    check(&usage(store, beyond), &[("api", "8000", "0", 1)]);
}

/// By every field, the first that differs; a refused event changes nothing.
pub fn a_known_key_is_a_duplicate_or_refused(store: &dyn Store) {
    let kit = Kit::new(store);
    let mut first = event(tenant(1), "k", "api", "1.50", hour(1));
    first.properties.insert("region".into(), "eu".into());
    first
        .properties
        .insert("Ünï\u{0}".into(), "日本 \" \\ \u{1F4B6}".into());
    accept(&kit, vec![first.clone()]);
    let again = |change: &dyn Fn(&mut UsageEvent)| {
        let mut event = first.clone();
        change(&mut event);
        kit.pass_days(1);
        kit.use_up(vec![event]).remove(0)
    };
    let refused = |field| {
        UsageOutcome::Refused(UsageRefusal::KeyReused {
            idempotency_key: key("k"),
            field,
        })
    };
    assert_eq!(again(&|_| {}), UsageOutcome::Duplicate);
    assert_eq!(
        again(&|event| event.quantity = decimal("1.5000")),
        UsageOutcome::Duplicate
    );
    assert_eq!(
        again(&|event| event.meter = meter("gb")),
        refused(UsageField::Meter)
    );
    assert_eq!(
        again(&|event| event.quantity = decimal("1.51")),
        refused(UsageField::Quantity)
    );
    let micro = TimeDelta::microseconds(1);
    assert_eq!(
        again(&|event| event.occurred_at += micro),
        refused(UsageField::OccurredAt)
    );
    assert_eq!(
        again(&|event| event.properties.clear()),
        refused(UsageField::Properties)
    );
    assert_eq!(
        again(&|event| {
            event.properties.insert("region".into(), "EU".into());
        }),
        refused(UsageField::Properties)
    );
    let several = again(&|event| {
        event.quantity = decimal("2");
        event.properties.clear();
        event.occurred_at += micro;
    });
    assert_eq!(several, refused(UsageField::Quantity), "the first that differs");
    check(&all(store, tenant(1)), &[("api", "1.5", "0", 1)]);
}

/// Another tenant's key is another key; so is one in other letters.
pub fn keys_are_scoped_by_tenant(store: &dyn Store) {
    let kit = Kit::new(store);
    let longest = "!".repeat(255);
    for name in ["k", "K", longest.as_str()] {
        accept(
            &kit,
            vec![
                event(tenant(1), name, "api", "1", hour(1)),
                event(tenant(2), name, "gb", "2", hour(2)),
            ],
        );
    }
    check(&all(store, tenant(1)), &[("api", "3", "0", 3)]);
    check(&all(store, tenant(2)), &[("gb", "6", "0", 3)]);
}

/// One answer per event, also where it repeats one of the same batch.
pub fn a_batch_is_answered_in_order_and_sees_itself(store: &dyn Store) {
    let kit = Kit::new(store);
    let one = |name: &str, quantity: &str| event(tenant(1), name, "api", quantity, hour(1));
    let refused = |name| {
        UsageOutcome::Refused(UsageRefusal::KeyReused {
            idempotency_key: key(name),
            field: UsageField::Quantity,
        })
    };
    let batch = vec![
        one("a", "1"),
        one("a", "1"),
        one("b", "2"),
        one("a", "3"),
        event(tenant(2), "a", "api", "9", hour(1)),
        one("b", "2.0"),
        one("c", "4"),
        one("b", "1"),
    ];
    let accepted = UsageOutcome::Accepted;
    let expected = [
        accepted.clone(),
        UsageOutcome::Duplicate,
        accepted.clone(),
        refused("a"),
        accepted.clone(),
        UsageOutcome::Duplicate,
        accepted.clone(),
        refused("b"),
    ];
    assert_eq!(kit.use_up(batch), expected);
    check(&all(store, tenant(1)), &[("api", "7", "0", 3)]);
    let many: Vec<_> = (0..2_000)
        .map(|n| event(tenant(3), &format!("{}", n % 1_500), "api", "1", hour(1)))
        .collect();
    let outcomes = kit.use_up(many);
    assert!(outcomes[..1_500].iter().all(|outcome| *outcome == accepted));
    assert!(
        outcomes[1_500..]
            .iter()
            .all(|outcome| *outcome == UsageOutcome::Duplicate)
    );
    check(&all(store, tenant(3)), &[("api", "1500", "0", 1_500)]);
}

/// To the last decimal, where floats would have drifted.
pub fn sums_are_exact(store: &dyn Store) {
    let kit = Kit::new(store);
    let mut events: Vec<_> = (0..10)
        .map(|n| event(tenant(1), &format!("tenth-{n}"), "api", "0.1", hour(1)))
        .collect();
    events.push(event(tenant(1), "most", "api", "10000000000", hour(1)));
    events.push(event(tenant(1), "least", "api", "0.000000000001", hour(1)));
    events.push(event(
        tenant(1),
        "both",
        "api",
        "9999999999.999999999999",
        hour(1),
    ));
    events.push(event(tenant(1), "zero", "api", "0", hour(1)));
    accept(&kit, events);
    check(&all(store, tenant(1)), &[("api", "20000000001", "0", 14)]);
    accept(
        &kit,
        vec![event(tenant(1), "more", "api", "0.000000000001", hour(1))],
    );
    check(
        &all(store, tenant(1)),
        &[("api", "20000000001.000000000001", "0", 15)],
    );
}

/// One answer per query, also for the same one twice.
pub fn several_queries_are_answered_in_order(store: &dyn Store) {
    let kit = Kit::new(store);
    for n in 1..=3 {
        accept(&kit, vec![event(tenant(n), "k", "api", &n.to_string(), hour(1))]);
    }
    let queries = [3, 1, 9, 2, 3].map(|n| query(tenant(n), FIRST, FIRST, LAST, 0));
    let found = wait(store.usage(&queries)).expect("usage");
    let quantities: Vec<_> = found
        .iter()
        .map(|usage| usage.meters.get(&meter("api")).map(|total| total.quantity))
        .collect();
    let some = |n: i64| Some(n.into());
    assert_eq!(quantities, [some(3), some(1), None, some(2), some(3)]);
    let watermarks: Vec<_> = found.iter().map(|usage| usage.watermark).collect();
    let written: Vec<_> = found[..1]
        .iter()
        .chain(&found[4..])
        .map(|usage| usage.watermark)
        .collect();
    assert_eq!(written[0], written[1], "one snapshot: {watermarks:?}");
}

/// What is recorded after a reading is above its watermark, whoever it is of.
pub fn the_watermark_only_grows(store: &dyn Store) {
    let kit = Kit::new(store);
    let mut before = all(store, tenant(1)).watermark;
    assert_eq!(before, 0, "nothing was recorded");
    for n in 0..20 {
        let name = format!("k{n}");
        // It occurred earlier and earlier.
        accept(
            &kit,
            vec![
                event(tenant(1), &name, "api", "1", hour(-n)),
                event(tenant(2), &name, "api", "1", hour(n)),
            ],
        );
        let seen = all(store, tenant(1)).watermark;
        assert!(seen > before, "{seen} after {before}");
        // All but what was seen is late.
        let late = usage(store, query(tenant(1), FIRST, hour(50), LAST, before));
        check(&late, &[("api", "0", "1", 1)]);
        let late = usage(store, query(tenant(1), FIRST, hour(50), LAST, seen));
        check(&late, &[]);
        before = seen;
    }
}

/// From long ago to long ahead.
pub fn an_instant_of_usage_is_kept_to_the_microsecond(store: &dyn Store) {
    let kit = Kit::new(store);
    let micro = TimeDelta::microseconds(1);
    let instants = [
        at("-262143-01-02T00:00:00Z"),
        at("0000-01-01T00:00:00Z"),
        at("1969-12-31T23:59:59.999998Z"),
        at("1970-01-01T00:00:00Z"),
        at("2024-02-29T12:34:56.123456Z"),
        at("9999-12-31T23:59:59.999999Z"),
        at("+262142-12-30T23:59:59.999999Z"),
    ];
    for (n, occurred_at) in instants.into_iter().enumerate() {
        let one = event(tenant(1), &format!("k{n}"), "api", "1", occurred_at);
        accept(&kit, vec![one.clone()]);
        assert_eq!(kit.use_up(vec![one]), [UsageOutcome::Duplicate]);
        let from = occurred_at;
        check(
            &usage(store, query(tenant(1), from, from, from + micro, 0)),
            &[("api", "1", "0", 1)],
        );
        check(
            &usage(
                store,
                query(
                    tenant(1),
                    from + micro,
                    from + micro,
                    LAST.min(from + micro * 2),
                    0,
                ),
            ),
            &[],
        );
        check(
            &usage(store, query(tenant(1), from - micro, from - micro, from, 0)),
            &[],
        );
    }
    check(&all(store, tenant(1)), &[("api", "7", "0", 7)]);
    let later = usage(store, query(tenant(1), FIRST, LAST, LAST, 0));
    check(&later, &[("api", "0", "7", 7)]);
}

/// The decision that bills usage and the store agree on what comes late.
pub fn billed_usage_moves_the_cursor(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = with_meter(plan(1, "basic"), "api");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    let one = kit.pay(one.id);
    let period = one.term().expect("a period").period;
    accept(
        &kit,
        vec![
            event(tenant(1), "a", "api", "150", period.start),
            event(tenant(1), "b", "api", "5", period.end),
        ],
    );
    kit.set_now(period.end);
    let renewed = kit.run(one.id, &Command::Advance);
    assert_eq!(renewed.usage.from, period.end);
    assert_eq!(renewed.usage.watermark, all(store, tenant(1)).watermark);
    let usage_lines = |number: u32| -> Vec<(LineKind, String)> {
        let invoice = wait(store.invoices_of(one.id, number - 1, 1))
            .expect("invoices")
            .remove(0);
        let lines = invoice.lines.iter().filter(|line| line.meter.is_some());
        lines
            .map(|line| (line.kind, line.quantity.normalize().to_string()))
            .collect()
    };
    assert_eq!(usage_lines(2), [(LineKind::Usage, "150".into())]);
    // One for the closed period, one for the running one.
    let late = period.end - TimeDelta::days(1);
    accept(
        &kit,
        vec![
            event(tenant(1), "c", "api", "30", late),
            event(tenant(1), "d", "api", "200", period.end),
        ],
    );
    let paid = kit.pay(one.id);
    kit.set_now(paid.next_due().expect("a renewal"));
    kit.run(one.id, &Command::Advance);
    let mut lines = usage_lines(3);
    lines.sort();
    assert_eq!(
        lines,
        [
            (LineKind::Usage, "205".into()),
            (LineKind::UsageAdjustment, "30".into())
        ]
    );
}
