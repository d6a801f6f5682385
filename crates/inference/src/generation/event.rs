//! What a generation reports as it goes.

use crate::report::Route;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One generated token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenEvent {
    /// The sequence's id.
    pub sequence: u64,
    /// The token; a stop token is reported too.
    pub token: u32,
    /// What ran in the pass that produced it.
    pub route: Route,
    /// Text that this token completes, without special tokens; empty while a character or a possible stop string is
    /// incomplete, and without a tokenizer. The last event of a sequence holds all that is left.
    pub text: String,
    /// Why the sequence ends here, if it does.
    pub stop: Option<Stop>,
}

/// Why a sequence ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stop {
    /// A stop token was generated.
    Token(u32),
    /// A stop string was generated; the text ends before it.
    String(String),
    /// The wanted number of tokens was reached.
    MaxNewTokens,
    /// The model's context is full.
    ContextFull,
}

/// `token`, `string`, `max-new-tokens` or `context-full`.
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "token",
            Self::String(_) => "string",
            Self::MaxNewTokens => "max-new-tokens",
            Self::ContextFull => "context-full",
        })
    }
}
