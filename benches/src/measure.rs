//! Measuring side by side, and the tables at the end.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};

use crate::print;

/// The fewest samples that criterion takes.
pub const SAMPLES_MIN: usize = 10;

/// Of how many samples [`fastest`] takes the fastest one.
pub const FASTEST_OF: usize = 50;

/// How long so many of something took.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How long.
    pub elapsed: Duration,
    /// How many commits, rows, calls.
    pub elements: u64,
}

impl Sample {
    fn seconds_each(&self) -> f64 {
        self.elapsed.as_secs_f64() / self.elements as f64
    }
}

/// The samples of one contestant.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<Sample>);

impl Series {
    /// Adds a sample.
    pub fn push(&mut self, sample: Sample) {
        assert!(
            sample.elements > 0 && !sample.elapsed.is_zero(),
            "a sample measures something"
        );
        self.0.push(sample);
    }

    /// Whether nothing was measured, as when the arguments choose other benches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last `count` samples: what criterion takes before is to warm up.
    #[must_use]
    pub fn last(mut self, count: usize) -> Self {
        let warm = self.0.len().saturating_sub(count);
        self.0.drain(..warm);
        self
    }

    /// The median time of one.
    pub fn seconds_each(&self) -> f64 {
        median(self.0.iter().map(Sample::seconds_each).collect())
    }

    /// How many in a second, by the median.
    pub fn rate(&self) -> f64 {
        self.seconds_each().recip()
    }

    /// How many times slower this is than `other`: of the medians, and the least and the most of a pair of samples.
    pub fn slower_than(&self, other: &Self) -> Ratio {
        let pairs = self.0.iter().zip(&other.0);
        let ratios: Vec<_> = pairs
            .map(|(own, other)| own.seconds_each() / other.seconds_each())
            .collect();
        Ratio {
            value: self.seconds_each() / other.seconds_each(),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "there is something to take the median of");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// Lets contestants take turns, so that what drifts (the disk, other programs, the growing files) hits all of them,
/// then hands each one's samples to criterion, which reports and compares them with the last run's.
///
/// `run` is called with the place of the contestant and of the sample and says how long that took. What criterion
/// calls an iteration is one element of a sample. The samples are taken before criterion asks for them, so options
/// that choose what to measure, and `--quick`, are of no use here. With fewer than [`SAMPLES_MIN`] it gets them again.
pub fn take_turns<const N: usize>(
    criterion: &mut Criterion,
    group: &str,
    names: [&str; N],
    samples: usize,
    mut run: impl FnMut(usize, usize) -> Sample,
) -> [Series; N] {
    let mut all: [Series; N] = std::array::from_fn(|_| Series::default());
    for sample in 0..samples {
        for (contestant, series) in all.iter_mut().enumerate() {
            series.push(run(contestant, sample));
        }
    }
    let mut group = criterion.benchmark_group(group);
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(samples.max(SAMPLES_MIN));
    // The least there is: what is handed over needs no warming up.
    group.warm_up_time(Duration::from_nanos(1));
    for (name, series) in names.into_iter().zip(&all) {
        group.measurement_time(series.0.iter().map(|sample| sample.elapsed).sum());
        let mut samples = series.0.iter().cycle();
        let mut warming_up = true;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                if std::mem::take(&mut warming_up) {
                    // From how long this call takes criterion concludes how many iterations make a sample.
                    return wait(series.seconds_each() * iterations as f64);
                }
                let sample = samples.next().expect("the samples begin anew at their end");
                Duration::from_secs_f64(sample.seconds_each() * iterations as f64)
            });
        });
    }
    group.finish();
    all
}

/// Criterion for [`fastest`].
pub fn criterion_for_fastest(seconds: u64) -> Criterion {
    Criterion::default()
        .sample_size(FASTEST_OF)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(seconds))
        .configure_from_args()
}

/// Measures how long `run` takes, what it returns freed again, and adds that to `table` by [`Table::nanos`].
pub fn fastest<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    table: &mut Table,
    name: &str,
    target: Target,
    mut run: impl FnMut() -> T,
) {
    let mut series = Series::default();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                drop(black_box(run()));
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
        table.nanos(name, &series.last(FASTEST_OF), target);
    }
}

fn wait(seconds: f64) -> Duration {
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        std::hint::spin_loop();
    }
    start.elapsed()
}

/// How many times more, with the spread over the samples.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    value: f64,
    least: f64,
    most: f64,
}

impl Ratio {
    /// How many times faster instead of slower.
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self {
            value: self.value.recip(),
            least: self.most.recip(),
            most: self.least.recip(),
        }
    }
}

/// What a result is held against.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// It should be at most this.
    AtMost(f64),
    /// It should be at least this.
    AtLeast(f64),
    /// Printed to be known.
    None,
}

impl Target {
    fn judge(self, value: f64) -> (String, &'static str) {
        let judge = |met| if met { "met" } else { "MISSED" };
        match self {
            Self::AtMost(most) => (format!("<= {most}"), judge(value <= most)),
            Self::AtLeast(least) => (format!(">= {least}"), judge(value >= least)),
            Self::None => (String::from("-"), ""),
        }
    }
}

/// A table of results.
#[derive(Debug)]
pub struct Table {
    title: String,
    lines: Vec<[String; 6]>,
}

impl Table {
    /// An empty table.
    pub fn new(title: &str) -> Self {
        let head = ["", "ours", "against", "ratio (least - most)", "target", ""];
        Self {
            title: title.into(),
            lines: vec![head.map(String::from)],
        }
    }

    /// Adds a line that holds ours against something.
    pub fn ratio(&mut self, what: &str, ours: String, against: String, ratio: Ratio, target: Target) {
        let (target, met) = target.judge(ratio.value);
        let ratio = format!("{:.2} ({:.2} - {:.2})", ratio.value, ratio.least, ratio.most);
        self.lines
            .push([what.into(), ours, against, ratio, target, met.into()]);
    }

    /// Adds a line for how many nanoseconds one takes: by the fastest sample, since there is nothing in the same run to
    /// compare with and a machine that does something else only adds; with the median and the slowest.
    pub fn nanos(&mut self, what: &str, series: &Series, target: Target) {
        let median = series.seconds_each() * 1e9;
        let all = || series.0.iter().map(|sample| sample.seconds_each() * 1e9);
        let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
        let (target, met) = target.judge(least);
        let spread = format!("({median:.0} - {most:.0})");
        self.lines.push([
            what.into(),
            format!("{least:.0} ns"),
            "-".into(),
            spread,
            target,
            met.into(),
        ]);
    }

    /// Prints it.
    pub fn print(&self) {
        let widths: [usize; 6] = std::array::from_fn(|column| {
            let cells = self.lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        });
        print(&format!("\n{}", self.title));
        for line in &self.lines {
            let [what, cells @ ..] = line;
            let mut text = format!("{what:<width$}", width = widths[0]);
            for (cell, width) in cells.iter().zip(&widths[1..]) {
                text.push_str(&format!("  {cell:>width$}"));
            }
            print(text.trim_end());
        }
    }
}

/// So many in a second, for a table.
pub fn per_second(series: &Series, unit: &str) -> String {
    format!("{:.0} {unit}/s", series.rate())
}

/// How long one takes, for a table.
pub fn micros(series: &Series) -> String {
    format!("{:.2} us", series.seconds_each() * 1e6)
}
