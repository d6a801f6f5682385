//! The configuration of a model.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The configuration of a Llama-style decoder: all sizes and options that its forward pass depends on.
///
/// The fields are public so that a configuration can be filled in from any source; [`validate`](Self::validate) then
/// checks it. Deserializing a configuration with serde does not validate it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaConfig {
    /// The number of tokens in the vocabulary: rows of the embedding, and logits per token.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub d_model: usize,
    /// The width inside the MLP.
    pub d_ff: usize,
    /// The number of decoder layers.
    pub n_layers: usize,
    /// The number of query heads.
    pub n_heads: usize,
    /// The number of key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// The width of one head; need not be `d_model / n_heads`.
    pub head_dim: usize,
    /// The longest context, in tokens.
    pub max_positions: usize,
    /// The epsilon of the RMS norms.
    pub norm_eps: f64,
    /// The rotary position embedding.
    pub rope: RopeConfig,
    /// If `true`, the model has no separate output head and uses the embedding, transposed.
    pub tied_embeddings: bool,
    /// The linear layers that have a bias.
    pub attention_bias: AttentionBias,
    /// If `true`, queries and keys pass through an RMS norm per head before rotation (Qwen3).
    pub qk_norm: bool,
    /// The sliding windows, by layer: there, a token attends to at most this many positions, its own and those before
    /// it. A layer that is absent attends to all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: BTreeMap<usize, usize>,
    /// The layers whose queries and keys are not rotated, and which thus do not know positions (`SmolLM3`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unrotated: BTreeSet<usize>,
    /// The token that starts a text, if the model has one.
    pub bos_token: Option<u32>,
    /// The tokens that end a text; empty if the configuration names none.
    pub eos_tokens: Vec<u32>,
}

/// The biases of a block: for each group of linear layers, `true` if they have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionBias {
    /// The query, key and value projections.
    pub qkv: bool,
    /// The output projection of the attention.
    pub output: bool,
    /// The three projections of the MLP.
    pub mlp: bool,
}

/// The rotary position embedding, which turns positions into angles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RopeConfig {
    /// The base of the frequencies: pair `i` of a head turns by `theta^(-2 i / head_dim)` per position.
    pub theta: f64,
    /// The change of the frequencies for a longer context.
    pub scaling: RopeScaling,
}

/// Changes of the rotary frequencies for a context longer than that of the first pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub enum RopeScaling {
    /// The frequencies are unchanged.
    None,
    /// Every frequency is divided by `factor` (position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided by `factor`, high ones are kept, and those between are interpolated.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` count as low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` count as high frequencies.
        high_freq_factor: f64,
        /// The context length of the first pre-training.
        original_max_positions: usize,
    },
    /// Every frequency has a separate divisor. GGUF files store the scaling of Llama 3 in this form, which
    /// `config.json` cannot express.
    PerFrequency {
        /// One divisor per pair of head dimensions, `head_dim / 2` in all.
        divisors: Vec<f32>,
    },
}
