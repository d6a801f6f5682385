//! The prompt predictor.

use dynlayer::inference::oracle::{PredictorTrial, PromptPredictor, PromptStates};
use dynlayer::metrics::allocation::Evidence;
use dynlayer::metrics::baselines::Outcome;

/// The largest number of folds of the cross-validation.
const FOLDS: usize = 10;

/// Returns the predictor's outcomes on prompts that it was not trained on; `None` if there are too few prompts, or if
/// the budget is below the cost of every candidate.
pub(super) fn outcomes(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<Vec<Outcome>> {
    let n = evidence.sequences().len();
    let trial = PredictorTrial { folds: FOLDS.min(n), ..PredictorTrial::default() };
    trial.run(evidence, states, budget).ok()
}

/// Trains a predictor on all prompts, for use on others; `None` if that is not possible.
pub(super) fn predictor(evidence: &Evidence, states: &PromptStates, budget: f64) -> Option<PromptPredictor> {
    PromptPredictor::fit(evidence, states, budget).ok()
}
