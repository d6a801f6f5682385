//! One sequence in numbers.

use super::{SequenceReport, Shared, Spent};
use dynlayer_metrics::cost::Dimensions;
use serde::{Deserialize, Serialize};

/// One sequence in numbers that need no further arithmetic, for machines; made by
/// [`RunReport::sequence_summaries`](super::RunReport::sequence_summaries).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequenceSummary {
    /// The caller's id.
    pub id: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated or scored, a stop token included.
    pub generated_tokens: u64,
    /// The prompt's passes.
    pub prefill: WorkSummary,
    /// The passes that produced one token.
    pub decode: WorkSummary,
}

/// What one sequence did in one phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkSummary {
    /// Tokens that went through.
    pub tokens: u64,
    /// Layers per token that the decisions asked for; `None` without a token.
    pub layers_per_token: Option<f64>,
    /// Layers per token that ran; `None` without a token.
    pub layers_executed_per_token: Option<f64>,
    /// Attention and MLP sublayers that the decisions asked for, in tokens.
    pub sublayers: [u64; 2],
    /// Attention and MLP sublayers that ran, in tokens.
    pub sublayers_executed: [u64; 2],
    /// Keys and values without their attention that the decisions and the KV policy asked for, in tokens.
    pub kv_projections: u64,
    /// Those that were computed for it: without those that came with an attention that ran for other rows.
    pub kv_projections_executed: u64,
    /// Products with the head, the controller's included.
    pub head_products: u64,
    /// Floating-point operations that the decisions asked for ([`Dimensions::flops`]).
    pub flops: f64,
    /// Floating-point operations that ran.
    pub flops_executed: f64,
    /// Its part of the bytes of weights read ([`Shared::weight_bytes`]).
    pub weight_bytes: f64,
    /// Times the controller waited for the device in its passes ([`Shared::host_reads`]).
    pub host_reads: u64,
    /// Its part of the wall time inside the controller, in seconds ([`Shared::controller_seconds`]).
    pub controller_seconds: f64,
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
            weight_bytes: shared.weight_bytes,
            host_reads: shared.host_reads,
            controller_seconds: shared.controller_seconds,
        }
    }
}
