//! Schedules of the learning rate and the temperature.

use super::TrainingError;
use serde::{Deserialize, Serialize};

/// A learning rate that rises linearly and then falls along a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983,
/// equation 5, without restarts).
///
/// ```
/// use dynlayer_inference::training::LearningRate;
///
/// let rate = LearningRate { peak: 1e-3, warm_up: 10, steps: 110, final_fraction: 0.1 };
/// assert_eq!(rate.at(9), 1e-3);
/// assert!((rate.at(60) - 0.55e-3).abs() < 2e-5);
/// assert!((rate.at(110) - 0.1e-3).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRate {
    /// The highest rate.
    pub peak: f64,
    /// The number of steps over which it rises.
    pub warm_up: u64,
    /// The number of steps of the whole training.
    pub steps: u64,
    /// The rate at the end, as a fraction of the peak.
    pub final_fraction: f64,
}

impl LearningRate {
    /// The rate of a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / self.warm_up as f64;
        }
        let done = (step - self.warm_up) as f64 / self.steps.saturating_sub(self.warm_up).max(1) as f64;
        let cosine = f64::midpoint(1.0, (std::f64::consts::PI * done.min(1.0)).cos());
        self.peak * (self.final_fraction + (1.0 - self.final_fraction) * cosine)
    }

    pub(super) fn check(&self) -> Result<(), TrainingError> {
        let ok = self.peak.is_finite() && self.peak > 0.0;
        TrainingError::check(ok, "the peak learning rate", self.peak, "a finite number above 0")?;
        let ok = (0.0..=1.0).contains(&self.final_fraction);
        TrainingError::check(ok, "the final fraction of the learning rate", self.final_fraction, "from 0 to 1")?;
        TrainingError::check(self.steps > 0, "the number of steps", self.steps, "at least 1")
    }
}

/// The temperature of gates in training, which changes geometrically (as Jang et al. 2017, arXiv 1611.01144, section
/// 2.2, anneal it; the code of arXiv 2410.20022 keeps it at 1).
///
/// ```
/// use dynlayer_inference::training::Temperature;
///
/// let temperature = Temperature { first: 2.0, last: 0.5, steps: 100 };
/// assert_eq!((temperature.at(0), temperature.at(50), temperature.at(100)), (2.0, 1.0, 0.5));
/// assert_eq!(Temperature::default().at(7), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// The temperature of the first step, above 0.
    pub first: f64,
    /// The temperature of step `steps` and all later ones, above 0.
    pub last: f64,
    /// The number of steps from the first temperature to the last.
    pub steps: u64,
}

impl Default for Temperature {
    /// A temperature of 1 throughout.
    fn default() -> Self {
        Self { first: 1.0, last: 1.0, steps: 1 }
    }
}

impl Temperature {
    /// The temperature of a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        let done = (step as f64 / self.steps.max(1) as f64).min(1.0);
        self.first * (self.last / self.first).powf(done)
    }

    pub(super) fn check(&self) -> Result<(), TrainingError> {
        for temperature in [self.first, self.last] {
            let ok = temperature.is_finite() && temperature > 0.0;
            TrainingError::check(ok, "the temperature", temperature, "a finite number above 0")?;
        }
        Ok(())
    }
}
