//! The step after the oracle: a depth for every prompt, from what the model makes of the prompt in its first layers.

mod cholesky;
mod controller;
mod error;
mod predictor;
mod ridge;
mod states;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers in tests")]
mod tests;
mod trial;

pub use controller::PromptRouter;
pub use error::RouterTrialError;
pub use predictor::PromptPredictor;
pub use states::PromptStates;
pub use trial::RouterTrial;
