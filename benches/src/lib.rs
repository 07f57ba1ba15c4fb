//! What the benches share: subscribers and their usage, cases, bare SQLite as the floor, and the way of measuring.
//!
//! `cargo xtask bench` runs them all; `cargo bench --package billing-benches --bench sweep` runs one. Without `--bench`
//! among the arguments, as under `cargo test --benches`, each runs once on tiny sizes, to see that it works.
//!
//! Databases are written below `target/tmp`, on the disk that the workspace is on, and removed at the end.

pub mod callers;
pub mod cases;
pub mod floor;
pub mod measure;
pub mod memory;
pub mod subscribers;
pub mod sweeping;
pub mod usage;

use std::fs;
use std::path::{Path, PathBuf};

/// Whether this run measures; otherwise it only shows that the bench works.
pub fn measuring() -> bool {
    let mut arguments = std::env::args();
    arguments.any(|argument| argument == "--bench") && !std::env::args().any(|argument| argument == "--test")
}

/// How large a run is: what the environment variable `name` says, else `measured` or, when this run only shows that the
/// bench works, `tried`.
pub fn size(name: &str, measured: usize, tried: usize) -> usize {
    match std::env::var(name) {
        Ok(number) => number.parse().expect("a number"),
        Err(_) if measuring() => measured,
        Err(_) => tried,
    }
}

/// Prints a line of a result.
#[expect(clippy::print_stdout, reason = "the benches print here and nowhere else")]
pub fn print(line: &str) {
    println!("{line}");
}

/// A folder for databases, empty at first, removed at the end.
///
/// Its name is fixed, so that what an interrupted run has left is found and removed by the next one.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// The folder `name` in `target`, which is `env!("CARGO_TARGET_TMPDIR")` of the bench.
    pub fn new(target: &str, name: &str) -> Self {
        let folder = Path::new(target).join(format!("billing-bench-{name}"));
        remove(&folder);
        fs::create_dir_all(&folder).expect("the target folder can be written");
        Self(folder)
    }

    /// The path of file `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("an old scratch folder can be removed");
    }
}

/// Random numbers that are the same in every run: SplitMix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`. Skewed by less than one in four billion for the bounds that are used here.
    pub fn below(&mut self, bound: usize) -> usize {
        let below = (u128::from(self.bits()) * bound as u128) >> 64;
        usize::try_from(below).expect("it is below a usize")
    }

    /// Shuffles `items`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
