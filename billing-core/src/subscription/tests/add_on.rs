//! Add-ons: what they cost, inside a period too, and when what was bought is billed.

use std::format;
use std::vec::Vec;

use super::super::*;
use super::account::Account;
use super::describe::describe;
use super::kit::*;
use crate::invoice::InvoiceKind;
use crate::invoice::LineKind::{
    self, AddOn, ProrationCharge, ProrationCredit, RecurringInAdvance, RecurringInArrears,
};

const DAY_11: &str = "2026-03-11T00:00:00Z";
const DAY_21: &str = "2026-03-21T00:00:00Z";

fn with(add_ons: &[(&str, u32)]) -> Create {
    let code = |(code, quantity): &(&str, u32)| (AddOnCode::new(code).unwrap(), *quantity);
    Create {
        add_ons: add_ons.iter().map(code).collect(),
        ..request()
    }
}

#[track_caller]
fn paid(plan_id: PlanId, add_ons: &[(&str, u32)]) -> Account {
    let mut account = Account::created(plan_id, MARCH, &with(add_ons));
    if account.open().is_some() {
        account.pay(MARCH);
    }
    account
}

/// The lines of the newest invoice, as kind, minor units and explanation.
#[track_caller]
fn lines(account: &Account) -> Vec<(LineKind, i64, &str)> {
    let lines = account.last().lines.iter();
    lines
        .map(|line| (line.kind, line.amount.minor, line.explanation.as_str()))
        .collect()
}

#[test]
fn what_is_held_is_charged_with_every_period_and_what_is_bought_once() {
    let mut account = paid(BASIC, &[("backup", 3), ("setup", 2)]);
    assert_eq!(
        lines(&account),
        [
            (RecurringInAdvance, 31_00, "31.00 USD for every month"),
            (RecurringInAdvance, 15_00, "backup: 3 x 5.00 USD for every month"),
            (AddOn, 10_000, "setup: 2 x 50.00 USD"),
        ]
    );
    account.must(DAY_11, &buy("setup", 1)).until(APRIL);
    assert_eq!(
        lines(&account),
        [
            (RecurringInAdvance, 31_00, "31.00 USD for every month"),
            (RecurringInAdvance, 15_00, "backup: 3 x 5.00 USD for every month"),
            (AddOn, 50_00, "setup: 1 x 50.00 USD"),
        ]
    );
    let bought = &account.last().lines[2];
    assert_eq!(bought.period.start, at(DAY_11));
    assert_eq!(bought.add_on.as_ref().map(AddOnCode::as_str), Some("setup"));
    account.pay(APRIL).until("2026-05-01T00:00:00Z");
    assert_eq!(
        account.lines(),
        [(RecurringInAdvance, 31_00), (RecurringInAdvance, 15_00)]
    );
}

/// Twenty-one of 31 days are left on the 11th, eleven on the 21st. The price of the plan itself is left alone.
#[test]
fn only_the_add_on_is_exchanged_inside_a_period() {
    let mut account = paid(BASIC, &[]);
    account.must(DAY_11, &add_on("backup", 31, None));
    let charge = "backup: 31 x 5.00 USD x 1814400 s / 2678400 s";
    assert_eq!(lines(&account), [(ProrationCharge, 10_500, charge)]);
    assert_eq!(account.last().kind, InvoiceKind::AddOnChange);
    account.pay(DAY_11).must(DAY_21, &add_on("backup", 0, When::Now));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -55_00), (LineKind::CreditCarried, 55_00)]
    );
    let credit = &account.last().lines[0];
    assert_eq!(credit.add_on.as_ref().map(AddOnCode::as_str), Some("backup"));
    // What was paid for the plan is debited as before, and so is credited when it ends.
    account.must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(account.lines()[0], (ProrationCredit, -11_00));
}

#[test]
fn seats_are_exchanged_without_the_add_ons_and_a_plan_with_them() {
    let mut account = paid(BASIC, &[("backup", 31)]);
    account.must(DAY_11, &seats(2, None));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (ProrationCharge, 42_00)]
    );
    account.pay(DAY_11).must(DAY_21, &change(PRO, None));
    assert_eq!(
        lines(&account)[2..],
        [
            (ProrationCharge, 44_00, "2 x 62.00 USD x 950400 s / 2678400 s"),
            (
                ProrationCharge,
                77_00,
                "backup: 31 x 7.00 USD x 950400 s / 2678400 s"
            ),
        ]
    );
    let mut credits: Vec<_> = account.lines()[..2].iter().map(|(_, minor)| *minor).collect();
    credits.sort_unstable();
    assert_eq!(credits, [-55_00, -22_00]);
}

#[test]
fn in_arrears_each_number_is_owed_for_its_time() {
    let mut account = paid(ARREARS, &[("backup", 31)]);
    account.must(DAY_11, &add_on("backup", 62, None));
    assert_eq!(
        account.lines(),
        [(RecurringInArrears, 10_00), (RecurringInArrears, 50_00)]
    );
    account.pay(DAY_11).until(APRIL);
    assert_eq!(
        account.lines(),
        [(RecurringInArrears, 21_00), (RecurringInArrears, 21_000)]
    );
}

#[test]
fn fewer_wait_for_the_end_of_the_period() {
    let mut account = paid(BASIC, &[("backup", 3)]);
    account.must(DAY_11, &add_on("backup", 1, None));
    assert_eq!(describe(&account.sub), "active 03-01 to 04-01, then 1 of backup");
    assert!(
        account
            .refused(DAY_21, &add_on("backup", 5, None))
            .ends_with("drop it first")
    );
    account.must(DAY_21, &Command::DropPendingChange);
    account.must(DAY_21, &add_on("backup", 0, None)).until(APRIL);
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00)]);
    assert_eq!(account.sub.add_ons.len(), 0);
}

/// What was bought in a trial is paid for with the first period, or never.
#[test]
fn a_trial_charges_for_add_ons_only_when_it_converts() {
    let trial = || {
        let mut account = paid(TRIAL, &[("setup", 1)]);
        account.must("2026-03-02T00:00:00Z", &add_on("backup", 2, None));
        account.must("2026-03-03T00:00:00Z", &buy("setup", 1));
        assert!(account.invoices.is_empty());
        account
    };
    let mut converted = trial();
    converted.until("2026-03-15T00:00:00Z");
    assert_eq!(
        converted.lines(),
        [
            (RecurringInAdvance, 31_00),
            (RecurringInAdvance, 10_00),
            (AddOn, 50_00),
            (AddOn, 50_00)
        ]
    );
    let mut canceled = trial();
    canceled.must("2026-03-04T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert!(canceled.invoices.is_empty());

    // On the plan that those get who cannot pay there is no backup, and no paid period follows.
    let mut moved = paid(TRIAL_THEN_FREE, &[("backup", 2), ("setup", 1)]);
    moved
        .must(
            "2026-03-04T00:00:00Z",
            &Command::SetPaymentMethod { payment_method: None },
        )
        .until("2026-03-15T00:00:00Z");
    assert!(moved.sub.add_ons.is_empty());
    assert!(moved.last().lines.is_empty() && moved.sub.purchases.is_empty());

    // Expired without a payment method: paid for with the first period, should there be one.
    let expired = || {
        let mut account = trial();
        let gone = Command::SetPaymentMethod { payment_method: None };
        account
            .must("2026-03-04T00:00:00Z", &gone)
            .until("2026-03-15T00:00:00Z");
        account
    };
    let mut renewed = expired();
    renewed.must("2026-03-16T00:00:00Z", &Command::Renew);
    assert_eq!(
        renewed.lines().iter().filter(|(kind, _)| *kind == AddOn).count(),
        2
    );
    renewed.must("2026-03-17T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(renewed.open(), None);
    let mut canceled = expired();
    canceled.must("2026-03-16T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert!(canceled.invoices.is_empty());
    for held in ["2026-03-05T00:00:00Z", "2026-03-16T00:00:00Z"] {
        let mut suspended = trial();
        if held > "2026-03-15" {
            suspended = expired();
        }
        suspended.must(held, &suspend()).until("2026-05-01T00:00:00Z");
        assert_eq!(describe(&suspended.sub).split(' ').next(), Some("canceled"));
        assert!(suspended.invoices.is_empty() && suspended.sub.purchases.is_empty());
    }
}

/// At the instant of the last billing no time has passed, and what was bought is owed all the same.
#[test]
fn what_was_bought_a_moment_ago_is_billed_at_the_end() {
    let mut account = paid(BASIC, &[]);
    account.must(MARCH, &buy("setup", 1));
    account.must(MARCH, &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.lines(), [(AddOn, 50_00)]);
}

/// The plan may have changed since: the price and the plan are those of when it was bought.
#[test]
fn a_purchase_is_billed_as_it_was_sold() {
    let mut account = paid(BASIC, &[]);
    account.must(DAY_11, &buy("setup", 2));
    account.must(DAY_21, &change(PRO, When::Now));
    let line = account
        .last()
        .lines
        .iter()
        .find(|line| line.kind == AddOn)
        .unwrap();
    assert_eq!((line.plan_id, line.amount), (BASIC, usd(10_000)));
    assert_eq!(line.period.microseconds(), 1);
}

/// What a pause sets aside, and what is settled late, is still known for what it was paid.
#[test]
fn paid_time_of_an_add_on_stays_its_own() {
    let mut account = paid(BASIC, &[("backup", 31)]);
    account.must(DAY_11, &pause(When::Now, None, UnusedOnPause::Carry));
    account.must(DAY_21, &Command::Resume);
    let end = account.term_ends();
    account.must("2026-03-22T00:00:00Z", &add_on("backup", 0, When::Now));
    assert_eq!(
        account.lines()[0],
        (ProrationCredit, -10_000),
        "20 of 21 days are left"
    );
    assert_eq!(account.term_ends(), end);

    let mut late = Account::created(PREPAID, MARCH, &with(&[("backup", 31)]));
    late.pay("2026-03-01T12:00:00Z");
    late.must("2026-03-01T12:00:00Z", &add_on("backup", 0, When::Now));
    assert_eq!(late.lines()[0], (ProrationCredit, -15_500));
}

#[test]
fn a_coupon_takes_off_what_was_bought_and_what_is_held() {
    let mut account = paid(BASIC, &[("backup", 2)]);
    account
        .must(DAY_11, &redeem("LAUNCH"))
        .must(DAY_11, &buy("setup", 1))
        .until(APRIL);
    let discounts = account
        .lines()
        .iter()
        .filter(|(kind, _)| *kind == LineKind::Discount)
        .map(|(_, minor)| *minor)
        .sum::<i64>();
    assert_eq!(discounts, -(31_00 + 10_00 + 50_00) / 10);
}

/// In a trial nothing was paid for, so fewer are fewer at once.
#[test]
fn in_a_trial_fewer_are_fewer_now() {
    let mut account = paid(TRIAL, &[("backup", 3)]);
    account.must("2026-03-02T00:00:00Z", &add_on("backup", 1, None));
    assert_eq!(account.sub.add_ons.values().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn nothing_is_owed_for_what_never_began() {
    let mut account = Account::created(PREPAID, MARCH, &with(&[("setup", 1)]));
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00), (AddOn, 50_00)]);
    account.must(MARCH, &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.invoices.len(), 1);
    assert_eq!(account.open(), None);
}

/// An invoice that is withdrawn takes the time to come with it, and leaves what was bought to the next one.
#[test]
fn what_was_bought_outlives_its_invoice() {
    let mut account = Account::created(BASIC, MARCH, &with(&[("setup", 1), ("backup", 1)]));
    account.must(DAY_11, &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(account.lines(), [(AddOn, 50_00)]);
    let source = account.last().lines[0].source.unwrap();
    assert_eq!((source.invoice_id, source.line), (account.invoices[0].id, 2));
}

#[test]
fn what_the_plan_does_not_sell_is_refused() {
    let account = paid(BASIC, &[("backup", 3)]);
    for (command, message) in [
        (
            add_on("phone", 1, None),
            format!("plan `{BASIC}` has no add-on `phone` that is charged recurring, nor any of that code"),
        ),
        (
            add_on("setup", 1, None),
            format!(
                "plan `{BASIC}` has no add-on `setup` that is charged recurring, but one that is charged otherwise"
            ),
        ),
        (
            buy("backup", 1),
            format!(
                "plan `{BASIC}` has no add-on `backup` that is charged once, but one that is charged otherwise"
            ),
        ),
        (buy("setup", 0), "expected a quantity of at least 1, got 0".into()),
        (
            add_on("phone", 0, None),
            "subscription holds 0 of add-on `phone` already".into(),
        ),
        (
            add_on("backup", 3, None),
            "subscription holds 3 of add-on `backup` already".into(),
        ),
        (
            change(FREE, When::Now),
            format!("plan `{FREE}` has no add-on `backup` that is charged recurring, nor any of that code"),
        ),
    ] {
        assert_eq!(account.refused(DAY_11, &command), message, "{command:?}");
    }
    let mut full = paid(BASIC, &[]);
    for _ in 0..100 {
        full.must(DAY_11, &buy("setup", 1));
    }
    assert_eq!(
        full.refused(DAY_11, &buy("setup", 1)),
        "100 purchases wait for the next invoice already"
    );
}
