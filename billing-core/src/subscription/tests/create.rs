//! What a creation begins.

use super::super::*;
use super::account::Account;
use super::describe::describe;
use super::kit::*;
use super::scenes::scene;
use crate::audit::Actor;
use crate::id::TrialFamily;

#[test]
fn a_trial_is_granted_once_and_written_into_the_ledger() {
    let account = scene("trial");
    let grant = TrialGrant {
        tenant_id: TENANT,
        family: TrialFamily::new("core").unwrap(),
        granted_at: at(MARCH),
    };
    assert_eq!(account.trials, [grant]);
    assert!(account.invoices.is_empty());
    for from in ["active", "pending, charging", "active, free"] {
        assert!(scene(from).trials.is_empty(), "{from}");
    }
    // Through all of its life.
    let mut account = account;
    account
        .until("2026-03-15T00:00:00Z")
        .pay("2026-03-15T00:00:00Z")
        .until("2026-04-15T00:00:00Z");
    assert_eq!(account.trials.len(), 1);
}

#[test]
fn who_had_the_trial_or_does_not_want_it_begins_a_paid_period() {
    let plan = &catalog()[&TRIAL];
    for (wanted, trial_used, expected) in [(true, false, true), (true, true, false), (false, false, false)] {
        let facts = CreateFacts {
            plan,
            live: None,
            trial_used,
            siblings: &[],
            tax: None,
            coupon: None,
        };
        let context = Context {
            now: at(MARCH),
            actor: &Actor::System,
            ip: None,
            invoice_id: crate::id::InvoiceId::new(uuid::Uuid::from_u128(1)),
        };
        let decision = create(
            &Create {
                trial: wanted,
                ..request()
            },
            &facts,
            &context,
        )
        .unwrap();
        assert_eq!(decision.trial.is_some(), expected);
        let state = if expected {
            "trial to 03-15"
        } else {
            "active 03-01 to 04-01; 31.00 USD, attempt 1"
        };
        assert_eq!(describe(&decision.next), state);
    }
}

#[test]
fn days_of_a_trial_are_days_of_the_billing_zone() {
    let request = Create {
        zone: chrono_tz::Tz::America__New_York,
        ..request()
    };
    // The clock goes forward on March 8.
    let account = Account::created(TRIAL, MARCH, &request);
    assert_eq!(account.sub.next_due(), Some(at("2026-03-14T23:00:00Z")));
    assert_eq!(account.sub.anchor.at, at("2026-03-14T23:00:00Z"));
    assert_eq!(account.sub.usage.origin, at("2026-03-14T23:00:00Z"));
}

#[test]
fn what_costs_nothing_does_not_wait_for_a_payment() {
    let mut plans = (*catalog()).clone();
    plans.get_mut(&PREPAID).unwrap().price = usd(0);
    let account = Account::with(plans.into(), PREPAID, MARCH, &request());
    assert_eq!(describe(&account.sub), "active 03-01 to 04-01");
    assert_eq!(account.last().state.code(), "paid");
}
