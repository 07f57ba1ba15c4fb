//! What time makes of a state, at the instants at which it changes.

use chrono::TimeDelta;

use super::super::Standing::{Current, InGrace, Lapsed, Renewing, Restricted};
use super::super::*;
use super::account::Account;
use super::kit::*;
use super::scenes::scene;
use crate::retry::DeclineClass;

/// Each case: from this instant on, so and with so many days left; just before it, the case above.
#[track_caller]
fn check(account: &Account, cases: &[(&str, Standing, u32)]) {
    let mut before = None;
    for (from, standing, days) in cases {
        let now = at(from);
        let sub = &account.sub;
        assert_eq!(
            (sub.standing(now), sub.remaining_days(now)),
            (*standing, *days),
            "at {from}"
        );
        assert_eq!(sub.is_in_grace_period(now), *standing == InGrace);
        if let Some(before) = before.replace(*standing) {
            assert_eq!(
                sub.standing(now - TimeDelta::microseconds(1)),
                before,
                "just before {from}"
            );
        }
    }
}

#[test]
fn a_paid_period_ends_into_grace_then_restricted_then_nothing() {
    let cases = [
        (MARCH, Current, 31),
        (APRIL, InGrace, 3),
        ("2026-04-04T00:00:00Z", Restricted, 2),
        ("2026-04-06T00:00:00Z", Lapsed, 0),
    ];
    let mut account = scene("active, no auto-renewal");
    check(&account, &cases);
    // The same when the step was taken.
    account.until(APRIL);
    check(&account, &cases[1..]);
    account.until("2026-04-20T00:00:00Z");
    check(&account, &cases[1..]);
}

#[test]
fn a_begun_day_counts_as_one() {
    let account = scene("active, no auto-renewal");
    for (now, days) in [
        ("2026-03-01T00:00:00.000001Z", 31),
        ("2026-03-30T00:00:00Z", 2),
        ("2026-03-30T00:00:00.000001Z", 2),
        ("2026-03-31T23:59:59.999999Z", 1),
    ] {
        assert_eq!(account.sub.remaining_days(at(now)), days, "{now}");
    }
}

#[test]
fn a_late_sweep_does_not_lock_out_who_renews() {
    check(
        &scene("active"),
        &[
            (MARCH, Current, 31),
            (APRIL, Renewing, 0),
            ("2026-09-01T00:00:00Z", Renewing, 0),
        ],
    );
    check(
        &scene("renewing"),
        &[(APRIL, Renewing, 0), ("2026-05-01T00:00:00Z", Renewing, 0)],
    );
    check(
        &scene("active, change at its end"),
        &[(MARCH, Current, 31), (APRIL, Renewing, 0)],
    );
}

#[test]
fn a_late_sweep_does_not_keep_in_who_leaves() {
    check(
        &scene("active, cancel at its end"),
        &[(MARCH, Current, 31), (APRIL, Lapsed, 0)],
    );
    // Nor does a payment that hangs.
    let hangs = scene("renewing, cancel at its end");
    check(
        &hangs,
        &[(APRIL, Renewing, 0), ("2026-05-01T00:00:00Z", Lapsed, 0)],
    );
    check(
        &scene("trial, cancel at its end"),
        &[(MARCH, Current, 14), ("2026-03-15T00:00:00Z", Lapsed, 0)],
    );
}

#[test]
fn a_pause_ends_at_its_date_even_when_no_sweep_has_run() {
    let resumes = "2026-04-15T00:00:00Z";
    let mut account = scene("active, pause at its end");
    let cases = [(MARCH, Current, 31), (APRIL, Lapsed, 0), (resumes, Renewing, 0)];
    check(&account, &cases);
    account.until(APRIL);
    check(&account, &cases[1..]);
    account.until(resumes);
    check(&account, &cases[2..]);
    let mut account = scene("paused, carried");
    check(&account, &[(APRIL, Lapsed, 0), (resumes, Renewing, 0)]);
    account.until(resumes);
    check(&account, &[(resumes, Current, 21)]);
    check(
        &scene("paused, credited"),
        &[(APRIL, Lapsed, 0), ("2030-01-01T00:00:00Z", Lapsed, 0)],
    );
}

#[test]
fn a_trial_ends_into_its_first_period_or_into_nothing() {
    let over = "2026-03-15T00:00:00Z";
    let mut account = scene("trial");
    check(&account, &[(MARCH, Current, 14), (over, Renewing, 0)]);
    account.must(MARCH, &Command::SetAutoRenew { auto_renew: false });
    check(&account, &[(MARCH, Current, 14), (over, Lapsed, 0)]);
    let mut account = scene("trial, no card");
    check(&account, &[(MARCH, Current, 14), (over, Lapsed, 0)]);
    account.until(over);
    check(&account, &[(over, Lapsed, 0), (APRIL, Lapsed, 0)]);
}

#[test]
fn a_failed_payment_leaves_the_grace_that_counts_from_the_paid_time() {
    let account = scene("expired, waiting");
    check(
        &account,
        &[
            ("2026-04-01T06:00:00Z", InGrace, 3),
            ("2026-04-04T00:00:00Z", Restricted, 2),
            ("2026-04-06T00:00:00Z", Lapsed, 0),
        ],
    );
    let mut account = account;
    // Stopped inside grace: by a decision, not by time.
    account
        .must("2026-04-02T00:00:00Z", &Command::Renew)
        .fail("2026-04-02T00:00:00Z", DeclineClass::Stop);
    check(&account, &[("2026-04-02T00:00:00Z", Lapsed, 0)]);
}

#[test]
fn nothing_is_granted_before_the_first_payment_while_stopped_or_after_the_end() {
    for from in [
        "pending, charging",
        "suspended while active",
        "suspended trial",
        "canceled, owing",
        "abandoned",
    ] {
        check(
            &scene(from),
            &[(MARCH, Lapsed, 0), ("2026-03-11T00:00:00Z", Lapsed, 0)],
        );
    }
}

#[test]
fn without_grace_access_ends_with_the_paid_time() {
    let mut plans = (*catalog()).clone();
    let basic = plans.get_mut(&BASIC).unwrap();
    (basic.grace_period_days, basic.restricted) = (0, None);
    let request = Create {
        auto_renew: false,
        ..request()
    };
    let mut account = Account::with(plans.into(), BASIC, MARCH, &request);
    account.pay(MARCH);
    check(&account, &[(MARCH, Current, 31), (APRIL, Lapsed, 0)]);
}

#[test]
fn grace_is_counted_in_days_of_the_billing_zone() {
    let request = Create {
        zone: chrono_tz::Tz::Europe__Berlin,
        auto_renew: false,
        ..request()
    };
    // The clock goes forward on March 29.
    let mut account = Account::created(BASIC, "2026-02-28T11:00:00Z", &request);
    account.pay("2026-02-28T11:00:00Z");
    check(
        &account,
        &[
            ("2026-02-28T11:00:00Z", Current, 28),
            ("2026-03-28T11:00:00Z", InGrace, 3),
            ("2026-03-31T10:00:00Z", Restricted, 2),
            ("2026-04-02T10:00:00Z", Lapsed, 0),
        ],
    );
}
