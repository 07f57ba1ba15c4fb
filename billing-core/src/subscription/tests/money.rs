//! What changes, cancellations and pauses inside a period cost.

use std::sync::Arc;
use std::vec;

use super::super::*;
use super::account::Account;
use super::describe::describe;
use super::kit::*;
use super::scenes::scene;
use crate::invoice::LineKind::{
    CreditApplied, CreditCarried, CreditRefunded, ProrationCharge, ProrationCredit, RecurringInAdvance,
    RecurringInArrears, Usage,
};
use crate::retry::DeclineClass;

const DAY_11: &str = "2026-03-11T00:00:00Z";
const DAY_21: &str = "2026-03-21T00:00:00Z";

#[test]
fn the_denominator_of_a_proration_is_the_whole_period_of_31_days() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH).must(DAY_11, &change(PRO, When::Now));
    // 31.00 x 21/31 and 62.00 x 21/31, not x 21/21 nor x 21/30.
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (ProrationCharge, 42_00)]
    );
    let explanations: vec::Vec<_> = account
        .last()
        .lines
        .iter()
        .map(|line| line.explanation.as_str())
        .collect();
    assert_eq!(
        explanations,
        [
            "unused 31.00 USD x 1814400 s / 2678400 s",
            "62.00 USD x 1814400 s / 2678400 s"
        ]
    );
    assert_eq!(
        account.last().lines[0].source.unwrap().invoice_id,
        account.invoices[0].id
    );
}

#[test]
fn a_second_upgrade_credits_what_the_first_one_debited_and_not_the_list_price() {
    let mut account = Account::on(BASIC, MARCH);
    account
        .pay(MARCH)
        .must(DAY_11, &change(PRO, When::Now))
        .pay(DAY_11);
    account.must(DAY_21, &change(BASIC, When::Now));
    // 42.00 were debited for 21 days, of which 11 are left; the list price would give 62.00 x 11/31, the same here,
    // and the first plan must not be credited again.
    assert_eq!(
        account.lines(),
        [
            (ProrationCredit, -22_00),
            (ProrationCharge, 11_00),
            (CreditCarried, 11_00)
        ]
    );
    assert_eq!(account.sub.credit, usd(11_00));
    assert_eq!(
        account.last().lines[0].source.unwrap().invoice_id,
        account.invoices[1].id
    );
    // The credit was paid for with money, so what it pays for is debited all the same.
    account.must("2026-03-26T12:00:00Z", &change(PRO, When::Now));
    assert_eq!(
        account.lines(),
        [
            (ProrationCredit, -5_50),
            (ProrationCharge, 11_00),
            (CreditApplied, -5_50)
        ]
    );
    assert_eq!((account.open(), account.sub.credit), (None, usd(5_50)));
}

/// The price rose after the subscription began on another version: what was paid counts.
#[test]
fn a_credit_is_computed_from_the_invoice_and_not_from_the_plan() {
    let mut account = scene("expired, waiting");
    // Paid after grace: the period from the settlement is what the debit is for.
    account.pay("2026-04-10T00:00:00Z");
    account.must("2026-04-25T00:00:00Z", &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(
        account.last().lines.last().map(|line| (line.kind, line.amount)),
        Some((CreditRefunded, usd(15_50)))
    );
}

#[test]
fn nothing_is_credited_until_a_change_is_paid() {
    let mut account = scene("upgrading, collecting");
    let State::Active(active) = &account.sub.state else {
        panic!()
    };
    assert_eq!(
        active.term.debits[0].amount,
        usd(31_00),
        "the old plan is what was paid for"
    );
    account.must("2026-03-21T00:00:00Z", &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(
        account.lines(),
        [(Usage, 0), (ProrationCredit, -11_00), (CreditRefunded, 11_00)]
    );
    assert_eq!(
        account.effects,
        [Effect::RefundUnused {
            invoice_id: account.last().id,
            amount: usd(11_00)
        }]
    );
    assert_eq!(account.invoices[1].state.code(), "void");
}

#[test]
fn another_interval_begins_a_period_now() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH).must(DAY_11, &change(YEARLY, When::Now));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (RecurringInAdvance, 36_500)]
    );
    account.pay(DAY_11);
    assert_eq!(
        (account.sub.anchor.at, account.term_ends()),
        (at(DAY_11), at("2027-03-11T00:00:00Z"))
    );
    account.must(DAY_21, &change(BASIC, When::Now));
    assert_eq!(
        account.lines(),
        [
            (ProrationCredit, -35_500),
            (RecurringInAdvance, 31_00),
            (CreditCarried, 32_400)
        ]
    );
    account.until("2026-04-21T00:00:00Z");
    assert_eq!(describe(&account.sub), "active 04-21 to 05-21", "the credit pays");
    assert_eq!(account.sub.credit, usd(29_300));
}

#[test]
fn a_change_to_and_from_arrears_bills_each_part_once() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH).must(DAY_11, &change(ARREARS_PRO, When::Now));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (CreditCarried, 21_00)]
    );
    account.must(DAY_21, &change(ARREARS, When::Now));
    assert_eq!(
        account.lines(),
        [(RecurringInArrears, 20_00), (CreditApplied, -20_00)]
    );
    account.until(APRIL);
    assert_eq!(
        account.lines(),
        [(RecurringInArrears, 11_00), (CreditApplied, -1_00)]
    );
    account
        .pay(APRIL)
        .must("2026-04-16T00:00:00Z", &change(BASIC, When::Now));
    assert_eq!(
        account.lines(),
        [(RecurringInArrears, 15_50), (ProrationCharge, 15_50)]
    );
}

#[test]
fn without_proration_the_old_plan_keeps_its_period() {
    let mut account = Account::on(UNPRORATED, MARCH);
    account.pay(MARCH).must(DAY_11, &change(PRO, When::Now));
    // By the rule of each plan: nothing is credited of the old, the rest of the new is charged.
    assert_eq!(account.lines(), [(ProrationCharge, 42_00)]);
    account
        .pay(DAY_11)
        .must(DAY_21, &cancel(When::Now, UnusedOnCancel::Credit));
    assert_eq!(account.sub.credit, usd(22_00));

    let mut account = Account::on(PRO, MARCH);
    account.pay(MARCH).must(DAY_11, &change(UNPRORATED, When::Now));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -42_00), (CreditCarried, 42_00)]
    );
}

/// On the 11th at three in the afternoon and on the 21st at nine: 10 days of the one, 10 of the other, 11 of the first.
#[test]
fn by_the_day_the_day_of_a_change_belongs_to_the_new_plan() {
    let (first, second) = ("2026-03-11T15:00:00Z", "2026-03-21T09:00:00Z");
    let mut account = Account::on(BY_DAY, MARCH);
    account.pay(MARCH).must(first, &change(BY_DAY_PRO, When::Now));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (ProrationCharge, 42_00)]
    );
    let explanations: vec::Vec<_> = account
        .last()
        .lines
        .iter()
        .map(|line| line.explanation.clone())
        .collect();
    assert_eq!(
        explanations,
        ["unused 31.00 USD x 21 d / 31 d", "62.00 USD x 21 d / 31 d"]
    );
    account.pay(first).must(second, &change(BY_DAY, When::Now));
    assert_eq!(
        account.lines(),
        [
            (ProrationCredit, -22_00),
            (ProrationCharge, 11_00),
            (CreditCarried, 11_00)
        ]
    );
}

/// Counted by the rule of the plan in force, both ways: no hour is paid for twice or given away.
#[test]
fn a_change_between_rules_counts_what_is_credited_and_what_is_charged_alike() {
    let at = "2026-03-11T12:00:00Z";
    for (from, to, left) in [
        (BASIC, BY_DAY_PRO, "1771200 s / 2678400 s"),
        (BY_DAY, PRO, "21 d / 31 d"),
    ] {
        let mut account = Account::on(from, MARCH);
        account.pay(MARCH).must(at, &change(to, When::Now));
        let lines = &account.last().lines;
        let explanations: vec::Vec<_> = lines.iter().map(|line| line.explanation.as_str()).collect();
        let (unused, rest) = (
            std::format!("unused 31.00 USD x {left}"),
            std::format!("62.00 USD x {left}"),
        );
        assert_eq!(explanations, [unused, rest]);
    }
}

/// Whoever changed the plan inside each period was never charged: the old plan was not served to the end of the
/// period, the new one not from its start.
#[test]
fn without_proration_a_change_does_not_make_a_period_in_arrears_free() {
    let mut account = Account::on(UNPRORATED_ARREARS, MARCH);
    account
        .must(MARCH, &change(ARREARS_PRO, When::Now))
        .must(MARCH, &change(UNPRORATED_ARREARS, When::Now));
    assert_eq!(
        account.invoices.len(),
        1,
        "nothing was served: {:?}",
        account.lines()
    );
    account.must(DAY_11, &change(UNPRORATED, When::Now));
    assert_eq!(account.lines(), [(RecurringInArrears, 31_00)]);
    account
        .pay(DAY_11)
        .must(DAY_21, &change(UNPRORATED_ARREARS, When::Now))
        .until(APRIL);
    // Twice changed, billed once; the new one is free until the period is over.
    assert_eq!(
        (account.invoices.len(), account.open()),
        (3, None),
        "{:?}",
        account.last()
    );
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(account.lines(), [(RecurringInArrears, 31_00)]);
}

#[test]
fn a_cancellation_now_bills_the_usage_and_forfeits_credits_or_pays_back_the_rest() {
    let cancel = |unused| {
        let mut account = Account::on(BASIC, MARCH);
        // 100 of the 310 free units belong to the first ten days.
        account.pay(MARCH).record("api", 150, at("2026-03-05T00:00:00Z"));
        account.must(DAY_11, &cancel(When::Now, unused));
        account
    };
    let none = cancel(UnusedOnCancel::None);
    assert_eq!(none.lines(), [(Usage, 5_00)]);
    assert_eq!(
        describe(&none.sub),
        "canceled 03-11 (enough); 5.00 USD, attempt 1"
    );
    let credit = cancel(UnusedOnCancel::Credit);
    assert_eq!(
        credit.lines(),
        [(Usage, 5_00), (ProrationCredit, -21_00), (CreditCarried, 16_00)]
    );
    assert_eq!((credit.sub.credit, credit.effects.len()), (usd(16_00), 0));
    let refund = cancel(UnusedOnCancel::Refund);
    assert_eq!(
        refund.lines(),
        [(Usage, 5_00), (ProrationCredit, -21_00), (CreditRefunded, 16_00)]
    );
    assert_eq!(
        refund.effects,
        [Effect::RefundUnused {
            invoice_id: refund.last().id,
            amount: usd(16_00)
        }]
    );
    assert_eq!(refund.sub.credit, usd(0));
}

#[test]
fn a_price_in_arrears_is_that_of_the_period_and_not_of_the_time_until_a_late_command() {
    let mut account = Account::on(ARREARS, MARCH);
    account.must("2026-04-10T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.lines(), [(RecurringInArrears, 31_00)]);
    assert_eq!(account.last().lines[0].period.end, at(APRIL));
}

/// No invoice follows that could use the credit.
#[test]
fn a_refund_pays_back_the_credit_that_was_held_too() {
    let mut account = scene("active");
    // 21.00 of credit from the downgrade; the free plan has nothing to use it on.
    account
        .must(DAY_11, &change(FREE, When::Now))
        .must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(
        account.lines(),
        [(CreditApplied, -21_00), (CreditRefunded, 21_00)]
    );
    assert_eq!(account.sub.credit, usd(0));
    assert_eq!(
        account.effects,
        [Effect::RefundUnused {
            invoice_id: account.last().id,
            amount: usd(21_00)
        }]
    );
    // What was used comes off it.
    let mut account = scene("paused, credited");
    account.record("api", 360, at("2026-03-12T00:00:00Z"));
    account.must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(
        account.lines(),
        [(Usage, 5_00), (CreditApplied, -21_00), (CreditRefunded, 16_00)]
    );
    // And nothing goes back where more was used than was held.
    let mut account = scene("paused, credited");
    account.record("api", 610, at("2026-03-12T00:00:00Z"));
    account.must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(account.lines(), [(Usage, 30_00), (CreditApplied, -21_00)]);
    assert_eq!((account.last().total, account.sub.credit), (usd(9_00), usd(0)));
}

#[test]
fn a_cancellation_of_what_is_not_paid_pays_nothing_back() {
    let mut account = scene("renewing");
    account.must("2026-04-03T00:00:00Z", &cancel(When::Now, UnusedOnCancel::Refund));
    // The renewal is withdrawn, the usage of March stays owed.
    assert_eq!(account.lines(), [(Usage, 10_00), (Usage, 0)]);
    assert_eq!(
        account.last().lines[0].source.unwrap().invoice_id,
        account.invoices[1].id
    );
}

#[test]
fn credit_that_a_withdrawn_invoice_had_used_comes_back() {
    let mut account = scene("paused, credited");
    account.must("2026-04-20T00:00:00Z", &Command::Resume);
    assert_eq!((account.sub.credit, account.last().total), (usd(0), usd(10_00)));
    account.must("2026-04-21T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.sub.credit, usd(21_00));
}

/// It went with the invoice, and the customer paid for the paused time twice.
#[test]
fn the_credit_of_a_pause_outlives_its_invoice() {
    let from = "paused, credited, owing";
    let mut account = scene(from);
    // 1010 units in ten days that include 100; 21 of 31 days are credited.
    assert_eq!(account.lines(), [(Usage, 91_00), (ProrationCredit, -21_00)]);
    account.must("2026-03-15T00:00:00Z", &Command::Resume);
    assert_eq!(
        account.lines(),
        [
            (RecurringInAdvance, 31_00),
            (Usage, 91_00),
            (ProrationCredit, -21_00)
        ]
    );
    account.must("2026-03-15T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(
        account.lines(),
        [(Usage, 91_00), (ProrationCredit, -21_00)],
        "and once more"
    );
    let mut account = scene(from);
    account.must("2026-03-15T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.lines(), [(Usage, 91_00), (ProrationCredit, -21_00)]);
}

#[test]
fn carried_time_is_served_after_the_pause_to_the_microsecond_and_then_renewed() {
    let mut account = scene("paused, carried");
    account.until("2026-04-15T00:00:00Z");
    assert_eq!(describe(&account.sub), "active 04-15 to 05-06");
    account.until("2026-05-06T00:00:00Z");
    assert_eq!(
        describe(&account.sub),
        "active 05-06 to 06-06; 31.00 USD, attempt 1"
    );
    // What was set aside is credited whole when it is not served at all, and by parts when it is.
    let mut account = scene("paused, carried");
    account.must("2026-04-02T00:00:00Z", &cancel(When::Now, UnusedOnCancel::Refund));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (CreditRefunded, 21_00)]
    );
    let mut account = scene("paused, carried");
    account.until("2026-04-15T00:00:00Z");
    account.must("2026-04-25T12:00:00Z", &cancel(When::Now, UnusedOnCancel::Credit));
    assert_eq!(account.sub.credit, usd(10_50));
}

/// The old plan was paid until the end of the month, and the restart charged that time again.
#[test]
fn what_was_paid_before_a_failed_upgrade_is_credited() {
    let mut account = scene("suspended, unpaid upgrade");
    account.must(DAY_21, &Command::Reactivate);
    assert_eq!(
        account.lines(),
        [(RecurringInAdvance, 62_00), (Usage, 0), (ProrationCredit, -11_00)]
    );
    for from in ["suspended, unpaid upgrade", "expired by a failed upgrade"] {
        let mut account = scene(from);
        account.must(DAY_21, &cancel(When::Now, UnusedOnCancel::Refund));
        assert_eq!(
            account.lines(),
            [(Usage, 0), (ProrationCredit, -11_00), (CreditRefunded, 11_00)],
            "{from}"
        );
    }
    let mut account = scene("expired by a failed upgrade");
    account
        .must(DAY_11, &suspend())
        .must(DAY_21, &cancel(When::Now, UnusedOnCancel::Credit));
    assert_eq!(account.sub.credit, usd(11_00));
    let mut account = scene("suspended, unpaid usage of a carried period");
    account.must(DAY_21, &Command::Reactivate);
    // 21 days were set aside, 6 of them are over.
    assert_eq!(
        account.lines(),
        [
            (RecurringInAdvance, 31_00),
            (Usage, 91_00),
            (ProrationCredit, -15_00)
        ]
    );
}

#[test]
fn an_upgrade_on_the_last_microsecond_and_on_the_first_instant() {
    let mut account = Account::on(BASIC, MARCH);
    account
        .pay(MARCH)
        .must("2026-03-31T23:59:59.999999Z", &change(PRO, When::Now));
    assert_eq!(
        (account.invoices.len(), account.sub.plan_id),
        (1, PRO),
        "a millionth of a second costs nothing"
    );
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH).must(MARCH, &change(PRO, When::Now));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -31_00), (ProrationCharge, 62_00)]
    );
}

#[test]
fn the_runaway_guard_counts_lines_by_day() {
    let mut plans = (*catalog()).clone();
    plans.get_mut(&BASIC).unwrap().invoice_lines_per_day_max = 3;
    plans.get_mut(&PRO).unwrap().invoice_lines_per_day_max = 3;
    let mut account = Account::with(Arc::new(plans), BASIC, MARCH, &request());
    account.pay(MARCH).must(MARCH, &change(PRO, When::Now)).pay(MARCH);
    let message = account.refused("2026-03-01T12:00:00Z", &change(BASIC, When::Now));
    assert!(
        message.contains("would have 6 invoice lines today, at most 3 are allowed"),
        "{message}"
    );
    assert_eq!(
        account.run(at("2026-03-02T00:00:00Z"), &change(BASIC, When::Now)),
        Ok(()),
        "another day"
    );
    assert_eq!(account.sub.guard.lines, 3);
}

#[test]
fn a_free_period_is_paid_at_once_and_moves_on() {
    let mut account = Account::on(FREE, MARCH);
    assert_eq!(account.catch_up(at("2027-03-01T00:00:00Z")), 12);
    assert!(
        account
            .invoices
            .iter()
            .all(|invoice| invoice.state.code() == "paid" && invoice.lines.is_empty())
    );
    assert_eq!(
        account.sub.standing(at("2027-03-01T00:00:00Z")),
        Standing::Current
    );
    let mut account = scene("renewing");
    account.fail("2026-04-01T06:00:00Z", DeclineClass::Stop);
    assert_eq!(account.catch_up(at("2026-04-02T00:00:00Z")), 0);
}

/// The rest that a pause had set aside is charged as the part of a period that it is, also after a second pause.
#[test]
fn a_change_in_the_rest_of_a_period_is_charged_as_a_part_of_it() {
    let mut account = Account::on(BASIC, MARCH);
    account.pay(MARCH);
    account.must(
        "2026-03-11T00:00:00Z",
        &pause(When::Now, None, UnusedOnPause::Carry),
    );
    account.must("2026-06-01T00:00:00Z", &Command::Resume);
    let mut twice = account.clone();
    account.must("2026-06-01T00:00:00Z", &change(PRO, Some(When::Now)));
    assert_eq!(
        account.lines(),
        [(ProrationCredit, -21_00), (ProrationCharge, 42_00)]
    );
    twice.must(
        "2026-06-11T00:00:00Z",
        &pause(When::Now, None, UnusedOnPause::Carry),
    );
    twice.must("2026-07-01T00:00:00Z", &Command::Resume);
    twice.must("2026-07-02T00:00:00Z", &change(PRO, Some(When::Now)));
    assert_eq!(
        twice.lines(),
        [(ProrationCredit, -10_00), (ProrationCharge, 20_00)]
    );
}
