//! Every refusal with its message, and which one is given when several apply.

use std::string::{String, ToString as _};
use std::vec::Vec;
use std::{format, vec};

use chrono::TimeDelta;
use uuid::Uuid;

use super::super::*;
use super::account::Account;
use super::kit::*;
use super::scenes::{scene, scenes};
use crate::audit::Actor;
use crate::credit_note::Disposition;
use crate::money::Currency;
use crate::payment::PaymentOutcome;
use crate::plan::{TenantProfile, Unavailable};
use crate::retry::DeclineClass;

const SUB: &str = "00000000-0000-0000-0000-0000000003e9";

fn settled(invoice: u128, minor: i64, reference: &str, settled_at: &str) -> Command {
    let outcome = PaymentOutcome::Settled {
        amount: usd(minor),
        reference: reference.into(),
        settled_at: at(settled_at),
    };
    Command::RecordPayment {
        invoice_id: InvoiceId::new(Uuid::from_u128(invoice)),
        outcome,
    }
}

fn declined(invoice: u128, code: &str) -> Command {
    let outcome = PaymentOutcome::Failed {
        class: DeclineClass::Retry,
        code: code.into(),
    };
    Command::RecordPayment {
        invoice_id: InvoiceId::new(Uuid::from_u128(invoice)),
        outcome,
    }
}

#[track_caller]
fn check(from: &str, command: &Command, message: &str) {
    let account = scene(from);
    let now = account.now.max(at("2026-03-11T00:00:00Z"));
    assert_eq!(
        account.ask(now, command).unwrap_err().to_string(),
        message,
        "{from}"
    );
}

#[test]
fn each_refusal_says_what_was_tried_and_what_is_expected() {
    for reason in ["", &"x".repeat(501)] {
        let found = reason.len();
        let message = format!("expected a reason of 1 to 500 characters, got {found}");
        check(
            "active",
            &Command::Suspend {
                reason: reason.into(),
            },
            &message,
        );
        let cancel = Command::Cancel {
            when: When::Now,
            reason: reason.into(),
            unused: UnusedOnCancel::None,
        };
        check("active", &cancel, &message);
    }
    for text in ["", &"x".repeat(256)] {
        let message = format!(
            "expected a payment reference or code of 1 to 255 characters, got {}",
            text.len()
        );
        check("renewing", &settled(2, 41_00, text, APRIL), &message);
        check("renewing", &declined(2, text), &message);
    }
    check(
        "active",
        &seats(0, None),
        "expected a quantity of at least 1, got 0",
    );
    check(
        "active",
        &seats(1, When::AtPeriodEnd),
        "subscription has a quantity of 1 already",
    );
    check(
        "active",
        &pause(When::Now, Some("2026-03-11T00:00:00Z"), UnusedOnPause::Credit),
        "cannot resume at 2026-03-11 00:00:00 UTC, the pause begins at 2026-03-11 00:00:00 UTC",
    );
    check(
        "active",
        &pause(When::AtPeriodEnd, Some(APRIL), UnusedOnPause::Credit),
        "cannot resume at 2026-04-01 00:00:00 UTC, the pause begins at 2026-04-01 00:00:00 UTC",
    );
    check(
        "renewing",
        &settled(2, 41_00, "r", "2026-04-01T00:00:00.000001Z"),
        "payment settled at 2026-04-01 00:00:00.000001 UTC, which is after 2026-04-01 00:00:00 UTC",
    );
    check(
        "active",
        &Command::Renew,
        &format!("cannot renew subscription `{SUB}`: it is active, expected expired"),
    );
    check(
        "expired, waiting",
        &Command::UndoCancel,
        &format!("cannot undo_cancel subscription `{SUB}`: it is expired, expected trial or active"),
    );
    check(
        "suspended, unpaid",
        &Command::Resume,
        &format!("cannot resume subscription `{SUB}`: it is suspended, not paused"),
    );
    check(
        "suspended trial",
        &Command::Resume,
        &format!("cannot resume subscription `{SUB}`: it is suspended, not paused"),
    );
    check(
        "paused, carried",
        &Command::Reactivate,
        &format!("cannot reactivate subscription `{SUB}`: it is paused"),
    );
    check(
        "active",
        &Command::Advance,
        &format!("nothing is due for subscription `{SUB}` before 2026-04-01 00:00:00 UTC"),
    );
    check(
        "renewing",
        &Command::Advance,
        &format!("nothing is due for subscription `{SUB}`"),
    );
    check(
        "active",
        &Command::Unpark,
        &format!("subscription `{SUB}` is not parked"),
    );
    let invoice = |number: u32| format!("00000000-0000-0000-0000-{number:012}");
    let pending = |what: &str, number| {
        format!(
            "cannot {what} subscription `{SUB}` while invoice `{}` is being collected",
            invoice(number)
        )
    };
    check("renewing", &change(PRO, None), &pending("change_plan", 2));
    check("renewing", &seats(2, None), &pending("change_quantity", 2));
    check(
        "renewing",
        &pause(When::Now, None, UnusedOnPause::Carry),
        &pending("pause", 2),
    );
    check("expired, charging again", &Command::Renew, &pending("renew", 2));
    let scheduled =
        format!("subscription `{SUB}` has a change scheduled for the end of its period, drop it first");
    check("active, change at its end", &change(PRO, None), &scheduled);
    check("active, change at its end", &seats(2, None), &scheduled);
    check("five seats, fewer at its end", &seats(2, None), &scheduled);
    check("five seats, fewer at its end", &change(PRO, None), &scheduled);
    check(
        "active, change at its end",
        &pause(When::Now, None, UnusedOnPause::Carry),
        &scheduled,
    );
    check(
        "active, cancel at its end",
        &cancel(When::AtPeriodEnd, UnusedOnCancel::None),
        &scheduled,
    );
    check(
        "trial, cancel at its end",
        &cancel(When::AtPeriodEnd, UnusedOnCancel::None),
        &scheduled,
    );
    check("trial, cancel at its end", &change(PRO, When::Now), &scheduled);
    for (from, command, what) in [
        ("active", Command::UndoCancel, "undo_cancel"),
        ("active, pause at its end", Command::UndoCancel, "undo_cancel"),
        ("trial", Command::UndoCancel, "undo_cancel"),
        ("active", Command::DropPendingChange, "drop_pending_change"),
        (
            "active, cancel at its end",
            Command::DropPendingChange,
            "drop_pending_change",
        ),
        (
            "trial, cancel at its end",
            Command::DropPendingChange,
            "drop_pending_change",
        ),
    ] {
        check(
            from,
            &command,
            &format!("subscription `{SUB}` has nothing scheduled that {what} could take back"),
        );
    }
    check(
        "active",
        &change(BASIC, None),
        &format!("subscription is on plan `{}` already", BASIC),
    );
    check(
        "active",
        &settled(1, 31_00, "ref-1-1", MARCH),
        &format!("invoice `{}` is paid", invoice(1)),
    );
    check(
        "active",
        &declined(1, "51"),
        &format!("invoice `{}` is paid", invoice(1)),
    );
    check(
        "abandoned",
        &declined(1, "51"),
        &format!("invoice `{}` is void", invoice(1)),
    );
    check(
        "canceled, uncollectible",
        &declined(2, "51"),
        &format!("invoice `{}` is uncollectible", invoice(2)),
    );
    check(
        "expired, waiting",
        &declined(2, "51"),
        &format!("no payment attempt of invoice `{}` is awaited", invoice(2)),
    );
    check(
        "renewing",
        &settled(2, 40_99, "r", APRIL),
        &format!(
            "payment of 40.99 USD does not match invoice `{}` over 41.00 USD",
            invoice(2)
        ),
    );
    // Nothing was to be paid, so there is nothing to pay back either. (A refund of nothing was asked for.)
    check(
        "active, free",
        &settled(1, 0, "r", MARCH),
        &format!("invoice `{}` is paid", invoice(1)),
    );
}

#[test]
fn a_runaway_is_refused_where_a_person_asks_but_never_keeps_anyone_from_leaving() {
    let mut account = scene("active, parked");
    let message = account.refused(APRIL, &change(PRO, When::Now));
    assert!(
        message.starts_with(&format!("subscription `{SUB}` would have 100")),
        "{message}"
    );
    assert!(
        message.ends_with("invoice lines today, at most 1000 are allowed"),
        "{message}"
    );
    account.must(APRIL, &cancel(When::Now, UnusedOnCancel::None));
    assert_eq!(account.sub.status(), Status::Canceled);
}

/// Facts that `needs` would not give, so not by way of the kit.
#[track_caller]
fn decide_with(
    account: &Account,
    command: &Command,
    facts: impl for<'a> FnOnce(&'a Account) -> Facts<'a>,
) -> String {
    let now = account.now.max(at("2026-03-11T00:00:00Z"));
    let invoice_id = InvoiceId::new(Uuid::from_u128(99));
    let context = Context {
        now,
        actor: &Actor::System,
        ip: None,
        invoice_id,
    };
    decide(&account.sub, command, &facts(account), &context)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_missing_fact_is_told_from_a_refused_command() {
    let basic = |account: &Account| account.plans[&BASIC].id;
    let active = scene("active");
    assert_eq!(basic(&active), BASIC);
    assert_eq!(
        decide_with(&active, &Command::UndoCancel, |account| Facts::of(
            &account.plans[&PRO]
        )),
        "cannot decide undo_cancel without the plan in force"
    );
    let of = |account: &Account, command: &Command| {
        decide_with(account, command, |account| {
            Facts::of(&account.plans[&account.sub.plan_id])
        })
    };
    assert_eq!(
        of(&active, &change(PRO, None)),
        "cannot decide change_plan without the target plan"
    );
    assert_eq!(
        of(&active, &cancel(When::Now, UnusedOnCancel::None)),
        "cannot decide cancel without usage"
    );
    assert_eq!(
        of(&scene("renewing"), &cancel(When::Now, UnusedOnCancel::None)),
        "cannot decide cancel without the open invoice"
    );
    assert_eq!(
        of(&active, &settled(1, 31_00, "r", MARCH)),
        "cannot decide record_payment without the invoice"
    );
    // The state comes first: a shell need not load anything for what is not allowed.
    assert_eq!(
        decide_with(&active, &Command::Renew, |account| Facts::of(
            &account.plans[&PRO]
        )),
        format!("cannot renew subscription `{SUB}`: it is active, expected expired")
    );
}

#[test]
fn an_invoice_of_another_subscription_is_refused() {
    let account = scene("renewing");
    let mut foreign = account.open().unwrap().clone();
    foreign.subscription_id = SubscriptionId::new(Uuid::from_u128(5));
    let context = Context {
        now: account.now,
        actor: &Actor::System,
        ip: None,
        invoice_id: InvoiceId::new(Uuid::from_u128(99)),
    };
    let facts = Facts {
        invoice: Some(&foreign),
        ..Facts::of(&account.plans[&BASIC])
    };
    // Before its amount is looked at.
    let rejection = decide(&account.sub, &settled(2, 1, "r", APRIL), &facts, &context).unwrap_err();
    assert_eq!(
        rejection.to_string(),
        format!("invoice `00000000-0000-0000-0000-000000000002` is not of subscription `{SUB}`")
    );
}

/// The fields, then the state, then the business: each case has the faults of the ones after it too.
#[test]
fn of_several_refusals_the_first_listed_is_given() {
    let canceled = "canceled, refunded";
    check(
        canceled,
        &Command::Suspend {
            reason: String::new(),
        },
        "expected a reason of 1 to 500 characters, got 0",
    );
    check(
        "trial",
        &pause(When::Now, Some("2026-03-10T00:00:00Z"), UnusedOnPause::Credit),
        "cannot resume at 2026-03-10 00:00:00 UTC, the pause begins at 2026-03-11 00:00:00 UTC",
    );
    check(
        "active",
        &settled(1, 1, "", "2027-01-01T00:00:00Z"),
        "expected a payment reference or code of 1 to 255 characters, got 0",
    );
    check(
        "active",
        &settled(1, 1, "r", "2027-01-01T00:00:00Z"),
        "payment settled at 2027-01-01 00:00:00 UTC, which is after 2026-03-11 00:00:00 UTC",
    );
    check(
        "active",
        &settled(1, 1, "ref-1-1", MARCH),
        "payment of 0.01 USD does not match invoice `00000000-0000-0000-0000-000000000001` over 31.00 USD",
    );
    check(
        canceled,
        &change(BASIC, None),
        &format!("cannot change_plan subscription `{SUB}`: it is canceled, expected trial or active"),
    );
    // A renewal that is collected and flagged: the charge, then what is scheduled, then the plan.
    let collected = "cannot change_plan subscription `{SUB}` while invoice \
                     `00000000-0000-0000-0000-000000000002` is being collected"
        .replace("{SUB}", SUB);
    check("renewing, cancel at its end", &change(BASIC, None), &collected);
    // The quantity: its field, the state, the charge, what is scheduled, then that it is the same.
    check(
        canceled,
        &seats(0, None),
        "expected a quantity of at least 1, got 0",
    );
    check(
        canceled,
        &seats(1, None),
        &format!("cannot change_quantity subscription `{SUB}`: it is canceled, expected trial or active"),
    );
    check(
        "renewing, cancel at its end",
        &seats(1, None),
        &collected.replace("change_plan", "change_quantity"),
    );
    check(
        "active, cancel at its end",
        &seats(1, None),
        &format!("subscription `{SUB}` has a change scheduled for the end of its period, drop it first"),
    );
    check(
        "active, cancel at its end",
        &change(BASIC, None),
        &format!("subscription `{SUB}` has a change scheduled for the end of its period, drop it first"),
    );
}

#[test]
fn a_plan_is_refused_for_itself_its_product_its_currency_then_its_availability_then_its_meters() {
    let mut plans = (*catalog()).clone();
    let eur = Money::new(1, Currency::from_code("EUR").unwrap());
    let other = SubscriptionId::new(Uuid::from_u128(77));
    let closed = Plan {
        discontinued: true,
        is_active: false,
        ..plans[&PRO].clone()
    };
    let abroad = Plan {
        price: eur,
        ..closed.clone()
    };
    let elsewhere = Plan {
        product: ProductCode::new("other").unwrap(),
        ..abroad.clone()
    };
    let ask = |plan: &Plan| {
        let mut plans = plans.clone();
        plans.insert(PRO, plan.clone());
        let mut account = scene("active");
        account.plans = plans.into();
        account.siblings = vec![(other, metered(super::kit::plan(YEARLY), "gb", 0))];
        account.refused("2026-03-11T00:00:00Z", &change(PRO, None))
    };
    assert_eq!(
        ask(&elsewhere),
        format!("plan `{PRO}` is of product `other`, expected `core`")
    );
    assert_eq!(ask(&abroad), format!("plan `{PRO}` charges in EUR, expected USD"));
    assert_eq!(
        ask(&closed),
        format!("plan `{PRO}` is not available: the plan is not active; the plan is discontinued")
    );
    assert_eq!(
        ask(&plans[&PRO]),
        format!("meter `gb` is billed by subscription `{other}` already")
    );
    plans.get_mut(&PRO).unwrap().meters.clear();
    let mut account = scene("active");
    account.plans = plans.into();
    account.siblings = vec![(other, metered(super::kit::plan(YEARLY), "gb", 0))];
    assert_eq!(
        account.run(at("2026-03-11T00:00:00Z"), &change(PRO, None)),
        Ok(())
    );
}

#[test]
fn a_creation_is_refused_for_its_quantity_what_is_live_the_plan_the_meters_then_the_payment_method() {
    let other = SubscriptionId::new(Uuid::from_u128(77));
    let mut plan = catalog()[&TRIAL].clone();
    plan.trial.as_mut().unwrap().payment_method_required = true;
    let closed = Plan {
        is_active: false,
        ..plan.clone()
    };
    let sibling = [(other, &plan)];
    let request = Create {
        payment_method: None,
        ..request()
    };
    let ask = |request: &Create, plan: &Plan, live, siblings: &[(SubscriptionId, &Plan)], trial_used| {
        let facts = CreateFacts {
            plan,
            live,
            trial_used,
            siblings,
            tax: None,
            coupon: None,
        };
        let context = Context {
            now: at(MARCH),
            actor: &Actor::System,
            ip: None,
            invoice_id: InvoiceId::new(Uuid::from_u128(1)),
        };
        create(request, &facts, &context)
            .map(|decision| decision.next.status())
            .map_err(|error| error.to_string())
    };
    let none = Create {
        quantity: 0,
        ..request.clone()
    };
    assert_eq!(
        ask(&none, &closed, Some(other), &sibling, false),
        Err("expected a quantity of at least 1, got 0".into())
    );
    assert_eq!(
        ask(&request, &closed, Some(other), &sibling, false),
        Err(format!(
            "tenant has subscription `{other}` of product `core` already"
        ))
    );
    assert_eq!(
        ask(&request, &closed, None, &sibling, false),
        Err(format!("plan `{TRIAL}` is not available: the plan is not active"))
    );
    assert_eq!(
        ask(&request, &plan, None, &sibling, false),
        Err(format!("meter `api` is billed by subscription `{other}` already"))
    );
    assert_eq!(
        ask(&request, &plan, None, &[], false),
        Err(format!("the trial of plan `{TRIAL}` requires a payment method"))
    );
    // Only for the trial.
    assert_eq!(ask(&request, &plan, None, &[], true), Ok(Status::Active));
    let untried = Create {
        trial: false,
        ..request.clone()
    };
    assert_eq!(ask(&untried, &plan, None, &[], false), Ok(Status::Active));
    let known = Create {
        payment_method: Some(CARD),
        ..request
    };
    assert_eq!(ask(&known, &plan, None, &[], false), Ok(Status::Trial));
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let mut plans = (*catalog()).clone();
    plans.get_mut(&PRO).unwrap().price = usd(i64::MAX);
    let mut account = scene("active");
    account.plans = plans.into();
    account.sub.credit = usd(0);
    account.must("2026-03-11T00:00:00Z", &change(PRO, When::AtPeriodEnd));
    account.record("api", 900, at("2026-03-12T00:00:00Z"));
    assert_eq!(
        account.refused(APRIL, &Command::Advance),
        "amount in USD is too large"
    );
    // What could never be billed is refused when it is asked for, not when it falls due.
    let mut plans = (*catalog()).clone();
    for id in [PRO, BASIC, TRIAL] {
        plans.get_mut(&id).unwrap().price = usd(i64::MAX / 2);
    }
    let plans = std::sync::Arc::new(plans);
    let too_large = "amount in USD is too large";
    let at_end = seats(3, When::AtPeriodEnd);
    let mut trial = Account::with(plans.clone(), TRIAL, MARCH, &request());
    assert_eq!(trial.refused(MARCH, &at_end), too_large);
    trial.must(MARCH, &seats(2, None));
    let mut active = Account::with(plans.clone(), BASIC, MARCH, &request());
    active.pay(MARCH);
    assert_eq!(active.refused(MARCH, &at_end), too_large);
    assert_eq!(active.refused(MARCH, &seats(3, When::Now)), too_large);
    let context = Context {
        now: at(MARCH),
        actor: &Actor::System,
        ip: None,
        invoice_id: InvoiceId::new(Uuid::from_u128(1)),
    };
    let facts = CreateFacts {
        plan: &plans[&TRIAL],
        live: None,
        trial_used: false,
        siblings: &[],
        tax: None,
        coupon: None,
    };
    let three = Create {
        quantity: 3,
        ..request()
    };
    let created = create(&three, &facts, &context);
    assert_eq!(created.unwrap_err().to_string(), too_large);
    let mut free = Account::with(plans.clone(), FREE, MARCH, &three);
    free.plans = plans;
    assert_eq!(free.refused(MARCH, &change(PRO, When::AtPeriodEnd)), too_large);
    let far = DateTime::<Utc>::MAX_UTC - TimeDelta::days(1);
    let rejection = scene("active").ask(far, &suspend()).unwrap_err();
    assert!(rejection.to_string().contains("is out of range"), "{rejection}");
}

/// The transition table once more, read by state: what a person would write down, not what the code says.
#[test]
fn the_list_of_what_is_allowed_is_that_of_the_table() {
    let anywhere = "advance record_payment unpark issue_credit_note";
    let live = "buy_add_on cancel set_payment_method set_auto_renew redeem_coupon grant_credit void_credit";
    for (status, own) in [
        (Status::Pending, ""),
        (
            Status::Trial,
            "undo_cancel change_plan change_quantity change_add_on drop_pending_change suspend",
        ),
        (
            Status::Active,
            "undo_cancel change_plan change_quantity change_add_on drop_pending_change suspend pause",
        ),
        (Status::Expired, "renew suspend"),
        (Status::Suspended, "reactivate resume"),
        (Status::Canceled, ""),
    ] {
        let live = if status == Status::Canceled { "" } else { live };
        let mut expected: Vec<_> = [anywhere, live, own]
            .iter()
            .flat_map(|list| list.split_whitespace())
            .collect();
        expected.sort_unstable();
        let allowed = CommandKind::ALL
            .into_iter()
            .filter(|kind| kind.allowed().contains(&status));
        let mut allowed: Vec<_> = allowed.map(CommandKind::code).collect();
        allowed.sort_unstable();
        assert_eq!(allowed, expected, "{status}");
    }
}

/// 6 states x 21 commands: refused for its state exactly where [`CommandKind::allowed`] does not list it.
#[test]
fn each_command_is_allowed_where_it_is_listed() {
    let mut seen = Vec::new();
    for (name, account) in scenes() {
        let status = account.sub.status();
        let commands = [
            Command::Advance,
            Command::Renew,
            cancel(When::Now, UnusedOnCancel::None),
            Command::UndoCancel,
            suspend(),
            Command::Reactivate,
            pause(When::Now, None, UnusedOnPause::Credit),
            Command::Resume,
            change(PRO, None),
            seats(2, None),
            add_on("backup", 2, None),
            buy("setup", 1),
            Command::DropPendingChange,
            Command::SetPaymentMethod { payment_method: None },
            Command::SetAutoRenew { auto_renew: true },
            declined(1, "51"),
            Command::Unpark,
            redeem("LAUNCH"),
            grant(1, 5_00),
            Command::VoidCredit {
                grant_id: grant_id(1),
            },
            note(1, InvoiceId::new(uuid::Uuid::from_u128(1)), Disposition::Credit),
        ];
        assert_eq!(commands.clone().map(|command| command.kind()), CommandKind::ALL);
        for command in commands {
            let kind = command.kind();
            let refused = matches!(
                account.ask(account.now, &command),
                Err(Rejection::WrongState { command, status: found, allowed, .. })
                    if command == kind && found == status && allowed == kind.allowed()
            );
            assert_eq!(refused, !kind.allowed().contains(&status), "{name}: {kind}");
            seen.push((status, kind));
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 6 * 21);
}

#[test]
fn every_reason_against_a_plan_is_told() {
    let rejection = Rejection::PlanUnavailable {
        plan_id: PRO,
        reasons: vec![Unavailable::Inactive, Unavailable::Region { region: None }],
    };
    assert_eq!(
        rejection.to_string(),
        format!(
            "plan `{PRO}` is not available: the plan is not active; the plan is not sold in an unknown region"
        )
    );
    assert_eq!(TenantProfile::default().region, None);
}
