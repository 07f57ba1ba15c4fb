//! One caller who waits for each answer, and many of them at once.

use std::time::Instant;

use futures_executor::block_on;
use futures_util::future::join_all;

use crate::measure::Sample;

/// How many wait for an answer at a time.
pub const CALLERS: usize = 64;

/// On how many threads they are.
pub const THREADS: usize = 4;

/// One caller does `one` with each of `work`.
pub fn one_after_the_other<T>(work: Vec<T>, one: impl AsyncFn(T)) -> Sample {
    let elements = u64::try_from(work.len()).expect("a number");
    let start = Instant::now();
    for item in work {
        block_on(one(item));
    }
    Sample {
        elapsed: start.elapsed(),
        elements,
    }
}

/// Each caller waits for its own answer before it asks for the next one.
pub fn all_at_once<T: Send>(work: Vec<T>, one: impl AsyncFn(T) + Sync) -> Sample {
    let elements = u64::try_from(work.len()).expect("a number");
    let mut callers: Vec<Vec<T>> = (0..CALLERS).map(|_| Vec::new()).collect();
    for (number, item) in work.into_iter().enumerate() {
        callers[number % CALLERS].push(item);
    }
    let mut callers = callers.into_iter();
    let threads: Vec<Vec<_>> = (0..THREADS)
        .map(|_| callers.by_ref().take(CALLERS / THREADS).collect())
        .collect();
    let one = &one;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for callers in threads {
            scope.spawn(move || {
                block_on(join_all(callers.into_iter().map(async |work| {
                    for item in work {
                        one(item).await;
                    }
                })));
            });
        }
    });
    Sample {
        elapsed: start.elapsed(),
        elements,
    }
}
