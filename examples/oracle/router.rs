//! The prompt router beside the oracle.

use crate::arguments::Arguments;
use dynlayer::inference::oracle::{Evidence, Item, Outcome, PromptPredictor, PromptStates, RouterTrial};
use dynlayer::model::Llama;
use std::error::Error;

/// Folds of the cross-validation at most.
const FOLDS: usize = 10;

/// What the model makes of the prompts in its first layers.
pub fn states(arguments: &Arguments, model: &Llama, items: &[Item]) -> Result<PromptStates, Box<dyn Error>> {
    let layer = arguments.router_layer.unwrap_or(model.layers().len() / 6);
    Ok(PromptStates::measure(model, items, layer)?)
}

/// What a router does with prompts that it has not seen; `None` where there are too few to learn from, or the budget is
/// below every candidate.
pub fn outcomes(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<Vec<Outcome>> {
    let n = evidence.sequences().len();
    let trial = RouterTrial { folds: FOLDS.min(n), ..RouterTrial::default() };
    trial.run(evidence, states, budget).ok()
}

/// A predictor that has learned from all prompts, to be used on others.
pub fn predictor(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<PromptPredictor> {
    PromptPredictor::fit(evidence, states, budget).ok()
}
