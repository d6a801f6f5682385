//! From a specification to a controller.

use super::super::{
    BernoulliSkip, Budgeted, CalibrationError, ConfidenceExit, EntropyExit, ExitAfter, FullDepth, InfluenceSkip,
    RandomSkip, Recording, RecordingError, Replayed, Routed, Router, RouterError, SaturationExit, SimilaritySkip,
    SkipLayers, UniformSkip, WarmUp,
};
use super::{BuildError, ControllerSpec, Resources};
use crate::control::Controller;
use dynlayer_model::Llama;

impl ControllerSpec {
    /// The controller itself, for this model.
    ///
    /// Reads files and measures the model where the specification says so. Whether settings make sense for the model is
    /// checked when a run begins.
    ///
    /// # Errors
    /// If there is no text to calibrate on, the calibration fails, or a file cannot be read or was made for a model of
    /// other dimensions.
    pub fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        Ok(match self {
            Self::Full => Box::new(FullDepth),
            Self::Skip { layers } => Box::new(SkipLayers::new(layers.iter().copied())),
            Self::Uniform { budget } => Box::new(UniformSkip::new(*budget)),
            Self::Exit { depth } => Box::new(ExitAfter(*depth)),
            Self::Influence { budget } => {
                let influence = self.measured(resources.measured_influence(model))?;
                Box::new(InfluenceSkip::new(*budget, influence))
            }
            Self::Random { budget, ends } => Box::new(RandomSkip::new(*budget).ends(*ends)),
            Self::Bernoulli { probability, ends } => Box::new(BernoulliSkip::new(*probability).ends(*ends)),
            Self::Schedule(schedule) => Box::new(*schedule),
            Self::Confidence(rule) => Box::new(ConfidenceExit::new(*rule)),
            Self::Entropy(rule) => Box::new(EntropyExit::new(*rule)),
            Self::Saturation(rule) => Box::new(SaturationExit::new(*rule)),
            Self::Similarity { threshold, clusters, ends } => {
                let effects = self.measured(resources.measured_effects(model, *clusters))?;
                Box::new(SimilaritySkip::new(*threshold, effects).ends(*ends))
            }
            Self::Router { file } => {
                let routed = Routed::load(resources.path(file), &model.device())?;
                let expected = [model.layers().len(), model.config().d_model];
                if let Some(found) = routed.router().dimensions().filter(|found| *found != expected) {
                    return Err(RouterError::Dimensions { found, expected }.into());
                }
                Box::new(routed)
            }
            Self::Replay { file } => {
                let recording = Recording::load(resources.path(file))?;
                let (found, expected) = (recording.n_layers(), model.layers().len());
                if found != expected {
                    return Err(RecordingError::Layers { found, expected }.into());
                }
                Box::new(Replayed::new(recording))
            }
            Self::Budgeted { budget, inner } => Box::new(Budgeted::new(*budget, inner.build(model, resources)?)),
            Self::Warmup { tokens, inner } => Box::new(WarmUp::new(*tokens, inner.build(model, resources)?)),
        })
    }

    fn measured<T>(&self, measured: Result<Option<T>, CalibrationError>) -> Result<T, BuildError> {
        measured
            .map_err(|source| BuildError::Calibration { spec: self.to_string(), source })?
            .ok_or_else(|| BuildError::NoCalibrationText { spec: self.to_string() })
    }
}
