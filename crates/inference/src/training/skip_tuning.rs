//! Fine-tuning of a model to do without some of its layers.

use super::weights::freeze;
use super::{
    PassOptions, StepLoss, StepPart, StepReport, Trainer, TrainerOptions, TrainingBatch, TrainingError, TrainingFolder,
    pass,
};
use crate::control::{Action, ControlFrom, Decision, Site, controller_fn};
use crate::identity::named;
use burn::module::Module;
use burn::tensor::Tensor;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

/// Fine-tuning of a model that will skip some of its layers: the loss is the cross-entropy of the answers while those
/// layers are skipped, and all other layers are trained (as arXiv 2410.20022 does for uniform skipping).
///
/// The layers are skipped where a controller would decide ([`control_from`](Self::control_from)). By default the prompt
/// runs them, as it will in decoding, so their weights still matter; these weights stay bit for bit the same.
///
/// ```
/// use dynlayer_inference::training::{SkipTuning, TrainerOptions};
///
/// // Every other layer of 24, as in the paper, with its learning rate.
/// let tuning = SkipTuning::new((1..24).step_by(2), TrainerOptions::new(2000, 2e-5));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipTuning {
    /// The layers that are skipped and frozen.
    pub skipped: BTreeSet<usize>,
    /// The number of steps, the learning rate, accumulation and checkpoints.
    pub trainer: TrainerOptions,
    /// The first token that skips these layers. Use the same setting when the tuned model runs.
    pub control_from: ControlFrom,
}

impl SkipTuning {
    /// Returns a tuning in which these layers are skipped from the first generated token on.
    pub fn new(skipped: impl IntoIterator<Item = usize>, trainer: TrainerOptions) -> Self {
        Self { skipped: skipped.into_iter().collect(), trainer, control_from: ControlFrom::default() }
    }

    /// Trains the model, which may be on a device without autodiff. The result is on a device without autodiff.
    ///
    /// `data` returns the batch of a step and part, and must derive it from these alone.
    ///
    /// # Errors
    /// If a layer does not exist, an option is out of its range, the model is quantised, the folder cannot be used
    /// (before the first step), the training diverges, or `data` fails.
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
        let config = json!(model.config());
        let recipe = || Ok(named([("options", json!(self)), ("configuration", config)]));
        let prefixes: Vec<String> = self.skipped.iter().map(|layer| format!("layers.{layer}.")).collect();
        let model = freeze(model.train(), |name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        let trainer = Trainer::start(folder, recipe, &mut data, model, self.trainer)?;
        let tuned = trainer.run(|model, at| self.loss(model, &data(at)?), progress)?;
        Ok(tuned.valid())
    }

    fn loss(&self, model: &Llama, batch: &TrainingBatch) -> Result<StepLoss, TrainingError> {
        // Gates of 0 instead of actions, since an action holds for the whole text, and the prompt runs these layers.
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

#[cfg(test)]
mod tests {
    use super::super::tests::{counting_batch, counting_model};
    use super::*;
    use crate::parameters;
    use burn::tensor::Device;
    use dynlayer_model::WeightDtype;

    fn bits(model: &Llama) -> Vec<(String, Vec<u32>)> {
        let bits =
            |(name, (_, values)): (String, (_, Vec<f32>))| (name, values.into_iter().map(f32::to_bits).collect());
        parameters::values(model).unwrap().into_iter().map(bits).collect()
    }

    #[test]
    fn skipped_layers_stay_bit_for_bit_and_the_others_learn() {
        let model = counting_model().clone();
        let mut tuning = SkipTuning::new([1, 3], TrainerOptions::new(20, 1e-3));
        tuning.control_from = ControlFrom::LastPromptToken;
        let mut losses = Vec::new();
        let data = |at| counting_batch(counting_model(), at, 12);
        let tuned = tuning.run(model.clone(), None, data, |report| losses.push(report.loss)).unwrap();
        assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
        for ((name, before), (_, after)) in bits(&model).into_iter().zip(bits(&tuned)) {
            let skipped = name.starts_with("layers.1.") || name.starts_with("layers.3.");
            assert_eq!(before == after, skipped, "{name}");
        }
    }

    #[test]
    fn quantised_models_are_refused() {
        let quantised = counting_model().config().init(1, WeightDtype::Q8, &Device::flex()).unwrap();
        let data = |at| counting_batch(counting_model(), at, 2);
        let tuning = SkipTuning::new([1], TrainerOptions::new(1, 1e-3));
        let error = tuning.run(quantised, None, data, |_| {}).unwrap_err();
        assert!(matches!(&error, TrainingError::Quantised { weight } if weight == "embed_tokens"), "{error}");
    }

    #[test]
    fn layers_out_of_range_are_refused() {
        let tuning = SkipTuning::new([6], TrainerOptions::new(1, 1e-3));
        let data = |at| counting_batch(counting_model(), at, 2);
        let error = tuning.run(counting_model().clone(), None, data, |_| {}).unwrap_err();
        assert!(matches!(error, TrainingError::LayerOutOfRange { layer: 6, n_layers: 6 }), "{error}");
    }
}
