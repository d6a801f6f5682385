//! Errors of generation, scoring and sessions.

use crate::control::{ControlFrom, ControllerError};
use crate::sampling::SamplingError;
use crate::tokens::TokenProblem;
use dynlayer_model::text::TextError;

/// The reason why a generation, a scoring or a session cannot begin or go on.
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
    /// The model cannot run the tokens of a session's sequence.
    #[error("sequence {sequence} {problem}")]
    Tokens {
        /// The sequence's id.
        sequence: u64,
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
    /// A sequence joins under an id that another sequence of the session has.
    #[error("the session has a sequence {sequence} already; choose another id")]
    SequenceExists {
        /// The id.
        sequence: u64,
    },
    /// The session has no such sequence.
    #[error("the session has no sequence {sequence}")]
    NoSequence {
        /// The id.
        sequence: u64,
    },
    /// A sequence is to be changed while its turn goes on.
    #[error("sequence {sequence} is still generating; step until it stops, or cancel it")]
    Running {
        /// The sequence's id.
        sequence: u64,
    },
    /// More tokens are to be kept than a sequence has.
    #[error("sequence {sequence} has {tokens} tokens; it cannot be truncated to {wanted}")]
    Truncate {
        /// The sequence's id.
        sequence: u64,
        /// The number of its tokens.
        tokens: usize,
        /// The number of tokens that were to be kept.
        wanted: usize,
    },
    /// The session's limit on cached tokens leaves no room for a sequence.
    #[error(
        "sequence {sequence} may come to hold {needed} tokens; of the limit of {limit}, {free} are free: wait, generate \
         less, or raise SessionOptions::max_cached_tokens"
    )]
    CacheFull {
        /// The sequence's id.
        sequence: u64,
        /// The number of tokens that the sequence may come to hold.
        needed: usize,
        /// The number of tokens that no other sequence has claimed.
        free: usize,
        /// The limit.
        limit: usize,
    },
    /// Speculation was asked for together with a start of control that it has no use for.
    #[error(
        "speculation needs control from {}, since the full model decides about every token; found control from {found}",
        ControlFrom::FirstGenerated
    )]
    SpeculationControl {
        /// The start of control.
        found: ControlFrom,
    },
    /// The number of tokens to draft is out of its range.
    #[error("drafts of {found} tokens were asked for; expected 1 to {most}")]
    DraftLength {
        /// The number.
        found: usize,
        /// The largest number that is allowed.
        most: usize,
    },
    /// The size of prompt chunks is 0.
    #[error("prefill_chunk is 0; a chunk needs at least one token")]
    PrefillChunk,
    /// Stop strings were given without a tokenizer, so there is no text to find them in.
    #[error("stop strings need a tokenizer: set the option `tokenizer`")]
    StopStringsWithoutTokenizer,
    /// A stop string has no characters.
    #[error("stop string {index} is empty")]
    EmptyStopString {
        /// The stop string's index.
        index: usize,
    },
    /// A stop string holds the spelling of a special token among other text. The generated text has no special tokens,
    /// so the string would never be found.
    #[error(
        "stop string {index} holds the special token {token:?} and other text, but special tokens are not part of the \
         generated text; give the token as a stop string of its own, or leave it out"
    )]
    SpecialInStopString {
        /// The stop string's index.
        index: usize,
        /// The special token.
        token: String,
    },
    /// A sampling option is out of its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The logits of a sequence allow no choice of a token.
    #[error("no token can be chosen for sequence {sequence}")]
    Draw {
        /// The sequence's id.
        sequence: u64,
        /// The cause.
        source: SamplingError,
    },
    /// The controller refused the run or a sequence, or failed on the way.
    #[error(transparent)]
    Controller(ControllerError),
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
    /// The device did not deliver the logits, or numbers that the controller read.
    #[error("reading from the device failed: {0}")]
    Device(String),
}

impl GenerateError {
    /// The id of the sequence that the error is about, if it is about one only. The other sequences of a session can go
    /// on once this one is cancelled.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Self::Tokens { sequence, .. }
            | Self::SequenceExists { sequence }
            | Self::NoSequence { sequence }
            | Self::Running { sequence }
            | Self::Truncate { sequence, .. }
            | Self::CacheFull { sequence, .. }
            | Self::Draw { sequence, .. }
            | Self::Controller(
                ControllerError::Sequence { sequence, .. } | ControllerError::NoController { sequence },
            ) => Some(*sequence),
            _ => None,
        }
    }
}

impl From<ControllerError> for GenerateError {
    fn from(error: ControllerError) -> Self {
        match error {
            ControllerError::Contract { layer, expected, found } => Self::Contract { layer, expected, found },
            ControllerError::Device(reason) => Self::Device(reason),
            error => Self::Controller(error),
        }
    }
}
