//! How long core takes for a decision, the audit entry sealed and everything freed again.

use std::hint::black_box;
use std::time::{Duration, Instant};

use billing_benches::cases::cases;
use billing_benches::measure::{Sample, Series, Table, Target};
use criterion::Criterion;

const SAMPLES: usize = 50;

/// Nanoseconds for a decision.
const TARGET: f64 = 1_000.0;

/// Nanoseconds for each line of usage that it rates.
const RATED_LINE: f64 = 500.0;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let mut table = Table::new(
        "Decisions, all facts loaded, one audit entry or two sealed by SHA-256: the fastest of 50 samples (median - slowest)",
    );
    let mut group = criterion.benchmark_group("decide");
    for case in cases() {
        let decision = case.decide().expect("a case is valid");
        assert!(!decision.audit.is_empty(), "every decision is in the audit trail");
        let mut series = Series::default();
        group.bench_function(&case.name, |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    let _ = black_box(black_box(&case).decide());
                }
                let elapsed = start.elapsed();
                series.push(Sample {
                    elapsed,
                    elements: iterations,
                });
                elapsed
            });
        });
        if !series.is_empty() {
            let target = TARGET + RATED_LINE * f64::from(case.rated_lines);
            table.nanos(&case.name, &series.last(SAMPLES), Target::AtMost(target));
        }
    }
    group.finish();
    criterion.final_summary();
    table.print();
}
