//! Plans and what is wrong with them.

use billing_core::id::{FeatureCode, TrialFamily};
use billing_core::plan::{
    Activation, Aggregation, BillingTiming, ChargeModel, Feature, MeterTerms, Plan, ProrationRule,
    RestrictedStage, TenantProfile, Trial, TrialEnd, Unavailable,
};
use billing_core::retry::{DeclineClass, ExponentialBackoff, RetryPolicy};
use billing_core::validate::Faults;
use billing_tests::kit::{decimal, meter, plan, plan_id};
use billing_tests::states::full_plan;
use serde_json::{Map, Value};

use super::{golden, path, profile, same_as_file, strict};

#[test]
fn plans() {
    strict("plan", &[("full", full_plan()), ("plain", plan(1, "basic"))], &[]);
    strict(
        "tenant_profile",
        &[("full", profile()), ("empty", TenantProfile::default())],
        &[],
    );
    assert_eq!(
        serde_json::from_str::<TenantProfile>("{}").unwrap(),
        TenantProfile::default()
    );
    let timings = [
        ("in_advance", BillingTiming::InAdvance),
        ("in_arrears", BillingTiming::InArrears),
    ];
    golden("billing_timing", &timings);
    golden(
        "activation",
        &[
            ("immediate", Activation::Immediate),
            ("on_payment", Activation::OnPayment { pay_within_hours: 23 }),
        ],
    );
    golden(
        "proration_rule",
        &[("second", ProrationRule::Second), ("none", ProrationRule::None)],
    );
    golden("aggregation", &[("sum", Aggregation::Sum)]);
    let features = [
        ("flag", Feature::Flag(true)),
        ("value", Feature::Value("25".into())),
        ("metered", Feature::Metered(meter("api"))),
    ];
    golden("feature", &features);
    let ends = [
        ("expire", TrialEnd::Expire),
        ("cancel", TrialEnd::Cancel),
        ("move_to", TrialEnd::MoveTo { plan_id: plan_id(2) }),
    ];
    golden("trial_end", &ends);
    let unavailable = [
        ("inactive", Unavailable::Inactive),
        ("discontinued", Unavailable::Discontinued),
        (
            "region",
            Unavailable::Region {
                region: Some("NG".parse().unwrap()),
            },
        ),
        ("region_unknown", Unavailable::Region { region: None }),
        (
            "industry",
            Unavailable::Industry {
                industry: Some("health".parse().unwrap()),
            },
        ),
        ("industry_unknown", Unavailable::Industry { industry: None }),
        (
            "compliance",
            Unavailable::Compliance {
                tag: "hipaa".parse().unwrap(),
            },
        ),
    ];
    golden("unavailable", &unavailable);
    let terms = full_plan().meters.remove(&meter("api")).unwrap();
    strict("meter_terms", &[("full", terms)], &[]);
    golden(
        "charge_model",
        &[(
            "per_unit",
            ChargeModel::PerUnit {
                unit_price: decimal("0.0000004"),
            },
        )],
    );
    strict("trial", &[("full", full_plan().trial.unwrap())], &[]);
    strict(
        "restricted_stage",
        &[("full", full_plan().restricted.unwrap())],
        &[],
    );
}

/// What a person must write at least, and what that means.
#[test]
fn a_minimal_plan_gets_the_documented_defaults() {
    let text = std::fs::read_to_string(path("plan_minimal_input")).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    let expected = Plan {
        grace_period_days: 0,
        retention_days: 30,
        invoice_lines_per_day_max: 1_000,
        trial: Some(Trial {
            days: 14,
            payment_method_required: false,
            family: TrialFamily::new("main").unwrap(),
            without_payment_method: TrialEnd::Expire,
        }),
        meters: [(
            meter("api"),
            MeterTerms {
                aggregation: Aggregation::Sum,
                allowance: decimal("0"),
                soft_limit: None,
                hard_limit: None,
                charge: ChargeModel::PerUnit {
                    unit_price: decimal("0.01"),
                },
            },
        )]
        .into(),
        ..plan(1, "basic")
    };
    assert_eq!(read, expected);
    assert_eq!(read.validate(), Ok(()));
    // Nothing of it can be left out.
    let whole: Value = serde_json::from_str(&text).unwrap();
    for field in whole.as_object().unwrap().keys() {
        let mut part = whole.clone();
        part.as_object_mut().unwrap().remove(field);
        let read = serde_json::from_value::<Plan>(part);
        assert_eq!(
            read.is_ok(),
            matches!(field.as_str(), "trial" | "meters"),
            "{field}"
        );
    }
}

#[test]
fn retry_policies() {
    let backoff = ExponentialBackoff {
        base_hours: 1,
        factor: 3,
        cap_hours: 100,
        retries_max: 7,
        jitter_percent: 25,
    };
    let policies = [
        ("default", RetryPolicy::default()),
        ("exponential", RetryPolicy::Exponential(backoff)),
        ("intervals", RetryPolicy::IntervalsHours(vec![192, 192, 192])),
        ("none", RetryPolicy::IntervalsHours(vec![])),
    ];
    golden("retry_policy", &policies);
    strict("exponential_backoff", &[("full", backoff)], &[]);
    let classes = [
        DeclineClass::Retry,
        DeclineClass::AskCustomer,
        DeclineClass::Stop,
        DeclineClass::Unknown,
    ];
    golden("decline_class", &classes.map(|class| (class.code(), class)));
    for class in classes {
        assert_eq!(serde_json::to_value(class).unwrap(), class.code());
    }
}

/// They are only written: a person or a program reads them.
#[test]
fn faults() {
    let mut faults = Faults::default();
    faults.push("meters.api.allowance", "negative", "expected 0 or more, got -1");
    faults.push("", "length", "expected 1 to 120 characters, got 0");
    let mut content = Map::new();
    content.insert("two".into(), serde_json::to_value(&faults).unwrap());
    content.insert("none".into(), serde_json::to_value(Faults::default()).unwrap());
    let invalid = Plan {
        version: 0,
        name: String::new(),
        restricted: Some(RestrictedStage {
            days: 0,
            features: [FeatureCode::new("x").unwrap()].into(),
        }),
        ..plan(1, "basic")
    };
    content.insert(
        "of_a_plan".into(),
        serde_json::to_value(invalid.validate().unwrap_err()).unwrap(),
    );
    same_as_file("faults", &content);
}
