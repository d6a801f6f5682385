//! The output of a sequence.

use super::{Stop, TokenEvent};
use crate::control::Route;
use serde::{Deserialize, Serialize};

/// The output of a sequence, or of one turn of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Completion {
    /// The sequence's id.
    pub sequence: u64,
    /// The generated tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// The route of the pass that produced each token.
    pub routes: Vec<Route>,
    /// The text, without special tokens and stop strings; empty without a tokenizer.
    pub text: String,
    /// The reason why the output ended; `None` if it has not ended, or if no token was requested.
    pub stop: Option<Stop>,
    /// The log-probability of each token, as in [`TokenEvent::log_probability`]; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_probabilities: Vec<f64>,
    /// The likeliest tokens at each place, as in [`TokenEvent::likeliest`]; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub likeliest: Vec<Vec<(u32, f64)>>,
}

impl Completion {
    pub(super) fn new(sequence: u64) -> Self {
        Self { sequence, ..Self::default() }
    }

    pub(super) fn push(&mut self, event: &TokenEvent) {
        self.tokens.push(event.token);
        self.routes.push(event.route.clone());
        self.text.push_str(&event.text);
        self.stop.clone_from(&event.stop);
        self.log_probabilities.extend(event.log_probability);
        if !event.likeliest.is_empty() {
            self.likeliest.push(event.likeliest.clone());
        }
    }
}
