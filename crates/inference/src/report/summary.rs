//! Summaries of a report, to be serialised.

use super::{PhaseReport, SequenceReport, Shared, Spent};
use dynlayer_metrics::cost::Dimensions;
use serde::{Deserialize, Serialize};

/// The size of a cached number in bytes.
const KV_BYTES: f64 = 4.0;

/// A phase of a run in numbers that need no further arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseSummary {
    /// The number of passes.
    pub passes: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Tokens per second; `None` without a pass.
    pub tokens_per_second: Option<f64>,
    /// The work of all rows.
    #[serde(flatten)]
    pub work: WorkSummary,
}

/// A sequence of a run in numbers that need no further arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequenceSummary {
    /// The sequence's id.
    pub id: u64,
    /// The number of tokens of the prompt.
    pub prompt_tokens: u64,
    /// The number of tokens that were generated or scored, a stop token included.
    pub generated_tokens: u64,
    /// The work of the prompt's passes.
    pub prefill: WorkSummary,
    /// The work of the passes that produced one token.
    pub decode: WorkSummary,
}

/// The work of one phase, for all rows or for one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkSummary {
    /// The number of tokens processed, not counting padding.
    pub tokens: u64,
    /// Mean layers per token that the decisions asked for; `None` without a token.
    pub layers_per_token: Option<f64>,
    /// Mean layers per token that ran; `None` without a token.
    pub layers_executed_per_token: Option<f64>,
    /// Attention and MLP sublayers that the decisions asked for, in tokens.
    pub sublayers: [u64; 2],
    /// Attention and MLP sublayers that ran, in tokens.
    pub sublayers_executed: [u64; 2],
    /// K/V projections for layers whose attention was skipped, as the decisions and the KV policy asked for them, in
    /// tokens.
    pub kv_projections: u64,
    /// K/V projections of this kind that were computed. Projections that a row got without further work, because the
    /// layer ran for another row, are not counted.
    pub kv_projections_executed: u64,
    /// Products with the head, which computes the logits, including those for the controller.
    pub head_products: u64,
    /// Floating-point operations that the decisions asked for ([`Dimensions::flops`]).
    pub flops: f64,
    /// Floating-point operations that ran.
    pub flops_executed: f64,
    /// Floating-point operations of the same tokens at full depth, excluding head products for the controller.
    pub flops_full_depth: f64,
    /// Bytes of weights read: for a phase those of the launches ([`Dimensions::weight_bytes`]), for a sequence its part
    /// ([`Shared::weight_bytes`]).
    pub weight_bytes: f64,
    /// Bytes of cached keys and values read and written, 4 for each number ([`Dimensions::kv_bytes`] of the work that
    /// ran).
    pub kv_bytes: f64,
    /// The number of times that the controller waited for the device ([`Shared::host_reads`]).
    pub host_reads: u64,
    /// Wall time inside the controller, in seconds; for a sequence its part ([`Shared::controller_seconds`]).
    pub controller_seconds: f64,
}

impl PhaseSummary {
    pub(super) fn new(dimensions: &Dimensions, phase: &PhaseReport) -> Self {
        let shared = Shared {
            weight_bytes: dimensions.weight_bytes(&phase.launches),
            host_reads: phase.host_reads,
            controller_seconds: phase.controller_seconds,
        };
        Self {
            passes: phase.passes,
            seconds: phase.seconds,
            tokens_per_second: phase.tokens_per_second(),
            work: WorkSummary::new(dimensions, &phase.spent, shared),
        }
    }
}

impl SequenceSummary {
    pub(super) fn new(dimensions: &Dimensions, sequence: &SequenceReport) -> Self {
        Self {
            id: sequence.id,
            prompt_tokens: sequence.prompt_tokens,
            generated_tokens: sequence.generated_tokens,
            prefill: WorkSummary::new(dimensions, &sequence.prefill, sequence.prefill_shared),
            decode: WorkSummary::new(dimensions, &sequence.decode, sequence.decode_shared),
        }
    }
}

impl WorkSummary {
    fn new(dimensions: &Dimensions, spent: &Spent, shared: Shared) -> Self {
        let (nominal, executed) = (&spent.nominal, &spent.executed);
        Self {
            tokens: spent.tokens,
            layers_per_token: spent.layers_per_token(),
            layers_executed_per_token: spent.layers_executed_per_token(),
            sublayers: [nominal.attention, nominal.mlp],
            sublayers_executed: [executed.attention, executed.mlp],
            kv_projections: nominal.kv_projections,
            kv_projections_executed: executed.kv_projections,
            head_products: nominal.head_products,
            flops: dimensions.flops(nominal),
            flops_executed: dimensions.flops(executed),
            flops_full_depth: dimensions.flops(&spent.full),
            weight_bytes: shared.weight_bytes,
            kv_bytes: dimensions.kv_bytes(executed, KV_BYTES),
            host_reads: shared.host_reads,
            controller_seconds: shared.controller_seconds,
        }
    }
}
