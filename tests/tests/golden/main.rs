//! Golden files: the JSON of every type that is stored or sent. What is written today must be read for ever.
//!
//! `UPDATE_GOLDEN=1` writes the files anew; look at the difference before you commit it.

mod concessions;
mod export;
mod limits;
mod plans;
mod records;
mod subscriptions;
mod values;

use billing_core::calendar::Period;
use billing_core::id::{InvoiceId, SubscriptionId};
use billing_core::plan::TenantProfile;
use billing_tests::kit::{at, start};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt::Debug;
use std::path::PathBuf;
use uuid::Uuid;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{file}.json"))
}

/// Compares `content` with the file, byte by byte, and gives the file as it is read back.
#[track_caller]
fn same_as_file(file: &str, content: &Map<String, Value>) -> Map<String, Value> {
    let mut text = serde_json::to_string_pretty(&sorted(content)).expect("it is JSON");
    text.push('\n');
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path("x").parent().expect("a folder")).expect("the folder is made");
        std::fs::write(path(file), &text).expect("the file is written");
    }
    let kept = std::fs::read_to_string(path(file)).expect("the golden file is there");
    assert!(
        kept == text,
        "golden/{file}.json differs: what is written now is\n{text}\nif that is meant, run with UPDATE_GOLDEN=1"
    );
    serde_json::from_str(&kept).expect("the file is JSON")
}

/// By name at every level: whether serde_json sorts by itself hangs on a feature that any crate may turn on.
fn sorted(object: &Map<String, Value>) -> Map<String, Value> {
    let mut names: Vec<_> = object.keys().collect();
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), sorted_value(&object[name])))
        .collect()
}

fn sorted_value(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(sorted(object)),
        Value::Array(values) => values.iter().map(sorted_value).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Each value is written as the file says, and read from there as it was.
#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    file: &str,
    values: &[(&str, T)],
) -> Map<String, Value> {
    let mut content = Map::new();
    for (name, value) in values {
        let json = serde_json::to_value(value).expect("it can be written");
        assert!(
            content.insert((*name).into(), json).is_none(),
            "`{name}` is there twice"
        );
    }
    let kept = same_as_file(file, &content);
    assert_eq!(kept.len(), values.len());
    for (name, value) in values {
        let read: T = serde_json::from_value(kept[*name].clone()).expect("what is kept can be read");
        assert_eq!(read, *value, "{file}: {name}");
        let text = serde_json::to_string(value).expect("it can be written");
        assert_eq!(&serde_json::from_str::<T>(&text).expect("it can be read"), value);
    }
    kept
}

/// The same, and a field that the type does not know is refused in every object, but for two gaps of core that are
/// listed so that closing them shows here: objects whose path ends as one of `taken`, and states without fields in an
/// enum with a tag, where serde does not look at `deny_unknown_fields`.
#[track_caller]
fn strict<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    file: &str,
    values: &[(&str, T)],
    taken: &[&str],
) {
    let kept = golden(file, values);
    let mut refused = 0;
    for (name, json) in &kept {
        let mut pointers = Vec::new();
        find_objects(json, String::new(), &mut pointers);
        for pointer in pointers {
            let mut json = json.clone();
            let object = json
                .pointer_mut(&pointer)
                .and_then(Value::as_object_mut)
                .expect("an object");
            let gap = taken.iter().any(|taken| pointer.ends_with(taken)) || is_lone_tag(object);
            object.insert("unknown_field".into(), Value::Bool(true));
            let read = serde_json::from_value::<T>(json);
            let of = format!("{file}: {name}: an unknown field at `{pointer}`");
            assert_eq!(read.is_ok(), gap, "{of}: {read:?}");
            refused += usize::from(!gap);
        }
    }
    assert!(refused > 0, "{file} has no object");
}

fn is_lone_tag(object: &Map<String, Value>) -> bool {
    const TAGS: [&str; 7] = [
        "action", "cause", "command", "effect", "outcome", "phase", "status",
    ];
    object.len() == 1 && TAGS.iter().any(|tag| object.contains_key(*tag))
}

fn find_objects(json: &Value, pointer: String, found: &mut Vec<String>) {
    match json {
        Value::Object(object) => {
            for (name, value) in object {
                find_objects(
                    value,
                    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
            found.push(pointer);
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                find_objects(value, format!("{pointer}/{n}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn invoice_id(n: u128) -> InvoiceId {
    InvoiceId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n))
}

fn subscription_id() -> SubscriptionId {
    SubscriptionId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001))
}

fn later() -> DateTime<Utc> {
    at("2024-02-29T09:00:00.000001Z")
}

fn period() -> Period {
    Period::new(start(), later()).unwrap()
}

fn profile() -> TenantProfile {
    TenantProfile {
        region: Some("US-CA".parse().unwrap()),
        industry: Some("health".parse().unwrap()),
        compliance: ["hipaa", "pci-dss"].map(|tag| tag.parse().unwrap()).into(),
    }
}
