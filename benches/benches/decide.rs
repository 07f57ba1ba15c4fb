//! How long core takes for a decision, the audit entry sealed and everything freed again.

use std::hint::black_box;

use billing_benches::cases::cases;
use billing_benches::measure::{Table, Target, criterion_for_fastest, fastest};

/// Nanoseconds for a decision.
const TARGET: f64 = 1_000.0;

/// Nanoseconds for each line of usage that it rates.
const RATED_LINE: f64 = 500.0;

fn main() {
    let mut criterion = criterion_for_fastest(3);
    let mut table = Table::new(
        "Decisions, all facts loaded, one audit entry or two sealed by SHA-256: the fastest of 50 samples (median - slowest)",
    );
    let mut group = criterion.benchmark_group("decide");
    for case in cases() {
        let decision = case.decide().expect("a case is valid");
        assert!(!decision.audit.is_empty(), "every decision is in the audit trail");
        let target = Target::AtMost(TARGET + RATED_LINE * f64::from(case.rated_lines));
        fastest(&mut group, &mut table, &case.name, target, || {
            black_box(&case).decide()
        });
    }
    group.finish();
    criterion.final_summary();
    table.print();
}
