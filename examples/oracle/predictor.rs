//! The prompt predictor.

use crate::arguments::Arguments;
use dynlayer::inference::oracle::{Item, PredictorTrial, PromptPredictor, PromptStates};
use dynlayer::metrics::allocation::Evidence;
use dynlayer::metrics::baselines::Outcome;
use dynlayer::model::Llama;
use std::error::Error;

/// Largest number of folds of the cross-validation.
const FOLDS: usize = 10;

/// The prompts' mean states in an early layer.
pub fn states(arguments: &Arguments, model: &Llama, items: &[Item]) -> Result<PromptStates, Box<dyn Error>> {
    let layer = arguments.predictor_layer.unwrap_or(model.layers().len() / 6);
    Ok(PromptStates::measure(model, items, layer)?)
}

/// Outcomes of the predictor on prompts that it was not trained on; `None` if there are too few prompts, or the budget
/// is below every candidate.
pub fn outcomes(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<Vec<Outcome>> {
    let n = evidence.sequences().len();
    let trial = PredictorTrial { folds: FOLDS.min(n), ..PredictorTrial::default() };
    trial.run(evidence, states, budget).ok()
}

/// A predictor trained on all prompts, to be used on others.
pub fn predictor(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<PromptPredictor> {
    PromptPredictor::fit(evidence, states, budget).ok()
}
