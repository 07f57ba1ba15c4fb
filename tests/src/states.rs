//! A subscription in every state, and a plan with every field set.

use std::num::NonZeroU16;

use billing_core::calendar::{Interval, IntervalUnit, MonthEnd};
use billing_core::id::{FeatureCode, PlanCode};
use billing_core::money::Rounding;
use billing_core::plan::{
    Activation, AddOn, AddOnCharge, BillingTiming, Feature, Plan, ProrationRule, RestrictedStage,
    TenantProfile, TrialEnd,
};
use billing_core::retry::{DeclineClass, ExponentialBackoff, RetryPolicy};
use billing_core::subscription::{Command, Create, Subscription, UnusedOnCancel, UnusedOnPause, When};
use chrono::TimeDelta;

use crate::kit::{
    Kit, add_on, cancel_now, decimal, event, failed, plan, plan_id, product, request, tenant, usd,
    with_meter, with_trial,
};

/// A valid plan without a single default.
///
/// # Panics
///
/// Never.
pub fn full_plan() -> Plan {
    let feature = |code: &str| FeatureCode::new(code).expect("a feature code");
    let mut full = with_meter(
        with_meter(with_trial(plan(77, "full"), "full-family"), "api"),
        "gb:out",
    );
    full.code = PlanCode::new("Full.plan_1:a-b").expect("a plan code");
    full.version = 12;
    full.product = product("side");
    full.name = "Vóll – 日本 \u{1F4B6} \"quoted\"".into();
    full.price = usd(123_456_789);
    full.interval = Interval::new(IntervalUnit::Week, NonZeroU16::new(6).expect("six"));
    full.timing = BillingTiming::InArrears;
    full.activation = Activation::OnPayment { pay_within_hours: 23 };
    if let Some(trial) = &mut full.trial {
        trial.days = 30;
        trial.payment_method_required = true;
        trial.without_payment_method = TrialEnd::MoveTo { plan_id: plan_id(78) };
    }
    full.grace_period_days = 5;
    full.restricted = Some(RestrictedStage {
        days: 9,
        features: [feature("export")].into(),
    });
    full.retention_days = 90;
    full.retry = RetryPolicy::Exponential(ExponentialBackoff {
        base_hours: 1,
        factor: 3,
        cap_hours: 100,
        retries_max: 7,
        jitter_percent: 25,
    });
    full.proration = ProrationRule::None;
    full.rounding = Rounding::HalfEven;
    full.minimum_commitment = Some(usd(50_000));
    full.add_ons = [("backup", AddOnCharge::Recurring), ("setup", AddOnCharge::Once)]
        .map(|(code, charged)| {
            let sold = AddOn {
                name: format!("A {code}"),
                price: usd(5_00),
                charged,
            };
            (add_on(code), sold)
        })
        .into();
    full.invoice_lines_per_day_max = 17;
    full.regions = ["NG", "US-CA"]
        .map(|region| region.parse().expect("a region"))
        .into();
    full.industries = ["health", "education"]
        .map(|tag| tag.parse().expect("a tag"))
        .into();
    full.required_compliance = ["hipaa", "pci-dss"].map(|tag| tag.parse().expect("a tag")).into();
    full.is_active = false;
    full.discontinued = true;
    full.features = [
        (feature("export"), Feature::Flag(true)),
        (feature("sso"), Feature::Flag(false)),
        (feature("seats"), Feature::Value("25 – ∞".into())),
        (feature("api"), Feature::Metered(crate::kit::meter("api"))),
    ]
    .into();
    if let Some(terms) = full.meters.get_mut(&crate::kit::meter("api")) {
        terms.allowance = decimal("1000.50");
        terms.soft_limit = Some(decimal("2000"));
        terms.hard_limit = Some(decimal("3000.000000000001"));
        terms.rollover_max = Some(decimal("150.5"));
        terms.charge = billing_core::charge::ChargeModel::PerUnit {
            unit_price: decimal("0.0000004"),
        };
        terms.minimum = Some(decimal("1.50"));
        terms.maximum = Some(decimal("1000"));
    }
    full
}

/// A subscription in every state and with everything that a state may hold, each of its own tenant, made by commands
/// through the store of `kit`.
///
/// # Panics
///
/// When core or the store does not do what this needs.
pub fn states(kit: &Kit<'_>) -> Vec<(&'static str, Subscription)> {
    let basic = with_meter(plan(1, "basic"), "api");
    let better = Plan {
        price: usd(3000),
        restricted: Some(RestrictedStage {
            days: 9,
            features: [].into(),
        }),
        ..plan(2, "better")
    };
    let trial = with_trial(plan(3, "trial"), "family");
    let mut trial_cancel = with_trial(plan(4, "trial-cancel"), "other-family");
    if let Some(trial) = &mut trial_cancel.trial {
        trial.without_payment_method = TrialEnd::Cancel;
    }
    let first_paid = Plan {
        activation: Activation::OnPayment { pay_within_hours: 23 },
        ..plan(5, "first-paid")
    };
    let no_retry = Plan {
        retry: RetryPolicy::IntervalsHours(vec![]),
        ..plan(6, "no-retry")
    };
    let guarded = Plan {
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1,
        ..with_meter(plan(7, "guarded"), "gb")
    };
    let sells = Plan {
        add_ons: full_plan().add_ons,
        ..with_meter(plan(8, "sells"), "gb")
    };
    kit.put_plans(&[
        &basic,
        &sells,
        &better,
        &trial,
        &trial_cancel,
        &first_paid,
        &no_retry,
        &guarded,
    ]);
    let begin = kit.now();
    let mut n = 0;
    let mut new = |plan: &Plan, change: &dyn Fn(&mut Create)| {
        n += 1;
        kit.set_now(begin);
        let mut create = Create {
            payment_method: kit.method(),
            ..request(kit.new_id(), tenant(n))
        };
        change(&mut create);
        kit.create(&create, plan)
    };
    let no_method = |create: &mut Create| create.payment_method = None;
    let use_up = |one: &Subscription, code: &str| {
        kit.use_up(vec![event(one.tenant_id, "u", code, "250.5", kit.now())]);
        kit.pass_days(1);
    };
    let advance = |one: &Subscription| {
        kit.set_now(one.next_due().expect("it is due"));
        kit.run(one.id, &Command::Advance)
    };
    let decline = |one: &Subscription, class| kit.run(one.id, &failed(one, class).expect("an open invoice"));
    let cancel_at_end = Command::Cancel {
        when: When::AtPeriodEnd,
        reason: "too dear".into(),
        unused: UnusedOnCancel::None,
    };
    let change_to = |when| Command::ChangePlan {
        plan_id: better.id,
        when: Some(when),
        tenant: TenantProfile::default(),
    };
    let pause = |when, unused, resume| Command::Pause {
        when,
        resume_at: resume,
        unused,
    };
    let suspend = Command::Suspend {
        reason: "chargeback".into(),
    };
    let mut all = Vec::new();

    let one = new(&first_paid, &|_| {});
    all.push(("pending", one));
    let one = new(&first_paid, &|_| {});
    all.push(("pending_awaiting_customer", decline(&one, DeclineClass::Retry)));

    let one = new(&trial, &|create| {
        no_method(create);
        create.zone = chrono_tz::Tz::Africa__Lagos;
        create.month_end = MonthEnd::LastDay;
        create.auto_renew = false;
    });
    all.push(("trial", one));
    let one = new(&trial, &no_method);
    all.push(("trial_cancel_at_end", kit.run(one.id, &cancel_at_end)));
    let one = new(&trial, &no_method);
    all.push((
        "trial_change_at_end",
        kit.run(one.id, &change_to(When::AtPeriodEnd)),
    ));

    let one = new(&basic, &|_| {});
    all.push(("active_collecting", one));
    let one = new(&basic, &|_| {});
    all.push(("active", kit.pay(one.id)));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    all.push(("active_cancel_at_end", kit.run(one.id, &cancel_at_end)));
    let one = new(&basic, &|_| {});
    let one = kit.pay(one.id);
    let resume_at = one.next_due().map(|due| due + TimeDelta::microseconds(1));
    all.push((
        "active_pause_at_end",
        kit.run(
            one.id,
            &pause(When::AtPeriodEnd, UnusedOnPause::Credit, resume_at),
        ),
    ));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    all.push((
        "active_change_at_end",
        kit.run(one.id, &change_to(When::AtPeriodEnd)),
    ));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    use_up(&one, "api");
    kit.run(one.id, &change_to(When::Now));
    all.push(("active_changed", kit.pay(one.id)));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    kit.pass_days(1);
    kit.run(one.id, &pause(When::Now, UnusedOnPause::Credit, None));
    all.push((
        "active_after_pause_with_credit_used",
        kit.run(one.id, &Command::Resume),
    ));
    let one = new(&guarded, &|_| {});
    let one = kit.pay(one.id);
    use_up(&one, "gb");
    let parked = advance(&one);
    assert!(parked.parked_at.is_some());
    all.push(("active_parked", parked));
    let one = new(&basic, &|_| {});
    let one = kit.pay(one.id);
    all.push(("active_renewing", advance(&one)));

    let one = new(&trial, &no_method);
    all.push(("expired_trial_ended", advance(&one)));
    let one = new(&basic, &|create| create.auto_renew = false);
    let one = kit.pay(one.id);
    all.push(("expired_not_renewed", advance(&one)));
    let one = new(&basic, &|create| create.auto_renew = false);
    let one = kit.pay(one.id);
    use_up(&one, "api");
    all.push(("expired_not_renewed_with_usage", advance(&one)));
    let one = new(&basic, &|create| create.auto_renew = false);
    let one = kit.pay(one.id);
    let one = advance(&one);
    all.push(("expired_renewing", kit.run(one.id, &Command::Renew)));
    let one = new(&basic, &|_| {});
    all.push(("expired_waiting", decline(&one, DeclineClass::Retry)));
    let one = new(&better, &|_| {});
    all.push((
        "expired_awaiting_customer",
        decline(&one, DeclineClass::AskCustomer),
    ));
    let one = new(&basic, &|_| {});
    let one = decline(&one, DeclineClass::Retry);
    all.push(("expired_charging_again", advance(&one)));
    let one = new(&basic, &|_| {});
    let one = kit.pay(one.id);
    kit.run(one.id, &change_to(When::AtPeriodEnd));
    let one = kit.run(one.id, &Command::SetAutoRenew { auto_renew: false });
    all.push(("expired_change_at_end", advance(&one)));

    let one = new(&no_retry, &|_| {});
    all.push(("suspended_unpaid", decline(&one, DeclineClass::Retry)));
    let one = new(&trial, &no_method);
    all.push(("suspended_trial", kit.run(one.id, &suspend)));
    let one = new(&basic, &|_| {});
    all.push(("suspended_active", kit.run(one.id, &suspend)));
    let one = new(&basic, &|_| {});
    decline(&one, DeclineClass::Retry);
    all.push(("suspended_expired", kit.run(one.id, &suspend)));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    kit.pass_days(1);
    all.push((
        "paused",
        kit.run(one.id, &pause(When::Now, UnusedOnPause::Credit, None)),
    ));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    use_up(&one, "api");
    let resume_at = Some(kit.now() + TimeDelta::days(5));
    all.push((
        "paused_carrying_and_collecting",
        kit.run(one.id, &pause(When::Now, UnusedOnPause::Carry, resume_at)),
    ));

    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    all.push(("canceled", kit.run(one.id, &cancel_now())));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    use_up(&one, "api");
    all.push(("canceled_collecting", kit.run(one.id, &cancel_now())));
    let one = new(&basic, &|_| {});
    kit.pay(one.id);
    kit.pass_days(10);
    let refund = Command::Cancel {
        when: When::Now,
        reason: "refund me".into(),
        unused: UnusedOnCancel::Refund,
    };
    all.push(("canceled_refunded", kit.run(one.id, &refund)));
    let one = new(&first_paid, &|_| {});
    all.push(("canceled_abandoned", advance(&one)));
    let one = new(&trial_cancel, &no_method);
    all.push(("canceled_trial_ended", advance(&one)));
    let one = new(&no_retry, &|_| {});
    let one = decline(&one, DeclineClass::Stop);
    all.push(("canceled_retention_over", advance(&one)));

    let seats = |quantity| Command::ChangeQuantity { quantity, when: None };
    let one = new(&basic, &|create| create.quantity = 2);
    kit.pay(one.id);
    kit.pass_days(1);
    kit.run(one.id, &seats(5));
    all.push(("active_more_seats", kit.pay(one.id)));
    let one = new(&basic, &|create| create.quantity = 5);
    kit.pay(one.id);
    all.push(("active_fewer_seats_at_end", kit.run(one.id, &seats(2))));

    let one = new(&sells, &|create| {
        create.add_ons = [(add_on("backup"), 3), (add_on("setup"), 1)].into();
    });
    kit.pay(one.id);
    kit.run(
        one.id,
        &Command::BuyAddOn {
            add_on: add_on("setup"),
            quantity: 2,
        },
    );
    let fewer = Command::ChangeAddOn {
        add_on: add_on("backup"),
        quantity: 1,
        when: None,
    };
    all.push(("active_with_add_ons", kit.run(one.id, &fewer)));
    all
}
