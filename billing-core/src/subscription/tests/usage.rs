//! Usage is billed once, by the plan that was in force, also when it comes late.

use std::vec::Vec;

use super::super::*;
use super::account::Account;
use super::kit::*;
use super::scenes::scene;
use crate::invoice::LineKind::{self, RecurringInAdvance, Usage, UsageAdjustment};

fn usage_lines(account: &Account) -> Vec<(LineKind, i64, i64)> {
    let lines = account.last().lines.iter().filter(|line| line.meter.is_some());
    lines
        .map(|line| {
            (
                line.kind,
                i64::try_from(line.quantity).unwrap(),
                line.amount.minor,
            )
        })
        .collect()
}

#[test]
fn late_usage_is_an_adjustment_of_the_next_invoice_and_draws_on_what_is_left_of_the_allowance() {
    let mut account = Account::on(BASIC, MARCH);
    account
        .pay(MARCH)
        .record("api", 300, at("2026-03-31T23:59:59.999999Z"))
        .until(APRIL);
    assert_eq!(usage_lines(&account), [(Usage, 300, 0)]);
    account.pay(APRIL);
    account
        .record("api", 50, at("2026-03-31T23:59:59.999999Z"))
        .record("api", 300, at(APRIL));
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(
        usage_lines(&account),
        [(Usage, 300, 0), (UsageAdjustment, 50, 4_00)]
    );
    account.pay("2026-05-01T00:00:00Z").until("2026-06-01T00:00:00Z");
    assert_eq!(
        account.lines(),
        [(RecurringInAdvance, 31_00)],
        "late once, not for ever"
    );
}

#[test]
fn the_end_of_a_window_belongs_to_the_next_one() {
    let mut account = scene("active, free and metered");
    account.record("api", 400, at(APRIL)).until(APRIL);
    assert_eq!(usage_lines(&account), [(Usage, 100, 0)]);
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&account), [(Usage, 400, 9_00)]);
}

#[test]
fn each_plan_bills_its_own_part_with_its_part_of_the_allowance() {
    let mut account = Account::on(BASIC, MARCH);
    account
        .pay(MARCH)
        .record("api", 150, at("2026-03-10T00:00:00Z"))
        .record("api", 450, at("2026-03-12T00:00:00Z"));
    account.must("2026-03-11T00:00:00Z", &change(PRO, When::Now));
    // 100 of 310 for 10 of 31 days; then 420 of 620 for 21 of 31.
    assert_eq!(usage_lines(&account), [(Usage, 150, 5_00)]);
    account.pay("2026-03-11T00:00:00Z").until(APRIL);
    assert_eq!(usage_lines(&account), [(Usage, 450, 3_00)]);
}

/// Nothing is read while no meter charges, so that time's usage looked as if it had come late.
#[test]
fn usage_under_a_plan_without_meters_is_never_billed_afterwards() {
    let mut account = Account::on(FREE, MARCH);
    account
        .record("api", 900, at("2026-03-05T00:00:00Z"))
        .until(APRIL);
    account
        .must("2026-04-10T00:00:00Z", &change(BASIC, When::Now))
        .pay("2026-04-10T00:00:00Z");
    account.record("api", 900, at("2026-04-05T00:00:00Z"));
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00)]);
}

#[test]
fn a_trial_is_not_charged_for_its_usage_also_when_it_comes_late() {
    let mut account = scene("trial");
    account
        .record("api", 900, at("2026-03-05T00:00:00Z"))
        .until("2026-03-15T00:00:00Z")
        .pay("2026-03-15T00:00:00Z");
    account
        .record("api", 900, at("2026-03-14T23:59:59Z"))
        .until("2026-04-15T00:00:00Z");
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00)]);
}

#[test]
fn a_meter_that_the_plan_does_not_have_is_free() {
    let mut account = Account::on(BASIC, MARCH);
    account
        .pay(MARCH)
        .record("gb", 900, at("2026-03-05T00:00:00Z"))
        .until(APRIL);
    assert_eq!(account.lines(), [(RecurringInAdvance, 31_00)]);
}

#[test]
fn usage_after_the_paid_time_is_billed_with_the_next_period_or_at_the_end() {
    let mut account = scene("expired, not renewed");
    account.record("api", 400, at("2026-04-02T00:00:00Z"));
    let mut renewed = account.clone();
    renewed
        .must("2026-04-03T00:00:00Z", &Command::Renew)
        .pay("2026-04-03T00:00:00Z");
    renewed.must(
        "2026-04-03T00:00:00Z",
        &Command::SetAutoRenew { auto_renew: true },
    );
    renewed.until("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&renewed), [(Usage, 400, 9_00)]);
    account.must("2026-04-03T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(usage_lines(&account), [(Usage, 400, 9_00)]);
}

#[test]
fn usage_that_moved_to_another_invoice_points_at_where_it_stood() {
    let mut account = scene("expired, not renewed, renewing");
    let moved = account.last().lines[1].clone();
    assert_eq!(
        (moved.kind, moved.amount, moved.source.map(|source| source.line)),
        (Usage, usd(9_00), Some(0))
    );
    assert_eq!(
        moved.source.map(|source| source.invoice_id),
        Some(account.invoices[1].id)
    );
    assert_eq!(moved.period.start, at(MARCH));
    account.must("2026-04-02T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.lines(), [(Usage, 9_00)]);
}

#[test]
fn only_a_plan_with_meters_asks_for_usage_and_only_where_it_is_billed() {
    fn asks<'a>(account: &'a Account, command: &Command, now: &str) -> Option<UsageQuery<'a>> {
        let plan = &account.plans[&account.sub.plan_id];
        needs(&account.sub, command, plan, at(now)).usage
    }
    let active = scene("active");
    let query = asks(&active, &Command::Advance, "2026-07-01T00:00:00Z").unwrap();
    assert_eq!(
        (query.origin, query.from, query.until),
        (at(MARCH), at(MARCH), at(APRIL)),
        "until it was due"
    );
    assert_eq!(asks(&scene("active, free"), &Command::Advance, APRIL), None);
    assert_eq!(asks(&scene("trial"), &Command::Advance, APRIL), None);
    assert_eq!(asks(&scene("renewing"), &Command::Advance, APRIL), None);
    assert_eq!(asks(&active, &suspend(), "2026-03-11T00:00:00Z"), None);
    assert_eq!(
        asks(
            &active,
            &cancel(When::AtPeriodEnd, UnusedOnCancel::None),
            "2026-03-11T00:00:00Z"
        ),
        None
    );
    let now = "2026-03-11T00:00:00Z";
    assert_eq!(
        asks(&active, &cancel(When::Now, UnusedOnCancel::None), now)
            .unwrap()
            .until,
        at(now)
    );
}

/// An account on BASIC whose meter has other terms.
fn on_terms(change: impl FnOnce(&mut crate::plan::MeterTerms)) -> Account {
    let mut plans = (*catalog()).clone();
    let terms = plans
        .get_mut(&BASIC)
        .and_then(|plan| plan.meters.get_mut(&meter("api")));
    change(terms.unwrap());
    let mut account = Account::with(std::sync::Arc::new(plans), BASIC, MARCH, &request());
    account.pay(MARCH);
    account
}

#[test]
fn a_minimum_is_due_without_usage_and_for_the_part_of_a_period() {
    let mut account = on_terms(|terms| terms.minimum = Some(62.into()));
    let mut left = account.clone();
    account.until(APRIL);
    assert_eq!(usage_lines(&account), [(Usage, 0, 62_00)]);
    left.record("api", 150, at("2026-03-10T00:00:00Z"))
        .must("2026-03-11T00:00:00Z", &cancel(When::Now, UnusedOnCancel::None));
    // Ten of 31 days: 100 units are free, and at least 20.00 is due.
    assert_eq!(usage_lines(&left), [(Usage, 150, 20_00)]);
}

#[test]
fn a_maximum_is_that_of_the_period_in_which_it_was_used() {
    let mut account = on_terms(|terms| terms.maximum = Some(10.into()));
    account
        .record("api", 390, at("2026-03-10T00:00:00Z"))
        .until(APRIL)
        .pay(APRIL);
    assert_eq!(usage_lines(&account), [(Usage, 390, 8_00)]);
    account
        .record("api", 390, at("2026-04-10T00:00:00Z"))
        .record("api", 50, at("2026-03-31T23:59:59Z"));
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(
        usage_lines(&account),
        [(Usage, 390, 8_00), (UsageAdjustment, 50, 2_00)]
    );
}

#[test]
fn what_is_due_once_is_not_due_again_for_late_usage() {
    let flat = |terms: &mut crate::plan::MeterTerms| {
        terms.charge = crate::charge::ChargeModel::Flat { amount: 7.into() };
    };
    let mut account = on_terms(flat);
    account
        .record("api", 400, at("2026-03-10T00:00:00Z"))
        .until(APRIL)
        .pay(APRIL);
    account
        .record("api", 400, at("2026-04-10T00:00:00Z"))
        .record("api", 50, at("2026-03-31T23:59:59Z"));
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(
        usage_lines(&account),
        [(Usage, 400, 7_00), (UsageAdjustment, 50, 0)]
    );
}

#[test]
fn each_event_pays_its_fee_once_also_when_it_comes_late() {
    let fees = |terms: &mut crate::plan::MeterTerms| {
        terms.allowance = 0.into();
        terms.charge = crate::charge::ChargeModel::Percentage(crate::charge::Percentage {
            fixed_fee: 1.into(),
            ..crate::charge::Percentage::of(10.into())
        });
    };
    let mut account = on_terms(fees);
    account.until(APRIL).pay(APRIL);
    account.record("api", 50, at("2026-03-31T23:59:59Z"));
    let mut only_late = account.clone();
    only_late.until("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&only_late), [(UsageAdjustment, 50, 6_00)]);
    account.record("api", 100, at("2026-04-10T00:00:00Z"));
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(
        usage_lines(&account),
        [(Usage, 100, 11_00), (UsageAdjustment, 50, 6_00)]
    );
}

/// What comes late is charged by the plan and in the tiers of its own time, whatever is in force by then.
#[test]
fn late_usage_is_rated_by_the_plan_of_its_own_time() {
    let mut account = Account::on(BASIC, MARCH);
    account
        .pay(MARCH)
        .record("api", 310, at("2026-03-10T00:00:00Z"))
        .until(APRIL)
        .pay(APRIL);
    assert_eq!(usage_lines(&account), [(Usage, 310, 0)]);
    account
        .must("2026-04-02T00:00:00Z", &change(FREE, When::Now))
        .record("api", 50, at("2026-03-31T23:59:59Z"))
        .record("api", 900, at("2026-04-03T00:00:00Z"));
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&account), [(UsageAdjustment, 50, 5_00)]);
    let line = account
        .last()
        .lines
        .iter()
        .find(|line| line.meter.is_some())
        .unwrap();
    assert_eq!((line.plan_id, line.period.start), (BASIC, at(MARCH)));
    account.until("2026-06-01T00:00:00Z");
    assert_eq!(usage_lines(&account), [], "late once, not for ever");
}

/// More usage may make all of it cheaper, or a late event may be the lowest: what was paid too much is credited.
#[test]
fn what_comes_late_may_be_credited() {
    let volume = |terms: &mut crate::plan::MeterTerms| {
        let tier = |up_to: Option<i64>, unit_price| crate::charge::Tier {
            up_to: up_to.map(Into::into),
            unit_price,
            flat_fee: 0.into(),
        };
        terms.allowance = 0.into();
        terms.charge = crate::charge::ChargeModel::Volume(crate::charge::Volume {
            tiers: std::vec![
                tier(Some(100), 1.into()),
                tier(None, rust_decimal::Decimal::new(5, 1))
            ],
            allowance: crate::charge::VolumeAllowance::Excess,
            empty_first_fee: false,
        });
    };
    let mut account = on_terms(volume);
    account
        .record("api", 100, at("2026-03-10T00:00:00Z"))
        .until(APRIL)
        .pay(APRIL);
    assert_eq!(usage_lines(&account), [(Usage, 100, 10_000)]);
    account.record("api", 2, at("2026-03-31T00:00:00Z"));
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&account), [(UsageAdjustment, 2, -49_00)]);
    assert_eq!(
        account.last().lines[1].explanation,
        "102 x 0.5 = 51 USD in all, less 100 x 1 = 100 USD: -49.00 USD"
    );
}

/// Seats that nobody reports anew are held on, from period to period, and a change that is reported late moves all periods
/// that it reaches into.
#[test]
fn what_is_held_is_held_over_the_end_of_a_period() {
    let seats = |terms: &mut crate::plan::MeterTerms| {
        terms.allowance = 0.into();
        terms.aggregation = crate::aggregation::Aggregation::WeightedSum {
            unit: crate::aggregation::HeldUnit::Period,
        };
    };
    let mut account = on_terms(seats);
    account
        .record("api", 62, at(MARCH))
        .record("api", 31, at("2026-03-11T00:00:00Z"))
        .until(APRIL)
        .pay(APRIL);
    // 62 for 10 of 31 days, 31 for 21 of them.
    assert_eq!(usage_lines(&account), [(Usage, 41, 4_10)]);
    account.until("2026-05-01T00:00:00Z").pay("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&account), [(Usage, 31, 3_10)]);
    // Gone since the 21st of March.
    account
        .record("api", 0, at("2026-03-21T00:00:00Z"))
        .until("2026-06-01T00:00:00Z");
    assert_eq!(
        usage_lines(&account),
        [(UsageAdjustment, -11, -1_10), (UsageAdjustment, -31, -3_10)]
    );
}

/// Each event is in one cell, and each cell is a meter of its own.
#[test]
fn events_are_charged_apart_by_their_properties() {
    let cells = |terms: &mut crate::plan::MeterTerms| {
        terms.allowance = 10.into();
        terms.group_by = std::vec!["project".into()];
        terms.filters = std::vec![crate::plan::ChargeFilter {
            name: "EU".into(),
            matching: [("region".into(), ["eu".into()].into())].into(),
            allowance: 0.into(),
            charge: crate::charge::ChargeModel::PerUnit { unit_price: 1.into() },
            minimum: None,
            maximum: None,
        }];
    };
    let mut account = on_terms(cells);
    let mut record = |quantity, properties: &[(&str, &str)]| {
        account.record("api", quantity, at("2026-03-10T00:00:00Z"));
        let event = &mut account.usage.last_mut().unwrap().event;
        event.properties = properties
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
    };
    record(15, &[("project", "a")]);
    record(20, &[("project", "b"), ("region", "us")]);
    record(2, &[("project", "b"), ("region", "eu")]);
    record(3, &[("region", "eu")]);
    record(4, &[("project", "b"), ("region", "eu")]);
    account.until(APRIL);
    let lines: Vec<_> = account
        .last()
        .lines
        .iter()
        .filter_map(|line| {
            let cell = line.cell.as_ref()?;
            let project = cell.group.get("project").unwrap().as_str();
            Some((cell.filter.as_deref(), project, line.explanation.as_str()))
        })
        .collect();
    assert_eq!(
        lines,
        [
            (None, "a", "(15 - 10 included) x 0.1 = 0.5 USD"),
            (None, "b", "(20 - 10 included) x 0.1 = 1 USD"),
            (Some("EU"), "", "3 x 1 = 3 USD"),
            (Some("EU"), "b", "6 x 1 = 6 USD"),
        ]
    );
    // What comes late for one of them is adjusted there alone.
    account.pay(APRIL);
    account.record("api", 7, at("2026-03-12T00:00:00Z"));
    let event = &mut account.usage.last_mut().unwrap().event;
    event.properties.insert("project".into(), "a".into());
    account.until("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&account), [(UsageAdjustment, 7, 70)]);
}

/// A pause is not a period: the fee of a first tier, which an unused period pays, is not due for it.
#[test]
fn a_meter_that_is_not_used_outside_of_a_period_costs_nothing() {
    let fee = |terms: &mut crate::plan::MeterTerms| {
        terms.charge = crate::charge::ChargeModel::Graduated(crate::charge::Graduated {
            tiers: std::vec![crate::charge::Tier {
                up_to: None,
                unit_price: 0.into(),
                flat_fee: 10.into(),
            }],
            empty_first_fee: true,
        });
    };
    let mut account = on_terms(fee);
    account.must(
        "2026-03-11T00:00:00Z",
        &pause(When::Now, None, UnusedOnPause::Credit),
    );
    assert_eq!(usage_lines(&account), [(Usage, 0, 10_00)]);
    let mut used = account.clone();
    account.must("2026-06-11T00:00:00Z", &Command::Resume);
    assert_eq!(usage_lines(&account), []);
    used.record("api", 1, at("2026-05-01T00:00:00Z"))
        .must("2026-06-11T00:00:00Z", &Command::Resume);
    assert_eq!(usage_lines(&used), [(Usage, 1, 10_00)]);
}

/// Billing stops in a pause, and nobody pays for seats of a time without access.
#[test]
fn what_is_held_in_no_period_is_not_charged() {
    let seats = |terms: &mut crate::plan::MeterTerms| {
        terms.allowance = 0.into();
        terms.aggregation = crate::aggregation::Aggregation::WeightedSum {
            unit: crate::aggregation::HeldUnit::Period,
        };
    };
    let mut account = on_terms(seats);
    account.record("api", 62, at(MARCH));
    let mut lapsed = account.clone();
    account.must(
        "2026-03-11T00:00:00Z",
        &pause(When::Now, None, UnusedOnPause::Credit),
    );
    assert_eq!(usage_lines(&account), [(Usage, 20, 2_00)]);
    account.must("2026-06-11T00:00:00Z", &Command::Resume);
    assert_eq!(usage_lines(&account), [], "the pause");
    // Lapsed in April and May, renewed in June: the next invoice is for June alone.
    lapsed.must(MARCH, &Command::SetAutoRenew { auto_renew: false });
    lapsed.until(APRIL);
    lapsed.pay(APRIL);
    lapsed.must(
        "2026-06-01T00:00:00Z",
        &Command::SetAutoRenew { auto_renew: true },
    );
    lapsed.must("2026-06-01T00:00:00Z", &Command::Renew);
    lapsed.pay("2026-06-01T00:00:00Z").until("2026-07-01T00:00:00Z");
    assert_eq!(usage_lines(&lapsed), [(Usage, 62, 6_20)]);
}

/// A group that nobody knew of in time was not charged its minimum, so it is now.
#[test]
fn a_group_that_comes_late_is_charged_whole() {
    let grouped = |terms: &mut crate::plan::MeterTerms| {
        terms.group_by = std::vec!["project".into()];
        terms.minimum = Some(10.into());
    };
    let mut account = on_terms(grouped);
    account.until(APRIL).pay(APRIL);
    account
        .record("api", 1, at("2026-03-10T00:00:00Z"))
        .until("2026-05-01T00:00:00Z");
    assert_eq!(usage_lines(&account), [(UsageAdjustment, 1, 10_00)]);
}

/// A human has looked: the next invoice is opened however many lines it has.
#[test]
fn what_was_released_is_billed() {
    let mut account = on_terms(|terms| terms.group_by = std::vec!["project".into()]);
    let plans = std::sync::Arc::make_mut(&mut account.plans);
    plans.get_mut(&BASIC).unwrap().invoice_lines_per_day_max = 2;
    for project in ["a", "b", "c"] {
        account.record("api", 400, at("2026-03-10T00:00:00Z"));
        let event = &mut account.usage.last_mut().unwrap().event;
        event.properties.insert("project".into(), project.into());
    }
    account.until(APRIL);
    assert!(account.sub.parked_at.is_some());
    account.must(APRIL, &Command::Unpark).until(APRIL);
    assert!(account.sub.parked_at.is_none());
    assert_eq!(usage_lines(&account).len(), 3);
}

/// What a pause had set aside is the rest of its period, and grants and asks for the rest of it.
#[test]
fn the_rest_of_a_period_after_a_pause_grants_its_part() {
    let minimum = |terms: &mut crate::plan::MeterTerms| terms.minimum = Some(62.into());
    let mut account = on_terms(minimum);
    account.must(
        "2026-03-11T00:00:00Z",
        &pause(When::Now, None, UnusedOnPause::Carry),
    );
    assert_eq!(usage_lines(&account), [(Usage, 0, 20_00)]);
    account.pay("2026-03-11T00:00:00Z");
    account.must("2026-06-01T00:00:00Z", &Command::Resume);
    // 21 of 31 days are left: 210 of 310 are free, and 42.00 of 62.00 are due at least.
    account
        .record("api", 700, at("2026-06-02T00:00:00Z"))
        .until("2026-06-22T00:00:00Z");
    assert_eq!(usage_lines(&account), [(Usage, 700, 49_00)]);
}
