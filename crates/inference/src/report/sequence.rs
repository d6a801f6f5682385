//! What one sequence ran.

use super::as_f64;
use dynlayer_metrics::cost::Counts;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// One sequence of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequenceReport {
    /// The caller's id.
    pub id: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated or scored, a stop token included.
    pub generated_tokens: u64,
    /// In the prompt's passes.
    pub prefill: Spent,
    /// In the passes that produced one token.
    pub decode: Spent,
}

impl SequenceReport {
    /// Depth: mean layers per decode pass, as the decisions asked for; `None` without such a pass.
    pub fn depth(&self) -> Option<f64> {
        self.decode.layers_per_token()
    }
}

/// What tokens ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spent {
    /// Tokens that went through, padding not counted.
    pub tokens: u64,
    /// What the decisions asked for, in tokens.
    pub nominal: Counts,
    /// What ran, in tokens.
    pub executed: Counts,
}

impl Spent {
    /// Mean layers per token that the decisions asked for; `None` without a token.
    pub fn layers_per_token(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.nominal.layers() / as_f64(self.tokens))
    }

    /// Mean layers per token that ran; `None` without a token.
    pub fn layers_executed_per_token(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.executed.layers() / as_f64(self.tokens))
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.nominal += other.nominal;
        self.executed += other.executed;
    }
}
