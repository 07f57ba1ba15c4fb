//! Plans: what becomes of one that is to be kept, and how they are found.

use billing_core::id::PlanCode;
use billing_core::plan::Plan;
use billing_core::ports::{PlanStored, Store};
use billing_core::subscription::{Command, When};

use crate::kit::{Kit, cancel_now, plan, plan_id, request, tenant, usd, wait};
use crate::states::full_plan;

fn put(store: &dyn Store, plan: &Plan) -> PlanStored {
    wait(store.put_plan(plan)).expect("the store keeps a plan")
}

fn get(store: &dyn Store, n: u128) -> Option<Plan> {
    wait(store.plan(plan_id(n))).expect("reads")
}

fn code(text: &str) -> PlanCode {
    PlanCode::new(text).expect("a plan code")
}

/// Until a subscription uses it a plan may be replaced, its code and version too.
pub fn a_plan_is_created_kept_and_replaced(store: &dyn Store) {
    let first = plan(1, "basic");
    assert_eq!(put(store, &first), PlanStored::Created);
    assert_eq!(put(store, &first), PlanStored::Unchanged);
    assert_eq!(get(store, 1), Some(first.clone()));

    let dearer = Plan {
        price: usd(1200),
        ..first.clone()
    };
    assert_eq!(put(store, &dearer), PlanStored::Replaced);
    assert_eq!(get(store, 1), Some(dearer.clone()));
    assert_eq!(put(store, &dearer), PlanStored::Unchanged);

    let renamed = Plan {
        code: code("starter"),
        version: 2,
        ..dearer
    };
    assert_eq!(put(store, &renamed), PlanStored::Replaced);
    assert_eq!(wait(store.plan_by_code(&code("basic"), None)), Ok(None));
    assert_eq!(
        wait(store.plan_by_code(&code("starter"), Some(2))),
        Ok(Some(renamed.clone()))
    );
    assert_eq!(wait(store.plans()), Ok(vec![renamed]));
    // The old name is free.
    assert_eq!(
        put(
            store,
            &Plan {
                id: plan_id(2),
                ..first
            }
        ),
        PlanStored::Created
    );

    let closed = Plan {
        is_active: false,
        ..get(store, 2).expect("the second")
    };
    assert_eq!(put(store, &closed), PlanStored::Replaced);
    assert_eq!(get(store, 2), Some(closed));
}

/// Also when the subscription has ended or moved to another plan.
pub fn a_plan_in_use_keeps_its_terms(store: &dyn Store) {
    let kit = Kit::new(store);
    let (basic, better) = (
        plan(1, "basic"),
        Plan {
            price: usd(2000),
            ..plan(2, "better")
        },
    );
    kit.put_plans(&[&basic, &better]);
    let altered = |plan: &Plan| Plan {
        price: usd(1),
        ..plan.clone()
    };
    let one = kit.subscribe(tenant(1), &basic);
    let refused = |plan: &Plan| {
        assert_eq!(put(store, &altered(plan)), PlanStored::InUse);
        assert_eq!(wait(store.plan(plan.id)), Ok(Some(plan.clone())));
        assert_eq!(put(store, plan), PlanStored::Unchanged);
        let renamed = Plan {
            code: code("renamed"),
            ..plan.clone()
        };
        assert_eq!(
            put(store, &renamed),
            PlanStored::InUse,
            "its name is one of its terms"
        );
    };
    refused(&basic);
    assert_eq!(
        put(store, &altered(&better)),
        PlanStored::Replaced,
        "nobody is on it"
    );
    assert_eq!(put(store, &better), PlanStored::Replaced);

    kit.pay(one.id);
    let change = Command::ChangePlan {
        plan_id: better.id,
        when: Some(When::Now),
        tenant: billing_core::plan::TenantProfile::default(),
    };
    kit.run(one.id, &change);
    refused(&basic);
    refused(&better);
    kit.run(one.id, &cancel_now());
    refused(&basic);
    refused(&better);
    // A commit that was refused uses nothing.
    let third = plan(3, "third");
    kit.put_plans(&[&third]);
    let decision = kit
        .decide_create(&request(kit.new_id(), tenant(3)), &third)
        .expect("a creation");
    let mut commit = kit.commit_of(decision);
    commit.expected_version = 7;
    assert!(kit.commit(commit).is_err());
    assert_eq!(put(store, &altered(&third)), PlanStored::Replaced);
}

/// A plan cannot take the name of another; when it is in use as well, the name is what is answered.
pub fn a_code_and_version_name_one_plan(store: &dyn Store) {
    let kit = Kit::new(store);
    let (one, two) = (
        plan(1, "basic"),
        Plan {
            version: 2,
            ..plan(2, "basic")
        },
    );
    kit.put_plans(&[&one, &two]);
    let taken = PlanStored::VersionTaken { by: plan_id(1) };
    assert_eq!(
        put(
            store,
            &Plan {
                id: plan_id(3),
                ..one.clone()
            }
        ),
        taken
    );
    assert_eq!(get(store, 3), None);
    let moved = Plan {
        version: 1,
        ..two.clone()
    };
    assert_eq!(put(store, &moved), taken);
    assert_eq!(get(store, 2), Some(two.clone()));
    kit.subscribe(tenant(1), &two);
    assert_eq!(put(store, &moved), taken);
    assert_eq!(
        put(
            store,
            &Plan {
                code: code("Basic"),
                version: 1,
                ..two.clone()
            }
        ),
        PlanStored::InUse
    );
    assert_eq!(wait(store.plans()), Ok(vec![one, two]));
    assert_eq!(
        put(store, &plan(4, "Basic")),
        PlanStored::Created,
        "codes are case-sensitive"
    );
}

/// Of a plan in use as well, and nothing else of it changes.
pub fn availability_is_set_on_its_own(store: &dyn Store) {
    let kit = Kit::new(store);
    let (one, two) = (plan(1, "basic"), plan(2, "other"));
    kit.put_plans(&[&one, &two]);
    kit.subscribe(tenant(1), &one);
    assert_eq!(
        wait(store.set_plan_availability(plan_id(3), true, true)),
        Ok(false)
    );
    for (is_active, discontinued) in [(false, true), (false, false), (true, true), (true, false)] {
        assert_eq!(
            wait(store.set_plan_availability(plan_id(1), is_active, discontinued)),
            Ok(true)
        );
        let expected = Plan {
            is_active,
            discontinued,
            ..one.clone()
        };
        assert_eq!(get(store, 1), Some(expected.clone()));
        assert_eq!(
            wait(store.plan_by_code(&one.code, None)),
            Ok(Some(expected.clone()))
        );
        assert_eq!(wait(store.plans()), Ok(vec![expected.clone(), two.clone()]));
        assert_eq!(put(store, &expected), PlanStored::Unchanged);
    }
}

/// Who has agreed to a plan for later has agreed to its terms of now, also when the change is dropped again.
pub fn a_plan_that_a_change_is_scheduled_to_keeps_its_terms(store: &dyn Store) {
    let kit = Kit::new(store);
    let (basic, next, other) = (plan(1, "basic"), plan(2, "next"), plan(3, "other"));
    kit.put_plans(&[&basic, &next, &other]);
    let one = kit.subscribe(tenant(1), &basic);
    kit.pay(one.id);
    let change = Command::ChangePlan {
        plan_id: next.id,
        when: Some(When::AtPeriodEnd),
        tenant: billing_core::plan::TenantProfile::default(),
    };
    kit.run(one.id, &change);
    let altered = |plan: &Plan| Plan {
        price: usd(1),
        ..plan.clone()
    };
    assert_eq!(put(store, &altered(&next)), PlanStored::InUse);
    assert_eq!(get(store, 2), Some(next.clone()));
    assert_eq!(put(store, &altered(&other)), PlanStored::Replaced);
    kit.run(one.id, &Command::DropPendingChange);
    assert_eq!(put(store, &altered(&next)), PlanStored::InUse);
}

/// A catalogue that is put again at every start does not reopen what an operator has closed since.
pub fn a_plan_in_use_keeps_its_availability_when_it_is_put_again(store: &dyn Store) {
    let kit = Kit::new(store);
    let one = plan(1, "basic");
    kit.put_plans(&[&one]);
    kit.subscribe(tenant(1), &one);
    assert_eq!(wait(store.set_plan_availability(one.id, false, true)), Ok(true));
    let closed = get(store, 1);
    assert_eq!(put(store, &one), PlanStored::Unchanged);
    assert_eq!(get(store, 1), closed);
}

/// By number, not by text, and whatever the order in which they came.
pub fn plans_are_found_by_code_and_listed_in_order(store: &dyn Store) {
    let version = |n, text: &str, version| Plan {
        version,
        ..plan(n, text)
    };
    let kept = [
        version(5, "basic", 10),
        version(1, "basic", 9),
        version(9, "basic", 1),
        version(2, "Basic", 3),
        version(4, "basic-plus", 2),
        version(3, "0", u32::MAX),
    ];
    for plan in &kept {
        assert_eq!(put(store, plan), PlanStored::Created);
    }
    let by_code = |text: &str, version| {
        let found = wait(store.plan_by_code(&code(text), version)).expect("reads");
        found.map(|plan| (plan.code.as_str().to_owned(), plan.version))
    };
    assert_eq!(by_code("basic", None), Some(("basic".into(), 10)));
    assert_eq!(by_code("basic", Some(9)), Some(("basic".into(), 9)));
    assert_eq!(by_code("basic", Some(2)), None);
    assert_eq!(by_code("basic", Some(0)), None);
    assert_eq!(by_code("Basic", None), Some(("Basic".into(), 3)));
    assert_eq!(by_code("0", Some(u32::MAX)), Some(("0".into(), u32::MAX)));
    assert_eq!(by_code("bas", None), None);
    let all = wait(store.plans()).expect("reads");
    let names: Vec<_> = all
        .iter()
        .map(|plan| (plan.code.as_str(), plan.version))
        .collect();
    let expected = [
        ("0", u32::MAX),
        ("Basic", 3),
        ("basic", 1),
        ("basic", 9),
        ("basic", 10),
        ("basic-plus", 2),
    ];
    assert_eq!(names, expected);
}

/// A plan with everything that a plan can have.
pub fn every_field_of_a_plan_is_kept(store: &dyn Store) {
    let full = full_plan();
    assert_eq!(full.validate(), Ok(()));
    assert_eq!(put(store, &full), PlanStored::Created);
    assert_eq!(wait(store.plan(full.id)), Ok(Some(full.clone())));
    assert_eq!(put(store, &full), PlanStored::Unchanged);
    let mut other = full;
    let terms = other.meters.values_mut().next().expect("a meter");
    terms.allowance += crate::kit::decimal("0.000000000001");
    assert_eq!(put(store, &other), PlanStored::Replaced);
    assert_eq!(wait(store.plan(other.id)), Ok(Some(other)));
}
