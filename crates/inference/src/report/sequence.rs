//! The report of one sequence.

use dynlayer_metrics::cost::Counts;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// One sequence of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequenceReport {
    /// The sequence's id.
    pub id: u64,
    /// The number of tokens of the prompt.
    pub prompt_tokens: u64,
    /// The number of tokens that were generated or scored, a stop token included.
    pub generated_tokens: u64,
    /// The work of the prompt's passes.
    pub prefill: Spent,
    /// The work of the passes that produced one token; with speculation that of drafts and checks, for the tokens that came
    /// out.
    pub decode: Spent,
    /// The sequence's part of the costs that rows share, in the prompt's passes.
    pub prefill_shared: Shared,
    /// The sequence's part of the costs that rows share, in the passes that produced one token.
    pub decode_shared: Shared,
}

impl SequenceReport {
    /// The depth: mean layers per decode pass that the decisions asked for; `None` without such a pass. With speculation the
    /// layers of drafts and checks count, for each token that came out: they can be more than the model has.
    pub fn depth(&self) -> Option<f64> {
        self.decode.layers_per_token()
    }
}

/// The work done for a number of tokens, as the decisions asked for it and as it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spent {
    /// The number of tokens processed, not counting padding.
    pub tokens: u64,
    /// The work that the decisions asked for, in tokens.
    pub nominal: Counts,
    /// The work that ran, in tokens.
    pub executed: Counts,
    /// The work of the same tokens at full depth, excluding head products for the controller.
    pub full: Counts,
}

impl Spent {
    /// Mean layers per token that the decisions asked for; `None` without a token.
    pub fn layers_per_token(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.nominal.layers() / self.tokens as f64)
    }

    /// Mean layers per token that ran; `None` without a token.
    pub fn layers_executed_per_token(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.executed.layers() / self.tokens as f64)
    }
}

/// A sequence's part of the costs that the rows of a pass share. The parts of all sequences add up to the phase's
/// costs, except for host reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Shared {
    /// Bytes of weights read. The weights that a launch reads are divided equally among the rows that asked for the
    /// launch. A row that did not ask for it has no part, even if the launch computes that row too.
    pub weight_bytes: f64,
    /// The number of times that the controller waited for the device in passes with this sequence. One read serves all
    /// rows.
    pub host_reads: u64,
    /// Wall time inside the controller, in seconds; each row has an equal part of every pass.
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
        self.full += other.full;
    }
}
