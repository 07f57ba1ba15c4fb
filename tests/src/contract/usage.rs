//! Usage: what is recorded, what a query finds, what is late.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use billing_core::aggregation::{Aggregation, HeldUnit};
use billing_core::calendar::Period;
use billing_core::charge::{ChargeModel, Matrix, MatrixRow, Percentage};
use billing_core::id::{MeterCode, SubscriptionId, TenantId};
use billing_core::invoice::LineKind;
use billing_core::plan::{MeterTerms, Plan};
use billing_core::ports::Store;
use billing_core::subscription::Command;
use billing_core::usage::{
    BilledWindow, ChargeCell, MeterUsage, Usage, UsageEvent, UsageField, UsageOutcome, UsageQuery,
    UsageRefusal, WindowTerm,
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::kit::{Kit, at, decimal, event, key, meter, plan, start, tenant, usd, wait, with_meter};

const FIRST: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;
const LAST: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

fn hour(n: i64) -> DateTime<Utc> {
    start() + TimeDelta::hours(n)
}

/// A plan that adds up all meters that are used here.
fn measures() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| {
        let plan = plan(9, "measures");
        ["api", "API", "gb"].into_iter().fold(plan, with_meter)
    })
}

/// What `tenant_id` used in `[from, until)`.
fn query(tenant_id: TenantId, from: DateTime<Utc>, until: DateTime<Utc>) -> UsageQuery<'static> {
    UsageQuery {
        tenant_id,
        subscription_id: SubscriptionId::new(Uuid::nil()),
        plan: measures(),
        origin: from,
        from,
        until,
        term: None,
        watermark: 0,
        up_to: None,
    }
}

fn usage(store: &dyn Store, query: UsageQuery<'_>) -> Usage {
    wait(store.usage(&[query])).expect("usage").remove(0)
}

/// All usage of a tenant, whenever it was.
fn all(store: &dyn Store, tenant_id: TenantId) -> Usage {
    usage(store, query(tenant_id, FIRST, LAST))
}

/// Per meter: quantity and events; of meters that tell nothing apart.
fn totals(meters: &BTreeMap<MeterCode, MeterUsage>) -> Vec<(String, String, u64)> {
    let whole = |usage: &MeterUsage| {
        let cell = &usage[&ChargeCell::default()];
        (cell.quantity.normalize().to_string(), cell.events)
    };
    meters
        .iter()
        .map(|(code, usage)| {
            let (quantity, events) = whole(usage);
            (code.to_string(), quantity, events)
        })
        .collect()
}

fn expected(totals: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    totals
        .iter()
        .map(|(code, quantity, events)| ((*code).into(), (*quantity).into(), *events))
        .collect()
}

#[track_caller]
fn check(usage: &Usage, totals_expected: &[(&str, &str, u64)]) {
    assert_eq!(totals(&usage.meters), expected(totals_expected));
}

/// Per meter its code, its quantity, and its events.
type Totals<'a> = &'a [(&'a str, &'a str, u64)];

/// Per window that something came late for: when it begins, and what its meters were and are.
#[track_caller]
fn check_late(usage: &Usage, windows: &[(i64, Totals<'_>, Totals<'_>)]) {
    let found = usage.late.iter().map(|late| {
        let hour = (late.billed.window.start - start()).num_hours();
        (hour, totals(&late.before), totals(&late.after))
    });
    let windows = windows
        .iter()
        .map(|(hour, before, after)| (*hour, expected(before), expected(after)));
    assert_eq!(found.collect::<Vec<_>>(), windows.collect::<Vec<_>>());
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
    let found = usage(store, query(tenant(1), hour(10), hour(20)));
    check(&found, &[("API", "0", 3), ("api", "4.5", 3)]);
    let found = usage(store, query(tenant(1), hour(10), hour(10)));
    check(&found, &[]);
    let found = usage(store, query(tenant(2), hour(20), LAST));
    check(&found, &[("api", "100", 1)]);
    check(&all(store, tenant(1)), &[("API", "0", 5), ("api", "7.5", 5)]);
    check(&all(store, tenant(3)), &[]);
}

/// For windows that were billed, each by itself; what was there at the watermark was billed already.
pub fn late_usage_is_what_came_after_the_watermark(store: &dyn Store) {
    let kit = Kit::new(store);
    kit.put_plans(&[measures()]);
    let current = kit.subscribe(tenant(1), measures());
    let one = |name: &str, quantity: &str, n| event(tenant(1), name, "api", quantity, hour(n));
    accept(
        &kit,
        vec![one("a", "1", 2), one("b", "2", 12), one("early", "1000", 0)],
    );
    let first = usage(store, query(tenant(1), hour(1), hour(5)));
    check(&first, &[("api", "1", 1)]);
    let current = kit.bill(&current, hour(1), hour(5), None);
    let current = kit.bill(&current, hour(5), hour(10), None);

    // Recorded later: for both windows, before the origin, at their bounds, and for the next window.
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
    let second = UsageQuery {
        subscription_id: current.id,
        origin: hour(1),
        watermark: first.watermark,
        ..query(tenant(1), hour(10), hour(20))
    };
    let found = usage(store, second);
    check(&found, &[("api", "6", 2)]);
    let early: (_, Totals<'_>, Totals<'_>) = (1, &[("api", "1", 1)], &[("api", "61", 3), ("gb", "7", 1)]);
    let later: (_, Totals<'_>, Totals<'_>) = (5, &[], &[("api", "10", 1)]);
    check_late(&found, &[early, later]);
    // Another subscription of the tenant billed none of it.
    let other = UsageQuery {
        subscription_id: SubscriptionId::new(Uuid::nil()),
        ..second
    };
    check_late(&usage(store, other), &[]);
    // An empty window still finds what is late.
    let empty = usage(
        store,
        UsageQuery {
            until: hour(10),
            ..second
        },
    );
    check(&empty, &[]);
    check_late(&empty, &[early, later]);
    // Read as far as before, there is nothing that came since.
    let as_before = UsageQuery {
        up_to: Some(first.watermark),
        ..second
    };
    let found_before = usage(store, as_before);
    check(&found_before, &[("api", "2", 1)]);
    check_late(&found_before, &[]);
    assert_eq!(found_before.watermark, first.watermark);
    // Billed again from there, nothing is late twice.
    kit.bill(&current, hour(10), hour(20), None);
    let third = UsageQuery {
        from: hour(20),
        until: hour(30),
        watermark: found.watermark,
        ..second
    };
    let settled = usage(store, third);
    check(&settled, &[("api", "8000", 1)]);
    check_late(&settled, &[]);
    // A duplicate is not recorded a second time, so it is not late either.
    assert_eq!(kit.use_up(vec![one("late", "10", 9)]), [UsageOutcome::Duplicate]);
    check_late(&usage(store, third), &[]);
    let beyond = UsageQuery {
        watermark: u64::MAX,
        ..third
    };
    check_late(&usage(store, beyond), &[]);
}

/// By the plan and in the period of its own time, whatever is in force now.
pub fn late_usage_comes_with_the_plan_and_the_period_of_its_time(store: &dyn Store) {
    let kit = Kit::new(store);
    let (old, new) = (
        with_meter(plan(1, "old"), "gb"),
        with_meter(plan(2, "new"), "api"),
    );
    kit.put_plans(&[&old, &new]);
    let current = kit.subscribe(tenant(1), &old);
    let term = WindowTerm {
        since: hour(-3),
        period: Period::new(hour(-5), hour(8)).expect("a period"),
    };
    let current = kit.bill(&current, hour(1), hour(5), Some(term));
    let used = |name: &str, code: &str| event(tenant(1), name, code, "3", hour(2));
    accept(&kit, vec![used("a", "gb"), used("b", "api")]);
    let found = usage(
        store,
        UsageQuery {
            subscription_id: current.id,
            plan: &new,
            origin: hour(1),
            ..query(tenant(1), hour(5), hour(10))
        },
    );
    check_late(&found, &[(1, &[], &[("gb", "3", 1)])]);
    assert_eq!(found.late[0].plan, old);
    assert_eq!(found.late[0].billed.term, Some(term));
}

/// Every aggregation, and events that are told apart by their properties: as core says of all there is.
pub fn every_aggregation_is_as_core_says(store: &dyn Store) {
    let kit = Kit::new(store);
    let metered = |aggregation| MeterTerms {
        aggregation,
        ..MeterTerms::new(ChargeModel::PerUnit {
            unit_price: decimal("1"),
        })
    };
    let unique = Aggregation::UniqueCount {
        property: "region".into(),
    };
    let held = Aggregation::WeightedSum { unit: HeldUnit::Hour };
    let by_region = Matrix {
        by: vec!["region".into()],
        rows: vec![MatrixRow {
            values: vec!["eu".into()],
            unit_price: decimal("1"),
        }],
        otherwise: Some(decimal("2")),
    };
    let by_event = Percentage {
        event_minimum: Some(decimal("1")),
        ..Percentage::of(decimal("1"))
    };
    let terms = [
        ("sum", metered(Aggregation::Sum)),
        ("count", metered(Aggregation::Count)),
        ("max", metered(Aggregation::Max)),
        ("min", metered(Aggregation::Min)),
        ("last", metered(Aggregation::Last)),
        ("unique", metered(unique)),
        ("held", metered(held)),
        ("matrix", MeterTerms::new(ChargeModel::Matrix(by_region))),
        ("event", MeterTerms::new(ChargeModel::Percentage(by_event))),
        (
            "group",
            MeterTerms {
                group_by: vec!["region".into()],
                ..metered(Aggregation::Max)
            },
        ),
    ];
    let plan = Plan {
        meters: terms
            .iter()
            .map(|(code, terms)| (meter(code), terms.clone()))
            .collect(),
        ..plan(1, "all")
    };
    assert_eq!(plan.validate(), Ok(()));
    kit.put_plans(&[&plan]);
    let current = kit.subscribe(tenant(1), &plan);
    let mut events = Vec::new();
    // In an order that is neither that of time nor of size; some before the window, and some at one instant.
    for (n, (hours, quantity, region)) in [
        (7, "3", "eu"),
        (2, "5", ""),
        (9, "0.5", "us"),
        (7, "4", "us"),
        (0, "6", "eu"),
        (4, "2.25", "eu"),
        (10, "9", "eu"),
    ]
    .into_iter()
    .enumerate()
    {
        for (code, _) in &terms {
            let mut event = event(tenant(1), &format!("{code}-{n}"), code, quantity, hour(hours));
            if !region.is_empty() {
                event.properties.insert("region".into(), region.into());
            }
            events.push(event);
        }
    }
    // What is late is also from before the origin: it is held since then.
    let (seen, late) = events.split_at(40);
    let window = Period::new(hour(1), hour(8)).expect("a period");
    let term = Some(WindowTerm {
        since: hour(1),
        period: window,
    });
    accept(&kit, seen.to_vec());
    let watermark = all(store, tenant(1)).watermark;
    let current = kit.bill(&current, hour(1), hour(8), term);
    accept(&kit, late.to_vec());
    let query = UsageQuery {
        subscription_id: current.id,
        plan: &plan,
        origin: hour(1),
        watermark,
        ..query(tenant(1), hour(8), hour(10))
    };
    let billed = BilledWindow {
        window,
        plan_id: plan.id,
        term,
        usage_minimum: Some(usd(50_00)),
    };
    let mut all: Vec<_> = (1..).zip(&events).collect();
    all.sort_by_key(|(sequence, event)| (event.occurred_at, *sequence));
    let last = u64::try_from(events.len()).expect("fits");
    let expected = query.answer(&all, &[(billed, &plan)], last).expect("usage");
    let found = usage(store, query);
    assert_eq!(found, expected);
    // Not only alike: right.
    let late = &found.late[0].after;
    let of = |code: &str| {
        late[&meter(code)]
            .values()
            .map(|cell| cell.quantity.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("sum"), ["14.25"]);
    assert_eq!(of("count"), ["4"]);
    assert_eq!(of("max"), ["5"]);
    assert_eq!(of("min"), ["2.25"]);
    assert_eq!(
        of("last"),
        ["4"],
        "of two at one instant the one that was recorded last"
    );
    assert_eq!(of("unique"), ["3"]);
    assert_eq!(of("held"), ["26.75"], "6 x 1 h + 5 x 2 h + 2.25 x 3 h + 4 x 1 h");
    assert_eq!(of("group"), ["5", "3", "4"]);
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
    check(&all(store, tenant(1)), &[("api", "1.5", 1)]);
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
    check(&all(store, tenant(1)), &[("api", "3", 3)]);
    check(&all(store, tenant(2)), &[("gb", "6", 3)]);
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
    check(&all(store, tenant(1)), &[("api", "7", 3)]);
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
    check(&all(store, tenant(3)), &[("api", "1500", 1_500)]);
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
    check(&all(store, tenant(1)), &[("api", "20000000001", 14)]);
    accept(
        &kit,
        vec![event(tenant(1), "more", "api", "0.000000000001", hour(1))],
    );
    check(&all(store, tenant(1)), &[("api", "20000000001.000000000001", 15)]);
}

/// One answer per query, also for the same one twice.
pub fn several_queries_are_answered_in_order(store: &dyn Store) {
    let kit = Kit::new(store);
    for n in 1..=3 {
        accept(&kit, vec![event(tenant(n), "k", "api", &n.to_string(), hour(1))]);
    }
    let queries = [3, 1, 9, 2, 3].map(|n| query(tenant(n), FIRST, LAST));
    let found = wait(store.usage(&queries)).expect("usage");
    let quantities: Vec<_> = found.iter().map(|usage| totals(&usage.meters)).collect();
    let some = |n: &str| expected(&[("api", n, 1)]);
    assert_eq!(quantities, [some("3"), some("1"), vec![], some("2"), some("3")]);
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
            &usage(store, query(tenant(1), from, from + micro)),
            &[("api", "1", 1)],
        );
        check(
            &usage(store, query(tenant(1), from + micro, LAST.min(from + micro * 2))),
            &[],
        );
        check(&usage(store, query(tenant(1), from - micro, from)), &[]);
    }
    check(&all(store, tenant(1)), &[("api", "7", 7)]);
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
