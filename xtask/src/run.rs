//! Running commands, and saying what is run.

use std::path::PathBuf;
use std::process::{Command, Output};

/// What went wrong, for a person.
pub(crate) type Error = Box<dyn std::error::Error>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// A cargo command at the root of the workspace.
pub(crate) fn cargo(arguments: &str) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(root());
    command
}

/// Runs `command` with its output passed on; an error if it fails.
pub(crate) fn pass(command: &mut Command) -> Result<(), Error> {
    eprintln!("+ {}", shown(command));
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("failed ({status}): {}", shown(command)).into())
    }
}

/// Runs `command` and returns what it printed, whether it failed or not.
pub(crate) fn output(command: &mut Command) -> Result<Output, Error> {
    eprintln!("+ {}", shown(command));
    Ok(command.output()?)
}

fn shown(command: &Command) -> String {
    let mut text = String::from("cargo");
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
