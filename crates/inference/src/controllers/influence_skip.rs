//! Skipping of the least influential layers.

use super::spec::{Build, BuildError, Fields, Resources, SpecForm};
use super::{CalibrationError, LayerInfluence};
use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// Runs the `budget` layers with the most block influence: the layer removal of `ShortGPT` (Men et al. 2024,
/// arXiv 2403.03853), done while the model runs and without changing the model.
///
/// ```
/// use dynlayer_inference::controllers::{InfluenceSkip, LayerInfluence};
///
/// let influence = LayerInfluence::from_values(vec![0.9, 0.1, 0.3, 0.8])?; // or LayerInfluence::measure
/// let controller = InfluenceSkip::new(3, influence);
/// assert_eq!(controller.kept(), [0, 2, 3]);
/// # Ok::<(), dynlayer_inference::controllers::CalibrationError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct InfluenceSkip {
    budget: usize,
    n_layers: usize,
    kept: Vec<usize>,
}

impl InfluenceSkip {
    /// Returns a controller that runs `budget` layers per token.
    pub fn new(budget: usize, influence: LayerInfluence) -> Self {
        Self { budget, n_layers: influence.values().len(), kept: influence.kept(budget) }
    }

    /// The layers that run, ascending.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }
}

/// The specification of an [`InfluenceSkip`] whose influence is measured on [`Resources::texts`], or given as
/// [`Resources::influence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfluenceSpec {
    /// The number of layers that run per token.
    pub budget: usize,
}

impl InfluenceSpec {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "influence:LAYERS",
        about: "the LAYERS layers that change states most on calibration text",
        fields: Fields::Values(&["budget"], &[]),
    };
}

impl Build for InfluenceSpec {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        let influence = resources.measured_influence(model)?;
        Ok(Box::new(InfluenceSkip::new(self.budget, influence)))
    }
}

impl Controller for InfluenceSkip {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if self.kept.binary_search(&site.layer()).is_ok() { Action::Run.into() } else { Action::Skip.into() }
    }

    /// # Errors
    /// If the budget is more than the model's number of layers, or the influence was measured on a model with another
    /// number of layers.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        batch.check_budget(self.budget, 0)?;
        let (found, expected) = (self.n_layers, batch.n_layers());
        if found == expected {
            Ok(())
        } else {
            Err(ControllerError::other(CalibrationError::Mismatch { what: "number of layers", found, expected }))
        }
    }
}
