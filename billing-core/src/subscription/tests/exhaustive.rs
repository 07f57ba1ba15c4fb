//! Every shape of every state x every command with its options x the instants around each boundary.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::*;
use super::account::Account;
use super::kit::*;
use super::scenes::scenes;
use crate::credit_note::Disposition;
use crate::payment::{CollectionPhase, PaymentOutcome};
use crate::plan::ProrationRule;
use crate::retry::DeclineClass;

/// Every command, with each of its options. Payments are for the open invoice, or for the last one.
fn commands(account: &Account, now: DateTime<Utc>) -> Vec<Command> {
    let mut commands = vec![
        Command::Advance,
        Command::Renew,
        Command::UndoCancel,
        suspend(),
        Command::Reactivate,
        Command::Resume,
        Command::DropPendingChange,
        Command::SetPaymentMethod { payment_method: None },
        Command::SetAutoRenew { auto_renew: false },
        Command::SetAutoRenew { auto_renew: true },
        Command::Unpark,
        buy("setup", 2),
        redeem("LAUNCH"),
        grant(2, 5_00),
        Command::VoidCredit {
            grant_id: grant_id(1),
        },
    ];
    for when in [When::Now, When::AtPeriodEnd] {
        for unused in [
            UnusedOnCancel::None,
            UnusedOnCancel::Credit,
            UnusedOnCancel::Refund,
        ] {
            commands.push(cancel(when, unused));
        }
        for unused in [UnusedOnPause::Credit, UnusedOnPause::Carry] {
            commands.push(pause(when, None, unused));
            let resume_at = Some(now + TimeDelta::days(40));
            commands.push(Command::Pause {
                when,
                resume_at,
                unused,
            });
        }
        for plan_id in [BASIC, PRO, YEARLY, FREE, ARREARS, UNPRORATED] {
            commands.push(change(plan_id, when));
        }
        for quantity in [1, 3, 8] {
            commands.push(seats(quantity, when));
        }
        for quantity in [0, 2] {
            commands.push(add_on("backup", quantity, when));
        }
    }
    if let Some(invoice) = account.open().or(account.invoices.last()) {
        commands.push(account.settlement_of(invoice.id, now));
        for disposition in [Disposition::Refund, Disposition::Credit] {
            commands.push(note(1, invoice.id, disposition));
        }
        // In time, but told late.
        commands.push(account.settlement_of(invoice.id, invoice.opened_at));
        for class in [
            DeclineClass::Retry,
            DeclineClass::AskCustomer,
            DeclineClass::Stop,
            DeclineClass::Unknown,
        ] {
            let outcome = PaymentOutcome::Failed {
                class,
                code: "51".into(),
            };
            commands.push(Command::RecordPayment {
                invoice_id: invoice.id,
                outcome,
            });
        }
    }
    commands
}

/// Every instant at which something ends, with the microseconds around it.
fn instants(account: &Account) -> BTreeSet<DateTime<Utc>> {
    fn open(bounds: &mut Vec<DateTime<Utc>>, account: &Account) {
        match account.sub.state.collection().map(|collection| collection.phase) {
            Some(CollectionPhase::Waiting { retry_at }) => bounds.push(retry_at),
            Some(CollectionPhase::AwaitingCustomer { until }) => bounds.push(until),
            Some(CollectionPhase::Charging | CollectionPhase::Spent) | None => {}
        }
    }
    fn active(bounds: &mut Vec<DateTime<Utc>>, active: &Active) {
        bounds.extend([active.term.period.start, active.term.period.end]);
    }
    fn expired(bounds: &mut Vec<DateTime<Utc>>, expired: &Expired) {
        bounds.extend([
            expired.ended_at,
            expired.grace_ends_at,
            expired.restricted_ends_at,
        ]);
        bounds.extend(expired.resumes.as_ref().map(|term| term.period.end));
    }
    let mut bounds = Vec::new();
    open(&mut bounds, account);
    match &account.sub.state {
        State::Pending(pending) => bounds.push(pending.pay_by),
        State::Trial(trial) => bounds.push(trial.trial_ends_at),
        State::Active(state) => active(&mut bounds, state),
        State::Expired(state) => expired(&mut bounds, state),
        State::Suspended(suspended) => match &suspended.suspension {
            Suspension::Unpaid {
                retention_ends_at,
                held,
            } => {
                bounds.push(*retention_ends_at);
                expired(&mut bounds, held);
            }
            Suspension::Operator {
                retention_ends_at,
                held,
                ..
            } => {
                bounds.push(*retention_ends_at);
                match held {
                    Held::Trial(trial) => bounds.push(trial.trial_ends_at),
                    Held::Active(held) => active(&mut bounds, held),
                    Held::Expired(held) => expired(&mut bounds, held),
                }
            }
            Suspension::Paused { resume_at, .. } => bounds.extend(*resume_at),
        },
        State::Canceled(_) => {}
    }
    let micro = TimeDelta::microseconds(1);
    let around = bounds
        .into_iter()
        .flat_map(|bound| [bound - micro, bound, bound + micro]);
    around
        .chain([account.now, account.now + TimeDelta::days(300)])
        .filter(|instant| *instant >= account.now)
        .collect()
}

/// [`Account::run`] checks every promise; this adds that a command is refused for its state exactly outside of
/// [`CommandKind::allowed`], that catching up ends, and that what follows later keeps the promises too.
#[test]
fn every_state_takes_or_refuses_every_command_at_every_boundary() {
    let mut decided = 0;
    for (name, account) in scenes() {
        for now in instants(&account) {
            for command in commands(&account, now) {
                let mut account = account.clone();
                account.is_quick = now != account.now;
                let listed = command.kind().allowed().contains(&account.sub.status());
                let due = account.sub.next_due().is_some_and(|due| due <= now);
                let before = account.sub.clone();
                let outcome = account.run(now, &command);
                let refused = matches!(outcome, Err(Rejection::WrongState { .. }));
                assert_eq!(refused, !listed, "{name}: {command:?} at {now}: {outcome:?}");
                if command == Command::Advance {
                    assert_eq!(outcome.is_ok(), due, "{name} at {now}: {outcome:?}");
                }
                match &outcome {
                    Err(Rejection::Runaway { .. }) => assert_eq!(name, "active, parked"),
                    Err(Rejection::Money(_) | Rejection::Calendar(_)) => {
                        panic!("{name}: {command:?} at {now}: {outcome:?}");
                    }
                    Ok(()) | Err(_) => {}
                }
                if outcome.is_err() {
                    assert_eq!(account.sub, before);
                    continue;
                }
                account.catch_up(now);
                let later = now + TimeDelta::days(100);
                account.catch_up(later);
                if let Some(open) = account.sub.state.collection().cloned() {
                    account.run(later, &account.settlement(later)).unwrap();
                    assert_eq!(account.invoice(open.invoice_id).state.code(), "paid");
                    account.catch_up(later);
                }
                decided += 1;
            }
        }
    }
    assert!(decided > 6_000, "{decided}");
}

#[test]
fn the_scenes_reach_every_status() {
    let seen: BTreeSet<_> = scenes().iter().map(|(_, account)| account.sub.status()).collect();
    assert_eq!(seen.len(), 6);
    let mut scenes = scenes();
    let not_prorated = scenes
        .iter_mut()
        .find(|(name, _)| *name == "active, not prorated")
        .unwrap();
    assert_eq!(not_prorated.1.plans[&UNPRORATED].proration, ProrationRule::None);
}
