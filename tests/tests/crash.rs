//! A process is killed in the middle of its work, again and again: what it acknowledged is there, and nothing is
//! there by half.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use billing_sqlite::SqliteStore;
use billing_tests::workload::{Ack, check, check_file, spaces_of};

const KILLS: u32 = 100;
/// So many kills hit the same growing file, then a fresh one begins: the checks read all of it each time.
const KILLS_PER_FILE: u32 = 10;

/// Numbers that look random, from a seed that is printed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

fn seed() -> u64 {
    match std::env::var("CRASH_SEED") {
        Ok(seed) => seed.parse().expect("CRASH_SEED is a number"),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos().into()),
    }
}

/// Lets a process work at the file and kills it; what it had acknowledged by then.
fn kill_one(path: &Path, run: u32, random: &mut Random) -> Vec<Ack> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crash_child"))
        .args(["work", path.to_str().expect("a path in UTF-8"), &run.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the process starts");
    let mut out = BufReader::new(child.stdout.take().expect("its stdout"));
    let (ready, is_ready) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        while out.read_line(&mut text).expect("its output is text") > 0 {
            let _ = ready.send(());
        }
        text
    });
    // One in five is killed while it opens the store, the others while they work.
    let delay = if random.below(5) == 0 {
        Duration::from_micros(random.below(30_000))
    } else {
        is_ready.recv().expect("it opens the store");
        Duration::from_micros(random.below(200_000))
    };
    std::thread::sleep(delay);
    child.kill().expect("it is killed");
    let status = child.wait().expect("it is gone");
    let text = reader.join().expect("its output is read");
    assert_eq!(status.code(), None, "it ended by itself: {text}");
    Ack::read_all(&text)
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_is_there_by_half() {
    let seed = seed();
    println!("CRASH_SEED={seed}");
    let mut random = Random(seed);
    let (mut commits, mut usage) = (0, 0);
    for file in 0..KILLS / KILLS_PER_FILE {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("billing.db");
        let mut acks = Vec::new();
        let mut seen = Default::default();
        for kill in 0..KILLS_PER_FILE {
            let run = file * KILLS_PER_FILE + kill;
            let before = acks.len();
            acks.extend(kill_one(&path, run, &mut random));
            println!("file {file}, kill {kill}: {} acknowledged", acks.len() - before);
            let store = SqliteStore::open(&path).expect("the store opens again");
            let runs = file * KILLS_PER_FILE..=run;
            seen = check(&store, &acks, runs.flat_map(spaces_of));
            drop(store);
            check_file(&path);
        }
        println!("file {file}: {seen:?}");
        commits += seen.commits;
        usage += seen.usage;
    }
    assert!(
        commits > 300 && usage > 30,
        "too little was done to tell: {commits} commits, {usage} batches"
    );
}
