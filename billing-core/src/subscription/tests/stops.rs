//! The rows of the table that lead out of a suspension or a pause, or to the end.

use std::vec::Vec;

use super::super::*;
use super::describe::describe;
use super::kit::*;
use super::scenes::{scene, scenes};
use super::transitions::{APRIL_2, check, fails, settles};
use crate::invoice::LineKind::{self, RecurringInAdvance, RecurringInArrears, Usage};
use crate::retry::DeclineClass;

#[test]
fn a_late_payment_puts_an_unpaid_subscription_back_from_the_settlement_on() {
    settles(
        "suspended, unpaid",
        "2026-04-20T00:00:00Z",
        "active 04-20 to 05-20",
    );
    // Also when it is still inside grace: nothing was served since the suspension.
    settles("suspended, unpaid", APRIL_2, "active 04-02 to 05-02");
    settles(
        "suspended, unpaid usage",
        "2026-04-20T00:00:00Z",
        "expired 04-01 (not renewed), grace to 04-04",
    );
    settles(
        "suspended, unpaid upgrade",
        "2026-03-20T00:00:00Z",
        "active 03-01 to 04-01 since 03-11",
    );
}

#[test]
fn a_payment_does_not_undo_an_operators_decision() {
    settles(
        "suspended while renewing",
        "2026-04-03T00:00:00Z",
        "stopped (abuse) 04-02 to 05-02 [active 04-01 to 05-01]",
    );
    settles(
        "suspended while expired",
        "2026-04-10T00:00:00Z",
        "stopped (abuse) 04-02 to 05-02 [active 04-10 to 05-10]",
    );
    let lost = "expired 04-01 (payment failed), grace to 04-04; 41.00 USD, again 04-04";
    fails(
        "suspended while renewing",
        "2026-04-03T00:00:00Z",
        DeclineClass::Retry,
        &std::format!("stopped (abuse) 04-02 to 05-02 [{lost}]"),
    );
}

#[test]
fn a_suspended_subscription_is_put_back_into_what_it_was_or_into_a_new_period() {
    let back = Command::Reactivate;
    let soon = "2026-03-12T00:00:00Z";
    check("suspended trial", soon, &back, "trial to 03-15", &[]);
    check(
        "suspended while active",
        soon,
        &back,
        "active 03-01 to 04-01",
        &[],
    );
    let new = "active 04-20 to 05-20; 41.00 USD, attempt 1";
    let lines = [(RecurringInAdvance, 31_00), (Usage, 10_00)];
    let late = "2026-04-20T00:00:00Z";
    check("suspended while active", late, &back, new, &lines);
    check(
        "suspended, unpaid",
        late,
        &back,
        "active 04-20 to 05-20; 41.00 USD, attempt 1",
        &[(RecurringInAdvance, 31_00), (Usage, 10_00), (Usage, 0)],
    );
    check(
        "suspended while active, in arrears",
        late,
        &back,
        "active 04-20 to 05-20; 10.00 USD, attempt 1",
        &[(RecurringInArrears, 10_00), (Usage, 0)],
    );
    check(
        "suspended while active, cancel at its end",
        late,
        &back,
        "active 03-01 to 04-01, then canceled",
        &[],
    );
    check(
        "suspended while not renewed",
        late,
        &back,
        "active 04-20 to 05-20; 31.00 USD, attempt 1",
        &[(RecurringInAdvance, 31_00)],
    );
}

/// The trial was over while nothing was served; that time was charged.
#[test]
fn a_trial_that_ended_while_suspended_is_paid_for_from_its_reactivation_on() {
    let now = "2026-04-05T00:00:00Z";
    let mut account = check(
        "suspended trial",
        now,
        &Command::Reactivate,
        "trial to 04-05",
        &[],
    );
    account.record("api", 900, at("2026-03-20T00:00:00Z")).until(now);
    assert_eq!(
        describe(&account.sub),
        "active 04-05 to 05-05; 31.00 USD, attempt 1"
    );
    account.pay(now).until("2026-05-05T00:00:00Z");
    assert_eq!(
        account.lines(),
        [(RecurringInAdvance, 31_00)],
        "nothing used in that time is charged"
    );
}

/// The old plan was charged again, and the customer's decision forgotten.
#[test]
fn what_was_scheduled_is_not_forgotten_by_a_reactivation() {
    let late = "2026-04-20T00:00:00Z";
    let free = check(
        "suspended while active, change at its end",
        late,
        &Command::Reactivate,
        "active 04-20 to 05-20; 10.00 USD, attempt 1",
        &[(Usage, 10_00)],
    );
    assert_eq!(free.sub.plan_id, FREE);
    let free = check(
        "suspended, unpaid usage, change at its end",
        late,
        &Command::Reactivate,
        "active 04-20 to 05-20; 9.00 USD, attempt 1",
        &[(Usage, 9_00)],
    );
    assert_eq!(free.sub.plan_id, FREE);
    let mut account = scene("renewing, cancel at its end");
    account
        .fail(APRIL_2, DeclineClass::Stop)
        .must(late, &Command::Reactivate);
    assert_eq!(
        describe(&account.sub),
        "active 04-20 to 05-20, then canceled; 41.00 USD, attempt 1"
    );
    // A pause that would be over by now is not begun: it would charge for time that was not served.
    let from = "suspended while active, pause at its end";
    check(
        from,
        "2026-04-14T00:00:00Z",
        &Command::Reactivate,
        "active 03-01 to 04-01, then paused",
        &[],
    );
    check(
        from,
        "2026-04-15T00:00:00Z",
        &Command::Reactivate,
        "active 04-15 to 05-15; 41.00 USD, attempt 1",
        &[(RecurringInAdvance, 31_00), (Usage, 10_00)],
    );
}

#[test]
fn a_suspension_beyond_the_retention_is_the_end() {
    let advance = Command::Advance;
    let unpaid = check(
        "suspended, unpaid",
        "2026-06-01T00:00:00Z",
        &advance,
        "canceled 05-01T06:00 (retention over)",
        &[(Usage, 0)],
    );
    let states: Vec<_> = unpaid
        .invoices
        .iter()
        .map(|invoice| invoice.state.code())
        .collect();
    assert_eq!(states, ["paid", "uncollectible", "paid"]);
    check(
        "suspended trial",
        "2026-06-01T00:00:00Z",
        &advance,
        "canceled 04-10 (retention over)",
        &[],
    );
    check(
        "suspended while active, in arrears",
        "2026-06-01T00:00:00Z",
        &advance,
        "canceled 04-10 (retention over); 10.00 USD, attempt 1",
        &[(RecurringInArrears, 10_00), (Usage, 0)],
    );
}

#[test]
fn a_pause_ends_by_command_or_by_its_date() {
    check(
        "paused, credited",
        "2026-04-20T00:00:00Z",
        &Command::Resume,
        "active 04-20 to 05-20; 10.00 USD, attempt 1",
        &[(RecurringInAdvance, 31_00), (LineKind::CreditApplied, -21_00)],
    );
    let carried = "active 04-15 to 05-06";
    check(
        "paused, carried",
        "2026-04-20T00:00:00Z",
        &Command::Advance,
        carried,
        &[],
    );
    check(
        "paused, carried",
        "2026-04-15T00:00:00Z",
        &Command::Resume,
        carried,
        &[],
    );
}

#[test]
fn everything_but_what_is_canceled_can_be_canceled_now() {
    let now = "2026-06-01T00:00:00Z";
    for (name, account) in scenes() {
        let canceled = account.sub.status() == Status::Canceled;
        let mut account = account;
        account.sub.parked_at = None;
        let outcome = account.run(at(now), &cancel(When::Now, UnusedOnCancel::None));
        assert_eq!(outcome.is_err(), canceled, "{name}");
        assert_eq!(account.sub.status(), Status::Canceled, "{name}");
    }
}
