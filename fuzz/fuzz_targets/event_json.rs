//! Any text as a usage event: it is refused or read; one that can be recorded is a duplicate of itself, and adds up.

#![no_main]

use billing_core::usage::{UsageEvent, UsageOutcome, add_quantities};
use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(event) = serde_json::from_str::<UsageEvent>(text) else {
        return;
    };
    if event.check(DateTime::<Utc>::MAX_UTC).is_err() {
        return;
    }
    let written = serde_json::to_string(&event).expect("an event is written");
    assert_eq!(
        serde_json::from_str::<UsageEvent>(&written).expect("and read back"),
        event
    );
    assert_eq!(event.compare(&event), UsageOutcome::Duplicate);
    let twice = add_quantities(event.quantity, event.quantity).expect("two of them fit");
    assert!(twice >= event.quantity);
});
