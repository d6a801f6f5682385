//! The configuration that the rest of the crate uses.

use serde::{Deserialize, Serialize};

/// The configuration of a Llama-style decoder: every size and switch that changes its arithmetic.
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
    /// Whether the output head is the embedding, transposed.
    pub tied_embeddings: bool,
    /// The linear layers that have a bias.
    pub attention_bias: AttentionBias,
    /// Whether queries and keys pass through an RMS norm per head before rotation (Qwen3).
    pub qk_norm: bool,
    /// The token that starts a text, if the model has one.
    pub bos_token: Option<u32>,
    /// The tokens that end a text; empty if the configuration names none.
    pub eos_tokens: Vec<u32>,
}

/// The linear layers of a block that have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttentionBias {
    /// Whether the query, key and value projections have one.
    pub qkv: bool,
    /// Whether the output projection of the attention has one.
    pub output: bool,
    /// Whether the three projections of the MLP have one.
    pub mlp: bool,
}

/// The rotary position embedding, which turns positions into angles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeConfig {
    /// Base of the frequencies: pair `i` of a head turns by `theta^(-2 i / head_dim)` per position.
    pub theta: f64,
    /// The change of the frequencies for a longer context.
    pub scaling: RopeScaling,
}

/// Changes of the rotary frequencies for a context longer than that of the first pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Unchanged frequencies.
    None,
    /// Every frequency divided by `factor` (position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided by `factor`, high ones kept, those between interpolated.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` count as low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` count as high frequencies.
        high_freq_factor: f64,
        /// Context length of the first pre-training.
        original_max_positions: usize,
    },
    /// Every frequency divided by its own number, as GGUF files store the scaling of Llama 3. `config.json` has no form
    /// for it.
    PerFrequency {
        /// One divisor per pair of head dimensions, so `head_dim / 2` of them.
        divisors: Vec<f32>,
    },
}
