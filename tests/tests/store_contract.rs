//! The contract of the `Store` port, for every store.

use billing::MemoryStore;
use billing_sqlite::SqliteStore;
use billing_tests::store_contract;
use tempfile::TempDir;

store_contract!(memory, (MemoryStore::new(), ()));
store_contract!(sqlite_in_memory, (SqliteStore::in_memory().expect("a store"), ()));
store_contract!(sqlite_file, sqlite_file());

fn sqlite_file() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("billing.db")).expect("a store");
    (store, folder)
}

macro_rules! names {
    ($($module:ident { $($case:ident,)* })*) => { vec![$($(concat!(stringify!($module), "::", stringify!($case)),)*)*] };
}

/// A case that is written but not listed would never run.
#[test]
fn every_case_is_listed() {
    let listed = billing_tests::for_each_case!([names]);
    let mut listed: Vec<String> = listed.into_iter().map(String::from).collect();
    let files = [
        ("audit", include_str!("../src/contract/audit.rs")),
        ("commits", include_str!("../src/contract/commits.rs")),
        ("concessions", include_str!("../src/contract/concessions.rs")),
        ("limits", include_str!("../src/contract/limits.rs")),
        ("outbox", include_str!("../src/contract/outbox.rs")),
        ("plans", include_str!("../src/contract/plans.rs")),
        ("reads", include_str!("../src/contract/reads.rs")),
        ("refusals", include_str!("../src/contract/refusals.rs")),
        ("usage", include_str!("../src/contract/usage.rs")),
    ];
    let mut written = Vec::new();
    for (module, text) in files {
        let cases = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub fn ")?.split_once('('));
        written.extend(cases.map(|(case, _)| format!("{module}::{case}")));
    }
    listed.sort();
    written.sort();
    assert_eq!(listed, written);
}
