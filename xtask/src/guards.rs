//! What keeps the core pure must bite: each guard is shown a line that breaks its rule, and must refuse it.

use std::fs;
use std::path::Path;

use crate::run::{Error, cargo, output, root};

/// A line for billing-core, and what the refusal must name.
const PROBES: [(&str, &str, &str); 9] = [
    (
        "unsafe code",
        "pub fn probe(p: *const u8) -> u8 { unsafe { *p } }",
        "unsafe_code",
    ),
    (
        "the standard library",
        "pub fn probe() { std::fs::remove_file(\"x\").ok(); }",
        "E0433",
    ),
    ("a float", "pub fn probe(a: f64) -> f64 { a }", "disallowed_types"),
    (
        "float arithmetic",
        "pub fn probe() -> bool { 0.1 + 0.2 > 0.3 }",
        "float_arithmetic",
    ),
    (
        "a clock",
        "pub fn probe() -> chrono::DateTime<chrono::Utc> { chrono::Utc::now() }",
        "disallowed_methods",
    ),
    (
        "randomness",
        "pub fn probe() -> uuid::Uuid { uuid::Uuid::new_v4() }",
        "disallowed_methods",
    ),
    (
        "unchecked arithmetic",
        "pub fn probe(a: i64) -> i64 { a + 1 }",
        "arithmetic_side_effects",
    ),
    (
        "a panic",
        "pub fn probe(a: Option<u8>) -> u8 { a.unwrap() }",
        "unwrap_used",
    ),
    (
        "indexing",
        "pub fn probe(a: &[u8]) -> u8 { a[0] }",
        "indexing_slicing",
    ),
];

/// Shows each probe to clippy in a copy of the core.
pub(crate) fn guards() -> Result<(), Error> {
    let folder = root().join("target/guards");
    let core = folder.join("billing-core");
    let _ = fs::remove_dir_all(&core);
    copy(&root().join("billing-core"), &core)?;
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let members = manifest
        .lines()
        .find(|line| line.starts_with("members"))
        .ok_or("no members in Cargo.toml")?;
    fs::write(
        folder.join("Cargo.toml"),
        manifest.replace(members, "members = [\"billing-core\"]"),
    )?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let library = core.join("src/lib.rs");
    let clean = fs::read_to_string(&library)?;

    // The clock and the random source exist only with these features, as when another crate turns them on.
    let lib_manifest = core.join("Cargo.toml");
    let with_features = fs::read_to_string(&lib_manifest)?
        .replace(
            "chrono.workspace = true",
            "chrono = { workspace = true, features = [\"now\"] }",
        )
        .replace(
            "uuid.workspace = true",
            "uuid = { workspace = true, features = [\"v4\"] }",
        );
    fs::write(&lib_manifest, with_features)?;

    let clippy = || {
        let mut command =
            cargo("clippy --quiet --package billing-core -- --deny warnings --allow missing_docs");
        command
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", folder.join("target"));
        output(&mut command)
    };
    let untouched = clippy()?;
    if !untouched.status.success() {
        return Err(format!(
            "the untouched core does not pass:\n{}",
            String::from_utf8_lossy(&untouched.stderr)
        )
        .into());
    }
    for (what, line, named) in PROBES {
        fs::write(&library, format!("{clean}\n{line}\n"))?;
        let refused = clippy()?;
        let said = String::from_utf8_lossy(&refused.stderr);
        if refused.status.success() || !said.replace('-', "_").contains(named) {
            return Err(format!("billing-core took {what} without naming `{named}`:\n{line}\n{said}").into());
        }
        eprintln!("guard: {what} is refused ({named})");
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
