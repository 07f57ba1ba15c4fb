//! What is wrong with a plan is told at once and by its path; who may have it, by every reason.

use core::num::NonZeroU16;
use std::string::ToString;
use std::vec;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::aggregation::{Aggregation, HeldUnit};
use crate::charge::ChargeModel;
use crate::retry::ExponentialBackoff;

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").unwrap())
}

fn every(count: u16, unit: IntervalUnit) -> Interval {
    Interval::new(unit, NonZeroU16::new(count).unwrap())
}

fn plan() -> Plan {
    Plan {
        id: PlanId::new(Uuid::from_u128(1)),
        code: PlanCode::new("basic").unwrap(),
        version: 1,
        product: ProductCode::new("core").unwrap(),
        name: "Basic".into(),
        price: usd(31_00),
        interval: Interval::MONTHLY,
        minimum_commitment: None,
        timing: BillingTiming::InAdvance,
        activation: Activation::Immediate,
        trial: None,
        grace_period_days: 3,
        restricted: None,
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
        features: BTreeMap::new(),
        meters: BTreeMap::new(),
        add_ons: BTreeMap::new(),
    }
}

fn terms() -> MeterTerms {
    MeterTerms {
        allowance: 10.into(),
        soft_limit: Some(20.into()),
        hard_limit: Some(20.into()),
        warn_at: Vec::new(),
        ..MeterTerms::new(ChargeModel::PerUnit {
            unit_price: Decimal::new(4, 7),
        })
    }
}

fn trial(without_payment_method: TrialEnd) -> Trial {
    let family = TrialFamily::new("core").unwrap();
    Trial {
        days: 14,
        payment_method_required: false,
        family,
        without_payment_method,
    }
}

fn meter(code: &str) -> MeterCode {
    MeterCode::new(code).unwrap()
}

fn feature(code: &str) -> FeatureCode {
    FeatureCode::new(code).unwrap()
}

#[track_caller]
fn check(plan: &Plan, expected: &[(&str, &str)]) {
    let faults = plan.validate().unwrap_err();
    let found: Vec<_> = faults
        .as_slice()
        .iter()
        .map(|fault| (fault.path.as_str(), fault.code))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_sound_plan_has_no_fault_at_each_bound() {
    assert_eq!(plan().validate(), Ok(()));
    let widest = Plan {
        name: "x".repeat(120),
        price: usd(0),
        interval: every(10, IntervalUnit::Year),
        activation: Activation::OnPayment {
            pay_within_hours: 8760,
        },
        trial: Some(trial(TrialEnd::MoveTo {
            plan_id: PlanId::new(Uuid::from_u128(2)),
        })),
        grace_period_days: 3660,
        restricted: Some(RestrictedStage {
            days: 3660,
            features: [feature("api")].into(),
        }),
        retention_days: 0,
        retry: RetryPolicy::IntervalsHours(Vec::from([1, 8760])),
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1,
        features: [
            (feature("api"), Feature::Metered(meter("api"))),
            (feature("support"), Feature::Value("x".repeat(255))),
        ]
        .into(),
        meters: [(meter("api"), terms())].into(),
        ..plan()
    };
    assert_eq!(widest.validate(), Ok(()));
}

#[test]
fn every_fault_is_reported_at_once_with_its_path() {
    let minus: Decimal = "-0.0000000000001".parse().unwrap();
    let wrong = Plan {
        version: 0,
        name: "  ".into(),
        price: usd(-1),
        interval: every(11, IntervalUnit::Year),
        activation: Activation::OnPayment { pay_within_hours: 0 },
        trial: Some(Trial {
            days: 0,
            ..trial(TrialEnd::MoveTo { plan_id: plan().id })
        }),
        grace_period_days: 3661,
        restricted: Some(RestrictedStage {
            days: 0,
            features: [feature("export")].into(),
        }),
        retention_days: 3661,
        retry: RetryPolicy::Exponential(ExponentialBackoff {
            base_hours: 0,
            factor: 0,
            cap_hours: 0,
            retries_max: 101,
            jitter_percent: 101,
        }),
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 0,
        features: [
            (feature("api"), Feature::Metered(meter("gb"))),
            (feature("support"), Feature::Value(String::new())),
            (feature("on"), Feature::Flag(true)),
        ]
        .into(),
        meters: [
            (
                meter("api"),
                MeterTerms {
                    allowance: 30.into(),
                    soft_limit: Some(21.into()),
                    charge: ChargeModel::PerUnit { unit_price: minus },
                    ..terms()
                },
            ),
            (
                meter("seats"),
                MeterTerms {
                    allowance: minus,
                    soft_limit: Some(minus),
                    hard_limit: None,
                    ..terms()
                },
            ),
        ]
        .into(),
        ..plan()
    };
    check(
        &wrong,
        &[
            ("version", "out_of_range"),
            ("name", "length"),
            ("price.minor", "negative"),
            ("interval.count", "out_of_range"),
            ("activation.on_payment.pay_within_hours", "out_of_range"),
            ("trial.days", "out_of_range"),
            ("trial.without_payment_method.move_to.plan_id", "same_plan"),
            ("grace_period_days", "out_of_range"),
            ("restricted.days", "out_of_range"),
            ("restricted.features", "unknown_feature"),
            ("retention_days", "out_of_range"),
            ("retry.exponential.base_hours", "out_of_range"),
            ("retry.exponential.factor", "out_of_range"),
            ("retry.exponential.cap_hours", "out_of_range"),
            ("retry.exponential.retries_max", "out_of_range"),
            ("retry.exponential.jitter_percent", "out_of_range"),
            ("invoice_lines_per_day_max", "out_of_range"),
            ("features.api.metered", "unknown_meter"),
            ("features.support.value", "length"),
            ("meters.api.soft_limit", "above_hard_limit"),
            ("meters.api.allowance", "above_hard_limit"),
            ("meters.api.charge.per_unit.unit_price", "negative"),
            ("meters.api.charge.per_unit.unit_price", "too_precise"),
            ("meters.seats.allowance", "negative"),
            ("meters.seats.allowance", "too_precise"),
            ("meters.seats.soft_limit", "negative"),
            ("meters.seats.soft_limit", "too_precise"),
        ],
    );
}

#[test]
fn a_fault_says_what_was_expected_and_what_came() {
    let wrong = Plan {
        name: "x".repeat(121),
        retry: RetryPolicy::IntervalsHours(Vec::from([24, 0])),
        interval: every(4000, IntervalUnit::Day),
        ..plan()
    };
    assert_eq!(
        wrong.validate().unwrap_err().to_string(),
        "name: expected 1 to 120 characters, got 121; \
         interval.count: expected at most ten years, got every 4000 days; \
         retry.intervals_hours[1]: expected 1 to 8760 hours, got 0"
    );
    let wrong = Plan {
        retry: RetryPolicy::IntervalsHours(Vec::from([1; 101])),
        ..plan()
    };
    check(&wrong, &[("retry.intervals_hours", "too_many")]);
}

#[test]
fn what_a_meter_costs_is_checked_with_the_path_of_its_field() {
    use crate::charge::{Graduated, Matrix, MatrixRow, Percentage};

    let with = |charge: ChargeModel| Plan {
        meters: [(
            meter("api"),
            MeterTerms {
                charge,
                minimum: Some(2.into()),
                maximum: Some(1.into()),
                ..terms()
            },
        )]
        .into(),
        ..plan()
    };
    let no_tiers = Graduated {
        tiers: Vec::new(),
        empty_first_fee: false,
    };
    check(
        &with(ChargeModel::Graduated(no_tiers)),
        &[
            ("meters.api.charge.graduated.tiers", "no_tiers"),
            ("meters.api.minimum", "above_maximum"),
        ],
    );
    let by_event = Percentage {
        event_minimum: Some(Decimal::ONE),
        ..Percentage::of(Decimal::ONE)
    };
    let by_cell = Matrix {
        by: Vec::from(["region".into()]),
        rows: Vec::from([MatrixRow {
            values: Vec::from(["eu".into()]),
            unit_price: Decimal::ONE,
        }]),
        otherwise: None,
    };
    let above = ("meters.api.minimum", "above_maximum");
    check(&with(ChargeModel::Percentage(by_event.clone())), &[above]);
    // Usage that no row prices could not be billed.
    let otherwise = ("meters.api.charge.matrix.otherwise", "missing");
    check(&with(ChargeModel::Matrix(by_cell.clone())), &[above, otherwise]);
    let aggregated = |model, aggregation| {
        let mut plan = with(model);
        let terms = plan.meters.get_mut(&meter("api")).unwrap();
        (terms.aggregation, terms.soft_limit, terms.hard_limit) = (aggregation, None, None);
        plan
    };
    check(
        &aggregated(ChargeModel::Percentage(by_event), Aggregation::Max),
        &[above, ("meters.api.charge", "not_summed")],
    );
    let seats = Aggregation::WeightedSum {
        unit: HeldUnit::Period,
    };
    check(
        &aggregated(ChargeModel::Matrix(by_cell), seats),
        &[above, ("meters.api.charge", "not_told_apart"), otherwise],
    );
    let by_count = Percentage {
        fixed_fee: Decimal::ONE,
        ..Percentage::of(Decimal::ONE)
    };
    let mut sound = with(ChargeModel::Percentage(by_count));
    if let Some(terms) = sound.meters.get_mut(&meter("api")) {
        terms.allowance = Decimal::ZERO;
        terms.maximum = terms.minimum;
    }
    assert_eq!(sound.validate(), Ok(()));
}

#[test]
fn every_reason_against_a_tenant_is_told_in_order() {
    let restricted = Plan {
        is_active: false,
        discontinued: true,
        regions: ["US".parse().unwrap()].into(),
        industries: ["health".parse().unwrap()].into(),
        required_compliance: ["hipaa".parse().unwrap(), "soc2".parse().unwrap()].into(),
        ..plan()
    };
    let reasons = |plan: &Plan, tenant: &TenantProfile| -> Vec<_> {
        plan.availability(tenant)
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        reasons(&restricted, &TenantProfile::default()),
        [
            "the plan is not active",
            "the plan is discontinued",
            "the plan is not sold in an unknown region",
            "the plan is not sold to an unknown industry",
            "the plan requires compliance `hipaa`",
            "the plan requires compliance `soc2`",
        ]
    );
    let open = Plan {
        is_active: true,
        discontinued: false,
        ..restricted
    };
    let tenant = TenantProfile {
        region: Some("DE".parse().unwrap()),
        industry: Some("finance".parse().unwrap()),
        compliance: ["soc2".parse().unwrap()].into(),
    };
    assert_eq!(
        reasons(&open, &tenant),
        [
            "the plan is not sold in region `DE`",
            "the plan is not sold to industry `finance`",
            "the plan requires compliance `hipaa`",
        ]
    );
    let tenant = TenantProfile {
        region: Some("US-CA".parse().unwrap()),
        industry: Some("health".parse().unwrap()),
        compliance: [
            "soc2".parse().unwrap(),
            "hipaa".parse().unwrap(),
            "gdpr".parse().unwrap(),
        ]
        .into(),
    };
    assert_eq!(open.availability(&tenant), Ok(()));
    assert_eq!(
        plan().availability(&TenantProfile::default()),
        Ok(()),
        "sold to everyone"
    );
}

#[test]
fn plans_are_compared_by_what_they_cost_in_a_year() {
    let costs = |minor: i64, interval| Plan {
        price: usd(minor),
        interval,
        ..plan()
    };
    let month = |minor| costs(minor, Interval::MONTHLY);
    let year = |minor| costs(minor, Interval::YEARLY);
    for (cheap, dear) in [
        (month(10_00), month(10_01)),
        (year(11_999), month(10_00)),
        (month(10_00), year(12_001)),
        (
            costs(1_00, every(1, IntervalUnit::Week)),
            costs(15, every(1, IntervalUnit::Day)),
        ),
        (costs(29_99, every(3, IntervalUnit::Month)), month(10_00)),
        (month(0), month(1)),
        (
            costs(i64::MAX, every(u16::MAX, IntervalUnit::Year)),
            costs(i64::MAX, every(1, IntervalUnit::Day)),
        ),
    ] {
        assert!(cheap.is_cheaper_than(&dear), "{} {}", cheap.price, cheap.interval);
        assert!(!dear.is_cheaper_than(&cheap), "{} {}", dear.price, dear.interval);
    }
    for (one, other) in [
        (month(10_00), year(12_000)),
        (month(10_00), costs(10_00 * 12, every(12, IntervalUnit::Month))),
        (
            costs(7_00, every(1, IntervalUnit::Week)),
            costs(1_00, every(1, IntervalUnit::Day)),
        ),
        (month(0), year(0)),
    ] {
        assert!(
            !one.is_cheaper_than(&other) && !other.is_cheaper_than(&one),
            "equal is not less"
        );
    }
}

#[test]
fn only_who_may_come_in_can_change_under_subscribers() {
    let plan = plan();
    assert!(plan.has_same_terms(&Plan {
        is_active: false,
        discontinued: true,
        ..plan.clone()
    }));
    assert!(!plan.has_same_terms(&Plan {
        price: usd(31_01),
        ..plan.clone()
    }));
    assert!(!plan.has_same_terms(&Plan {
        grace_period_days: 4,
        ..plan.clone()
    }));
    assert!(!plan.has_same_terms(&Plan {
        name: "Other".into(),
        ..plan.clone()
    }));
}

/// What a file may leave out.
#[cfg(feature = "serde")]
#[test]
fn defaults_are_those_of_the_manual() {
    let json = r#"{
        "id": "00000000-0000-0000-0000-000000000001", "code": "basic", "version": 1, "product": "core",
        "name": "Basic", "price": {"minor": 3100, "currency": "USD"}, "interval": {"unit": "month", "count": 1},
        "is_active": true
    }"#;
    let read: Plan = serde_json::from_str(json).unwrap();
    assert_eq!(
        read,
        Plan {
            grace_period_days: 0,
            ..plan()
        }
    );
    let unknown = json.replace("\"is_active\"", "\"isActive\"");
    assert!(serde_json::from_str::<Plan>(&unknown).is_err());
}

#[test]
fn what_tells_events_apart_is_checked_with_the_path_of_its_field() {
    let with = |change: &dyn Fn(&mut MeterTerms)| {
        let mut terms = MeterTerms::new(ChargeModel::PerUnit {
            unit_price: Decimal::ONE,
        });
        change(&mut terms);
        Plan {
            meters: [(meter("api"), terms)].into(),
            ..plan()
        }
    };
    let filter = |name: &str, property: &str, values: &[&str]| ChargeFilter {
        name: name.into(),
        matching: [(
            property.into(),
            values.iter().map(|value| (*value).into()).collect(),
        )]
        .into(),
        allowance: Decimal::ZERO,
        charge: ChargeModel::PerUnit {
            unit_price: Decimal::ONE,
        },
        minimum: None,
        maximum: None,
    };
    let eu = filter("EU", "region", &["eu"]);
    assert_eq!(with(&|terms| terms.filters = vec![eu.clone()]).validate(), Ok(()));
    check(
        &with(&|terms| {
            terms.filters = vec![
                eu.clone(),
                ChargeFilter {
                    allowance: Decimal::NEGATIVE_ONE,
                    matching: BTreeMap::new(),
                    ..eu.clone()
                },
                filter(" ", "", &[]),
            ];
            terms.group_by = vec!["project".into(), "project".into()];
        }),
        &[
            ("meters.api.filters[1].matching", "length"),
            ("meters.api.filters[1].allowance", "negative"),
            ("meters.api.filters[1].name", "repeated"),
            ("meters.api.filters[2].name", "length"),
            ("meters.api.filters[2].matching.", "length"),
            ("meters.api.filters[2].matching.", "length"),
            ("meters.api.group_by[1]", "repeated"),
        ],
    );
    let seats = Aggregation::WeightedSum {
        unit: HeldUnit::Period,
    };
    check(
        &with(&|terms| {
            terms.aggregation = seats.clone();
            terms.filters = vec![eu.clone()];
            terms.group_by = vec!["project".into()];
        }),
        &[
            ("meters.api.filters", "too_many"),
            ("meters.api.group_by", "too_many"),
        ],
    );
    for aggregation in [
        Aggregation::Min,
        Aggregation::UniqueCount {
            property: String::new(),
        },
    ] {
        let is_named = aggregation == Aggregation::Min;
        let limited = with(&|terms| {
            terms.aggregation = aggregation.clone();
            terms.soft_limit = Some(Decimal::ONE);
        });
        let unlimited = ("meters.api.aggregation", "not_limited");
        if is_named {
            check(&limited, &[unlimited]);
        } else {
            check(
                &limited,
                &[
                    ("meters.api.aggregation.unique_count.property", "length"),
                    unlimited,
                ],
            );
        }
    }
}

#[test]
fn only_what_is_limited_and_added_up_rolls_over() {
    let with = |aggregation: Aggregation, hard_limit: Option<i64>| {
        let terms = MeterTerms {
            aggregation,
            hard_limit: hard_limit.map(Decimal::from),
            rollover_max: Some(5.into()),
            ..terms()
        };
        Plan {
            meters: [(meter("api"), terms)].into(),
            ..plan()
        }
    };
    assert_eq!(with(Aggregation::Sum, Some(100_000)).validate(), Ok(()));
    assert_eq!(with(Aggregation::Count, Some(100_000)).validate(), Ok(()));
    let fault = [("meters.api.rollover_max", "nothing_left")];
    check(&with(Aggregation::Sum, None), &fault);
    check(&with(Aggregation::Max, Some(100_000)), &fault);
}

#[test]
fn faults_of_a_commitment_and_of_add_ons_have_paths() {
    let add_on = |name: &str, price| AddOn {
        name: name.into(),
        price,
        charged: AddOnCharge::Recurring,
    };
    let eur = Money::new(5, Currency::from_code("EUR").unwrap());
    let code = |code: &str| AddOnCode::new(code).unwrap();
    let wrong = Plan {
        minimum_commitment: Some(eur),
        proration: ProrationRule::StartedMonth,
        interval: every(4, IntervalUnit::Week),
        add_ons: [(code("a"), add_on(" ", usd(0))), (code("b"), add_on("B", eur))].into(),
        ..plan()
    };
    check(
        &wrong,
        &[
            ("minimum_commitment.currency", "currency"),
            ("minimum_commitment", "no_meters"),
            ("proration", "no_months"),
            ("add_ons.a.name", "length"),
            ("add_ons.a.price.minor", "out_of_range"),
            ("add_ons.b.price.currency", "currency"),
        ],
    );
    let zero = Plan {
        minimum_commitment: Some(usd(0)),
        ..plan()
    };
    check(
        &zero,
        &[
            ("minimum_commitment.minor", "out_of_range"),
            ("minimum_commitment", "no_meters"),
        ],
    );
}
