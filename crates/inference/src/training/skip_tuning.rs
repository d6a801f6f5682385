//! Fine-tuning of a model to do without some of its layers.

use super::folder::{TrainingFolder, trainer};
use super::parameters::Place;
use super::{PassOptions, StepLoss, StepPart, StepReport, TrainerOptions, TrainingBatch, TrainingError, pass};
use crate::control::ControlFrom;
use crate::control::{Action, controller_fn};
use crate::control::{Decision, Site};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a model is fine-tuned to do without some of its layers: cross-entropy of the answers while those layers are
/// skipped, everything but those layers trained (arXiv 2410.20022, whose uniform skipping is trained so).
///
/// The layers are skipped where a controller would decide ([`control_from`](Self::control_from)): by default the prompt
/// runs them, as it will in decoding, so their weights matter and stay bit for bit what they were.
///
/// ```
/// use dynlayer_inference::training::{SkipTuning, TrainerOptions};
///
/// // Every other layer of 24, as in the paper, with its learning rate.
/// let tuning = SkipTuning::new((1..24).step_by(2), TrainerOptions::new(2000, 2e-5));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkipTuning {
    /// The layers that are skipped and frozen.
    pub skipped: BTreeSet<usize>,
    /// Steps, learning rate, accumulation, checkpoints.
    pub trainer: TrainerOptions,
    /// Where they are skipped. Take what the model will be used with.
    pub control_from: ControlFrom,
}

impl SkipTuning {
    /// Skips these layers from the first generated token on.
    pub fn new(skipped: impl IntoIterator<Item = usize>, trainer: TrainerOptions) -> Self {
        Self { skipped: skipped.into_iter().collect(), trainer, control_from: ControlFrom::default() }
    }

    /// Trains the model, which may be on a plain device and is on one afterwards.
    ///
    /// `data` gives the batch of a step and part, and must derive it from these and from nothing else.
    ///
    /// # Errors
    /// If a layer does not exist, an option is out of its range, the folder cannot be used (before the first step), the
    /// training diverges, or `data` fails.
    pub fn run(
        &self,
        model: Llama,
        folder: Option<TrainingFolder<'_>>,
        mut data: impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
        progress: impl FnMut(&StepReport),
    ) -> Result<Llama, TrainingError> {
        let n_layers = model.layers().len();
        if let Some(&layer) = self.skipped.iter().find(|layer| **layer >= n_layers) {
            return Err(TrainingError::LayerOutOfRange { layer, n_layers });
        }
        let recipe = (self, model.config().clone());
        let model = freeze_layers(model.train(), &self.skipped);
        let trainer = trainer(folder, &recipe, model, self.trainer)?;
        let tuned = trainer.run(|model, at| self.loss(model, &data(at)?), progress)?;
        Ok(tuned.valid())
    }

    fn loss(&self, model: &Llama, batch: &TrainingBatch) -> Result<StepLoss, TrainingError> {
        // Gates of 0 and not actions: an action holds for the whole text, and the prompt runs these layers.
        let mut skip = controller_fn(|site: &Site<'_>| {
            if !self.skipped.contains(&site.layer()) {
                return Action::Run.into();
            }
            let [rows, tokens, _] = site.hidden().dims();
            Decision::Gate(Tensor::zeros([rows, tokens], &site.hidden().device()))
        });
        let options = PassOptions { control_from: self.control_from, ..PassOptions::default() };
        let loss = pass(model, &mut skip, batch, options)?.cross_entropy(model, batch);
        Ok(StepLoss { loss, metrics: Vec::new() })
    }
}

/// The model with the weights of some layers no longer trained.
pub(super) fn freeze_layers(model: Llama, layers: &BTreeSet<usize>) -> Llama {
    struct Freeze {
        place: Place,
        prefixes: Vec<String>,
    }
    impl ModuleMapper for Freeze {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.place.enter(name);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.leave();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.place.name();
            if self.prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                param.set_require_grad(false)
            } else {
                param
            }
        }
    }
    let prefixes = layers.iter().map(|layer| format!("layers.{layer}.")).collect();
    model.map(&mut Freeze { place: Place::default(), prefixes })
}
