//! Skipping of the least influential layers.

use super::spec::{Build, BuildError, Fields, Needs, Resources, SpecForm};
use super::{CalibrationError, LayerInfluence};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
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

    fn needs(&self) -> Needs {
        Needs { calibration: true, ..Needs::default() }
    }
}

impl Controller for InfluenceSkip {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let kept = self.kept.binary_search(&site.layer()).is_ok();
        Ok(if kept { Action::Run } else { Action::Skip }.into())
    }

    /// # Errors
    /// If the budget is more than the model's number of layers, or the influence was measured on a model with another
    /// number of layers.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Event::Start(setup) = event else { return Ok(()) };
        setup.check_budget(self.budget, 0)?;
        let (found, expected) = (self.n_layers, setup.n_layers());
        if found == expected {
            Ok(())
        } else {
            Err(ControllerError::other(CalibrationError::Mismatch { what: "number of layers", found, expected }))
        }
    }
}
