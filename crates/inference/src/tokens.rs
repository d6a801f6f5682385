//! Checks of token ids that a model is to run.

use dynlayer_model::Llama;
use std::fmt;

/// A problem of a text, given as token ids, that keeps a model from running it.
///
/// Displays as the end of a sentence: "is empty; at least one token is needed".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProblem {
    /// The text has no token.
    Empty,
    /// The text has more tokens than the model has positions.
    TooLong {
        /// The text's tokens.
        tokens: usize,
        /// The model's positions.
        context: usize,
    },
    /// A token id is not in the model's vocabulary.
    OutOfRange {
        /// The first such id.
        token: u32,
        /// The size of the model's vocabulary.
        vocab_size: usize,
    },
}

impl fmt::Display for TokenProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty; at least one token is needed"),
            Self::TooLong { tokens, context } => write!(f, "has {tokens} tokens; the model's context is {context}"),
            Self::OutOfRange { token, vocab_size } => {
                write!(f, "holds token {token}; the model's vocabulary has {vocab_size}")
            }
        }
    }
}

/// Refuses a text that the model cannot run.
pub(crate) fn check(model: &Llama, text: &[u32]) -> Result<(), TokenProblem> {
    let (tokens, context, vocab_size) = (text.len(), model.config().max_positions, model.config().vocab_size);
    if tokens == 0 {
        return Err(TokenProblem::Empty);
    }
    if tokens > context {
        return Err(TokenProblem::TooLong { tokens, context });
    }
    match text.iter().find(|id| usize::try_from(**id).map_or(true, |id| id >= vocab_size)) {
        Some(&token) => Err(TokenProblem::OutOfRange { token, vocab_size }),
        None => Ok(()),
    }
}
