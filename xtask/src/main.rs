//! Project tasks: `cargo xtask test`, `cargo xtask lint`, `cargo xtask guards`, `cargo xtask bench`.

mod bench;
mod guards;
mod lint;
mod run;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

  test   every suite, each feature alone, and the quickstart twice on one file
  lint   formatting, clippy, docs, the core's dependency tree, and the guards
  guards that each guard of the core's purity bites
  bench  the benches, each with its ratios";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("test") => test::test(),
        Some("lint") => lint::lint(),
        Some("guards") => guards::guards(),
        Some("bench") => bench::bench(),
        Some(_) | None => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
