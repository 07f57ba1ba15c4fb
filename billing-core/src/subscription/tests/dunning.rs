//! Payments that fail, come late or come twice.

use std::vec::Vec;

use chrono::TimeDelta;
use uuid::Uuid;

use super::super::*;
use super::account::Account;
use super::describe::describe;
use super::kit::*;
use super::scenes::scene;
use crate::invoice::InvoiceStatus;
use crate::payment::PaymentOutcome;
use crate::retry::DeclineClass;

fn days(days: i64) -> TimeDelta {
    TimeDelta::days(days)
}

#[test]
fn the_ladder_is_1_2_and_4_days_then_suspended_then_after_the_retention_canceled() {
    let mut account = scene("renewing");
    let mut now = at("2026-04-01T06:00:00Z");
    for (attempt, wait) in [(1, 1), (2, 2), (3, 4)] {
        account.run(now, &account.failure(DeclineClass::Retry)).unwrap();
        assert_eq!(
            account.sub.next_due(),
            Some(now + days(wait)),
            "after attempt {attempt}"
        );
        assert_eq!(account.catch_up(now + days(wait) - TimeDelta::microseconds(1)), 0);
        now += days(wait);
        assert_eq!(account.catch_up(now), 1);
        let invoice_id = account.last().id;
        let charge = Effect::ChargeInvoice {
            invoice_id,
            amount: usd(41_00),
            attempt: attempt + 1,
        };
        assert_eq!(account.effects, [charge]);
        assert_eq!(account.sub.next_due(), None, "its outcome is awaited");
    }
    account.run(now, &account.failure(DeclineClass::Retry)).unwrap();
    let held = "expired 04-01 (payment failed), grace to 04-04; 41.00 USD, spent";
    assert_eq!(
        describe(&account.sub),
        std::format!("unpaid 04-08T06:00 to 05-08T06:00 [{held}]")
    );
    account.record("api", 900, at("2026-04-03T00:00:00Z"));
    account.until("2026-06-01T00:00:00Z");
    assert_eq!(
        describe(&account.sub),
        "canceled 05-08T06:00 (retention over); 59.50 USD, attempt 1"
    );
    let given_up = account.invoices[1].state.clone();
    assert_eq!(
        given_up,
        InvoiceStatus::Uncollectible {
            given_up_at: at("2026-05-08T06:00:00Z")
        }
    );
}

#[test]
fn jitter_comes_from_the_subscription() {
    let mut account = scene("renewing");
    // The most there is: 10 %.
    account.sub.id = SubscriptionId::new(Uuid::from_u128(1000));
    account.invoices[1].subscription_id = account.sub.id;
    let decision = account
        .ask(at("2026-04-01T06:00:00Z"), &account.failure(DeclineClass::Retry))
        .unwrap();
    assert_eq!(decision.next.next_due(), Some(at("2026-04-02T08:24:00Z")));
}

#[test]
fn a_customer_who_is_asked_has_as_long_as_the_ladder_and_may_try_again_before() {
    let mut account = scene("expired, the customer is asked");
    assert_eq!(account.sub.next_due(), Some(at("2026-04-08T06:00:00Z")));
    account.must(
        "2026-04-03T00:00:00Z",
        &Command::SetPaymentMethod {
            payment_method: Some(CARD),
        },
    );
    account
        .must("2026-04-03T00:00:00Z", &Command::Renew)
        .pay("2026-04-03T00:00:00Z");
    assert_eq!(describe(&account.sub), "active 04-01 to 05-01");
}

/// The change was made without a trace.
#[test]
fn giving_up_on_a_customer_is_written_down_in_every_state() {
    for from in [
        "canceled, owing, the customer is asked",
        "paused, carried, owing, the customer is asked",
        "expired, the customer is asked",
    ] {
        let mut account = scene(from);
        let due = account.sub.next_due().unwrap();
        account.run(due, &Command::Advance).unwrap();
        let entry = account
            .audit
            .iter()
            .rev()
            .find(|entry| entry.action == AuditAction::PaymentFailed)
            .unwrap();
        assert_eq!(entry.at, due, "{from}");
        assert!(
            entry.details.contains("\"cause\":\"customer_did_not_act\""),
            "{from}: {}",
            entry.details
        );
    }
}

#[test]
fn an_unknown_outcome_is_verified_and_nothing_else_happens_until_it_is_known() {
    let mut account = scene("renewing");
    account.fail(APRIL, DeclineClass::Unknown);
    assert_eq!(
        account.effects,
        [Effect::VerifyPayment {
            invoice_id: account.last().id,
            attempt: 1
        }]
    );
    assert_eq!(account.sub.next_due(), None);
    let mut failed = account.clone();
    failed.fail("2026-04-02T00:00:00Z", DeclineClass::Retry);
    assert_eq!(failed.sub.status(), Status::Expired);
    account.pay("2026-04-02T00:00:00Z");
    assert_eq!(describe(&account.sub), "active 04-01 to 05-01");
}

#[test]
fn a_failure_counts_once() {
    let mut account = scene("expired, waiting");
    let before = account.sub.clone();
    let again = account.failure(DeclineClass::Stop);
    assert!(matches!(
        account.run(account.now, &again),
        Err(Rejection::NoAttempt { .. })
    ));
    assert_eq!(account.sub, before);
}

#[test]
fn the_same_settlement_again_changes_nothing_and_another_one_is_paid_back() {
    let mut account = scene("renewing");
    let first = account.settlement(at(APRIL));
    account.must(APRIL, &first);
    assert!(matches!(
        account.run(at(APRIL), &first),
        Err(Rejection::InvoiceClosed { .. })
    ));
    let invoice_id = account.last().id;
    let second = account.settlement_of(invoice_id, at(APRIL));
    let state = account.sub.state.clone();
    account.must(APRIL, &second);
    let Command::RecordPayment {
        outcome: PaymentOutcome::Settled { reference, .. },
        ..
    } = second
    else {
        panic!()
    };
    assert_eq!(
        account.effects,
        [Effect::RefundPayment {
            invoice_id,
            amount: usd(41_00),
            reference
        }]
    );
    assert_eq!(account.sub.state, state);
}

#[test]
fn a_payment_for_a_withdrawn_invoice_is_paid_back_and_one_for_a_given_up_invoice_is_kept() {
    let mut account = scene("abandoned");
    let late = account.settlement_of(account.last().id, at("2026-03-05T00:00:00Z"));
    account.must("2026-03-05T00:00:00Z", &late);
    assert!(matches!(account.effects[..], [Effect::RefundPayment { .. }]));
    assert_eq!(account.last().state.code(), "void");
    let mut account = scene("canceled, uncollectible");
    let id = account.invoices[1].id;
    let late = account.settlement_of(id, at("2026-06-05T00:00:00Z"));
    account.must("2026-06-05T00:00:00Z", &late);
    assert_eq!(
        (account.effects.len(), account.invoice(id).state.code()),
        (0, "paid")
    );
    assert_eq!(account.sub.status(), Status::Canceled);
}

#[test]
fn a_charge_that_settles_after_its_invoice_was_replaced_is_paid_back() {
    let mut account = scene("suspended while renewing");
    let id = account.open().unwrap().id;
    account.must("2026-05-01T00:00:00Z", &Command::Reactivate);
    // What is being collected goes on.
    assert_eq!(account.open().unwrap().id, id);
    let mut account = scene("suspended while expired");
    let id = account.open().unwrap().id;
    account.must("2026-04-20T00:00:00Z", &Command::Reactivate);
    assert_ne!(account.open().unwrap().id, id);
    let late = account.settlement_of(id, at("2026-04-20T00:00:00Z"));
    account.must("2026-04-20T01:00:00Z", &late);
    assert!(matches!(account.effects[..], [Effect::RefundPayment { .. }]));
}

/// Periods of the past were bought, and charged again by the renewals that followed at once.
#[test]
fn a_provider_whose_clock_is_wrong_buys_no_time_before_the_invoice() {
    let long_ago = at("2025-01-01T00:00:00Z");
    let mut account = scene("pending, charging");
    account.must(MARCH, &account.settlement(long_ago));
    assert_eq!(describe(&account.sub), "active 03-01 to 04-01");
    let mut account = scene("suspended, unpaid");
    account.must("2026-04-20T00:00:00Z", &account.settlement(long_ago));
    assert_eq!(describe(&account.sub), "active 04-01 to 05-01");
    let mut account = scene("expired after a trial");
    account.must("2026-04-02T00:00:00Z", &Command::Renew);
    account.must("2026-04-02T00:00:00Z", &account.settlement(long_ago));
    assert_eq!(describe(&account.sub), "active 04-02 to 05-02");
}

/// April, in which nothing was granted, was charged.
#[test]
fn an_upgrade_paid_after_its_period_renews_from_the_settlement_on() {
    for from in ["expired by a failed upgrade", "suspended, unpaid upgrade"] {
        let mut account = scene(from);
        let mut now = account.now;
        while account
            .sub
            .next_due()
            .is_some_and(|due| due < at("2026-03-30T00:00:00Z"))
        {
            now = account.sub.next_due().unwrap();
            account.run(now, &Command::Advance).unwrap();
            account.run(now, &account.failure(DeclineClass::Retry)).unwrap();
        }
        let settled_at = "2026-04-10T00:00:00Z";
        account.pay(settled_at).until(settled_at);
        assert_eq!(
            describe(&account.sub),
            "active 04-10 to 05-10; 62.00 USD, attempt 1",
            "{from}, {now}"
        );
    }
}

#[test]
fn retries_end_at_once_where_the_policy_has_none() {
    let mut plans = (*catalog()).clone();
    plans.get_mut(&BASIC).unwrap().retry = crate::retry::RetryPolicy::IntervalsHours(Vec::new());
    for class in [DeclineClass::Retry, DeclineClass::AskCustomer, DeclineClass::Stop] {
        let mut account = Account::with(plans.clone().into(), BASIC, MARCH, &request());
        account.fail(MARCH, class);
        assert_eq!(account.sub.status(), Status::Suspended, "{class:?}");
    }
}

#[test]
fn a_closing_invoice_is_tried_on_and_given_up_at_the_end() {
    let mut account = scene("canceled, owing, declined");
    for _ in 0..3 {
        let due = account.sub.next_due().unwrap();
        account.run(due, &Command::Advance).unwrap();
        account.run(due, &account.failure(DeclineClass::Retry)).unwrap();
    }
    assert_eq!(
        (account.sub.next_due(), account.last().state.code()),
        (None, "uncollectible")
    );
}
