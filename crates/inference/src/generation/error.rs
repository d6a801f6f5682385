//! Errors of generation and scoring.

use crate::control::{ControllerError, PassError};
use crate::sampling::SamplingError;
use crate::tokens::TokenProblem;
use dynlayer_model::text::TextError;

/// The reason why a generation or a scoring cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is no prompt.
    #[error("no prompt; at least one is needed")]
    EmptyBatch,
    /// The model cannot run a prompt or, in scoring, a prompt together with its continuation.
    #[error("prompt {prompt} {problem}")]
    Prompt {
        /// The prompt's index.
        prompt: usize,
        /// The problem.
        problem: TokenProblem,
    },
    /// Sequence ids do not match the prompts one to one.
    #[error("{found} distinct sequence ids for {prompts} prompts; give none, or a distinct one for each")]
    SequenceIds {
        /// The number of distinct ids.
        found: usize,
        /// The number of prompts.
        prompts: usize,
    },
    /// Stop strings were given without a tokenizer, so there is no text to find them in.
    #[error("stop strings need a tokenizer: set GenerateOptions::tokenizer")]
    StopStringsWithoutTokenizer,
    /// A stop string has no characters.
    #[error("stop string {index} is empty")]
    EmptyStopString {
        /// The stop string's index.
        index: usize,
    },
    /// A sampling option is out of its range, or the logits allow no choice.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The controller refused the batch, or failed on the way.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The controller broke its contract.
    #[error("the controller broke its contract at layer {layer}: expected {expected}, found {found}")]
    Contract {
        /// The layer.
        layer: usize,
        /// The answer that the contract requires.
        expected: String,
        /// The controller's answer.
        found: String,
    },
    /// An earlier step failed, or panicked and the panic was caught, so later tokens would be wrong.
    #[error("the generation was interrupted by an earlier error or panic and cannot go on; start a new one")]
    Interrupted,
    /// The tokenizer could not decode the generated tokens.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The device did not deliver the logits.
    #[error("reading the logits from the device failed: {0}")]
    Device(String),
}

impl From<PassError> for GenerateError {
    fn from(error: PassError) -> Self {
        match error {
            PassError::Contract { layer, expected, found } => Self::Contract { layer, expected, found },
            PassError::Controller(error) => Self::Controller(error),
            PassError::Device(error) => Self::Device(error),
        }
    }
}
