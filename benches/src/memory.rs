//! The peak of memory of a process that does one thing.
//!
//! A bench that measures it runs itself once more, with variables set that say what to do instead of measuring.

use std::process::Command;

use crate::print;

/// Resident memory before and at the peak, in KiB, of a process that runs this bench with `variables` set.
pub fn measured_apart(variables: &[(&str, String)]) -> Option<[u64; 2]> {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("a process");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??])
}

/// In that process: does `run` and prints what [`measured_apart`] reads.
pub fn run_measured(run: impl FnOnce()) {
    let before = resident("VmRSS:");
    run();
    print(&format!("{before} {}", resident("VmHWM:")));
}

/// Prints what was [measured](measured_apart) of a process that does `what`.
pub fn print_peak(what: &str, measured: Option<[u64; 2]>) {
    match measured {
        Some([before, peak]) => print(&format!(
            "a process that {what}: {before} KiB before, {peak} KiB at its peak, {} KiB more",
            peak.saturating_sub(before)
        )),
        None => print("memory is read from /proc/self/status, which is not here"),
    }
}

/// A line of `/proc/self/status`, in KiB; "-" where there is no such thing.
fn resident(line: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.split_whitespace().next());
    found.unwrap_or("-").into()
}
