//! What is charged when a period comes to less than its plan asks for.

use std::string::String;
use std::vec::Vec;

use super::super::*;
use super::account::Account;
use super::kit::*;
use crate::coupon::{CouponDuration, CouponValue};
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

/// 100.00 beside the price; 310 units are free, each more costs 0.10.
#[test]
fn what_is_missing_is_charged_when_the_period_is_over() {
    for (units, usage, missing) in [
        (0, None, 10_000),
        (310, Some(0), 10_000),
        (1309, Some(99_90), 10),
        (1310, Some(10_000), 0),
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
    let text = "minimum 100.00 USD - 0.00 USD usage = 100.00 USD";
    assert_eq!(true_up(&account), [(10_000, text)]);
}

/// A part of the period asks for its part of the minimum, by time: ten of 31 days of 124.00.
#[test]
fn a_part_of_a_period_has_its_part() {
    let mut account = paid(COMMITTED_ARREARS);
    account.must(DAY_11, &cancel(When::Now, UnusedOnCancel::None));
    // The day of the cancellation is billed: 11 of 31 days.
    assert_eq!(
        account.lines(),
        [(RecurringInArrears, 11_00), (CommitmentTrueUp, 40_00)]
    );
    assert_eq!(
        true_up(&account)[0].1,
        "minimum 40.00 USD for a part of the period - 0.00 USD usage = 40.00 USD"
    );
    // A change of plan in the middle leaves each its part: 10 of 31 days here, 21 there.
    let mut account = paid(COMMITTED);
    account.must(DAY_11, &change(PRO, When::Now)).pay(DAY_11);
    assert_eq!(account.invoices[1].lines[0].amount, usd(32_26));
    account.until(APRIL);
    assert!(true_up(&account).is_empty());
}

#[test]
fn what_comes_late_makes_up_for_what_was_charged() {
    let mut account = paid(COMMITTED);
    account.until(APRIL).pay(APRIL);
    assert_eq!(true_up(&account).len(), 1);
    // 40.00 worth of March, told in April: it was paid for.
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
        "60.00 USD missing from the minimum with late usage, less 100.00 USD before"
    );
    // 90.00 more: 60.00 were still missing, the rest is owed.
    account.now = at("2026-05-02T00:00:00Z");
    account
        .record("api", 900, at(DAY_11))
        .until("2026-06-01T00:00:00Z");
    let kinds: Vec<_> = of_march(&account)
        .iter()
        .map(|(kind, minor, _)| (*kind, *minor))
        .collect();
    assert_eq!(kinds, [(UsageAdjustment, 90_00), (CommitmentTrueUp, -60_00)]);
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

/// What late usage makes up for was paid before, so a coupon takes nothing off it now.
#[test]
fn a_coupon_takes_off_only_what_is_owed_for_late_usage() {
    let mut account = paid(COMMITTED);
    account.until(APRIL).pay(APRIL);
    account.now = at("2026-04-02T00:00:00Z");
    account.record("api", 710, at(DAY_11));
    account.coupon = Some(coupon(CouponValue::Percent(50.into()), CouponDuration::Forever));
    account.must("2026-04-02T00:00:00Z", &redeem("LAUNCH")).until(MAY);
    let lines = account.lines();
    let late: i64 = lines
        .iter()
        .filter(|(kind, _)| matches!(kind, UsageAdjustment | LineKind::Discount))
        .map(|(_, minor)| minor)
        .sum();
    // Half of the price and of April's minimum, nothing of March.
    assert_eq!(late, 40_00 - (31_00 + 10_000) / 2, "{lines:?}");
}
