//! Measured values, and what is told of them.

use std::time::Duration;

/// Values of one kind, in the order of their size.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Sorts the values.
    ///
    /// # Panics
    /// When there is none, or one is no number.
    pub fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a benchmark measures at least once");
        values.sort_by(|left, right| left.partial_cmp(right).expect("a measured value is a number"));
        Self(values)
    }

    /// Durations, in microseconds.
    pub fn micros(durations: &[Duration]) -> Self {
        Self::new(durations.iter().map(|duration| duration.as_secs_f64() * 1e6).collect())
    }

    /// Durations, in milliseconds.
    pub fn millis(durations: &[Duration]) -> Self {
        Self::new(durations.iter().map(|duration| duration.as_secs_f64() * 1e3).collect())
    }

    /// The smallest value that this share of all do not exceed (the nearest rank).
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let samples = Samples::new((1..=200).rev().map(f64::from).collect());
        assert_eq!((samples.min(), samples.median(), samples.max()), (1.0, 100.0, 200.0));
        assert_eq!(samples.percentile(99.0), 198.0);
        assert_eq!(Samples::new(vec![3.0]).percentile(99.0), 3.0);
    }
}
