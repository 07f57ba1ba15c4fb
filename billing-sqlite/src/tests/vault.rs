//! Payment methods: sealed in the file, opened with their key, sealed anew with another.

use std::path::Path;
use std::sync::Arc;

use billing_core::gateway::{MethodToken, PaymentMethodVault as _, StoredMethod};
use billing_core::id::PaymentMethodId;
use billing_core::ports::StoreError;
use futures_executor::block_on;
use rusqlite::Connection;
use uuid::Uuid;

use super::kit::tenant;
use crate::{KeyRing, SqliteStore, SqliteVault};

const TOKEN: &str = "AUTH_needle_in_the_file";
const EMAIL: &str = "needle@haystack.example";

fn id(number: u128) -> PaymentMethodId {
    PaymentMethodId::new(Uuid::from_u128(number))
}

fn method(token: &str) -> StoredMethod {
    StoredMethod {
        token: MethodToken::new(token).unwrap(),
        email: EMAIL.parse().unwrap(),
        country: Some("NG".parse().unwrap()),
    }
}

fn open(path: &Path, keys: KeyRing) -> SqliteVault {
    SqliteVault::new(Arc::new(SqliteStore::open(path).unwrap()), keys)
}

/// Neither the file nor the log beside it, nor what a replaced or a removed record leaves in them.
#[test]
fn nothing_of_a_payment_method_lies_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("billing.db");
    let vault = open(&path, KeyRing::new("k1", &[1; 32]));
    let found = |name: &str| {
        let bytes = std::fs::read(path.with_file_name(name)).unwrap_or_default();
        [TOKEN, EMAIL].map(|needle| bytes.windows(needle.len()).any(|part| part == needle.as_bytes()))
    };
    block_on(vault.put(tenant(1), id(1), &method(TOKEN))).unwrap();
    block_on(vault.put(tenant(1), id(1), &method(TOKEN))).unwrap();
    assert!(
        std::fs::metadata(path.with_file_name("billing.db-wal"))
            .unwrap()
            .len()
            > 0
    );
    assert_eq!(
        (found("billing.db"), found("billing.db-wal")),
        ([false; 2], [false; 2])
    );
    assert_eq!(block_on(vault.find(tenant(1), id(1))), Ok(Some(method(TOKEN))));
    drop(vault);
    assert_eq!(found("billing.db"), [false; 2]);
    // The needle is one that would be found.
    let plain = Connection::open(&path).unwrap();
    plain
        .execute_batch(&format!(
            "CREATE TABLE plain (text TEXT); INSERT INTO plain VALUES ('{TOKEN} {EMAIL}')"
        ))
        .unwrap();
    drop(plain);
    assert_eq!(found("billing.db"), [true; 2]);
}

#[test]
fn a_payment_method_is_its_tenants_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let vault = open(&folder.path().join("billing.db"), KeyRing::new("k1", &[1; 32]));
    block_on(vault.put(tenant(1), id(1), &method("AUTH_1"))).unwrap();
    assert_eq!(block_on(vault.find(tenant(2), id(1))), Ok(None));
    assert_eq!(block_on(vault.find(tenant(1), id(2))), Ok(None));
    block_on(vault.put(tenant(1), id(1), &method("AUTH_2"))).unwrap();
    assert_eq!(block_on(vault.find(tenant(1), id(1))), Ok(Some(method("AUTH_2"))));
    assert_eq!(block_on(vault.remove(tenant(2), id(1))), Ok(false));
    assert_eq!(block_on(vault.remove(tenant(1), id(1))), Ok(true));
    assert_eq!(block_on(vault.find(tenant(1), id(1))), Ok(None));
}

/// A record that is copied over another one, or whose key is not there, is not taken for what it is not.
#[test]
fn a_record_opens_in_its_own_place_and_with_its_own_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("billing.db");
    let vault = open(&path, KeyRing::new("k1", &[1; 32]));
    block_on(vault.put(tenant(1), id(1), &method("AUTH_1"))).unwrap();
    block_on(vault.put(tenant(2), id(2), &method("AUTH_2"))).unwrap();
    drop(vault);
    let other = open(&path, KeyRing::new("k2", &[2; 32]));
    let Err(StoreError::Damaged { detail }) = block_on(other.find(tenant(1), id(1))) else {
        panic!("it was opened without its key")
    };
    assert!(
        detail.contains("sealed with key `k1`, expected one of the key ring: k2"),
        "{detail}"
    );
    drop(other);
    let sql = "UPDATE payment_methods SET (nonce, sealed) = \
         (SELECT nonce, sealed FROM payment_methods ORDER BY id DESC LIMIT 1)";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let vault = open(&path, KeyRing::new("k1", &[1; 32]));
    assert!(matches!(
        block_on(vault.find(tenant(1), id(1))),
        Err(StoreError::Damaged { .. })
    ));
    assert_eq!(block_on(vault.find(tenant(2), id(2))), Ok(Some(method("AUTH_2"))));
}

/// Stopped in the middle it goes on where it was; at its end the old key is not needed any more.
#[test]
fn keys_rotate_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("billing.db");
    let first = open(&path, KeyRing::new("k1", &[1; 32]));
    for number in 1..=5 {
        block_on(first.put(tenant(number), id(number), &method(&format!("AUTH_{number}")))).unwrap();
    }
    drop(first);
    let both = KeyRing::new("k2", &[2; 32]).with_older("k1", &[1; 32]);
    let vault = open(&path, both.clone());
    assert_eq!(block_on(vault.rotate(2)), Ok(2));
    drop(vault);
    let vault = open(&path, both);
    for number in 1..=5 {
        let found = block_on(vault.find(tenant(number), id(number)));
        assert_eq!(found, Ok(Some(method(&format!("AUTH_{number}")))));
    }
    assert_eq!(
        [2, 2, 2].map(|limit| block_on(vault.rotate(limit))),
        [Ok(2), Ok(1), Ok(0)]
    );
    drop(vault);
    let vault = open(&path, KeyRing::new("k2", &[2; 32]));
    for number in 1..=5 {
        let found = block_on(vault.find(tenant(number), id(number)));
        assert_eq!(found, Ok(Some(method(&format!("AUTH_{number}")))));
    }
}
