//! Conformance vectors: inputs and what must come out, in JSON that another implementation can run too.
//!
//! Every file of `vectors/` is run by its `kind`; see `vectors/README.md` for the formats. What is expected there was
//! computed apart from this code.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

mod aggregations;
mod allocation;
mod charge_models;
mod coupons;
mod credit_notes;
mod credits;
mod discounts;
mod limits;
mod periods;
mod proration;
mod taxes;

/// The kind of a file, its cases, and how one is run: what is wrong, if anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    cases: Vec<Value>,
}

type Run = fn(Value) -> Result<(), String>;

/// The formats there are, and how many cases of each there are at least, so that none is lost unseen.
const KINDS: [(&str, Run, usize); 11] = [
    ("charge_models", charge_models::run, 250),
    ("periods", periods::run, 60),
    ("proration", proration::run, 50),
    ("allocation", allocation::run, 25),
    ("limits", limits::run, 50),
    ("aggregations", aggregations::run, 128),
    ("discounts", discounts::run, 38),
    ("coupons", coupons::run, 31),
    ("taxes", taxes::run, 42),
    ("credits", credits::run, 40),
    ("credit_notes", credit_notes::run, 34),
];

#[test]
fn every_vector_holds() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut counts = BTreeMap::<String, usize>::new();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&folder).expect("the folder of vectors") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a vector file");
        let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let (_, run, _) = KINDS
            .iter()
            .find(|(kind, ..)| *kind == file.kind)
            .unwrap_or_else(|| panic!("{path:?}: no such kind: {}", file.kind));
        *counts.entry(file.kind).or_default() += file.cases.len();
        for case in file.cases {
            let name = case["name"].as_str().unwrap_or_default().to_owned();
            if let Err(error) = run(case) {
                wrong.push(format!("{}: {name}: {error}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} vectors fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for (kind, _, least) in KINDS {
        let count = counts.get(kind).copied().unwrap_or_default();
        assert!(count >= least, "{kind}: {count} cases, expected {least}");
    }
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    field: &str,
    expected: Option<T>,
    found: Option<T>,
) -> Result<(), String> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("{field}: expected {expected:?}, got {found:?}"))
    }
}
