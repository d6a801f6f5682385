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
    /// What it shared with other rows in the prompt's passes.
    pub prefill_shared: Shared,
    /// What it shared with other rows in the passes that produced one token.
    pub decode_shared: Shared,
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

/// What a sequence's passes cost that its batch shared. Sums over the sequences are the phase's, but for host reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Shared {
    /// Bytes of weights read: what was read for several rows counts for each in equal parts. Rows for which a layer runs
    /// although they skip it have no part.
    pub weight_bytes: f64,
    /// Times the controller waited for the device in passes with this sequence. A read is for all rows at once.
    pub host_reads: u64,
    /// Wall time inside the controller, in seconds: of every pass an equal part for each row.
    pub controller_seconds: f64,
}

impl AddAssign for Shared {
    fn add_assign(&mut self, other: Self) {
        self.weight_bytes += other.weight_bytes;
        self.host_reads += other.host_reads;
        self.controller_seconds += other.controller_seconds;
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.nominal += other.nominal;
        self.executed += other.executed;
    }
}
