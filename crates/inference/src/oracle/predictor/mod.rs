//! Prediction of the oracle's choice from the prompt: a candidate for every sequence, from the prompt's state in an
//! early layer.

mod cholesky;
mod controller;
mod error;
mod prompt_predictor;
mod ridge;
mod states;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers in tests")]
mod tests;
mod trial;

pub use controller::PredictorController;
pub use error::PredictorError;
pub use prompt_predictor::PromptPredictor;
pub use states::PromptStates;
pub use trial::PredictorTrial;
