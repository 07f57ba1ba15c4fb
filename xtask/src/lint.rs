//! `cargo xtask lint`: formatting, clippy, docs, and what guards the architecture.

use crate::guards;
use crate::run::{Error, cargo, output, pass};

/// What must not stand in the dependency tree of billing-core: runtimes, drivers, clocks, sources of randomness.
const BANNED_IN_CORE: [&str; 14] = [
    "async-std",
    "axum",
    "fastrand",
    "getrandom",
    "hyper",
    "iana-time-zone",
    "js-sys",
    "libsqlite3-sys",
    "mio",
    "rand",
    "reqwest",
    "rusqlite",
    "smol",
    "tokio",
];

/// Formatting, clippy and docs with warnings as errors, the core's dependency tree, and that each guard bites.
pub(crate) fn lint() -> Result<(), Error> {
    pass(&mut cargo("fmt --all --check"))?;
    pass(&mut cargo(
        "clippy --quiet --workspace --all-targets --all-features -- --deny warnings",
    ))?;
    pass(&mut cargo(
        "clippy --quiet --package billing-core -- --deny warnings",
    ))?;
    pass(
        cargo("doc --quiet --workspace --all-features --no-deps --document-private-items")
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    pass(cargo("doc --quiet --workspace --all-features --no-deps").env("RUSTDOCFLAGS", "--deny warnings"))?;
    core_tree()?;
    guards::guards()
}

/// The core's dependency tree, with every feature that the workspace turns on, holds nothing that is banned.
fn core_tree() -> Result<(), Error> {
    let tree = output(&mut cargo(
        "tree --package billing-core --all-features --edges normal --prefix none",
    ))?;
    if !tree.status.success() {
        return Err(String::from_utf8_lossy(&tree.stderr).into());
    }
    let text = String::from_utf8(tree.stdout)?;
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if !names.contains(&"chrono") {
        return Err("the dependency tree of billing-core could not be read".into());
    }
    let found: Vec<_> = names
        .into_iter()
        .filter(|name| BANNED_IN_CORE.contains(name))
        .collect();
    if found.is_empty() {
        Ok(())
    } else {
        Err(format!("billing-core must not depend on {}", found.join(", ")).into())
    }
}
