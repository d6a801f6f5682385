//! The prompt predictor.

use crate::arguments::Arguments;
use dynlayer::inference::oracle::{Item, PredictorTrial, PromptPredictor, PromptStates};
use dynlayer::metrics::allocation::Evidence;
use dynlayer::metrics::baselines::Outcome;
use dynlayer::model::Llama;
use std::error::Error;

/// The largest number of folds of the cross-validation.
const FOLDS: usize = 10;

/// Returns the layer whose input states the predictor reads.
pub fn layer(arguments: &Arguments, n_layers: usize) -> Result<usize, Box<dyn Error>> {
    let layer = arguments.predictor_layer.unwrap_or(n_layers / 6);
    if layer >= n_layers {
        return Err(format!("--predictor-layer {layer}: expected a layer below {n_layers}").into());
    }
    Ok(layer)
}

/// Measures the mean state of each prompt at an early layer.
pub fn states(model: &Llama, items: &[Item], layer: usize) -> Result<PromptStates, Box<dyn Error>> {
    Ok(PromptStates::measure(model, items, layer)?)
}

/// Returns the predictor's outcomes on prompts that it was not trained on; `None` if there are too few prompts, or if
/// the budget is below the cost of every candidate.
pub fn outcomes(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<Vec<Outcome>> {
    let n = evidence.sequences().len();
    let trial = PredictorTrial { folds: FOLDS.min(n), ..PredictorTrial::default() };
    trial.run(evidence, states, budget).ok()
}

/// Trains a predictor on all prompts, for use on others; `None` if that is not possible.
pub fn predictor(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<PromptPredictor> {
    PromptPredictor::fit(evidence, states, budget).ok()
}
