//! The results of a table of evidence: the oracle beside its baselines, in words and as a plot.

mod plot;
mod predictor;
mod results;
mod summary;

pub use results::Results;
pub use summary::text;

use dynlayer::inference::oracle::{Item, PromptStates};
use dynlayer::model::Llama;
use std::error::Error;

/// Measures the mean state of each prompt at an early layer, which the prompt predictor reads.
pub fn states(model: &Llama, items: &[Item], layer: usize) -> Result<PromptStates, Box<dyn Error>> {
    Ok(PromptStates::measure(model, items, layer)?)
}
