//! What a quantity costs, and what its changes cost inside a period.

use std::string::String;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::select;
use rust_decimal::Decimal;

use super::super::*;
use super::account::Account;
use super::describe::describe;
use super::kit::*;
use super::scenes::scene;
use crate::invoice::InvoiceKind;
use crate::invoice::LineKind::{
    self, CreditApplied, CreditCarried, CreditRefunded, ProrationCharge, ProrationCredit, RecurringInAdvance,
    RecurringInArrears, Usage,
};
use crate::plan::ProrationRule;

const DAY_11: &str = "2026-03-11T00:00:00Z";
const DAY_21: &str = "2026-03-21T00:00:00Z";

fn of(quantity: u32) -> Create {
    Create {
        quantity,
        ..request()
    }
}

/// In force and paid since the first of March.
#[track_caller]
fn paid(plan_id: PlanId, quantity: u32) -> Account {
    let mut account = Account::created(plan_id, MARCH, &of(quantity));
    if account.open().is_some() {
        account.pay(MARCH);
    }
    account
}

#[track_caller]
fn explanations(account: &Account) -> Vec<String> {
    let lines = account.last().lines.iter();
    lines.map(|line| line.explanation.clone()).collect()
}

#[test]
fn a_line_shows_the_product_of_more_than_one() {
    let five = paid(BASIC, 5);
    let line = &five.last().lines[0];
    assert_eq!(
        (line.quantity, line.unit_price, line.amount),
        (Decimal::from(5), Some(Decimal::new(31_00, 2)), usd(15_500))
    );
    assert_eq!(explanations(&five), ["5 x 31.00 USD for every month"]);
    assert_eq!(explanations(&paid(BASIC, 1)), ["31.00 USD for every month"]);

    let mut changed = five;
    changed.must(DAY_11, &seats(6, None));
    assert_eq!(
        explanations(&changed),
        [
            "unused 155.00 USD x 1814400 s / 2678400 s",
            "6 x 31.00 USD x 1814400 s / 2678400 s"
        ]
    );
    let [credit, charge] = &*changed.last().lines else {
        panic!("two lines")
    };
    // A credit is for what was debited, once.
    assert_eq!(
        (credit.quantity, credit.unit_price),
        (Decimal::ONE, Some(Decimal::new(15_500, 2)))
    );
    assert_eq!(
        (charge.quantity, charge.unit_price),
        (Decimal::from(6), Some(Decimal::new(31_00, 2)))
    );
    assert_eq!(
        credit.source.map(|source| (source.invoice_id, source.line)),
        Some((changed.invoices[0].id, 0))
    );
    assert_eq!(changed.last().kind, InvoiceKind::QuantityChange);

    let mut by_day = paid(BY_DAY, 5);
    by_day.must("2026-03-11T15:00:00Z", &seats(6, None));
    assert_eq!(
        explanations(&by_day),
        ["unused 155.00 USD x 21 d / 31 d", "6 x 31.00 USD x 21 d / 31 d"]
    );
    let mut arrears = paid(ARREARS, 5);
    arrears.must(DAY_11, &seats(1, When::Now));
    assert_eq!(explanations(&arrears), ["5 x 31.00 USD x 864000 s / 2678400 s"]);
    arrears.pay(DAY_11).until(APRIL);
    assert_eq!(explanations(&arrears), ["31.00 USD x 1814400 s / 2678400 s"]);
}

/// One rounding: five times a third of a price, and not a rounded third five times.
#[test]
fn the_product_is_rounded_once() {
    let mut plans = (*catalog()).clone();
    plans.get_mut(&BASIC).unwrap().price = usd(10_00);
    let mut account = Account::with(Arc::new(plans), BASIC, MARCH, &of(4));
    account.pay(MARCH).must(DAY_11, &seats(5, None));
    // 40.00 and 50.00 x 21/31 are 27.096.. and 33.870..; 5 x 6.77 would be 33.85.
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -27_10), (ProrationCharge, 33_87)]
    );
}

#[test]
fn the_quantity_is_kept_by_whatever_begins_a_period() {
    let renewed = |account: &mut Account, now: &str| -> Vec<(LineKind, i64)> {
        account.until(now);
        account.lines()
    };
    let price = [(RecurringInAdvance, 15_500)];
    assert_eq!(renewed(&mut paid(BASIC, 5), APRIL), price);
    assert_eq!(
        renewed(&mut paid(ARREARS, 5), APRIL),
        [(RecurringInArrears, 15_500)]
    );
    let mut trial = paid(TRIAL, 5);
    assert_eq!(renewed(&mut trial, "2026-03-15T00:00:00Z"), price);
    let prepaid = Account::created(PREPAID, MARCH, &of(5));
    assert_eq!(
        describe(&prepaid.sub),
        "pending until 03-02; 155.00 USD, attempt 1"
    );
    // A plan change.
    let mut changed = paid(BASIC, 5);
    changed.must(DAY_11, &change(PRO, None));
    assert_eq!(
        (changed.lines(), changed.sub.quantity),
        (vec![(ProrationCredit, -10_500), (ProrationCharge, 21_000)], 5)
    );
    let mut yearly = paid(BASIC, 5);
    yearly.must(DAY_11, &change(YEARLY, When::Now));
    assert_eq!(
        yearly.lines(),
        [(ProrationCredit, -10_500), (RecurringInAdvance, 182_500)]
    );
    let mut later = paid(PRO, 5);
    later.must(DAY_11, &change(BASIC, None));
    assert_eq!(renewed(&mut later, APRIL), price);
    // A pause, credited and carried.
    let mut paused = paid(BASIC, 5);
    paused.must(DAY_11, &pause(When::Now, None, UnusedOnPause::Credit));
    assert_eq!(
        paused.lines(),
        [(ProrationCredit, -10_500), (CreditCarried, 10_500)]
    );
    paused.must(DAY_21, &Command::Resume);
    assert_eq!(
        paused.lines(),
        [(RecurringInAdvance, 15_500), (CreditApplied, -10_500)]
    );
    let mut carried = paid(BASIC, 5);
    carried
        .must(DAY_11, &pause(When::Now, None, UnusedOnPause::Carry))
        .must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(
        carried.lines(),
        [(ProrationCredit, -10_500), (CreditRefunded, 10_500)]
    );
    // A suspension that outlasts the period.
    let mut stopped = paid(BASIC, 5);
    stopped
        .must(DAY_11, &suspend())
        .must("2026-04-05T00:00:00Z", &Command::Reactivate);
    assert_eq!(stopped.lines(), price);
}

#[test]
fn what_is_in_arrears_is_owed_until_now_in_the_old_quantity_and_from_now_on_in_the_new() {
    let mut account = paid(ARREARS, 5);
    account.must(DAY_11, &seats(8, None));
    assert_eq!(account.lines(), [(RecurringInArrears, 50_00)]);
    account.pay(DAY_11).must(DAY_21, &seats(1, When::Now));
    assert_eq!(account.lines(), [(RecurringInArrears, 80_00)]);
    assert_eq!(
        account.last().lines[0].period,
        crate::calendar::Period::new(at(DAY_11), at(DAY_21)).unwrap()
    );
    account.pay(DAY_21).until(APRIL);
    assert_eq!(account.lines(), [(RecurringInArrears, 11_00)]);
    // And the next period is a whole one again.
    account.pay(APRIL).until("2026-05-01T00:00:00Z");
    assert_eq!(account.lines(), [(RecurringInArrears, 31_00)]);

    // Another plan in the same period counts from its own beginning.
    let mut account = paid(ARREARS, 5);
    account
        .must(DAY_11, &seats(8, None))
        .pay(DAY_11)
        .must(DAY_21, &change(ARREARS_PRO, When::Now));
    assert_eq!(account.lines(), [(RecurringInArrears, 80_00)]);
    account.pay(DAY_21).until(APRIL);
    assert_eq!(account.lines(), [(RecurringInArrears, 17_600)]);
}

/// Its tiers and allowances are those of the period, whatever happens to the quantity.
#[test]
fn the_usage_of_a_period_goes_on_through_a_change() {
    for plan_id in [BASIC, ARREARS] {
        let mut account = paid(plan_id, 5);
        account.record("api", 200, at("2026-03-05T00:00:00Z"));
        let usage = account.sub.usage;
        account.must(DAY_11, &seats(8, None)).pay(DAY_11);
        assert_eq!(account.sub.usage, usage);
        assert!(account.windows.is_empty());
        account.record("api", 200, at("2026-03-15T00:00:00Z"));
        account.until(APRIL);
        // 400 in one window, with all of its 310 free units.
        assert_eq!(account.lines()[1], (Usage, 9_00));
        let billed = account.windows[0];
        assert_eq!(
            billed.term.map(|term| term.since),
            Some(at(MARCH)),
            "the plan was in force all along"
        );
    }
}

#[test]
fn several_changes_in_one_period_credit_what_was_debited_and_not_the_list_price() {
    let mut account = paid(BASIC, 1);
    account.must(DAY_11, &seats(3, None)).pay(DAY_11);
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (ProrationCharge, 63_00)]
    );
    account.must(DAY_21, &seats(5, None)).pay(DAY_21);
    // 63.00 were debited for 21 days, of which 11 are left. The first seat must not be credited again.
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -33_00), (ProrationCharge, 55_00)]
    );
    let source = account.last().lines[0].source.unwrap();
    assert_eq!((source.invoice_id, source.line), (account.invoices[1].id, 1));
    // A version of the plan that has another price by now changes nothing about what was paid.
    let mut plans = (*account.plans).clone();
    plans.get_mut(&BASIC).unwrap().price = usd(31_000);
    let mut dearer = account.clone();
    dearer.plans = Arc::new(plans);
    let asked = dearer
        .ask(
            at("2026-03-26T12:00:00Z"),
            &cancel(When::Now, UnusedOnCancel::Credit),
        )
        .unwrap();
    assert_eq!(asked.next.credit, usd(27_50));
}

#[test]
fn nothing_more_is_credited_until_a_change_is_paid() {
    let mut account = scene("five seats, more, collecting");
    account.must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
    // Five were paid for, for a month of which 11 days are left.
    assert_eq!(
        account.lines(),
        [(Usage, 0), (ProrationCredit, -55_00), (CreditRefunded, 55_00)]
    );
    assert_eq!(account.invoices[1].state.code(), "void");
    let mut account = scene("five seats, more");
    account.must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(
        account.lines(),
        [(Usage, 0), (ProrationCredit, -88_00), (CreditRefunded, 88_00)]
    );
}

/// Whoever is not prorated has the period as it was bought, and the next one as it is wanted by then.
#[test]
fn without_proration_a_change_costs_nothing_before_the_next_period() {
    let mut account = scene("five seats, not prorated");
    account.must(DAY_11, &seats(8, None));
    assert_eq!((account.invoices.len(), account.sub.quantity), (1, 8));
    account.until(APRIL);
    assert_eq!(account.lines(), [(RecurringInAdvance, 24_800), (Usage, 0)]);
    // On its first instant all of it is left.
    let mut account = paid(UNPRORATED, 5);
    account.must(MARCH, &seats(8, None));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -15_500), (ProrationCharge, 24_800)]
    );
    // In arrears it was served once it has begun: billed once, however often it changes.
    let mut account = paid(UNPRORATED_ARREARS, 5);
    account.must(DAY_11, &seats(8, None)).pay(DAY_11);
    assert_eq!(account.lines(), [(RecurringInArrears, 15_500)]);
    account.must(DAY_21, &seats(1, When::Now)).until(APRIL);
    assert_eq!(account.invoices.len(), 3, "{:?}", account.last());
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(account.lines(), [(RecurringInArrears, 31_00)]);
}

#[test]
fn a_change_writes_from_what_to_what() {
    let mut account = paid(BASIC, 5);
    let details = |account: &Account, code: &str| {
        let entry = account.audit.iter().rfind(|entry| entry.action.code() == code);
        entry.map(|entry| entry.details.clone()).unwrap()
    };
    assert!(
        details(&account, "created").ends_with(r#""quantity":5}"#),
        "{}",
        details(&account, "created")
    );
    account.must(DAY_11, &seats(3, None));
    assert_eq!(
        details(&account, "quantity_change_scheduled"),
        r#"{"from":5,"to":3}"#
    );
    account.until(APRIL);
    assert_eq!(details(&account, "quantity_changed"), r#"{"from":5,"to":3}"#);
}

/// A store of before there were quantities.
#[cfg(feature = "serde")]
#[test]
fn json_without_a_quantity_is_of_one() {
    let sub = paid(BASIC, 1).sub;
    let json = serde_json::to_string(&sub).unwrap();
    let old = json.replacen(r#""quantity":1,"#, "", 1);
    assert!(old.len() < json.len() && !old.contains("price_since"), "{old}");
    assert_eq!(serde_json::from_str::<Subscription>(&old).unwrap(), sub);
    let json = serde_json::to_string(&request()).unwrap();
    let old = json.replacen(r#","quantity":1"#, "", 1);
    assert!(old.len() < json.len(), "{json}");
    assert_eq!(serde_json::from_str::<Create>(&old).unwrap(), request());
}

/// A price, a rule, and instants of March with the quantities from then on.
fn life() -> impl Strategy<Value = (i64, ProrationRule, Vec<(i64, u32)>)> {
    const MARCH_SECS: i64 = 31 * 86_400;
    (
        1_i64..100_000,
        select(vec![
            ProrationRule::Second,
            ProrationRule::Day,
            ProrationRule::StartedDay,
            ProrationRule::StartedMonth,
        ]),
        prop::collection::vec((0..MARCH_SECS, 1_u32..50), 1..5),
    )
        .prop_map(|(price, rule, mut changes)| {
            changes.sort_unstable();
            (price, rule, changes)
        })
}

fn begin(plan_id: PlanId, price: i64, rule: ProrationRule, quantity: u32) -> Account {
    let mut plans = (*catalog()).clone();
    let plan = plans.get_mut(&plan_id).unwrap();
    (plan.price, plan.proration) = (usd(price), rule);
    plan.meters.clear();
    let mut account = Account::with(Arc::new(plans), plan_id, MARCH, &of(quantity));
    account.is_quick = true;
    settle(&mut account);
    account
}

fn settle(account: &mut Account) {
    if account.open().is_some() {
        let now = account.now;
        account.run(now, &account.settlement(now)).unwrap();
    }
}

/// Takes on the quantity at once; the same again is no change.
fn to(account: &mut Account, now: DateTime<Utc>, quantity: u32) {
    if account.sub.quantity != quantity {
        account.run(now, &seats(quantity, When::Now)).unwrap();
        settle(account);
    }
}

/// What was charged for time, less what was credited of it.
fn sold(account: &Account) -> i64 {
    let lines = account.invoices.iter().flat_map(|invoice| &invoice.lines);
    let of_time = lines.filter(|line| {
        matches!(
            line.kind,
            RecurringInAdvance | RecurringInArrears | ProrationCharge | ProrationCredit
        )
    });
    of_time.map(|line| line.amount.minor).sum()
}

/// The part of March before `secs`, as the rule counts it: by whole days, the day of a change is still left, or used up.
fn used(rule: ProrationRule, secs: i64) -> i64 {
    match rule {
        ProrationRule::Day => secs / 86_400 * 86_400,
        ProrationRule::StartedDay => (secs + 86_399) / 86_400 * 86_400,
        ProrationRule::StartedMonth => i64::from(secs > 0) * 31 * 86_400,
        ProrationRule::Second | ProrationRule::None => secs,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// In advance and in arrears the same: each quantity for as long as it was in force, to half a minor unit a line.
    #[test]
    fn a_period_costs_each_quantity_for_its_time((price, rule, changes) in life(), first in 1_u32..50) {
        const MARCH_SECS: i64 = 31 * 86_400;
        let mut exact = 0_i128;
        let mut since = (0, first);
        for (secs, quantity) in changes.iter().copied().chain([(MARCH_SECS, 0)]) {
            let span = i128::from(used(rule, secs) - used(rule, since.0));
            exact += span * i128::from(since.1) * i128::from(price);
            since = (secs, quantity);
        }
        for plan_id in [BASIC, ARREARS] {
            let mut account = begin(plan_id, price, rule, first);
            for (secs, quantity) in &changes {
                to(&mut account, at(MARCH) + TimeDelta::seconds(*secs), *quantity);
            }
            account.run(account.now, &Command::SetAutoRenew { auto_renew: false }).unwrap();
            account.catch_up(at(APRIL));
            let lines: usize = account.invoices.iter().map(|invoice| invoice.lines.len()).sum();
            let off = i128::from(sold(&account)) * i128::from(MARCH_SECS) - exact;
            let half = i128::from(MARCH_SECS) / 2;
            prop_assert!(
                off.abs() <= half * i128::try_from(lines).unwrap(),
                "{plan_id}: {} sold, {off} off after {changes:?}", sold(&account),
            );
        }
    }

    /// What is credited of a quantity is what its rest costs, so that used and unused make the whole.
    #[test]
    fn up_and_down_again_at_once_nets_to_nothing((price, rule, changes) in life(), few in 1_u32..50, more in 1_u32..50) {
        let more = few + more;
        let whole = price * i64::from(few);
        let then = at(MARCH) + TimeDelta::seconds(changes[0].0);
        for (first, second) in [(few, more), (more, few)] {
            let mut account = begin(BASIC, price, rule, first);
            let before = sold(&account);
            to(&mut account, then, second);
            to(&mut account, then, first);
            prop_assert_eq!(sold(&account), before);
            // What came in is what was owed; the rest is credit that the next invoices use up.
            account.catch_up(at(APRIL));
            settle(&mut account);
            account.catch_up(at("2026-05-01T00:00:00Z"));
            settle(&mut account);
            let lines = account.invoices.iter().flat_map(|invoice| &invoice.lines);
            let billed: i64 = lines.map(|line| line.amount.minor).sum();
            let price = price * i64::from(first);
            prop_assert_eq!(sold(&account), 3 * price);
            prop_assert_eq!(billed - account.sub.credit.minor, 3 * price);
        }
        // In arrears the two parts are rounded each by itself; only where both are halves, one more is due.
        let mut account = begin(ARREARS, price, rule, few);
        to(&mut account, then, more);
        to(&mut account, then, few);
        account.run(account.now, &Command::SetAutoRenew { auto_renew: false }).unwrap();
        account.catch_up(at(APRIL));
        prop_assert!((whole..=whole + 1).contains(&sold(&account)));
    }
}
