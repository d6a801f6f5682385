//! The configuration that the code uses.

use serde::{Deserialize, Serialize};

use super::rope::RopeConfig;

/// A Llama-style decoder: every size and switch that changes its arithmetic.
///
/// The fields are public so that a configuration can be filled in from any source; [`validate`](Self::validate) then
/// checks it. Deserializing with serde does not validate either.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// Rows of the embedding, and logits per token.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width inside the MLP.
    pub d_ff: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; need not be `d_model / n_heads`.
    pub head_dim: usize,
    /// Longest context.
    pub max_positions: usize,
    /// Epsilon of the RMS norms.
    pub norm_eps: f64,
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// The output head is the embedding, transposed.
    pub tied_embeddings: bool,
    /// Which linear layers have a bias.
    pub attention_bias: AttentionBias,
    /// Queries and keys pass through an RMS norm per head before rotation (Qwen3).
    pub qk_norm: bool,
    /// The token that starts a text, if the model has one.
    pub bos_token: Option<u32>,
    /// The tokens that end a text; empty if the configuration names none.
    pub eos_tokens: Vec<u32>,
}

/// Which linear layers of a block have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttentionBias {
    /// The query, key and value projections.
    pub qkv: bool,
    /// The output projection of the attention.
    pub output: bool,
    /// The three projections of the MLP.
    pub mlp: bool,
}

impl LlamaConfig {
    /// Query heads that share one key and value head.
    #[must_use]
    pub fn group_size(&self) -> usize {
        self.n_heads.checked_div(self.n_kv_heads).unwrap_or(0)
    }
}
