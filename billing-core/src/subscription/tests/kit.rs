//! Plans to move among, and commands in one line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::{format, vec};

use rust_decimal::Decimal;
use uuid::Uuid;

use super::super::*;
use crate::calendar::{Interval, MonthEnd};
use crate::charge::ChargeModel;
use crate::coupon::{Coupon, CouponDuration, CouponValue};
use crate::credit::GrantSource;
use crate::credit_note::{CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition};
use crate::id::{
    CouponCode, CreditNoteId, FeatureCode, GrantId, InvoiceId, MeterCode, PlanCode, TrialFamily,
};
use crate::money::{Currency, Rounding};
use crate::plan::{
    Activation, AddOn, AddOnCharge, BillingTiming, Feature, MeterTerms, ProrationRule, RestrictedStage,
    TenantProfile, Trial,
};
use crate::retry::RetryPolicy;
use crate::tax::{TaxBehavior, TaxRate, TaxTreatment};

pub(super) const SUBSCRIPTION: SubscriptionId = SubscriptionId::new(Uuid::from_u128(1001)); // no jitter
pub(super) const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));
pub(super) const CARD: PaymentMethodId = PaymentMethodId::new(Uuid::from_u128(8));

pub(super) const BASIC: PlanId = PlanId::new(Uuid::from_u128(1));
pub(super) const PRO: PlanId = PlanId::new(Uuid::from_u128(2));
pub(super) const YEARLY: PlanId = PlanId::new(Uuid::from_u128(3));
pub(super) const FREE: PlanId = PlanId::new(Uuid::from_u128(4));
pub(super) const ARREARS: PlanId = PlanId::new(Uuid::from_u128(5));
pub(super) const TRIAL: PlanId = PlanId::new(Uuid::from_u128(6));
pub(super) const TRIAL_THEN_FREE: PlanId = PlanId::new(Uuid::from_u128(7));
pub(super) const TRIAL_THEN_END: PlanId = PlanId::new(Uuid::from_u128(8));
pub(super) const PREPAID: PlanId = PlanId::new(Uuid::from_u128(9));
pub(super) const UNPRORATED: PlanId = PlanId::new(Uuid::from_u128(10));
pub(super) const UNPRORATED_ARREARS: PlanId = PlanId::new(Uuid::from_u128(11));
pub(super) const BY_DAY: PlanId = PlanId::new(Uuid::from_u128(14));
pub(super) const BY_DAY_PRO: PlanId = PlanId::new(Uuid::from_u128(15));
pub(super) const ARREARS_PRO: PlanId = PlanId::new(Uuid::from_u128(12));
pub(super) const FREE_METERED: PlanId = PlanId::new(Uuid::from_u128(13));

pub(super) const COMMITTED: PlanId = PlanId::new(Uuid::from_u128(16));
pub(super) const COMMITTED_ARREARS: PlanId = PlanId::new(Uuid::from_u128(17));

/// The start of a month of 31 days, when most accounts are created.
pub(super) const MARCH: &str = "2026-03-01T00:00:00Z";
pub(super) const APRIL: &str = "2026-04-01T00:00:00Z";

#[track_caller]
pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(super) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").unwrap())
}

pub(super) fn meter(code: &str) -> MeterCode {
    MeterCode::new(code).unwrap()
}

/// 31.00 USD a month in advance, 3 days of grace, then 2 restricted ones, retries after 1, 2 and 4 days.
pub(super) fn plan(id: PlanId) -> Plan {
    let archive = FeatureCode::new("archive").unwrap();
    Plan {
        id,
        code: PlanCode::new(&format!("plan-{}", id.uuid().as_u128())).unwrap(),
        version: 1,
        product: ProductCode::new("core").unwrap(),
        name: "A plan".into(),
        price: usd(31_00),
        interval: Interval::MONTHLY,
        minimum_commitment: None,
        timing: BillingTiming::InAdvance,
        activation: Activation::Immediate,
        trial: None,
        grace_period_days: 3,
        restricted: Some(RestrictedStage {
            days: 2,
            features: [archive.clone()].into(),
        }),
        retention_days: 30,
        retry: RetryPolicy::default(),
        proration: ProrationRule::Second,
        rounding: Rounding::default(),
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1_000,
        regions: BTreeSet::new(),
        industries: BTreeSet::new(),
        required_compliance: BTreeSet::new(),
        is_active: true,
        discontinued: false,
        features: [(archive, Feature::Flag(true))].into(),
        meters: BTreeMap::new(),
        add_ons: BTreeMap::new(),
    }
}

/// `plan` with a meter of so many free units a period, and 0.10 USD for each more.
pub(super) fn metered(mut plan: Plan, code: &str, allowance: i64) -> Plan {
    let terms = MeterTerms {
        allowance: allowance.into(),
        warn_at: Default::default(),
        ..MeterTerms::new(ChargeModel::PerUnit {
            unit_price: Decimal::new(10, 2),
        })
    };
    plan.meters.insert(meter(code), terms);
    plan
}

/// `plan` with a backup each period at so much, and a set-up for 50.00 USD once.
pub(super) fn with_add_ons(mut plan: Plan, backup: i64) -> Plan {
    for (code, minor, charged) in [
        ("backup", backup, AddOnCharge::Recurring),
        ("setup", 50_00, AddOnCharge::Once),
    ] {
        let add_on = AddOn {
            name: code.into(),
            price: usd(minor),
            charged,
        };
        plan.add_ons.insert(AddOnCode::new(code).unwrap(), add_on);
    }
    plan
}

pub(super) fn with_trial(plan: Plan, without_payment_method: TrialEnd) -> Plan {
    let trial = Trial {
        days: 14,
        payment_method_required: false,
        family: TrialFamily::new("core").unwrap(),
        without_payment_method,
    };
    Plan {
        trial: Some(trial),
        ..plan
    }
}

/// The plans that an account can move among.
pub(super) fn catalog() -> Arc<BTreeMap<PlanId, Plan>> {
    let basic = |id| with_add_ons(metered(plan(id), "api", 310), 5_00);
    let plans = vec![
        basic(BASIC),
        with_add_ons(
            metered(
                metered(
                    Plan {
                        price: usd(62_00),
                        ..plan(PRO)
                    },
                    "api",
                    620,
                ),
                "gb",
                0,
            ),
            7_00,
        ),
        Plan {
            price: usd(36_500),
            interval: Interval::YEARLY,
            ..basic(YEARLY)
        },
        Plan {
            price: usd(0),
            ..plan(FREE)
        },
        Plan {
            timing: BillingTiming::InArrears,
            ..basic(ARREARS)
        },
        with_trial(basic(TRIAL), TrialEnd::Expire),
        with_trial(basic(TRIAL_THEN_FREE), TrialEnd::MoveTo { plan_id: FREE }),
        with_trial(basic(TRIAL_THEN_END), TrialEnd::Cancel),
        Plan {
            activation: Activation::OnPayment { pay_within_hours: 24 },
            ..basic(PREPAID)
        },
        Plan {
            proration: ProrationRule::None,
            ..basic(UNPRORATED)
        },
        Plan {
            proration: ProrationRule::None,
            timing: BillingTiming::InArrears,
            ..basic(UNPRORATED_ARREARS)
        },
        Plan {
            proration: ProrationRule::Day,
            ..basic(BY_DAY)
        },
        Plan {
            price: usd(62_00),
            proration: ProrationRule::Day,
            ..basic(BY_DAY_PRO)
        },
        Plan {
            price: usd(62_00),
            timing: BillingTiming::InArrears,
            ..basic(ARREARS_PRO)
        },
        Plan {
            price: usd(0),
            ..basic(FREE_METERED)
        },
        Plan {
            minimum_commitment: Some(usd(10_000)),
            ..basic(COMMITTED)
        },
        Plan {
            minimum_commitment: Some(usd(12_400)),
            timing: BillingTiming::InArrears,
            proration: ProrationRule::StartedDay,
            ..basic(COMMITTED_ARREARS)
        },
    ];
    Arc::new(plans.into_iter().map(|plan| (plan.id, plan)).collect())
}

pub(super) fn request() -> Create {
    Create {
        id: SUBSCRIPTION,
        tenant_id: TENANT,
        tenant: TenantProfile::default(),
        zone: chrono_tz::Tz::UTC,
        month_end: MonthEnd::Clamp,
        payment_method: Some(CARD),
        auto_renew: true,
        trial: true,
        coupon: None,
        quantity: 1,
        add_ons: BTreeMap::new(),
    }
}

pub(super) fn cancel(when: When, unused: UnusedOnCancel) -> Command {
    Command::Cancel {
        when,
        reason: "enough".into(),
        unused,
    }
}

pub(super) fn suspend() -> Command {
    Command::Suspend {
        reason: "abuse".into(),
    }
}

pub(super) fn pause(when: When, resume_at: Option<&str>, unused: UnusedOnPause) -> Command {
    Command::Pause {
        when,
        resume_at: resume_at.map(at),
        unused,
    }
}

pub(super) fn seats(quantity: u32, when: impl Into<Option<When>>) -> Command {
    Command::ChangeQuantity {
        quantity,
        when: when.into(),
    }
}

pub(super) fn add_on(code: &str, quantity: u32, when: impl Into<Option<When>>) -> Command {
    Command::ChangeAddOn {
        add_on: AddOnCode::new(code).unwrap(),
        quantity,
        when: when.into(),
    }
}

pub(super) fn buy(code: &str, quantity: u32) -> Command {
    Command::BuyAddOn {
        add_on: AddOnCode::new(code).unwrap(),
        quantity,
    }
}

pub(super) fn change(plan_id: PlanId, when: impl Into<Option<When>>) -> Command {
    Command::ChangePlan {
        plan_id,
        when: when.into(),
        tenant: TenantProfile::default(),
    }
}

pub(super) fn redeem(code: &str) -> Command {
    Command::RedeemCoupon {
        code: CouponCode::new(code).unwrap(),
    }
}

pub(super) fn grant_id(number: u128) -> GrantId {
    GrantId::new(Uuid::from_u128(number))
}

/// Prepaid credit that never expires.
pub(super) fn grant(number: u128, minor: i64) -> Command {
    Command::GrantCredit(GrantCredit {
        id: grant_id(number),
        amount: usd(minor),
        source: GrantSource::Prepaid,
        priority: 50,
        expires_at: None,
    })
}

/// A credit note for all that is left of an invoice.
pub(super) fn note(number: u128, invoice_id: InvoiceId, disposition: Disposition) -> Command {
    Command::IssueCreditNote {
        id: CreditNoteId::new(Uuid::from_u128(number)),
        invoice_id,
        request: CreditNoteRequest {
            reason: CreditNoteReason::Unsatisfactory,
            scope: CreditNoteScope::All,
            disposition,
        },
    }
}

/// 19 % on top of prices, or in them.
pub(super) fn vat(behavior: TaxBehavior) -> TaxTreatment {
    TaxTreatment {
        rates: vec![TaxRate {
            name: "VAT".into(),
            percent: 19.into(),
            jurisdiction: None,
        }],
        behavior,
        exemption: None,
    }
}

/// The coupon `LAUNCH`, for all plans.
pub(super) fn coupon(value: CouponValue, duration: CouponDuration) -> Coupon {
    Coupon {
        code: CouponCode::new("LAUNCH").unwrap(),
        value,
        duration,
        plans: BTreeSet::new(),
        redeem_by: None,
        redemptions_max: None,
        once_per_tenant: false,
        is_active: true,
    }
}
