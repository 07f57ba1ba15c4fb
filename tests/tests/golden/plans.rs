//! Plans and what is wrong with them.

use billing_core::aggregation::{Aggregation, HeldUnit};
use billing_core::charge::{
    ChargeModel, Graduated, GraduatedPercentage, Matrix, MatrixRow, Package, PercentTier, Percentage, Tier,
    Volume, VolumeAllowance,
};
use billing_core::id::{FeatureCode, TrialFamily};
use billing_core::plan::{
    Activation, BillingTiming, ChargeFilter, Feature, MeterTerms, Plan, ProrationRule, RestrictedStage,
    TenantProfile, Trial, TrialEnd, Unavailable,
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
        &[
            ("second", ProrationRule::Second),
            ("day", ProrationRule::Day),
            ("started_day", ProrationRule::StartedDay),
            ("started_month", ProrationRule::StartedMonth),
            ("none", ProrationRule::None),
        ],
    );
    let unique = Aggregation::UniqueCount {
        property: "user".into(),
    };
    let held = |unit| Aggregation::WeightedSum { unit };
    strict(
        "aggregation",
        &[
            ("sum", Aggregation::Sum),
            ("count", Aggregation::Count),
            ("max", Aggregation::Max),
            ("min", Aggregation::Min),
            ("last", Aggregation::Last),
            ("unique_count", unique),
            ("weighted_sum_hour", held(HeldUnit::Hour)),
            ("weighted_sum_day", held(HeldUnit::Day)),
            ("weighted_sum_period", held(HeldUnit::Period)),
        ],
        &[],
    );
    let filter = ChargeFilter {
        name: "EU".into(),
        matching: [("region".into(), ["eu".into(), "uk".into()].into())].into(),
        allowance: decimal("10"),
        charge: ChargeModel::Flat { amount: decimal("5") },
        minimum: Some(decimal("1")),
        maximum: Some(decimal("2.5")),
    };
    golden("charge_filter", &[("charge_filter", filter)]);
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
    strict("charge_model", &charge_models(), &[]);
    strict("trial", &[("full", full_plan().trial.unwrap())], &[]);
    strict(
        "restricted_stage",
        &[("full", full_plan().restricted.unwrap())],
        &[],
    );
}

/// Each model with everything that it may hold.
fn charge_models() -> Vec<(&'static str, ChargeModel)> {
    let tier = |up_to: Option<&str>, unit_price, flat_fee| Tier {
        up_to: up_to.map(decimal),
        unit_price: decimal(unit_price),
        flat_fee: decimal(flat_fee),
    };
    let percent_tier = |up_to: Option<&str>, percent, flat_fee| PercentTier {
        up_to: up_to.map(decimal),
        percent: decimal(percent),
        flat_fee: decimal(flat_fee),
    };
    let tiers = vec![tier(Some("10"), "0.50", "0"), tier(None, "0.40", "2")];
    let row = |region: &str, unit_price| MatrixRow {
        values: vec![region.into(), "large".into()],
        unit_price: decimal(unit_price),
    };
    vec![
        (
            "flat",
            ChargeModel::Flat {
                amount: decimal("10"),
            },
        ),
        (
            "per_unit",
            ChargeModel::PerUnit {
                unit_price: decimal("0.0000004"),
            },
        ),
        (
            "graduated",
            ChargeModel::Graduated(Graduated {
                tiers: tiers.clone(),
                empty_first_fee: true,
            }),
        ),
        (
            "volume",
            ChargeModel::Volume(Volume {
                tiers: tiers.clone(),
                allowance: VolumeAllowance::Excess,
                empty_first_fee: true,
            }),
        ),
        (
            "volume_whole",
            ChargeModel::Volume(Volume {
                tiers,
                allowance: VolumeAllowance::Whole,
                empty_first_fee: false,
            }),
        ),
        (
            "package",
            ChargeModel::Package(Package {
                size: decimal("100"),
                price: decimal("5"),
            }),
        ),
        (
            "percentage",
            ChargeModel::Percentage(Percentage {
                percent: decimal("2.9"),
                fixed_fee: decimal("0.3"),
                free_events: 3,
                event_minimum: Some(decimal("0.5")),
                event_maximum: Some(decimal("20")),
                period_minimum: Some(decimal("5")),
                period_maximum: Some(decimal("1000")),
            }),
        ),
        (
            "percentage_plain",
            ChargeModel::Percentage(Percentage::of(decimal("2.9"))),
        ),
        (
            "graduated_percentage",
            ChargeModel::GraduatedPercentage(GraduatedPercentage {
                tiers: vec![
                    percent_tier(Some("1000"), "3", "1"),
                    percent_tier(None, "2.5", "0"),
                ],
                empty_first_fee: false,
            }),
        ),
        (
            "matrix",
            ChargeModel::Matrix(Matrix {
                by: vec!["region".into(), "size".into()],
                rows: vec![row("eu", "0.5"), row("us", "0.2")],
                otherwise: Some(decimal("1")),
            }),
        ),
    ]
}

/// What may be left out of a charge model, and what it then is.
#[test]
fn a_minimal_charge_model_gets_the_documented_defaults() {
    for (minimal, whole) in [
        (
            r#"{"graduated":{"tiers":[{"unit_price":"1"}]}}"#,
            r#"{"graduated":{"tiers":[{"up_to":null,"unit_price":"1","flat_fee":"0"}],"empty_first_fee":false}}"#,
        ),
        (
            r#"{"volume":{"tiers":[{"unit_price":"1"}]}}"#,
            r#"{"volume":{"tiers":[{"up_to":null,"unit_price":"1","flat_fee":"0"}],"allowance":"excess","empty_first_fee":false}}"#,
        ),
        (
            r#"{"percentage":{"percent":"1"}}"#,
            r#"{"percentage":{"percent":"1","fixed_fee":"0","free_events":0,"event_minimum":null,"event_maximum":null,"period_minimum":null,"period_maximum":null}}"#,
        ),
        (
            r#"{"graduated_percentage":{"tiers":[{"percent":"1"}]}}"#,
            r#"{"graduated_percentage":{"tiers":[{"up_to":null,"percent":"1","flat_fee":"0"}],"empty_first_fee":false}}"#,
        ),
        (
            r#"{"matrix":{"by":["a"],"rows":[{"values":["b"],"unit_price":"1"}]}}"#,
            r#"{"matrix":{"by":["a"],"rows":[{"values":["b"],"unit_price":"1"}],"otherwise":null}}"#,
        ),
    ] {
        let read = |text| serde_json::from_str::<ChargeModel>(text).unwrap();
        assert_eq!(read(minimal), read(whole));
        assert_eq!(serde_json::to_string(&read(minimal)).unwrap(), whole);
    }
    for refused in [
        r#"{"flat":{}}"#,
        r#"{"package":{"size":"1"}}"#,
        r#"{"graduated":{"tiers":[{"up_to":"1"}]}}"#,
        r#"{"matrix":{"by":["a"],"rows":[{"values":["b"]}]}}"#,
        r#"{"per_unit":{"unit_price":"1"},"flat":{"amount":"1"}}"#,
    ] {
        assert!(serde_json::from_str::<ChargeModel>(refused).is_err(), "{refused}");
    }
}

/// What a person must write at least, and what that means.
#[test]
fn a_minimal_plan_gets_the_documented_defaults() {
    let text = std::fs::read_to_string(path("plan_minimal_input")).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    let expected = Plan {
        grace_period_days: 0,
        retention_days: 30,
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1_000,
        trial: Some(Trial {
            days: 14,
            payment_method_required: false,
            family: TrialFamily::new("main").unwrap(),
            without_payment_method: TrialEnd::Expire,
        }),
        meters: [(
            meter("api"),
            MeterTerms::new(ChargeModel::PerUnit {
                unit_price: decimal("0.01"),
            }),
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
