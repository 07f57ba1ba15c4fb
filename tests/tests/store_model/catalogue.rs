//! The plans and the coupons that are put into both stores.

use std::collections::BTreeMap;

use billing_core::calendar::{Interval, IntervalUnit};
use billing_core::coupon::{Coupon, CouponDuration, CouponValue};
use billing_core::id::CouponCode;
use billing_core::plan::{Activation, BillingTiming, Plan, TrialEnd};
use billing_core::retry::RetryPolicy;
use billing_tests::kit::{plan, plan_id, product, usd, with_meter, with_trial};

/// Plans that differ in what makes a difference to what is stored.
pub(crate) fn plan_of(slot: u128, terms: u8) -> Plan {
    let base = with_meter(plan(slot, &format!("plan-{}", slot % 4)), "api");
    let base = Plan {
        version: u32::try_from(slot / 4 + 1).unwrap(),
        product: product("main"),
        ..base
    };
    let base = match slot {
        0 => with_trial(base, "family"),
        1 => Plan {
            activation: Activation::OnPayment { pay_within_hours: 48 },
            ..base
        },
        2 => Plan {
            timing: BillingTiming::InArrears,
            interval: Interval::new(IntervalUnit::Week, 1.try_into().unwrap()),
            ..with_trial(base, "family")
        },
        3 => Plan {
            product: product("side"),
            meters: BTreeMap::new(),
            ..base
        },
        4 => Plan {
            price: usd(0),
            retry: RetryPolicy::IntervalsHours(vec![]),
            retention_days: 10,
            ..base
        },
        _ => {
            let mut moves = with_trial(base, "other-family");
            if let Some(trial) = &mut moves.trial {
                trial.without_payment_method = TrialEnd::MoveTo { plan_id: plan_id(4) };
            }
            moves
        }
    };
    match terms {
        0 => base,
        1 => Plan {
            name: "renamed".into(),
            ..base
        },
        // The name of another plan.
        2 => Plan {
            version: 1,
            code: plan(0, "plan-0").code,
            ..base
        },
        _ => Plan {
            price: usd(2_500),
            grace_period_days: 0,
            ..base
        },
    }
}

pub(crate) fn coupon_code(slot: u8) -> CouponCode {
    CouponCode::new(&format!("COUPON-{slot}")).expect("a coupon code")
}

/// Coupons that differ in how often they are redeemed and from how many invoices they take off.
pub(crate) fn coupon_of(slot: u8, terms: u8) -> Coupon {
    let base = Coupon {
        code: coupon_code(slot),
        value: CouponValue::Percent(50.into()),
        duration: CouponDuration::Once,
        plans: [].into(),
        redeem_by: None,
        redemptions_max: None,
        once_per_tenant: false,
        is_active: true,
    };
    let base = match slot {
        0 => base,
        1 => Coupon {
            value: CouponValue::Amount(usd(300)),
            duration: CouponDuration::Invoices(2),
            redemptions_max: Some(1),
            ..base
        },
        2 => Coupon {
            value: CouponValue::Percent(100.into()),
            once_per_tenant: true,
            ..base
        },
        _ => Coupon {
            duration: CouponDuration::Forever,
            plans: [plan(0, "plan-0").code, plan(0, "plan-1").code].into(),
            redeem_by: Some(billing_tests::kit::start() + chrono::TimeDelta::days(200)),
            ..base
        },
    };
    match terms {
        0 => base,
        1 => Coupon {
            redemptions_max: Some(1),
            ..base
        },
        _ => Coupon {
            value: CouponValue::Amount(usd(100)),
            once_per_tenant: true,
            is_active: slot != 0,
            ..base
        },
    }
}
