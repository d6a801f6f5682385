//! Numbers that are computed together on the same resamples of the sequences.

use crate::statistics::{Bootstrap, Interval};

/// A number as a function of how often each sequence was drawn.
pub(super) type Estimator<'a> = Box<dyn Fn(&[f64]) -> f64 + 'a>;

/// A number computed from the original sample of sequences and from every resample.
#[derive(Clone, Debug)]
pub(super) struct Resampled {
    /// The number of sequences that every resample draws.
    sequences: usize,
    /// The value that is reported.
    value: f64,
    /// The estimator's value on the original sample. Resamples are allocated by the linear relaxation, which lies
    /// above the exact optimum, so this may differ from the reported value.
    estimate: f64,
    /// The estimator's values on the resamples.
    draws: Vec<f64>,
}

/// Computes all estimators on the same resamples. Each estimator is paired with the value that is reported.
pub(super) fn resample(bootstrap: &Bootstrap, sequences: usize, estimators: &[(f64, Estimator<'_>)]) -> Vec<Resampled> {
    let mut weights = vec![1.0; sequences];
    let start = |(value, estimator): &(f64, Estimator<'_>)| Resampled {
        sequences,
        value: *value,
        estimate: estimator(&weights),
        draws: Vec::with_capacity(bootstrap.resamples),
    };
    let mut all: Vec<Resampled> = estimators.iter().map(start).collect();
    bootstrap.each_resample(sequences, |drawn| {
        weights.fill(0.0);
        for sequence in drawn {
            weights[*sequence] += 1.0;
        }
        for (resampled, (_, estimator)) in all.iter_mut().zip(estimators) {
            resampled.draws.push(estimator(&weights));
        }
    });
    all
}

impl Resampled {
    /// Returns the difference from `other`, resample by resample.
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            sequences: self.sequences,
            value: self.value - other.value,
            estimate: self.estimate - other.estimate,
            draws: self.draws.iter().zip(&other.draws).map(|(a, b)| a - b).collect(),
        }
    }

    /// The reported value with the percentile interval of the draws, shifted by the difference of value and estimate.
    pub fn interval(&self, bootstrap: &Bootstrap) -> Interval {
        let (low, high) = bootstrap.percentiles(self.sequences, self.draws.clone());
        let shift = self.value - self.estimate;
        Interval { low: low + shift, estimate: self.value, high: high + shift }
    }
}
