//! Works at a store until it is killed, or until there is no space left. What it acknowledges is on its stdout.
//!
//! `crash_child work <file> <run>` or `crash_child fill <file> <space> [<file to remove then>]`.

use std::path::PathBuf;

use billing_sqlite::SqliteStore;
use billing_tests::workload::{Ack, THREADS, begin, fill, name_of, work};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (mode, path, number) = (&arguments[1], &arguments[2], &arguments[3]);
    let number: u32 = number.parse().expect("a number");
    let store = match SqliteStore::open(path) {
        Ok(store) => store,
        Err(error) => {
            return Ack::Failed {
                error: name_of(&error),
            }
            .write();
        }
    };
    Ack::Ready.write();
    match mode.as_str() {
        "work" => {
            begin(&store, number);
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let store = &store;
                    scope.spawn(move || work(store, number, thread));
                }
            });
        }
        "fill" => fill(&store, number, arguments.get(4).map(PathBuf::from).as_deref()),
        other => panic!("unknown mode `{other}`"),
    }
}
