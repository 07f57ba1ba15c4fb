//! What is found at a path, and what is made of it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;

use billing_core::ports::{Store as _, StoreError};
use futures_executor::block_on;
use rusqlite::Connection;
use tempfile::TempDir;

use super::kit::plan;
use crate::reader::Reader;
use crate::{Options, SqliteStore, schema};

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

/// A store with a plan in it, closed.
fn filled(path: &Path) {
    let store = SqliteStore::open(path).unwrap();
    block_on(store.put_plan(&plan())).unwrap();
}

#[test]
fn a_store_is_created_and_found_again() {
    let (_directory, path) = place();
    filled(&path);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(block_on(store.plans()).unwrap(), [plan()]);
    let pragma = |name: &str| {
        let read = |connection: &Reader| {
            Ok(connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)))
        };
        store.readers.read(read).unwrap()
    };
    assert_eq!(pragma("journal_mode").unwrap(), "wal");
}

#[test]
fn the_newest_migration_is_the_version_that_is_supported_and_set() {
    let (_directory, path) = place();
    filled(&path);
    let connection = Connection::open(&path).unwrap();
    let version: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    let history: u32 = connection
        .query_row("SELECT max(version) FROM refinery_schema_history", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!((version, history), (schema::SUPPORTED, schema::SUPPORTED));
}

#[test]
fn tables_are_strict_and_foreign_keys_hold() {
    let (_directory, path) = place();
    filled(&path);
    let connection = Connection::open(&path).unwrap();
    let loose: i64 = connection
        .query_row(
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND strict = 0 \
             AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'refinery_%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(loose, 0);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (_directory, path) = place();
    filled(&path);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    let expected = StoreError::NewerSchema {
        path: path.display().to_string(),
        found: 9,
        supported: schema::SUPPORTED,
    };
    assert_eq!(error, expected);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_foreign_database_is_refused_and_left_alone() {
    let (_directory, path) = place();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE notes (text)").unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (_directory, path) = place();
    let text = "dear diary, ".repeat(1000);
    fs::write(&path, &text).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn an_empty_file_becomes_a_store() {
    let (_directory, path) = place();
    fs::write(&path, "").unwrap();
    filled(&path);
}

#[test]
fn a_missing_directory_is_an_io_error() {
    let (_directory, path) = place();
    let error = SqliteStore::open(path.join("missing").join("store.db")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
}

#[test]
fn a_directory_in_its_place_is_an_io_error() {
    let (directory, _) = place();
    let error = SqliteStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
}

/// Runs one test again as a user to whom permissions mean something; for root they do not.
fn as_nobody(test: &str) {
    const NOBODY: u32 = 65_534;
    let mut again = Command::new(std::env::current_exe().unwrap());
    again
        .args(["--exact", test])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/tmp");
    match again.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
        // Not by a macro: the test harness would keep it to itself.
        Err(error) => std::io::stderr()
            .write_all(format!("SKIPPED read-only files: cannot run as another user: {error}\n").as_bytes())
            .unwrap(),
    }
}

#[test]
fn what_cannot_be_written_is_read_only() {
    let (directory, path) = place();
    filled(&path);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&path, 0o444);
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        return as_nobody("tests::opening::what_cannot_be_written_is_read_only");
    }
    let read_only = |path: &Path| {
        let error = SqliteStore::open(path).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    };
    read_only(&path);
    // Nothing was left behind that would keep it so.
    mode(&path, 0o644);
    filled(&path);
    mode(&path, 0o444);
    mode(directory.path(), 0o555);
    read_only(&path);
    read_only(&directory.path().join("new.db"));
    mode(&path, 0o644);
    read_only(&path);
    mode(directory.path(), 0o755);
    filled(&path);
}

#[test]
fn many_may_open_a_new_store_at_once() {
    for _ in 0..20 {
        let (_directory, path) = place();
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (path, barrier) = (path.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    let store = SqliteStore::open(&path).unwrap();
                    block_on(store.put_plan(&plan())).unwrap();
                    assert_eq!(block_on(store.plans()).unwrap(), [plan()]);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn two_stores_in_memory_are_two() {
    let (one, other) = (
        SqliteStore::in_memory().unwrap(),
        SqliteStore::in_memory().unwrap(),
    );
    block_on(one.put_plan(&plan())).unwrap();
    assert_eq!(block_on(one.plans()).unwrap(), [plan()]);
    assert_eq!(block_on(other.plans()).unwrap(), []);
}

#[test]
fn a_single_reader_serves_many_threads() {
    let (_directory, path) = place();
    let options = Options {
        readers_max: 1,
        ..Options::default()
    };
    let store = Arc::new(SqliteStore::open_with(&path, options).unwrap());
    block_on(store.put_plan(&plan())).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for _ in 0..200 {
                    assert_eq!(block_on(store.plan(plan().id)).unwrap(), Some(plan()));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_store_whose_creation_was_cut_off_is_completed() {
    let (_directory, path) = place();
    filled(&path);
    // As after a crash between refinery's two transactions.
    let history: String = Connection::open(&path)
        .unwrap()
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = 'refinery_schema_history'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    fs::remove_file(&path).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!("PRAGMA application_id = {}; {history}", 0x6269_6c6c))
        .unwrap();
    drop(connection);
    filled(&path);
}
