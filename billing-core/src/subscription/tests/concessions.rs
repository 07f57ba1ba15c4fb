//! Discounts, tax, prepaid credit, credit notes, due dates: each beside what it meets on an invoice.

use std::string::{String, ToString};
use std::vec::Vec;

use super::super::*;
use super::account::Account;
use super::kit::*;
use super::scenes::scene;
use crate::coupon::{CouponDuration, CouponValue};
use crate::credit::{GrantSource, LedgerKind};
use crate::credit_note::{
    CreditNoteAmount, CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition,
};
use crate::id::CreditNoteId;
use crate::id::SeriesCode;
use crate::invoice::LineKind::{
    self, CreditRefunded, Discount, PrepaidApplied, ProrationCharge, ProrationCredit, RecurringInAdvance, Tax,
};
use crate::tax::TaxBehavior;

const MAY: &str = "2026-05-01T00:00:00Z";

fn percent_off(percent: i64, duration: CouponDuration) -> Account {
    let mut account = Account::on(BASIC, MARCH);
    account.coupon = Some(coupon(CouponValue::Percent(percent.into()), duration));
    account.pay(MARCH);
    account.must(MARCH, &redeem("LAUNCH"));
    account
}

fn explanations(account: &Account, kind: LineKind) -> Vec<String> {
    let lines = account.last().lines.iter().filter(|line| line.kind == kind);
    lines.map(|line| line.explanation.clone()).collect()
}

#[test]
fn a_discount_takes_off_from_the_next_invoice_on_for_as_many_as_it_says() {
    let mut account = percent_off(10, CouponDuration::Invoices(1));
    account.until(APRIL).pay(APRIL);
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00), (Discount, -3_10)]);
    assert_eq!(
        explanations(&account, Discount),
        ["coupon `LAUNCH`: 10% of 31.00 USD"]
    );
    account.until(MAY);
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00)]);
    assert_eq!(account.sub.discounts[0].invoices_left, Some(0));
}

/// What is credited of unused time is what was paid for it, not the price before the discount.
#[test]
fn unused_time_is_credited_net_of_the_discount() {
    let mut account = percent_off(50, CouponDuration::Once);
    account.until(APRIL).pay(APRIL);
    assert_eq!(account.last().total, usd(15_50));
    // 15 of 30 days are left: half of 15.50, and half of 62.00 at full price.
    account.must("2026-04-16T00:00:00Z", &change(PRO, Some(When::Now)));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -7_75), (ProrationCharge, 31_00)]
    );
}

/// An invoice that is withdrawn has not used the coupon up, nor the prepaid credit.
#[test]
fn what_a_withdrawn_invoice_took_comes_back() {
    let mut account = percent_off(10, CouponDuration::Once);
    account.must(MARCH, &grant(1, 5_00));
    account.until(APRIL);
    assert_eq!(
        account.lines(),
        [
            (RecurringInAdvance, 31_00),
            (Discount, -3_10),
            (PrepaidApplied, -5_00)
        ]
    );
    assert_eq!(account.sub.prepaid(at(APRIL)), usd(0));
    account.must(APRIL, &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.sub.prepaid(at(APRIL)), usd(5_00));
    assert_eq!(account.sub.discounts[0].invoices_left, Some(1));
    let kinds: Vec<_> = account.ledger.iter().map(|entry| entry.kind).collect();
    let invoice_id = account.last().id;
    assert_eq!(
        kinds,
        [
            LedgerKind::Granted,
            LedgerKind::Burned { invoice_id },
            LedgerKind::Returned { invoice_id }
        ]
    );
}

#[test]
fn tax_is_on_top_of_what_is_left_after_discounts_and_before_credit() {
    let mut account = percent_off(10, CouponDuration::Forever);
    account.tax = Some(vat(TaxBehavior::Exclusive));
    account.must(MARCH, &grant(1, 10_00));
    account.until(APRIL);
    // 19 % of 27.90 is 5.301.
    assert_eq!(
        account.lines(),
        [
            (RecurringInAdvance, 31_00),
            (Discount, -3_10),
            (Tax, 5_30),
            (PrepaidApplied, -10_00)
        ]
    );
    assert_eq!(explanations(&account, Tax), ["VAT 19% of 27.90 USD"]);
    assert_eq!(
        (account.last().total, account.last().taxes[0].taxable),
        (usd(23_20), usd(27_90))
    );
}

#[test]
fn tax_that_is_in_the_price_is_told_and_not_charged() {
    let mut account = Account::on(BASIC, MARCH);
    account.tax = Some(vat(TaxBehavior::Inclusive));
    account.pay(MARCH).until(APRIL);
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00)]);
    let tax = &account.last().taxes[0];
    // 31.00 x 19 / 119 is 4.9496.
    assert_eq!((tax.amount, tax.taxable), (usd(4_95), usd(26_05)));
}

/// The tax on what was not used comes back with it.
#[test]
fn a_refund_of_unused_time_refunds_its_tax() {
    let mut account = Account::on(BASIC, MARCH);
    account.tax = Some(vat(TaxBehavior::Exclusive));
    account.pay(MARCH).until(APRIL).pay(APRIL);
    assert_eq!(account.last().total, usd(36_89));
    account.must("2026-04-16T00:00:00Z", &cancel(When::Now, UnusedOnCancel::Refund));
    // Half of 31.00 and 19 % of it, 2.945.
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -15_50), (Tax, -2_95), (CreditRefunded, 18_45)]
    );
}

/// The one that expires first burns first, and what has expired is written off, not burned.
#[test]
fn prepaid_credit_burns_in_its_order_and_never_below_zero() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH);
    let granted = |number, minor, expires: Option<&str>| {
        Command::GrantCredit(GrantCredit {
            id: grant_id(number),
            amount: usd(minor),
            source: GrantSource::Promotional,
            priority: 50,
            expires_at: expires.map(at),
        })
    };
    account.must(MARCH, &granted(1, 40_00, None));
    account.must(MARCH, &granted(2, 20_00, Some("2026-04-02T00:00:00Z")));
    account.must(MARCH, &granted(3, 7_00, Some("2026-03-20T00:00:00Z")));
    assert_eq!(account.sub.prepaid(at(MARCH)), usd(67_00));
    assert_eq!(account.sub.prepaid(at("2026-03-20T00:00:00Z")), usd(60_00));
    account.until(APRIL);
    assert_eq!(
        account.lines(),
        [
            (RecurringInAdvance, 31_00),
            (PrepaidApplied, -20_00),
            (PrepaidApplied, -11_00)
        ]
    );
    assert_eq!(account.last().state.code(), "paid", "nothing is left to pay");
    let expired = account
        .ledger
        .iter()
        .filter(|entry| entry.kind == LedgerKind::Expired);
    assert_eq!(
        expired.map(|entry| entry.amount).collect::<Vec<_>>(),
        [usd(-7_00)]
    );
    account.until(MAY);
    assert_eq!(
        account.lines(),
        [(RecurringInAdvance, 31_00), (PrepaidApplied, -29_00)]
    );
    assert_eq!(account.last().total, usd(2_00));
    assert_eq!(account.sub.prepaid(at(MAY)), usd(0));
}

#[test]
fn a_credit_note_is_credited_or_paid_back_and_never_twice() {
    for disposition in [Disposition::Credit, Disposition::Refund] {
        let mut account = Account::on(BASIC, MARCH);
        account.pay(MARCH);
        let invoice = account.last().id;
        account.must("2026-03-11T00:00:00Z", &note(1, invoice, disposition));
        assert_eq!(account.notes[0].total, usd(31_00));
        let again = account
            .ask(account.now, &note(2, invoice, disposition))
            .unwrap_err();
        assert_eq!(
            again.to_string(),
            "nothing is left to credit of 31.00 USD that was paid"
        );
        // What was given back is not credited once more when the rest of the period is given up.
        account.must("2026-03-11T00:00:00Z", &change(PRO, Some(When::Now)));
        let credited = account.lines().iter().any(|(kind, _)| *kind == ProrationCredit);
        assert!(!credited, "{:?}", account.lines());
    }
}

/// The other way around: what a plan change credited is not given back by a note.
#[test]
fn a_credit_note_gives_back_what_was_not_credited_before() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH);
    let first = account.last().id;
    account.must("2026-03-11T00:00:00Z", &change(PRO, Some(When::Now)));
    account.pay("2026-03-11T00:00:00Z");
    account.must("2026-03-12T00:00:00Z", &note(1, first, Disposition::Refund));
    // 31.00 less 21.00 for 21 of 31 days.
    assert_eq!(account.notes[0].total, usd(10_00));
}

#[test]
fn an_invoice_is_due_by_its_terms_and_numbered_in_its_series() {
    let mut plans = (*catalog()).clone();
    let plan = plans.get_mut(&BASIC).unwrap();
    plan.net_terms_days = 14;
    plan.invoice_series = Some(SeriesCode::new("EU").unwrap());
    let account = Account::with(std::sync::Arc::new(plans), BASIC, MARCH, &request());
    assert_eq!(account.last().due_at, Some(at("2026-03-15T00:00:00Z")));
    let serial = account.last().serial.clone().unwrap();
    assert_eq!(
        (serial.series.as_str(), serial.number),
        ("EU", 0),
        "the store numbers it"
    );
    assert_eq!(scene("active").last().due_at, None);
}

#[test]
fn a_coupon_comes_with_the_creation_too_and_what_is_refused_says_why() {
    let mut account = percent_off(10, CouponDuration::Once);
    let refused =
        |account: &Account, command: &Command| account.ask(account.now, command).unwrap_err().to_string();
    assert_eq!(
        refused(&account, &redeem("LAUNCH")),
        "the subscription has coupon `LAUNCH` already"
    );
    assert_eq!(
        refused(&account, &grant(1, 0)),
        "expected an amount of at least 0.01 USD, got 0.00 USD"
    );
    account.must(MARCH, &grant(1, 1_00));
    assert!(refused(&account, &grant(1, 1_00)).ends_with("is there already"));
    let unknown = Command::VoidCredit {
        grant_id: grant_id(9),
    };
    assert!(refused(&account, &unknown).starts_with("unknown credit grant"));
    account.must(
        MARCH,
        &Command::VoidCredit {
            grant_id: grant_id(1),
        },
    );
    assert_eq!(account.sub.prepaid(at(MARCH)), usd(0));
    let plan = &account.plans[&BASIC];
    let launch = coupon(CouponValue::Amount(usd(1_00)), CouponDuration::Once);
    let facts = CreateFacts {
        plan,
        live: None,
        trial_used: false,
        siblings: &[],
        tax: None,
        coupon: Some(CouponFacts {
            coupon: &launch,
            redemptions: 0,
            redeemed_before: false,
        }),
    };
    let asked = Create {
        coupon: Some(launch.code.clone()),
        ..request()
    };
    let context = Context {
        now: at(MARCH),
        actor: &crate::audit::Actor::System,
        ip: None,
        invoice_id: crate::id::InvoiceId::new(uuid::Uuid::from_u128(1)),
    };
    let decision = create(&asked, &facts, &context).unwrap();
    assert_eq!(decision.opened.unwrap().total, usd(30_00));
    assert_eq!(decision.redemption.unwrap().code, launch.code);
}

/// What was never paid is not credited: not in money, and not as credit.
#[test]
fn what_promotional_credit_paid_for_is_not_paid_back() {
    for (source, back) in [(GrantSource::Promotional, 0), (GrantSource::Prepaid, 15_50)] {
        let mut account = Account::on(BASIC, MARCH);
        account.pay(MARCH);
        let Command::GrantCredit(granted) = grant(1, 31_00) else {
            panic!()
        };
        account.must(MARCH, &Command::GrantCredit(GrantCredit { source, ..granted }));
        account.until(APRIL);
        assert_eq!(account.last().total, usd(0));
        account.must("2026-04-16T00:00:00Z", &cancel(When::Now, UnusedOnCancel::Credit));
        assert_eq!(account.sub.credit, usd(back), "{source:?}");
    }
}

/// By a note and by a cancellation together, not a cent more comes back than was paid.
#[test]
fn tax_comes_back_once() {
    for note_first in [false, true] {
        let mut account = Account::on(BASIC, MARCH);
        account.tax = Some(vat(TaxBehavior::Exclusive));
        account.pay(MARCH).until(APRIL).pay(APRIL);
        let invoice = account.last().id;
        let ten = Command::IssueCreditNote {
            id: CreditNoteId::new(uuid::Uuid::from_u128(5)),
            invoice_id: invoice,
            request: CreditNoteRequest {
                reason: CreditNoteReason::Duplicate,
                scope: CreditNoteScope::Lines(std::vec![CreditNoteAmount {
                    line: 0,
                    amount: usd(10_00),
                }]),
                disposition: Disposition::Refund,
            },
        };
        let leave = cancel(When::Now, UnusedOnCancel::Refund);
        let commands = if note_first {
            [&ten, &leave]
        } else {
            [&leave, &note(6, invoice, Disposition::Refund)]
        };
        for command in commands {
            let _ = account.run(at(APRIL), command);
        }
        let back: i64 = account.refunds.values().sum();
        assert_eq!(back, 36_89, "note first: {note_first}");
        let tax_alone = Command::IssueCreditNote {
            id: CreditNoteId::new(uuid::Uuid::from_u128(7)),
            invoice_id: account.invoices[0].id,
            request: CreditNoteRequest {
                reason: CreditNoteReason::Duplicate,
                scope: CreditNoteScope::Lines(std::vec![CreditNoteAmount {
                    line: 1,
                    amount: usd(1),
                }]),
                disposition: Disposition::Refund,
            },
        };
        assert!(
            account.ask(account.now, &tax_alone).is_err(),
            "no tax without its charge"
        );
    }
}

#[test]
fn a_note_with_its_tax_shows_both() {
    let mut account = Account::on(BASIC, MARCH);
    account.tax = Some(vat(TaxBehavior::Exclusive));
    account.pay(MARCH).until(APRIL).pay(APRIL);
    account.must(APRIL, &note(1, account.last().id, Disposition::Refund));
    let amounts: Vec<_> = account.notes[0]
        .lines
        .iter()
        .map(|line| (line.line, line.amount.minor))
        .collect();
    assert_eq!(amounts, [(0, 31_00), (1, 5_89)]);
}

#[test]
fn a_note_is_for_an_invoice_of_the_subscription_and_credits_only_what_lives() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH);
    let invoice = account.last().id;
    let mut foreign = account.clone();
    foreign.sub.id = SubscriptionId::new(uuid::Uuid::from_u128(99));
    let refused = foreign.ask(foreign.now, &note(1, invoice, Disposition::Credit));
    assert!(
        matches!(refused, Err(Rejection::ForeignInvoice { .. })),
        "{refused:?}"
    );
    account.must(MARCH, &cancel(When::Now, UnusedOnCancel::None));
    let refused = account.ask(account.now, &note(1, invoice, Disposition::Credit));
    assert!(
        matches!(refused, Err(Rejection::NothingToCredit { .. })),
        "{refused:?}"
    );
    account.must(MARCH, &note(1, invoice, Disposition::Refund));
}

/// Whatever prepaid credit there is, credit for unused time is paid back when that is asked for.
#[test]
fn a_refund_leaves_no_credit_behind() {
    for usage in [309, 420, 900] {
        let mut account = Account::on(BASIC, MARCH);
        account.pay(MARCH);
        account.must(MARCH, &note(1, account.last().id, Disposition::Credit));
        account.must(MARCH, &grant(1, 30_00));
        account.record("api", usage, at("2026-03-02T00:00:00Z"));
        account.must("2026-03-31T23:00:00Z", &cancel(When::Now, UnusedOnCancel::Refund));
        assert_eq!(account.sub.credit, usd(0), "{usage}");
        assert!(account.refunds.values().sum::<i64>() > 0, "{usage}");
    }
}

#[test]
fn a_spent_coupon_makes_room_for_another() {
    let mut account = percent_off(10, CouponDuration::Once);
    account.until(APRIL).pay(APRIL);
    account.must(APRIL, &redeem("LAUNCH"));
    assert_eq!(account.sub.discounts.len(), 1);
    assert_eq!(account.sub.discounts[0].invoices_left, Some(1));
}
