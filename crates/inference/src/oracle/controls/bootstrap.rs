//! Confidence intervals by resampling sequences.

use super::ControlsError;
use crate::oracle::numbers::{count, index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How intervals are computed: the percentile bootstrap (Efron 1979), which draws as many sequences as there are, with
/// replacement, and computes everything again.
///
/// All numbers of a report are computed on the same draws, so that the intervals of differences are those of pairs.
///
/// ```
/// use dynlayer_inference::oracle::Bootstrap;
///
/// let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
/// assert_eq!((bootstrap.level, bootstrap.seed), (0.95, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// How many times; at least 2, 1000 unless set.
    pub resamples: usize,
    /// The part of the resamplings that the interval covers; 0.95 unless set.
    pub level: f64,
    /// Seeds the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95, seed: 0 }
    }
}

/// A number with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The number itself.
    pub value: f64,
    /// Where the interval begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

impl Interval {
    /// Whether the interval covers that number.
    pub fn covers(&self, number: f64) -> bool {
        (self.low..=self.high).contains(&number)
    }
}

/// A number as a function of how often each sequence counts.
pub(super) type Estimator<'a> = Box<dyn Fn(&[f64]) -> f64 + 'a>;

/// A number on the sequences as they are, and on every resampling.
#[derive(Clone, Debug)]
pub(super) struct Sampled {
    /// What is reported.
    value: f64,
    /// What the estimator says of the sequences as they are.
    estimate: f64,
    draws: Vec<f64>,
}

impl Bootstrap {
    pub(super) fn check(&self) -> Result<(), ControlsError> {
        let refuse = |option, expected, found| Err(ControlsError::Option { option, expected, found });
        if self.resamples < 2 {
            return refuse("resamples", "at least 2", count(self.resamples));
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return refuse("level", "above 0 and below 1", self.level);
        }
        Ok(())
    }

    /// Computes all the estimators on the same resamplings. Each comes with the value that is to be reported.
    pub(super) fn run(&self, sequences: usize, estimators: &[(f64, Estimator<'_>)]) -> Vec<Sampled> {
        let mut weights = vec![1.0; sequences];
        let mut all: Vec<Sampled> = estimators
            .iter()
            .map(|(value, of)| Sampled { value: *value, estimate: of(&weights), draws: Vec::new() })
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        for _ in 0..self.resamples {
            weights.fill(0.0);
            for _ in 0..sequences {
                weights[rng.random_range(0..sequences)] += 1.0;
            }
            for (sampled, (_, of)) in all.iter_mut().zip(estimators) {
                sampled.draws.push(of(&weights));
            }
        }
        all
    }
}

impl Sampled {
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            value: self.value - other.value,
            estimate: self.estimate - other.estimate,
            draws: self.draws.iter().zip(&other.draws).map(|(a, b)| a - b).collect(),
        }
    }

    /// The interval that covers that part of the draws, moved by as much as the estimate differs from the value: the
    /// relaxation, by which resamplings are allocated, lies above the exact optimum.
    pub fn interval(&self, level: f64) -> Interval {
        let mut draws = self.draws.clone();
        draws.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * count(draws.len() - 1);
            let (below, above) = (index(place.floor()), index(place.ceil()));
            draws[below] + (draws[above] - draws[below]) * place.fract() + (self.value - self.estimate)
        };
        let tail = (1.0 - level) / 2.0;
        Interval { value: self.value, low: at(tail), high: at(1.0 - tail) }
    }
}
