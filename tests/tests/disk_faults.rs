//! No space left, and writes that fail: the error has its type, what was acknowledged is there, and the store goes
//! on when there is space again.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use billing_core::ports::Store as _;
use billing_sqlite::SqliteStore;
use billing_tests::kit::{Kit, wait};
use billing_tests::workload::{Ack, check, check_file, the_plan};

const CHILD: &str = env!("CARGO_BIN_EXE_crash_child");

fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("the process runs")
}

fn acks(output: &Output) -> Vec<Ack> {
    assert!(output.status.success(), "{output:?}");
    Ack::read_all(std::str::from_utf8(&output.stdout).expect("its output is text"))
}

/// What the process said after its writes had failed: the error, what reads said, what another write said.
fn story(acks: &[Ack]) -> (Vec<&str>, Vec<Option<&str>>, Vec<Option<&str>>) {
    let (mut failed, mut reads, mut again) = (vec![], vec![], vec![]);
    for ack in acks {
        match ack {
            Ack::Failed { error } => failed.push(error.as_str()),
            Ack::Reads { error } => reads.push(error.as_deref()),
            Ack::Again { error } => again.push(error.as_deref()),
            Ack::Ready | Ack::Version { .. } | Ack::Usage { .. } => {}
        }
    }
    (failed, reads, again)
}

/// With space again: all that was acknowledged is there, the file is sound, and commits work.
fn check_after(path: &Path, acks: &[Ack]) {
    let store = SqliteStore::open(path).expect("the store opens again");
    let seen = check(&store, acks, [1, 2]);
    assert!(
        seen.subscriptions > 5 && seen.usage > 5,
        "too little was done to tell: {seen:?}"
    );
    let kit = Kit::in_space(&store, 7_000);
    let one = kit.subscribe(billing_tests::kit::tenant(1), &the_plan());
    kit.pay(one.id);
    assert_eq!(kit.read(one.id).version, 2);
    drop(store);
    check_file(path);
    let store = SqliteStore::open(path).expect("the store opens once more");
    assert_eq!(
        wait(store.subscription(one.id))
            .expect("reads")
            .expect("there")
            .version,
        2
    );
}

/// The shell's limit on the size of a file makes the kernel refuse a write with EFBIG: for SQLite an I/O error.
#[test]
fn a_write_that_fails_is_an_io_error_and_the_store_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("billing.db");
    // Made before, so that the limit meets the work, not the schema.
    drop(SqliteStore::open(&path).expect("a store"));
    let mut all = Vec::new();
    // In blocks, of 512 or 1024 bytes by the shell.
    for (space, blocks) in [(1, "2048"), (2, "3072")] {
        let script = "trap '' XFSZ; ulimit -f \"$1\" && exec \"$2\" fill \"$3\" \"$4\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh", blocks, CHILD])
            .arg(&path)
            .arg(space.to_string());
        let told = acks(&run(&mut command));
        let (failed, reads, again) = story(&told);
        assert_eq!(failed, ["io"]);
        assert_eq!(reads, [None], "what was acknowledged is still read");
        assert_eq!(
            again,
            [Some("io")],
            "the limit is still there, and the store says so"
        );
        all.extend(told);
        check_after_each(&path, &all);
    }
    check_after(&path, &all);
}

fn check_after_each(path: &Path, acks: &[Ack]) {
    let store = SqliteStore::open(path).expect("the store opens again");
    check(&store, acks, [1, 2]);
    drop(store);
    check_file(path);
}

/// A small file system in memory gives a true ENOSPC. It is mounted in a mount namespace of its own, so nothing is
/// left of it, and copied out before that ends.
#[test]
fn a_full_disk_is_an_error_of_its_own_and_the_store_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mount, kept) = (folder.path().join("mount"), folder.path().join("kept"));
    for folder in [&mount, &kept] {
        std::fs::create_dir(folder).expect("a folder");
    }
    // The child fills what is left beside the ballast, removes it, and writes again.
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" || exit 77
        head -c 1500000 /dev/zero > \"$1/ballast\" || exit 78
        \"$3\" fill \"$1/billing.db\" 1 \"$1/ballast\" || exit 79
        cp \"$1\"/billing.db* \"$2\" || exit 80";
    let root = ["-m", "-rm"].map(|flags| {
        let mut command = Command::new("unshare");
        command
            .args([flags, "sh", "-c", script, "sh"])
            .args([&mount, &kept])
            .arg(CHILD);
        command
    });
    let mut reason = String::new();
    for mut command in root {
        match command.stdin(Stdio::null()).output() {
            Err(error) => reason = error.kind().to_string(),
            // By the script's own word that it could not mount, or by that of `unshare`.
            Ok(output) if output.status.code() == Some(77) || output.stderr.starts_with(b"unshare: ") => {
                let text = String::from_utf8_lossy(&output.stderr);
                reason = text.lines().next().unwrap_or("no reason was given").to_owned();
            }
            Ok(output) => {
                let told = acks(&output);
                let (failed, reads, again) = story(&told);
                assert_eq!(failed, ["full"]);
                assert_eq!(reads, [None], "what was acknowledged is still read");
                assert_eq!(again, [None], "there is room again");
                check_after(&kept.join("billing.db"), &told);
                return;
            }
        }
    }
    // Not by a macro: the test harness would keep it to itself.
    let line = format!("SKIPPED disk-full on tmpfs: {reason}\n");
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("stderr takes it");
}
