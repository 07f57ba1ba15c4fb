//! Any sequence of commands, payments and usage, with time moving on. [`Account`] checks the promises.

use std::vec;
use std::vec::Vec;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::account::Account;
use super::kit::*;
use crate::calendar::MonthEnd;
use crate::coupon::{CouponDuration, CouponValue};
use crate::credit::GrantSource;
use crate::credit_note::{
    CreditNoteAmount, CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition,
};
use crate::id::CreditNoteId;
use crate::payment::PaymentOutcome;
use crate::retry::DeclineClass;
use crate::tax::TaxBehavior;

const PLANS: [PlanId; 17] = [
    COMMITTED,
    COMMITTED_ARREARS,
    BASIC,
    PRO,
    YEARLY,
    FREE,
    ARREARS,
    TRIAL,
    TRIAL_THEN_FREE,
    TRIAL_THEN_END,
    PREPAID,
    UNPRORATED,
    BY_DAY,
    BY_DAY_PRO,
    UNPRORATED_ARREARS,
    ARREARS_PRO,
    FREE_METERED,
];

#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    /// A pause with a date so many days ahead.
    PauseFor(When, UnusedOnPause, i64),
    Settle {
        hours_ago: i64,
    },
    Fail(DeclineClass),
    /// A payment for any invoice that there ever was, open or not; with one of two references.
    Stray {
        invoice: prop::sample::Index,
        twice: bool,
    },
    /// Prepaid credit that expires in so many days.
    Grant {
        number: u128,
        minor: i64,
        days: Option<i64>,
    },
    /// Gives back a part of any invoice that there ever was, in so many percent of a line.
    Note {
        invoice: prop::sample::Index,
        line: prop::sample::Index,
        percent: i64,
        disposition: Disposition,
    },
    Use {
        code: &'static str,
        quantity: i64,
        hours_ago: i64,
    },
}

/// How time goes on before a step, and whether a sweep runs then.
#[derive(Clone, Debug)]
enum Pass {
    Hours(i64),
    /// To what is due next, and so many microseconds past it.
    Due(i64),
}

fn when() -> impl Strategy<Value = When> {
    select(&[When::Now, When::AtPeriodEnd][..])
}

fn class() -> impl Strategy<Value = DeclineClass> {
    use DeclineClass::{AskCustomer, Retry, Stop, Unknown};
    select(&[Retry, Retry, Retry, AskCustomer, AskCustomer, Stop, Unknown][..])
}

fn step() -> impl Strategy<Value = Step> {
    let on_pause = || select(&[UnusedOnPause::Credit, UnusedOnPause::Carry][..]);
    let on_cancel = select(
        &[
            UnusedOnCancel::None,
            UnusedOnCancel::Credit,
            UnusedOnCancel::Refund,
        ][..],
    );
    let plain = select(vec![
        Command::Renew,
        Command::Renew,
        Command::UndoCancel,
        Command::Suspend {
            reason: "abuse".into(),
        },
        Command::Reactivate,
        Command::Reactivate,
        Command::Resume,
        Command::Resume,
        Command::DropPendingChange,
        Command::SetPaymentMethod { payment_method: None },
        Command::SetPaymentMethod {
            payment_method: Some(CARD),
        },
        Command::SetAutoRenew { auto_renew: false },
        Command::SetAutoRenew { auto_renew: true },
        Command::Unpark,
        redeem("LAUNCH"),
        Command::VoidCredit {
            grant_id: grant_id(1),
        },
    ]);
    let dispositions = select(&[Disposition::Refund, Disposition::Credit][..]);
    prop_oneof![
        8 => (0_i64..400).prop_map(|hours_ago| Step::Settle { hours_ago: hours_ago.saturating_sub(300).max(0) }),
        4 => class().prop_map(Step::Fail),
        6 => (select(&["api", "api", "gb", "other"][..]), 1_i64..900, 0_i64..1500)
            .prop_map(|(code, quantity, hours_ago)| Step::Use { code, quantity, hours_ago }),
        4 => (select(&PLANS[..]), proptest::option::of(when()))
            .prop_map(|(plan_id, when)| Step::Command(change(plan_id, when))),
        4 => (1_u32..10, proptest::option::of(when()))
            .prop_map(|(quantity, when)| Step::Command(seats(quantity, when))),
        3 => (select(&["backup", "setup"][..]), 0_u32..4, proptest::option::of(when()))
            .prop_map(|(code, quantity, when)| Step::Command(add_on(code, quantity, when))),
        2 => (select(&["backup", "setup", "setup"][..]), 1_u32..4)
            .prop_map(|(code, quantity)| Step::Command(buy(code, quantity))),
        7 => plain.prop_map(Step::Command),
        1 => (when(), on_cancel).prop_map(|(when, unused)| Step::Command(cancel(when, unused))),
        2 => (when(), on_pause()).prop_map(|(when, unused)| Step::Command(pause(when, None, unused))),
        2 => (when(), on_pause(), 1_i64..90).prop_map(|(when, unused, days)| Step::PauseFor(when, unused, days)),
        1 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(invoice, twice)| Step::Stray { invoice, twice }),
        2 => (1_u128..30, 1_i64..60_00, proptest::option::of(1_i64..60))
            .prop_map(|(number, minor, days)| Step::Grant { number, minor, days }),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_i64..=100, dispositions)
            .prop_map(|(invoice, line, percent, disposition)| Step::Note { invoice, line, percent, disposition }),
    ]
}

fn pass() -> impl Strategy<Value = Pass> {
    prop_oneof![
        4 => Just(Pass::Hours(0)),
        6 => (1_i64..300).prop_map(Pass::Hours),
        1 => (300_i64..3000).prop_map(Pass::Hours),
        5 => (-1_i64..=1).prop_map(Pass::Due),
    ]
}

fn start() -> impl Strategy<Value = (PlanId, &'static str, Create)> {
    let starts = [
        "2026-01-31T09:00:00Z",
        "2026-03-01T00:00:00Z",
        "2026-03-28T01:30:00Z",
        "2024-02-29T23:30:00Z",
    ];
    let zones = [
        chrono_tz::Tz::UTC,
        chrono_tz::Tz::Europe__Berlin,
        chrono_tz::Tz::America__New_York,
    ];
    let month_ends = [MonthEnd::Clamp, MonthEnd::TwentyEighth, MonthEnd::LastDay];
    (
        select(&PLANS[..]),
        select(starts.to_vec()),
        select(zones.to_vec()),
        select(month_ends.to_vec()),
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.8),
        select(vec![1_u32, 1, 1, 5]),
    )
        .prop_map(|(plan_id, now, zone, month_end, card, auto_renew, quantity)| {
            let payment_method = card.then_some(CARD);
            (
                plan_id,
                now,
                Create {
                    zone,
                    month_end,
                    payment_method,
                    auto_renew,
                    quantity,
                    ..request()
                },
            )
        })
}

fn take(account: &mut Account, step: &Step) {
    let now = account.now;
    let command = match step {
        Step::Command(command) => command.clone(),
        Step::PauseFor(when, unused, days) => {
            let resume_at = Some(now + TimeDelta::days(*days));
            Command::Pause {
                when: *when,
                resume_at,
                unused: *unused,
            }
        }
        Step::Settle { hours_ago } => match account.open() {
            Some(_) => account.settlement(now - TimeDelta::hours(*hours_ago)),
            None => return,
        },
        Step::Fail(class) => match account.open() {
            Some(_) => account.failure(*class),
            None => return,
        },
        Step::Stray { invoice, twice } => {
            if account.invoices.is_empty() {
                return;
            }
            let invoice = invoice.get(&account.invoices);
            let reference = if *twice { "stray" } else { "another" }.into();
            let outcome = PaymentOutcome::Settled {
                amount: invoice.total,
                reference,
                settled_at: now,
            };
            Command::RecordPayment {
                invoice_id: invoice.id,
                outcome,
            }
        }
        Step::Grant { number, minor, days } => Command::GrantCredit(GrantCredit {
            id: grant_id(*number),
            amount: usd(*minor),
            source: GrantSource::Prepaid,
            priority: 50,
            expires_at: days.map(|days| now + TimeDelta::days(days)),
        }),
        Step::Note {
            invoice,
            line,
            percent,
            disposition,
        } => {
            if account.invoices.is_empty() {
                return;
            }
            let invoice = invoice.get(&account.invoices);
            if invoice.lines.is_empty() {
                return;
            }
            let line = line.index(invoice.lines.len());
            let amount = CreditNoteAmount {
                line: u32::try_from(line).unwrap(),
                amount: usd(invoice.lines[line].amount.minor * percent / 100),
            };
            let scope = if *percent > 90 {
                CreditNoteScope::All
            } else {
                CreditNoteScope::Lines(vec![amount])
            };
            Command::IssueCreditNote {
                id: CreditNoteId::new(uuid::Uuid::from_u128(account.notes.len() as u128 + 1)),
                invoice_id: invoice.id,
                request: CreditNoteRequest {
                    reason: CreditNoteReason::Duplicate,
                    scope,
                    disposition: *disposition,
                },
            }
        }
        Step::Use {
            code,
            quantity,
            hours_ago,
        } => {
            account.record(code, *quantity, now - TimeDelta::hours(*hours_ago));
            return;
        }
    };
    if let Err(rejection @ (Rejection::Money(_) | Rejection::Calendar(_) | Rejection::Runaway { .. })) =
        account.run(now, &command)
    {
        panic!("{rejection}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_life_keeps_the_promises(
        (plan_id, now, request) in start(),
        taxed in proptest::option::of(select(&[TaxBehavior::Exclusive, TaxBehavior::Inclusive][..])),
        value in select(vec![CouponValue::Percent(25.into()), CouponValue::Amount(usd(7_77))]),
        duration in select(&[CouponDuration::Once, CouponDuration::Invoices(2), CouponDuration::Forever][..]),
        steps in prop::collection::vec((pass(), any::<bool>(), step()), 1..60),
    ) {
        let mut account = Account::created(plan_id, now, &request);
        account.tax = taxed.map(vat);
        account.coupon = Some(coupon(value, duration));
        for (pass, sweeps, step) in &steps {
            let now = match (pass, account.sub.next_due()) {
                (Pass::Hours(hours), _) => account.now + TimeDelta::hours(*hours),
                (Pass::Due(off), Some(due)) => (due + TimeDelta::microseconds(*off)).max(account.now),
                (Pass::Due(_), None) => account.now,
            };
            account.now = now;
            account.is_quick = !sweeps;
            if *sweeps {
                account.catch_up(now);
            }
            take(&mut account, step);
            let days = account.sub.remaining_days(now);
            let ends = match account.sub.standing(now) {
                Standing::Current | Standing::InGrace | Standing::Restricted => days > 0,
                Standing::Renewing | Standing::Lapsed => days == 0,
            };
            prop_assert!(ends, "{:?} with {days} days left", account.sub.standing(now));
            prop_assert_eq!(account.sub.is_in_grace_period(now), account.sub.standing(now) == Standing::InGrace);
        }
        // Nothing is stuck: what is paid goes on, and every chain of steps ends.
        let later = account.now + TimeDelta::days(120);
        account.catch_up(later);
        for _ in 0..30 {
            if account.open().is_none() {
                break;
            }
            let settled = account.settlement(later);
            account.run(later, &settled).unwrap();
            account.catch_up(later);
        }
        let start = ChainHead::default();
        prop_assert_eq!(crate::audit::verify(SUBSCRIPTION, start, &account.audit, account.sub.audit), Ok(()));
        let numbers: Vec<_> = account.invoices.iter().map(|invoice| invoice.number).collect();
        prop_assert_eq!(numbers, (1..=account.sub.invoices).collect::<Vec<_>>());
    }
}
