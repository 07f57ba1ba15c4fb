//! `cargo xtask test`: everything that must pass.

use crate::run::{Error, cargo, output, pass, root};

/// Runs every suite, builds each feature alone, and runs the quickstart twice on one file.
pub(crate) fn test() -> Result<(), Error> {
    // Features only add: each must build and pass without the others.
    for alone in [
        "check --quiet --package billing-core --no-default-features",
        "check --quiet --package billing-core --features serde",
        "check --quiet --package billing --no-default-features",
        "check --quiet --package billing --features sqlite",
    ] {
        pass(&mut cargo(alone))?;
    }
    pass(&mut cargo("test --workspace --all-features"))?;
    pass(&mut cargo(
        "test --package billing-core --no-default-features --lib",
    ))?;
    quickstart()
}

/// The first run bills the month, the second on the same file changes nothing and says so.
fn quickstart() -> Result<(), Error> {
    let folder = root().join("target/quickstart");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("quickstart.db");
    let mut runs = Vec::new();
    for _ in 0..2 {
        let run = output(cargo("run --quiet --release --example quickstart").arg(&file))?;
        let text = String::from_utf8(run.stdout)?;
        if !run.status.success() {
            return Err(format!(
                "the quickstart failed:\n{text}{}",
                String::from_utf8_lossy(&run.stderr)
            )
            .into());
        }
        runs.push(text);
    }
    let [first, second] = runs.as_slice() else {
        return Err("the quickstart did not run twice".into());
    };
    for (text, run, expected) in [
        (first, "first", "every exact sum equals the published one"),
        (
            first,
            "first",
            "66 created, 0 there already; events: 941 recorded, 0 there already",
        ),
        (
            second,
            "second",
            "0 created, 66 there already; events: 0 recorded, 941 there already; sweep: 0 steps",
        ),
        (second, "second", "nothing was imported and nothing has changed"),
    ] {
        if !text.contains(expected) {
            return Err(format!("the {run} quickstart did not say `{expected}`:\n{text}").into());
        }
    }
    // But for what was imported, both runs print the same: bills, walk and audit head.
    let body = |text: &str| -> Vec<String> {
        let skipped = ["subscriptions: ", "this file was billed before"];
        text.lines()
            .filter(|line| !skipped.iter().any(|skip| line.starts_with(skip)))
            .map(String::from)
            .collect()
    };
    if body(first) != body(second) {
        return Err(format!("the two quickstarts differ:\n{first}\n{second}").into());
    }
    eprintln!("quickstart: the second run on the same file printed the same bills and changed nothing");
    Ok(())
}
