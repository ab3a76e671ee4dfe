//! Times of one thing, measured again and again.

use std::time::{Duration, Instant};

/// Times of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, other: &Samples) {
        self.0.extend(&other.0);
    }

    /// The time that half of them are below, in milliseconds.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(50)
    }

    /// The time that 99 of 100 are below, in milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.quantile(99)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those of a part of the measurement, in the order in which they were measured.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Samples {
        Samples(self.0[range].to_vec())
    }

    /// All of them in milliseconds, in the order in which they were measured.
    pub(crate) fn milliseconds(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|time| time.as_secs_f64() * 1e3)
    }

    fn quantile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1).expect("there is at least one sample");
        sorted[last * percent / 100].as_secs_f64() * 1e3
    }
}

/// How long it took, and what came of it.
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let outcome = what();
    (start.elapsed(), outcome)
}
