//! Random dropping of layers, in which later layers are dropped more often.

use super::TrainingError;
use crate::control::{Action, Controller, ControllerError, Decision, Event, Row, Site};
use crate::random;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Drops whole layers of a sequence at random: the layer dropout of `LayerSkip` (Elhoushi et al. 2024,
/// arXiv 2404.16710, section 4.1.1).
///
/// Layer `l` of `L` is dropped at step `t` of `T` with probability `S(t) D(l) max`, where (equations 1 to 4)
///
/// ```text
/// D(l) = exp(l ln 2 / (L - 1)) - 1       0 at the first layer, 1 at the last
/// S(t) = exp(t ln 2 / (T - 1)) - 1       with a curriculum, as for training from scratch; 1 without
/// ```
///
/// Draws depend on the seed, the step, the sequence and the layer.
///
/// ```
/// use dynlayer_inference::training::LayerDropout;
///
/// let dropout = LayerDropout { max: 0.2, curriculum: None, seed: 7, step: 0 };
/// assert_eq!(dropout.probability(0, 12), 0.0);
/// assert!((dropout.probability(11, 12) - 0.2).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerDropout {
    /// The probability at the last layer, at least 0 and below 1.
    pub max: f64,
    /// The number of training steps over which the probability rises; with `None` it is constant.
    pub curriculum: Option<u64>,
    /// The seed of the draws.
    pub seed: u64,
    /// The current step of the training, from 0.
    pub step: u64,
}

impl LayerDropout {
    /// The probability that a layer is dropped at this step.
    pub fn probability(&self, layer: usize, n_layers: usize) -> f64 {
        let (layer, last) = (layer as f64, n_layers.saturating_sub(1).max(1) as f64);
        let rise = |done: f64| (done * std::f64::consts::LN_2).exp() - 1.0;
        let scale = self.curriculum.map_or(1.0, |steps| rise(self.step as f64 / steps.saturating_sub(1).max(1) as f64));
        self.max * rise(layer / last) * scale.min(1.0)
    }

    /// Checks the probability.
    pub(super) fn check(&self) -> Result<(), TrainingError> {
        TrainingError::check((0.0..1.0).contains(&self.max), "the layer dropout", self.max, "at least 0 and below 1")
    }
}

impl Controller for LayerDropout {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let (layer, p) = (site.layer(), self.probability(site.layer(), site.n_layers()));
        if p <= 0.0 {
            return Ok(Action::Run.into());
        }
        let rng = |stream| random::at(random::LAYER_DROPOUT, self.seed, [stream, self.step, layer as u64]);
        let action = |row: &Row| if rng(row.stream).random::<f64>() < p { Action::Skip } else { Action::Run };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(_) => self.check().map_err(ControllerError::other),
            _ => Ok(()),
        }
    }
}
