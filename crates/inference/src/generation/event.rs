//! Events of a generation.

use crate::control::Route;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One generated token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenEvent {
    /// The sequence's id.
    pub sequence: u64,
    /// The token. A stop token has an event too.
    pub token: u32,
    /// The route of the pass that produced it.
    pub route: Route,
    /// The text that this token completes, without special tokens. Empty without a tokenizer, and while a character or
    /// a possible stop string is incomplete. The last event of a sequence has all of the remaining text.
    pub text: String,
    /// The reason why the sequence ends here, if it does.
    pub stop: Option<Stop>,
    /// The natural logarithm of the token's probability in the model's own distribution, before penalties, temperature,
    /// filters and hooks; `None` unless
    /// [`SequenceOptions::log_probabilities`](crate::SequenceOptions::log_probabilities) is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_probability: Option<f64>,
    /// The likeliest tokens and their log-probabilities in that distribution, in descending order, as many as were asked
    /// for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub likeliest: Vec<(u32, f64)>,
}

/// The reason why a sequence ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stop {
    /// A stop token was generated.
    Token(u32),
    /// A stop string was generated; the text ends before it.
    String(String),
    /// The largest number of new tokens was reached.
    MaxNewTokens,
    /// The model's context is full.
    ContextFull,
    /// The sequence's deadline has passed.
    Deadline,
}

/// Writes `token`, `string`, `max-new-tokens`, `context-full` or `deadline`.
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "token",
            Self::String(_) => "string",
            Self::MaxNewTokens => "max-new-tokens",
            Self::ContextFull => "context-full",
            Self::Deadline => "deadline",
        })
    }
}
