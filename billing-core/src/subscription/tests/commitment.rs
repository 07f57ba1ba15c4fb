//! What is charged when a period comes to less than its plan asks for.

use std::string::String;
use std::vec::Vec;

use super::super::*;
use super::account::Account;
use super::kit::*;
use crate::invoice::LineKind::{
    self, CommitmentTrueUp, RecurringInAdvance, RecurringInArrears, Usage, UsageAdjustment,
};

const DAY_11: &str = "2026-03-11T00:00:00Z";
const MAY: &str = "2026-05-01T00:00:00Z";

#[track_caller]
fn paid(plan_id: PlanId) -> Account {
    let mut account = Account::on(plan_id, MARCH);
    if account.open().is_some() {
        account.pay(MARCH);
    }
    account
}

#[track_caller]
fn true_up(account: &Account) -> Vec<(i64, &str)> {
    let lines = account.last().lines.iter();
    lines
        .filter(|line| line.kind == CommitmentTrueUp)
        .map(|line| (line.amount.minor, line.explanation.as_str()))
        .collect()
}

/// 31.00 of 100.00 are the price; 310 units are free, each more costs 0.10.
#[test]
fn what_is_missing_is_charged_when_the_period_is_over() {
    for (units, usage, missing) in [
        (0, None, 69_00),
        (310, Some(0), 69_00),
        (999, Some(68_90), 10),
        (1000, Some(69_00), 0),
        (2000, Some(16_900), 0),
    ] {
        let mut account = paid(COMMITTED);
        if units > 0 {
            account.record("api", units, at(DAY_11));
        }
        account.until(APRIL);
        let mut expected = std::vec![(RecurringInAdvance, 31_00)];
        expected.extend(usage.map(|usage| (Usage, usage)));
        if missing > 0 {
            expected.push((CommitmentTrueUp, missing));
        }
        assert_eq!(account.lines(), expected, "{units}");
    }
    let mut account = paid(COMMITTED);
    account.until(APRIL);
    let text = "minimum 100.00 USD - 31.00 USD recurring - 0.00 USD usage = 69.00 USD";
    assert_eq!(true_up(&account), [(69_00, text)]);
}

/// A part of the period asks for its part of the minimum: ten of 31 days of 124.00, by the started day.
#[test]
fn a_part_of_a_period_has_its_part() {
    let mut account = paid(COMMITTED_ARREARS);
    account.must(DAY_11, &cancel(When::Now, UnusedOnCancel::None));
    // The day of the cancellation is billed: 11 of 31 days.
    assert_eq!(
        account.lines(),
        [(RecurringInArrears, 11_00), (CommitmentTrueUp, 29_00)]
    );
    assert_eq!(
        true_up(&account)[0].1,
        "minimum 40.00 USD for a part of the period - 11.00 USD recurring - 0.00 USD usage = 29.00 USD"
    );
}

/// Seats and add-ons that were in force for a part of the period count for that part.
#[test]
fn all_recurring_prices_count() {
    let mut account = paid(COMMITTED);
    account.must(DAY_11, &seats(2, None)).pay(DAY_11);
    account
        .must(DAY_11, &add_on("backup", 1, None))
        .pay(DAY_11)
        .until(APRIL);
    // 31.00 + 21.00 for the second seat + 3.39 for the backup, each rounded where it was charged.
    let [(missing, _)] = true_up(&account)[..] else {
        panic!("one line")
    };
    assert_eq!(missing, 10_000 - 31_00 - 21_00 - 3_39);
}

#[test]
fn what_comes_late_makes_up_for_what_was_charged() {
    let mut account = paid(COMMITTED);
    account.until(APRIL).pay(APRIL);
    assert_eq!(true_up(&account).len(), 1);
    // 40.00 worth of March, told in April: nothing is owed for it.
    account.now = at("2026-04-02T00:00:00Z");
    account.record("api", 710, at(DAY_11)).until(MAY).pay(MAY);
    let of_march = |account: &Account| -> Vec<(LineKind, i64, String)> {
        let lines = account.last().lines.iter();
        lines
            .filter(|line| line.period.end == at(APRIL))
            .map(|line| (line.kind, line.amount.minor, line.explanation.clone()))
            .collect()
    };
    let found = of_march(&account);
    let kinds: Vec<_> = found.iter().map(|(kind, minor, _)| (*kind, *minor)).collect();
    assert_eq!(kinds, [(UsageAdjustment, 40_00), (CommitmentTrueUp, -40_00)]);
    assert_eq!(
        found[1].2,
        "29.00 USD missing from the minimum with late usage, less 69.00 USD before"
    );
    // 60.00 more: 29.00 were still missing, the rest is owed.
    account.now = at("2026-05-02T00:00:00Z");
    account
        .record("api", 600, at(DAY_11))
        .until("2026-06-01T00:00:00Z");
    let kinds: Vec<_> = of_march(&account)
        .iter()
        .map(|(kind, minor, _)| (*kind, *minor))
        .collect();
    assert_eq!(kinds, [(UsageAdjustment, 60_00), (CommitmentTrueUp, -29_00)]);
}

/// Time that belongs to no period has no minimum: after a pause nothing was agreed for it.
#[test]
fn nothing_is_asked_for_outside_of_a_period() {
    let mut account = paid(COMMITTED);
    account.must(DAY_11, &pause(When::Now, None, UnusedOnPause::Credit));
    assert_eq!(true_up(&account).len(), 1);
    if account.open().is_some() {
        account.pay(DAY_11);
    }
    account.record("api", 1000, at("2026-03-20T00:00:00Z"));
    account.must(APRIL, &Command::Resume);
    assert!(true_up(&account).is_empty());
}
