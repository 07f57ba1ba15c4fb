//! Periods through renewals: no gap, no overlap, no drift.

use std::string::{String, ToString as _};
use std::vec::Vec;

use chrono::SecondsFormat;

use super::super::*;
use super::account::Account;
use super::kit::*;
use crate::calendar::MonthEnd;
use crate::retry::DeclineClass;

/// Renews and pays `times` times, and returns each period's start.
#[track_caller]
fn starts(account: &mut Account, times: usize) -> Vec<String> {
    let mut starts = Vec::new();
    for _ in 0..times {
        let end = account.term_ends();
        assert_eq!(account.catch_up(end), 1);
        let start = account.sub.term().unwrap().period.start;
        assert_eq!(start, end, "periods tile");
        starts.push(start.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        let settled = account.settlement(end);
        account.run(end, &settled).unwrap();
    }
    starts
}

#[test]
fn an_anchor_on_the_31st_is_remembered() {
    for (month_end, days) in [
        (MonthEnd::Clamp, ["02-28", "03-31", "04-30", "05-31"]),
        (MonthEnd::TwentyEighth, ["02-28", "03-28", "04-28", "05-28"]),
        (MonthEnd::LastDay, ["02-28", "03-31", "04-30", "05-31"]),
    ] {
        let request = Create {
            month_end,
            ..request()
        };
        let mut account = Account::created(BASIC, "2026-01-31T09:00:00Z", &request);
        account.pay("2026-01-31T09:00:00Z");
        let expected = days.map(|day| ["2026-", day, "T09:00:00Z"].concat());
        assert_eq!(starts(&mut account, 4), expected, "{month_end:?}");
    }
}

#[test]
fn the_local_time_is_kept_through_a_clock_change() {
    let request = Create {
        zone: chrono_tz::Tz::Europe__Berlin,
        ..request()
    };
    // 02:30 in Berlin, which March 29 does not have and October 25 has twice.
    let mut account = Account::created(BASIC, "2026-01-29T01:30:00Z", &request);
    account.pay("2026-01-29T01:30:00Z");
    assert_eq!(
        starts(&mut account, 4),
        [
            "2026-02-28T01:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-04-29T00:30:00Z",
            "2026-05-29T00:30:00Z"
        ]
    );
    let mut account = Account::created(BASIC, "2026-08-25T00:30:00Z", &request);
    account.pay("2026-08-25T00:30:00Z");
    assert_eq!(
        starts(&mut account, 3),
        [
            "2026-09-25T00:30:00Z",
            "2026-10-25T00:30:00Z",
            "2026-11-25T01:30:00Z"
        ]
    );
}

#[test]
fn a_leap_day_is_remembered_for_four_years() {
    let mut account = Account::on(YEARLY, "2024-02-29T12:00:00Z");
    account.pay("2024-02-29T12:00:00Z");
    let years = starts(&mut account, 4);
    assert_eq!(
        years,
        [
            "2025-02-28T12:00:00Z",
            "2026-02-28T12:00:00Z",
            "2027-02-28T12:00:00Z",
            "2028-02-29T12:00:00Z"
        ]
    );
}

#[test]
fn a_change_of_the_plan_keeps_the_anchor_and_a_change_of_the_interval_moves_it() {
    let mut account = Account::on(BASIC, "2026-01-31T09:00:00Z");
    account.pay("2026-01-31T09:00:00Z");
    account
        .must("2026-02-10T00:00:00Z", &change(PRO, When::Now))
        .pay("2026-02-10T00:00:00Z");
    assert_eq!(
        starts(&mut account, 2),
        ["2026-02-28T09:00:00Z", "2026-03-31T09:00:00Z"]
    );
    account.must("2026-04-01T00:00:00Z", &change(YEARLY, When::AtPeriodEnd));
    assert_eq!(
        starts(&mut account, 2),
        ["2026-04-30T09:00:00Z", "2027-04-30T09:00:00Z"]
    );
}

#[test]
fn a_sweep_that_is_months_late_takes_one_period_at_a_time() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH);
    let late = at("2026-07-15T00:00:00Z");
    let mut periods = Vec::new();
    while account.catch_up(late) == 1 {
        periods.push(account.sub.term().unwrap().period.start.date_naive().to_string());
        let settled = account.settlement(late);
        account.run(late, &settled).unwrap();
    }
    assert_eq!(periods, ["2026-04-01", "2026-05-01", "2026-06-01", "2026-07-01"]);
    assert_eq!(account.sub.next_due(), Some(at("2026-08-01T00:00:00Z")));
}

#[test]
fn a_settlement_after_grace_moves_the_anchor_and_the_invoice_says_what_it_bought() {
    let mut account = Account::on(BASIC, MARCH);
    account
        .pay(MARCH)
        .until(APRIL)
        .fail(APRIL, DeclineClass::Retry)
        .pay("2026-04-05T08:00:00Z");
    let crate::invoice::InvoiceStatus::Paid {
        covers: Some(covers), ..
    } = account.last().state
    else {
        panic!()
    };
    assert_eq!(
        (covers.start, covers.end),
        (at("2026-04-05T08:00:00Z"), at("2026-05-05T08:00:00Z"))
    );
    assert_eq!(
        starts(&mut account, 2),
        ["2026-05-05T08:00:00Z", "2026-06-05T08:00:00Z"]
    );
}
