//! Why a generation ends early.

use crate::control::ControllerError;
use crate::sampling::SamplingError;
use dynlayer_model::text::TextError;

/// Why a generation cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is no prompt.
    #[error("no prompt; at least one is needed")]
    EmptyBatch,
    /// A prompt has no token.
    #[error("prompt {prompt} is empty; at least one token is needed")]
    EmptyPrompt {
        /// The prompt's index.
        prompt: usize,
    },
    /// A prompt has more tokens than the model has positions.
    #[error("prompt {prompt} has {tokens} tokens; the model's context is {context}")]
    PromptTooLong {
        /// The prompt's index.
        prompt: usize,
        /// Its tokens.
        tokens: usize,
        /// The model's positions.
        context: usize,
    },
    /// A token id is not in the model's vocabulary.
    #[error("prompt {prompt} holds token {token}; the model's vocabulary has {vocab_size}")]
    TokenOutOfRange {
        /// The prompt's index.
        prompt: usize,
        /// The token id.
        token: u32,
        /// The model's vocabulary.
        vocab_size: usize,
    },
    /// Sequence ids do not match the prompts one to one.
    #[error("{found} distinct sequence ids for {prompts} prompts; none, or a distinct one for each, are needed")]
    SequenceIds {
        /// How many distinct ids were given.
        found: usize,
        /// How many prompts.
        prompts: usize,
    },
    /// Stop strings were given without a tokenizer to see text with.
    #[error("stop strings need a tokenizer: set GenerateOptions::tokenizer")]
    StopStringsWithoutTokenizer,
    /// A stop string has no characters.
    #[error("stop string {index} is empty")]
    EmptyStopString {
        /// Its index.
        index: usize,
    },
    /// Sampling options out of range, or logits to which no choice applies.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The controller refused the batch.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The controller broke its contract.
    #[error("the controller broke its contract at layer {layer}: expected {expected}, found {found}")]
    Contract {
        /// Where.
        layer: usize,
        /// What the contract asks for.
        expected: String,
        /// What came.
        found: String,
    },
    /// An earlier step failed, or panicked and the panic was caught: what comes after it would be wrong.
    #[error("the generation was interrupted by an earlier error or panic; nothing more can come of it")]
    Interrupted,
    /// The tokenizer could not decode what was generated.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The device did not deliver the logits.
    #[error("reading the logits from the device failed: {0}")]
    Device(String),
}
