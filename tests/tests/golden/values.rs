//! Ids, codes, money, times, and what is checked when it is read.

use billing_core::calendar::{Anchor, Interval, IntervalUnit, MonthEnd, Period};
use billing_core::id::{
    ActorName, FeatureCode, IdempotencyKey, InvoiceId, JobId, MeterCode, PaymentMethodId, PlanCode, PlanId,
    ProductCode, SubscriptionId, TenantId, TrialFamily,
};
use billing_core::money::{Currency, Money, Rounding};
use billing_core::validate::{Country, Email, Phone, Region, Tag};
use billing_tests::kit::{at, start};
use uuid::Uuid;

use super::{golden, period, strict};

#[test]
fn ids_and_codes() {
    let uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ff);
    golden("id_tenant", &[("id", TenantId::new(uuid))]);
    golden("id_plan", &[("id", PlanId::new(uuid))]);
    golden("id_subscription", &[("id", SubscriptionId::new(uuid))]);
    golden("id_invoice", &[("id", InvoiceId::new(uuid))]);
    golden("id_payment_method", &[("id", PaymentMethodId::new(uuid))]);
    golden("id_job", &[("id", JobId::new(uuid))]);
    golden("code_plan", &[("code", PlanCode::new("Pro.v_1:a-b").unwrap())]);
    golden("code_product", &[("code", ProductCode::new("main").unwrap())]);
    golden(
        "code_trial_family",
        &[("code", TrialFamily::new("main").unwrap())],
    );
    golden("code_feature", &[("code", FeatureCode::new("sso").unwrap())]);
    golden("code_meter", &[("code", MeterCode::new("api").unwrap())]);
    golden(
        "code_idempotency_key",
        &[("key", IdempotencyKey::new("!\"#/~").unwrap())],
    );
    golden(
        "code_actor_name",
        &[("name", ActorName::new("ops@example.com").unwrap())],
    );
    assert!(serde_json::from_str::<PlanCode>("\"\"").is_err());
    assert!(serde_json::from_str::<TenantId>("\"x\"").is_err());
}

#[test]
fn money() {
    let of = |minor, code: &str| Money::new(minor, Currency::from_code(code).unwrap());
    let amounts = [
        ("dollars", of(1999, "USD")),
        ("yen", of(500, "JPY")),
        ("dinars", of(-12_345, "KWD")),
        ("least", of(i64::MIN, "USD")),
        ("most", of(i64::MAX, "USD")),
    ];
    strict("money", &amounts, &[]);
    let code = |code: &str| Currency::from_code(code).unwrap();
    golden(
        "currency",
        &[("usd", code("USD")), ("jpy", code("JPY")), ("kwd", code("KWD"))],
    );
    let roundings = [
        ("half_away_from_zero", Rounding::HalfAwayFromZero),
        ("half_even", Rounding::HalfEven),
        ("half_up", Rounding::HalfUp),
    ];
    golden("rounding", &roundings);
    for wrong in ["\"usd\"", "\"XAU\"", "\"\"", "840"] {
        assert!(serde_json::from_str::<Currency>(wrong).is_err(), "{wrong}");
    }
    for wrong in [
        "{\"minor\":1.5,\"currency\":\"USD\"}",
        "{\"minor\":1}",
        "{\"currency\":\"USD\"}",
    ] {
        assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn calendar() {
    let units = [
        ("day", IntervalUnit::Day),
        ("week", IntervalUnit::Week),
        ("month", IntervalUnit::Month),
        ("year", IntervalUnit::Year),
    ];
    golden("interval_unit", &units);
    let six_weeks = Interval::new(IntervalUnit::Week, 6.try_into().unwrap());
    strict(
        "interval",
        &[
            ("monthly", Interval::MONTHLY),
            ("yearly", Interval::YEARLY),
            ("six_weeks", six_weeks),
        ],
        &[],
    );
    assert!(serde_json::from_str::<Interval>("{\"unit\":\"day\",\"count\":0}").is_err());
    let ends = [
        ("clamp", MonthEnd::Clamp),
        ("twenty_eighth", MonthEnd::TwentyEighth),
        ("last_day", MonthEnd::LastDay),
    ];
    golden("month_end", &ends);
    let far = Period::new(
        at("-000044-03-15T00:00:00Z"),
        at("+012345-06-07T00:00:00.000001Z"),
    )
    .unwrap();
    strict("period", &[("month", period()), ("far", far)], &[]);
    let empty = "{\"start\":\"2024-01-01T00:00:00Z\",\"end\":\"2024-01-01T00:00:00Z\"}";
    assert!(serde_json::from_str::<Period>(empty).is_err());
    let lagos = Anchor {
        at: start(),
        zone: chrono_tz::Tz::Africa__Lagos,
        month_end: MonthEnd::LastDay,
    };
    strict("anchor", &[("utc", Anchor::utc(start())), ("lagos", lagos)], &[]);
    let minimal = "{\"at\":\"2024-01-31T09:00:00Z\",\"zone\":\"UTC\"}";
    assert_eq!(
        serde_json::from_str::<Anchor>(minimal).unwrap(),
        Anchor::utc(start())
    );
    assert!(
        serde_json::from_str::<Anchor>("{\"at\":\"2024-01-31T09:00:00Z\",\"zone\":\"Mars/Olympus\"}")
            .is_err()
    );
}

#[test]
fn validated_values() {
    let country = |text: &str| text.parse::<Country>().unwrap();
    golden("country", &[("us", country("US")), ("ng", country("NG"))]);
    let region = |text: &str| text.parse::<Region>().unwrap();
    golden("region", &[("country", region("US")), ("part", region("US-CA"))]);
    golden("tag", &[("tag", "pci-dss".parse::<Tag>().unwrap())]);
    golden("email", &[("email", "ops@example.com".parse::<Email>().unwrap())]);
    golden("phone", &[("phone", "+2348012345678".parse::<Phone>().unwrap())]);
}
