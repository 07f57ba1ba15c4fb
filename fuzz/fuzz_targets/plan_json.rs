//! Any text as a plan: it is refused or read; a plan that is valid is written and read back the same, is linted, and grants
//! all that it grants.

#![no_main]

use billing_core::plan::Plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(plan) = serde_json::from_str::<Plan>(text) else {
        return;
    };
    if plan.validate().is_err() {
        return;
    }
    let written = serde_json::to_string(&plan).expect("a plan is written");
    assert_eq!(
        serde_json::from_str::<Plan>(&written).expect("and read back"),
        plan
    );
    let _ = plan.lint();
    assert!(plan.compare_grants(&plan).grants_everything());
});
