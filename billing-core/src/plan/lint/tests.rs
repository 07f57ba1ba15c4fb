//! What is probably a mistake is told by its path, with numbers to check by hand; what is sound is not.

use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::{Value, json};

use super::FindingKind::*;
use super::*;

/// A monthly plan without a recurring price, with these other fields.
fn plan(fields: Value) -> Plan {
    let mut plan = json!({
        "id": "00000000-0000-0000-0000-000000000001", "code": "pro", "version": 1, "product": "core",
        "name": "Pro", "price": {"minor": 0, "currency": "USD"}, "interval": {"unit": "month", "count": 1},
        "is_active": true
    });
    for (name, value) in fields.as_object().unwrap() {
        plan[name] = value.clone();
    }
    serde_json::from_value(plan).unwrap()
}

fn metered(terms: Value) -> Plan {
    plan(json!({"meters": {"api": terms}}))
}

fn per_unit(unit_price: &str) -> Value {
    json!({"per_unit": {"unit_price": unit_price}})
}

/// Tiers as `(up_to, price, flat fee)`; `-` for the open one.
fn tiers(tiers: &[(&str, &str, &str)]) -> Value {
    let tier = |(up_to, price, fee): &(&str, &str, &str)| {
        let up_to = (*up_to != "-").then_some(up_to);
        json!({"up_to": up_to, "unit_price": price, "flat_fee": fee})
    };
    tiers.iter().map(tier).collect()
}

#[track_caller]
fn check(plan: &Plan, expected: &[(FindingKind, &str)]) {
    assert_eq!(plan.validate(), Ok(()), "only what is legal is looked at");
    let found: Vec<(FindingKind, String)> = plan
        .lint()
        .iter()
        .map(|finding| (finding.kind, finding.to_string()))
        .collect();
    let found: Vec<_> = found.iter().map(|(kind, text)| (*kind, text.as_str())).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn check_meter(terms: Value, expected: &[(FindingKind, &str)]) {
    check(&metered(terms), expected);
}

#[test]
fn a_sound_plan_has_no_finding() {
    check(&plan(json!({})), &[]);
    let sound = json!({
        "price": {"minor": 3100, "currency": "USD"},
        "features": {"api": {"metered": "api"}, "sso": {"flag": false}, "support": {"value": "mail"}},
        "restricted": {"days": 7, "features": ["api", "support"]},
        "meters": {
            "api": {"allowance": "100", "soft_limit": "900", "hard_limit": "1000", "minimum": "5", "maximum": "400",
                "charge": {"graduated": {"tiers": tiers(&[("50", "0.5", "0"), ("-", "0.4", "0")])}}},
            "seats": {"charge": per_unit("7")},
            "free": {"charge": per_unit("0")}
        }
    });
    check(&plan(sound), &[]);
}

#[test]
fn a_restricted_stage_keeps_something_that_the_plan_grants() {
    let stage = |features: Value, kept: Value| {
        plan(json!({"features": features, "restricted": {"days": 7, "features": kept}}))
    };
    check(
        &stage(json!({}), json!([])),
        &[(
            EmptyRestrictedStage,
            "restricted.features: the stage has 7 days, but no feature stays",
        )],
    );
    let features = json!({"export": {"flag": true}, "sso": {"flag": false}});
    check(
        &stage(features, json!(["export", "sso"])),
        &[(
            UngrantedFeature,
            "restricted.features: `sso` is switched off in the plan, so it does not stay either",
        )],
    );
}

#[test]
fn a_feature_within_a_meter_that_refuses_everything_is_not_usable() {
    let with =
        |terms: Value| plan(json!({"features": {"calls": {"metered": "api"}}, "meters": {"api": terms}}));
    check(
        &with(json!({"hard_limit": "0.0", "charge": per_unit("1")})),
        &[(
            UnusableFeature,
            "features.calls.metered: the hard limit of meter `api` is 0, so every use is refused",
        )],
    );
    check(&with(json!({"hard_limit": "0.1", "charge": per_unit("1")})), &[]);
    check_meter(
        json!({"hard_limit": "0", "soft_limit": "0", "charge": per_unit("1")}),
        &[],
    );
}

#[test]
fn a_soft_limit_warns_before_the_hard_limit_refuses() {
    let with = |soft: &str| json!({"soft_limit": soft, "hard_limit": "20", "charge": per_unit("1")});
    check_meter(
        with("20.0"),
        &[(
            LateSoftLimit,
            "meters.api.soft_limit: a warning at 20 comes when nothing is left of the hard limit of 20",
        )],
    );
    check_meter(with("19"), &[]);
}

#[test]
fn marks_are_parts_of_something() {
    let with = |field: &str, value: Value| {
        let mut terms = json!({"charge": per_unit("1"), "warn_at": ["0.5"]});
        terms[field] = value;
        terms
    };
    check_meter(
        with("warn_at", json!(["0.5"])),
        &[(
            IdleWarnings,
            "meters.api.warn_at: there is no hard limit, soft limit or allowance to warn at a part of",
        )],
    );
    check_meter(with("warn_at", json!([])), &[]);
    check_meter(with("warn_at", json!(["0.8", "1"])), &[]);
    for limit in ["hard_limit", "soft_limit", "allowance"] {
        check_meter(with(limit, json!("100")), &[]);
    }
}

#[test]
fn an_overage_that_costs_nothing_ends_somewhere() {
    let told = [(
        FreeOverage,
        "meters.api.charge: usage above the allowance of 100 costs nothing, and no hard limit ends it",
    )];
    let zero = tiers(&[("10", "0", "0"), ("-", "0", "0")]);
    let percent = json!([{"percent": "0"}]);
    for charge in [
        per_unit("0"),
        json!({"flat": {"amount": "0"}}),
        json!({"package": {"size": "10", "price": "0"}}),
        json!({"graduated": {"tiers": [{"unit_price": "0"}]}}),
        json!({"volume": {"tiers": [{"unit_price": "0"}]}}),
        json!({"percentage": {"percent": "0"}}),
        json!({"graduated_percentage": {"tiers": percent}}),
    ] {
        check_meter(json!({"allowance": "100", "charge": charge.clone()}), &told);
        check_meter(json!({"charge": charge.clone()}), &[]);
        check_meter(
            json!({"allowance": "100", "hard_limit": "150", "charge": charge}),
            &[],
        );
    }
    for charge in [
        json!({"graduated": {"tiers": [{"unit_price": "0", "flat_fee": "40"}]}}),
        json!({"volume": {"tiers": [{"unit_price": "1"}]}}),
        json!({"percentage": {"percent": "50"}}),
        json!({"graduated_percentage": {"tiers": [{"percent": "50"}]}}),
    ] {
        check_meter(json!({"allowance": "100", "charge": charge}), &[]);
    }
    let repeated = json!({"allowance": "100", "hard_limit": "150", "charge": {"volume": {"tiers": zero}}});
    let found = metered(repeated).lint();
    assert_eq!(
        found.iter().map(|finding| finding.kind).collect::<Vec<_>>(),
        [RepeatedTier]
    );
}

#[test]
fn a_price_is_in_reach() {
    let with = |hard: &str, charge: Value| json!({"allowance": "100", "hard_limit": hard, "charge": charge});
    let told = [(
        UnreachedPrice,
        "meters.api.charge: the hard limit is the allowance of 100, so nothing above it is charged",
    )];
    check_meter(with("100", per_unit("1")), &told);
    check_meter(with("100", json!({"flat": {"amount": "1"}})), &told);
    check_meter(
        with("100", json!({"package": {"size": "1", "price": "1"}})),
        &told,
    );
    check_meter(with("100", per_unit("0")), &[]);
    check_meter(with("100.1", per_unit("1")), &[]);
    let mut daily = with("100", per_unit("1"));
    daily["reset"] = json!({"calendar": {"unit": "day", "count": 1}});
    check_meter(daily, &[]);
    // The first fee is due whatever is used, so only what is above is out of reach.
    let fee = json!({"graduated": {"empty_first_fee": true, "tiers": tiers(&[("10", "1", "40"), ("-", "1", "1")])}});
    check_meter(
        with("100", fee),
        &[(
            DeadTier,
            "meters.api.charge.graduated.tiers[1]: it begins when more than 110 is used, but the hard limit is 100",
        )],
    );
}

/// The tiers count what is above the allowance of 20, or the whole usage.
#[test]
fn a_tier_is_reached_below_the_hard_limit_and_above_what_is_free() {
    let three = tiers(&[("10", "3", "0"), ("30", "2", "9"), ("-", "1", "99")]);
    let percent: Vec<_> = three
        .as_array()
        .unwrap()
        .iter()
        .map(|tier| json!({"up_to": tier["up_to"], "percent": tier["unit_price"], "flat_fee": tier["flat_fee"]}))
        .collect();
    let with = |hard: &str, charge: Value| json!({"allowance": "20", "hard_limit": hard, "charge": charge});
    for (name, tiers) in [
        ("graduated", &three),
        ("volume", &three),
        ("graduated_percentage", &json!(percent)),
    ] {
        let price = json!({ name: { "tiers": tiers } });
        let dead = |index: usize, above: u32, hard: u32| {
            format!(
                "meters.api.charge.{name}.tiers[{index}]: it begins when more than {above} is used, \
                 but the hard limit is {hard}"
            )
        };
        let paths = |hard: &str| -> Vec<String> {
            let plan = metered(with(hard, price.clone()));
            let found = plan.lint();
            let dead = found.iter().filter(|finding| finding.kind == DeadTier);
            dead.map(ToString::to_string).collect()
        };
        assert_eq!(paths("50.1"), [""; 0], "{name}");
        assert_eq!(paths("50"), [dead(2, 50, 50)], "{name}");
        assert_eq!(paths("30"), [dead(1, 30, 30), dead(2, 50, 30)], "{name}");
    }
    let whole = |hard: &str, empty_first_fee| {
        let tiers = tiers(&[
            ("10", "3", "1"),
            ("20", "2", "9"),
            ("30", "2", "29"),
            ("-", "1", "99"),
        ]);
        let volume = json!({"tiers": tiers, "allowance": "whole", "empty_first_fee": empty_first_fee});
        with(hard, json!({ "volume": volume }))
    };
    let within = |index: usize, up_to: u32| {
        format!(
            "meters.api.charge.volume.tiers[{index}]: it ends at {up_to}, but nothing is charged up to \
             the allowance of 20"
        )
    };
    check_meter(
        whole("30", false),
        &[
            (DeadTier, within(0, 10).as_str()),
            (DeadTier, within(1, 20).as_str()),
            (
                DeadTier,
                "meters.api.charge.volume.tiers[3]: it begins when more than 30 is used, but the hard limit is 30",
            ),
        ],
    );
    check_meter(whole("31", true), &[(DeadTier, within(1, 20).as_str())]);
}

#[test]
fn a_graduated_tier_begins_below_the_maximum() {
    let with = |maximum: &str, model: &str| {
        let tiers = tiers(&[("100", "0.5", "0"), ("-", "0.6", "0")]);
        json!({"allowance": "10", "maximum": maximum, "charge": {model: {"tiers": tiers}}})
    };
    check_meter(
        with("50", "graduated"),
        &[(
            DeadTier,
            "meters.api.charge.graduated.tiers[1]: the maximum of 50 is reached before it: \
             110 - 10 included = 100: 100 x 0.5 = 50 USD",
        )],
    );
    check_meter(with("50.1", "graduated"), &[]);
    check_meter(with("50", "volume"), &[]);
}

#[test]
fn a_tier_changes_something() {
    let same = |model: &str, index: usize| {
        format!(
            "meters.api.charge.{model}.tiers[{index}]: it changes no amount: the price is that of tiers[0]"
        )
    };
    let priced =
        |model: &str, rows: &[(&str, &str, &str)]| json!({"charge": {model: {"tiers": tiers(rows)}}});
    let graduated = same("graduated", 1);
    check_meter(
        priced(
            "graduated",
            &[("10", "0.50", "5"), ("20", "0.5", "0"), ("-", "0.4", "0")],
        ),
        &[(RepeatedTier, graduated.as_str())],
    );
    check_meter(priced("graduated", &[("10", "0.5", "5"), ("-", "0.5", "5")]), &[]);
    let volume = same("volume", 1);
    check_meter(
        priced("volume", &[("10", "0.5", "5"), ("-", "0.5", "5.0")]),
        &[(RepeatedTier, volume.as_str())],
    );
    check_meter(priced("volume", &[("10", "0.5", "5"), ("-", "0.5", "6")]), &[]);
    let percent = json!([{"up_to": "10", "percent": "3"}, {"percent": "3"}]);
    let graduated_percentage = same("graduated_percentage", 1);
    check_meter(
        json!({"charge": {"graduated_percentage": {"tiers": percent}}}),
        &[(RepeatedTier, graduated_percentage.as_str())],
    );
}

#[test]
fn one_unit_more_does_not_cost_less() {
    let volume = |allowance: &str, rows: &[(&str, &str, &str)]| {
        let charge = json!({"volume": {"tiers": tiers(rows), "allowance": allowance}});
        json!({ "charge": charge })
    };
    let falls = [("10", "0.5", "0"), ("-", "0.4", "0")];
    check_meter(
        volume("excess", &falls),
        &[(
            CheaperWithMore,
            "meters.api.charge.volume.tiers[1]: 11 used costs 4.40 USD, less than 10 used for 5.00 USD: \
             11 x 0.4 = 4.4 USD and 10 x 0.5 = 5 USD",
        )],
    );
    let with = |mut terms: Value, field: &str, value: &str| {
        terms[field] = json!(value);
        terms
    };
    check_meter(
        with(volume("excess", &falls), "allowance", "5"),
        &[(
            CheaperWithMore,
            "meters.api.charge.volume.tiers[1]: 16 used costs 4.40 USD, less than 15 used for 5.00 USD: \
             16 - 5 included = 11: 11 x 0.4 = 4.4 USD and 15 - 5 included = 10: 10 x 0.5 = 5 USD",
        )],
    );
    check_meter(
        with(volume("whole", &falls), "allowance", "5"),
        &[(
            CheaperWithMore,
            "meters.api.charge.volume.tiers[1]: 11 used costs 4.40 USD, less than 10 used for 5.00 USD: \
             more than 5 included: 11 x 0.4 = 4.4 USD and more than 5 included: 10 x 0.5 = 5 USD",
        )],
    );
    // What is compared is one unit more, here 5.06 with 5, and the rounded amounts.
    check_meter(volume("excess", &[("10", "0.5", "0"), ("-", "0.46", "0")]), &[]);
    check_meter(volume("excess", &[("10", "0.5", "0"), ("-", "0.4", "1")]), &[]);
    check_meter(volume("excess", &[("10", "0.5", "0"), ("-", "0.4545", "0")]), &[]);
    check_meter(with(volume("excess", &falls), "minimum", "5"), &[]);
    // Less than one unit more where the hard limit, or the next tier, leaves less.
    let short = volume("excess", &[("10", "0.5", "0"), ("-", "0.49", "0")]);
    check_meter(
        with(short, "hard_limit", "10.1"),
        &[(
            CheaperWithMore,
            "meters.api.charge.volume.tiers[1]: 10.1 used costs 4.95 USD, less than 10 used for 5.00 USD: \
             10.1 x 0.49 = 4.949 USD and 10 x 0.5 = 5 USD",
        )],
    );
    check_meter(
        volume(
            "excess",
            &[("10", "0.5", "0"), ("10.1", "0.49", "0"), ("-", "0.5", "0")],
        ),
        &[(
            CheaperWithMore,
            "meters.api.charge.volume.tiers[1]: 10.1 used costs 4.95 USD, less than 10 used for 5.00 USD: \
             10.1 x 0.49 = 4.949 USD and 10 x 0.5 = 5 USD",
        )],
    );
    // The fee of the first tier is due for nothing, the price of the second for what passes the allowance.
    let first = json!({"volume": {"allowance": "whole", "empty_first_fee": true,
        "tiers": tiers(&[("10", "1", "40"), ("-", "1", "0")])}});
    check_meter(
        json!({"allowance": "20", "charge": first}),
        &[(
            CheaperWithMore,
            "meters.api.charge.volume.tiers[1]: 21 used costs 21.00 USD, less than 20 used for 40.00 USD: \
                 more than 20 included: 21 x 1 = 21 USD and 20 - 20 included = 0: 0 x 1 + 40 flat = 40 USD",
        )],
    );
}

#[test]
fn a_minimum_is_in_reach() {
    let fee =
        json!({"graduated": {"empty_first_fee": true, "tiers": [{"unit_price": "1", "flat_fee": "5"}]}});
    check_meter(
        json!({"minimum": "5", "charge": fee.clone()}),
        &[(
            IdleMinimum,
            "meters.api.minimum: what is due without usage, 5, is never below the minimum of 5",
        )],
    );
    check_meter(json!({"minimum": "5.1", "charge": fee}), &[]);
    check_meter(json!({"minimum": "0", "charge": per_unit("1")}), &[]);
    let with = |minimum: &str, price: &str| {
        let charge = per_unit(price);
        json!({"allowance": "10", "hard_limit": "60", "minimum": minimum, "charge": charge})
    };
    check_meter(
        with("250.1", "5"),
        &[(
            UnreachedMinimum,
            "meters.api.minimum: usage up to the hard limit of 60 never comes to the minimum of 250.1: \
             (60 - 10 included) x 5 = 250 USD",
        )],
    );
    check_meter(with("250", "5"), &[]);
    check_meter(with("250", "0"), &[]);
    let by_event = json!({"percentage": {"percent": "1", "fixed_fee": "1"}});
    check_meter(
        json!({"hard_limit": "60", "minimum": "10", "charge": by_event}),
        &[],
    );
    let volume =
        json!({"volume": {"tiers": [{"unit_price": "1", "flat_fee": "1"}], "empty_first_fee": true}});
    check_meter(json!({"hard_limit": "60", "minimum": "1", "charge": volume}), &[]);
}

#[test]
fn a_maximum_is_above_the_first_unit() {
    let with =
        |maximum: &str, charge: Value| json!({"allowance": "10", "maximum": maximum, "charge": charge});
    check_meter(
        with("4.99", per_unit("5")),
        &[(
            LowMaximum,
            "meters.api.maximum: the first unit costs more than the maximum of 4.99: (11 - 10 included) x 5 = 5 USD",
        )],
    );
    check_meter(with("5", per_unit("5")), &[]);
    check_meter(
        with("40", json!({"package": {"size": "100", "price": "50"}})),
        &[(
            LowMaximum,
            "meters.api.maximum: the first unit costs more than the maximum of 40: \
             11 - 10 included = 1 in packages of 100: 1 x 50 = 50 USD",
        )],
    );
    let mut limited = with("4", per_unit("5"));
    limited["hard_limit"] = json!("10.5");
    check_meter(limited, &[]);
}

#[test]
fn the_overage_costs_as_much_a_unit_as_what_is_included() {
    let with =
        |hard: Option<&str>, charge: Value| json!({"allowance": "100", "hard_limit": hard, "charge": charge});
    let price = json!({"minor": 3100, "currency": "USD"});
    let check_meter = |terms: Value, expected: &[(FindingKind, &str)]| {
        check(&plan(json!({"price": price, "meters": {"api": terms}})), expected);
    };
    // The plan costs 31 USD, which is 0.31 for each of 100 units.
    check_meter(
        with(None, per_unit("0.3099")),
        &[(
            CheapOverage,
            "meters.api.charge: 100 above the allowance cost less a unit than the price of 31.00 USD for 100 \
             included: (200 - 100 included) x 0.3099 = 30.99 USD",
        )],
    );
    check_meter(with(None, per_unit("0.31")), &[]);
    check_meter(
        with(Some("110"), per_unit("0.3")),
        &[(
            CheapOverage,
            "meters.api.charge: 10 above the allowance cost less a unit than the price of 31.00 USD for 100 \
             included: (110 - 100 included) x 0.3 = 3 USD",
        )],
    );
    // Ten units for a package of 31 are not cheap, a hundred would be.
    let package = json!({"package": {"size": "200", "price": "30"}});
    check_meter(with(Some("110"), package), &[]);
    let counted = json!({"percentage": {"percent": "1", "fixed_fee": "0", "free_events": 1}});
    let by_event = plan(json!({"price": price, "meters": {"api": with(None, counted)}}));
    assert!(by_event.lint().is_empty(), "what single events cost is not known");
    let two = json!({"api": with(None, per_unit("0.1")), "gb": with(None, per_unit("0.1"))});
    check(&plan(json!({"price": price, "meters": two})), &[]);
    check(&metered(with(None, per_unit("0.1"))), &[]);
}

#[test]
fn a_filter_is_looked_at_like_a_meter() {
    let filtered = |most: Value| {
        json!({
            "charge": per_unit("1"), "hard_limit": most,
            "filters": [{"name": "EU", "matching": {"region": ["eu"]}, "allowance": "5", "charge": per_unit("0")}],
        })
    };
    check_meter(
        filtered(Value::Null),
        &[(
            FreeOverage,
            "meters.api.filters[0].charge: usage above the allowance of 5 costs nothing, and no hard limit ends it",
        )],
    );
    check_meter(filtered(json!("10")), &[]);
    let dead = |aggregation: Value| {
        json!({
            "aggregation": aggregation, "hard_limit": "10",
            "charge": {"graduated": {"tiers": tiers(&[("10", "1", "0"), ("-", "2", "0")])}},
        })
    };
    check_meter(
        dead(json!("max")),
        &[(
            DeadTier,
            "meters.api.charge.graduated.tiers[1]: it begins when more than 10 is used, but the hard limit is 10",
        )],
    );
    // Ten at a time are more than ten hours.
    check_meter(dead(json!({"weighted_sum": {"unit": "hour"}})), &[]);
}

#[test]
fn a_finding_is_plain_json() {
    let found = metered(json!({"maximum": "1", "charge": per_unit("2")})).lint();
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        json,
        json!([{"path": "meters.api.maximum", "kind": "low_maximum",
            "message": "the first unit costs more than the maximum of 1: 1 x 2 = 2 USD"}])
    );
    assert_eq!(serde_json::from_value::<Vec<PlanFinding>>(json).unwrap(), found);
}
