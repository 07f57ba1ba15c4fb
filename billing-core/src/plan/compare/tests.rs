//! Each thing that a plan grants is compared on its own, and only a plan that lacks none grants everything.

use std::string::{String, ToString as _};
use std::vec::Vec;

use serde_json::{Value, json};

use super::*;

/// A monthly plan with these other fields.
fn plan(fields: &Value) -> Plan {
    let mut plan = json!({
        "id": "00000000-0000-0000-0000-000000000001", "code": "pro", "version": 1, "product": "core",
        "name": "Pro", "price": {"minor": 3100, "currency": "USD"}, "interval": {"unit": "month", "count": 1},
        "is_active": true
    });
    for (name, value) in fields.as_object().unwrap() {
        plan[name] = value.clone();
    }
    let plan: Plan = serde_json::from_value(plan).unwrap();
    assert_eq!(plan.validate(), Ok(()));
    plan
}

/// What a plan with the fields `this` lacks of one with the fields `other`.
#[track_caller]
fn check(this: &Value, other: &Value, expected: &[&str]) {
    let (this, other) = (plan(this), plan(other));
    let compared = this.compare_grants(&other);
    let text = |difference: &Difference| difference.to_string();
    let missing: Vec<String> = compared.missing.iter().map(text).collect();
    assert_eq!(missing, expected);
    assert_eq!(compared.grants_everything(), expected.is_empty());
    let reversed = other.compare_grants(&this);
    let swapped = |difference: &Difference| (difference.other.clone(), difference.this.clone());
    let sides = |difference: &Difference| (difference.this.clone(), difference.other.clone());
    assert_eq!(
        compared.missing.iter().map(swapped).collect::<Vec<_>>(),
        reversed.extra.iter().map(sides).collect::<Vec<_>>(),
        "what is missing here is extra there"
    );
}

fn meter(terms: Value) -> Value {
    let mut all = json!({"charge": {"per_unit": {"unit_price": "1"}}});
    for (name, value) in terms.as_object().unwrap() {
        all[name] = value.clone();
    }
    json!({"meters": {"api": all}})
}

fn with(mut fields: Value, name: &str, value: Value) -> Value {
    fields[name] = value;
    fields
}

#[test]
fn a_plan_grants_what_it_grants() {
    let mut full = meter(json!({"allowance": "100", "soft_limit": "150", "hard_limit": "200"}));
    full["features"] = json!({"api": {"metered": "api"}, "sso": {"flag": true}, "seats": {"value": "5"}});
    full["restricted"] = json!({"days": 7, "features": ["sso"]});
    full["trial"] = json!({"days": 14, "family": "core"});
    full["regions"] = json!(["DE", "US-CA"]);
    full["industries"] = json!(["health"]);
    full["required_compliance"] = json!(["hipaa"]);
    check(&full, &full, &[]);
    let dear = with(full.clone(), "price", json!({"minor": 99_00, "currency": "EUR"}));
    check(&full, &dear, &[]);
    check(&dear, &full, &[]);
}

#[test]
fn features_are_granted_as_much() {
    let open = json!({"charge": {"per_unit": {"unit_price": "1"}}});
    let closed = json!({"charge": {"per_unit": {"unit_price": "1"}}, "hard_limit": "10"});
    let meters = json!({"open": open, "closed": closed});
    let has = |feature: Value| json!({"features": {"x": feature}, "meters": meters.clone()});
    let (on, off) = (json!({"flag": true}), json!({"flag": false}));
    let value = |text: &str| json!({ "value": text });
    let metered = |meter: &str| json!({ "metered": meter });
    for (this, other, expected) in [
        (off.clone(), off.clone(), ""),
        (on.clone(), on.clone(), ""),
        (off.clone(), on.clone(), "not granted, not granted"),
        (off.clone(), value("5"), "not granted, not `5`"),
        (off, metered("open"), "not granted, not within meter `open`"),
        (value("5"), on.clone(), ""),
        (metered("open"), on.clone(), ""),
        (
            metered("closed"),
            on.clone(),
            "within meter `closed`, not granted",
        ),
        (on.clone(), value("gold"), "granted, not `gold`"),
        (metered("open"), value("gold"), "within meter `open`, not `gold`"),
        (value("gold"), value("gold"), ""),
        (value("silver"), value("gold"), "`silver`, not `gold`"),
        (value("10"), value("9"), ""),
        (value("9"), value("10"), "`9`, not `10`"),
        (value("1.9"), value("1.10"), "`1.9`, not `1.10`"),
        (on, metered("closed"), ""),
        (value("5"), metered("closed"), ""),
        (metered("closed"), metered("closed"), ""),
        (
            metered("open"),
            metered("closed"),
            "within meter `open`, not within meter `closed`",
        ),
    ] {
        let expected: Vec<_> = Some(format!("features.x: {expected}"))
            .filter(|_| !expected.is_empty())
            .into_iter()
            .collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check(&has(this), &has(other), &expected);
    }
    let none = json!({"features": {}, "meters": meters.clone()});
    check(&none, &has(json!({"flag": false})), &[]);
    check(
        &none,
        &has(json!({"flag": true})),
        &["features.x: not granted, not granted"],
    );
}

#[test]
fn a_meter_holds_as_much() {
    check(
        &json!({}),
        &meter(json!({"allowance": "100.0"})),
        &["meters.api: no such meter, not 100 every month included"],
    );
    check(
        &meter(json!({"allowance": "99.9"})),
        &meter(json!({"allowance": "100"})),
        &["meters.api.allowance: 99.9 every month, not 100 every month"],
    );
    check(
        &meter(json!({"allowance": "100"})),
        &meter(json!({"allowance": "100"})),
        &[],
    );
    for field in ["soft_limit", "hard_limit"] {
        let limited = |limit: &str| meter(json!({ field: limit }));
        check(&limited("20"), &limited("20"), &[]);
        check(&meter(json!({})), &limited("20"), &[]);
        check(
            &limited("19"),
            &limited("20"),
            &[&format!("meters.api.{field}: 19 every month, not 20 every month")],
        );
        check(
            &limited("20"),
            &meter(json!({})),
            &[&format!("meters.api.{field}: 20 every month, not no limit")],
        );
    }
}

#[test]
fn what_is_told_apart_differently_is_not_compared() {
    let filter = |allowance: &str| {
        json!({"filters": [{"name": "EU", "matching": {"region": ["eu"]}, "allowance": allowance,
                            "charge": {"flat": {"amount": "1"}}}]})
    };
    check(
        &meter(json!({"aggregation": "max", "allowance": "9"})),
        &meter(json!({})),
        &["meters.api.aggregation: a maximum, not a sum"],
    );
    check(
        &meter(json!({"group_by": ["project"]})),
        &meter(json!({})),
        &["meters.api.group_by: one allowance for each project, not one allowance"],
    );
    check(&meter(filter("5")), &meter(filter("5")), &[]);
    check(
        &meter(json!({})),
        &meter(filter("5")),
        &["meters.api.filters: all events together, not one filter with an allowance of its own"],
    );
}

#[test]
fn a_limit_counts_in_the_same_windows() {
    let calendar = |limit: &str, unit: &str| {
        meter(json!({"hard_limit": limit, "reset": {"calendar": {"unit": unit, "count": 1}}}))
    };
    let period = |limit: &str| meter(json!({ "hard_limit": limit }));
    check(&calendar("20", "day"), &calendar("20", "day"), &[]);
    check(
        &calendar("19", "day"),
        &calendar("20", "day"),
        &["meters.api.hard_limit: 19 every day by the calendar, not 20 every day by the calendar"],
    );
    check(
        &calendar("900", "month"),
        &calendar("20", "day"),
        &["meters.api.hard_limit: 900 every month by the calendar, not 20 every day by the calendar"],
    );
    check(
        &period("20"),
        &calendar("20", "month"),
        &["meters.api.hard_limit: 20 every month, not 20 every month by the calendar"],
    );
    check(
        &calendar("20", "month"),
        &period("20"),
        &["meters.api.hard_limit: 20 every month by the calendar, not 20 every month"],
    );
}

#[test]
fn quantities_of_other_intervals_hold_as_many_periods() {
    let every = |count: u32, unit: &str, fields: Value| {
        with(meter(fields), "interval", json!({"unit": unit, "count": count}))
    };
    let allowance = |quantity: &str| json!({ "allowance": quantity });
    let month = |quantity: &str| every(1, "month", allowance(quantity));
    let year = |quantity: &str| every(1, "year", allowance(quantity));
    check(&year("12000"), &month("1000"), &[]);
    check(
        &year("11999"),
        &month("1000"),
        &["meters.api.allowance: 11999 every year, not 1000 every month"],
    );
    check(
        &month("1000"),
        &year("12000"),
        &["meters.api.allowance: 1000 every month, not 12000 every year"],
    );
    check(&month("12000"), &year("12000"), &[]);
    check(&every(12, "month", allowance("5")), &year("5"), &[]);
    check(
        &every(1, "week", allowance("7")),
        &every(1, "day", allowance("1")),
        &[],
    );
    check(
        &every(1, "year", json!({"hard_limit": "11999"})),
        &every(1, "month", json!({"hard_limit": "1000"})),
        &["meters.api.hard_limit: 11999 every year, not 1000 every month"],
    );
}

#[test]
fn it_is_sold_wherever_the_other_is() {
    let sold = |field: &str, codes: &[&str]| json!({ field: codes });
    for (this, other, expected) in [
        (&[][..], &["DE"][..], None),
        (&["DE"], &["DE"], None),
        (&["US"], &["US-CA", "US-NY"], None),
        (&["DE"], &[], Some("regions: `DE`, not everywhere")),
        (&["US-CA"], &["US"], Some("regions: `US-CA`, not `US`")),
        (&["DE"], &["DE", "FR"], Some("regions: `DE`, not `DE`, `FR`")),
    ] {
        check(
            &sold("regions", this),
            &sold("regions", other),
            expected.as_slice(),
        );
    }
    for (this, other, expected) in [
        (&[][..], &["health"][..], None),
        (&["finance", "health"], &["health"], None),
        (&["health"], &[], Some("industries: `health`, not all")),
        (
            &["health"],
            &["finance"],
            Some("industries: `health`, not `finance`"),
        ),
    ] {
        check(
            &sold("industries", this),
            &sold("industries", other),
            expected.as_slice(),
        );
    }
    for (this, other, expected) in [
        (&[][..], &["hipaa"][..], None),
        (&["hipaa"], &["hipaa", "soc2"], None),
        (&["hipaa"], &[], Some("required_compliance: `hipaa`, not none")),
    ] {
        let field = "required_compliance";
        check(&sold(field, this), &sold(field, other), expected.as_slice());
    }
}

#[test]
fn trial_and_grace_are_as_long() {
    let trial = |days: u32| json!({"trial": {"days": days, "family": "core"}});
    check(&trial(14), &trial(14), &[]);
    check(&trial(13), &trial(14), &["trial.days: 13 days, not 14 days"]);
    check(&json!({}), &trial(14), &["trial.days: 0 days, not 14 days"]);
    let grace = |days: u32| json!({ "grace_period_days": days });
    check(&grace(3), &grace(3), &[]);
    check(&grace(2), &grace(3), &["grace_period_days: 2 days, not 3 days"]);
}

#[test]
fn what_stays_after_grace_stays_as_long() {
    let stage = |grace: u32, days: u32, kept: &[&str]| {
        let features = json!({"export": {"flag": true}, "read": {"flag": true}, "sso": {"flag": false}});
        json!({"grace_period_days": grace, "features": features, "restricted": {"days": days, "features": kept}})
    };
    let other = stage(3, 7, &["export"]);
    check(&stage(3, 7, &["export", "read"]), &other, &[]);
    check(&stage(4, 6, &["export"]), &other, &[]);
    check(
        &stage(3, 6, &["export"]),
        &other,
        &["restricted.days: until 9 days after paid time, not until 10 days after paid time"],
    );
    check(
        &stage(3, 7, &["read"]),
        &other,
        &["restricted.features: without `export`, not `export` stays"],
    );
    let grace_only = |grace: u32| with(stage(grace, 1, &[]), "restricted", json!(null));
    check(&grace_only(10), &other, &[]);
    check(&stage(10, 1, &["read"]), &other, &[]);
    check(
        &grace_only(9),
        &other,
        &["restricted.days: until 9 days after paid time, not until 10 days after paid time"],
    );
    // A feature that is switched off does not stay anyway.
    check(&grace_only(3), &stage(3, 7, &["sso"]), &[]);
    check(&stage(3, 7, &["export"]), &stage(3, 7, &["export", "sso"]), &[]);
}

#[test]
fn what_rolls_over_is_granted_where_there_is_a_limit() {
    let meter = |limit: Option<&str>, most: Option<&str>| json!({"meters": {"api": {"hard_limit": limit, "rollover_max": most, "charge": {"per_unit": {"unit_price": "1"}}}}});
    let other = meter(Some("100"), Some("30"));
    check(&meter(Some("100"), Some("30")), &other, &[]);
    check(&meter(None, None), &other, &[]);
    for most in [Some("20"), None] {
        let told = format!("meters.api.rollover_max: {}, not 30", most.unwrap_or("0"));
        check(&meter(Some("100"), most), &other, &[&told]);
    }
}

#[test]
fn a_comparison_is_plain_json() {
    let compared = plan(&json!({"grace_period_days": 1})).compare_grants(&plan(&json!({})));
    let json = serde_json::to_value(&compared).unwrap();
    let extra = json!([{"path": "grace_period_days", "this": "1 day", "other": "0 days"}]);
    assert_eq!(json, json!({"missing": [], "extra": extra}));
    assert_eq!(serde_json::from_value::<Comparison>(json).unwrap(), compared);
}
