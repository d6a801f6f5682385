//! The check of token ids before a model runs them.

use dynlayer_model::Llama;
use std::fmt;

/// The reason why a model cannot run a text, which is given as token ids.
///
/// It displays as a sentence without its subject: "is empty; at least one token is needed".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProblem {
    /// The text has no token.
    Empty,
    /// The text has more tokens than the model has positions.
    TooLong {
        /// The number of the text's tokens.
        tokens: usize,
        /// The number of the model's positions.
        context: usize,
    },
    /// A token id is not in the model's vocabulary.
    OutOfRange {
        /// The first id that is not in the vocabulary.
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
                write!(f, "holds token {token}; the model's vocabulary has {vocab_size} tokens")
            }
        }
    }
}

/// Checks that the model can run a text.
pub(crate) fn check(model: &Llama, text: &[u32]) -> Result<(), TokenProblem> {
    let (tokens, context) = (text.len(), model.config().max_positions);
    if tokens == 0 {
        return Err(TokenProblem::Empty);
    }
    if tokens > context {
        return Err(TokenProblem::TooLong { tokens, context });
    }
    check_vocabulary(model, text)
}

/// Checks that the model knows these tokens.
pub(crate) fn check_vocabulary(model: &Llama, tokens: &[u32]) -> Result<(), TokenProblem> {
    let vocab_size = model.config().vocab_size;
    match tokens.iter().find(|id| usize::try_from(**id).map_or(true, |id| id >= vocab_size)) {
        Some(&token) => Err(TokenProblem::OutOfRange { token, vocab_size }),
        None => Ok(()),
    }
}
