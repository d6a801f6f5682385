//! Validation of configurations, the same for every source.

use super::error::{ConfigError, ConfigErrorKind};
use super::family::Family;
use super::llama::{LlamaConfig, RopeScaling};

/// Upper bounds of the sizes in a configuration.
///
/// They are far above the sizes of any model, and low enough that the product of two sizes fits in 64 bits. A hostile
/// configuration file thus cannot cause a huge allocation before the tensors themselves are checked.
pub mod limits {
    /// The largest number of tokens in a vocabulary.
    pub const VOCAB_SIZE: usize = 1 << 24;
    /// The largest width of the residual stream, of an MLP, and of all heads of a layer together.
    pub const WIDTH: usize = 1 << 20;
    /// The largest number of layers.
    pub const LAYERS: usize = 4096;
    /// The largest width of one head.
    pub const HEAD_DIM: usize = 1 << 14;
    /// The longest context, in tokens.
    pub const POSITIONS: usize = 1 << 26;
    /// The largest number of tokens that end a text.
    pub const EOS_TOKENS: usize = 1 << 10;
}

/// Special tokens that the vocabulary lacks, with the names of their fields.
pub(crate) type UnknownTokens = Vec<(&'static str, u32)>;

impl LlamaConfig {
    /// Checks every field, and the fields against each other.
    ///
    /// # Errors
    /// The first field with a value that no supported model can have: a size that is zero or above [`limits`], a number
    /// of query heads that is not a multiple of the key and value heads, an odd head width, a number that is not finite
    /// or not positive, a token outside the vocabulary, a window that is empty or hides nothing, a layer that does not
    /// exist, or a combination of biases and norms that no supported family has.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_as("model configuration")
    }

    /// Checks the same; errors name `origin`.
    pub(crate) fn validate_as(&self, origin: &str) -> Result<(), ConfigError> {
        self.check().map_err(|kind| kind.at(origin))
    }

    /// Removes special tokens that the vocabulary lacks, and returns them with the names of their fields.
    pub(crate) fn remove_unknown_tokens(&mut self) -> UnknownTokens {
        let vocab_size = self.vocab_size;
        let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < vocab_size);
        let bos = self.bos_token.filter(|id| !known(id)).map(|id| ("bos_token_id", id));
        let eos = self.eos_tokens.iter().copied().filter(|id| !known(id)).map(|id| ("eos_token_id", id));
        let removed = bos.into_iter().chain(eos).collect();
        self.bos_token = self.bos_token.filter(known);
        self.eos_tokens.retain(known);
        removed
    }

    pub(super) fn check(&self) -> Result<(), ConfigErrorKind> {
        size("vocab_size", self.vocab_size, limits::VOCAB_SIZE)?;
        size("d_model (hidden_size)", self.d_model, limits::WIDTH)?;
        size("d_ff (intermediate_size)", self.d_ff, limits::WIDTH)?;
        size("n_layers (num_hidden_layers)", self.n_layers, limits::LAYERS)?;
        size("n_heads (num_attention_heads)", self.n_heads, limits::WIDTH)?;
        size("n_kv_heads (num_key_value_heads)", self.n_kv_heads, self.n_heads)?;
        size("head_dim", self.head_dim, limits::HEAD_DIM)?;
        size("max_positions (max_position_embeddings)", self.max_positions, limits::POSITIONS)?;
        heads(self)?;
        let small = self.norm_eps.is_finite() && self.norm_eps > 0.0 && self.norm_eps < 1.0;
        require(small, "norm_eps (rms_norm_eps)", self.norm_eps, "between 0 and 1, both excluded")?;
        positive("rope.theta (rope_theta)", self.rope.theta)?;
        scaling(&self.rope.scaling, self.head_dim)?;
        tokens(self)?;
        layers(self)?;
        require(
            Family::of_blocks(self).is_some(),
            "attention_bias and qk_norm",
            format!("{:?}, qk_norm {}", self.attention_bias, self.qk_norm),
            "those of Llama (output equal to qkv), Qwen2 (qkv only) or Qwen3 (qk_norm, output equal to qkv, no mlp)",
        )
    }
}

fn require(
    holds: bool,
    field: &'static str,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<(), ConfigErrorKind> {
    if holds {
        return Ok(());
    }
    Err(ConfigErrorKind::Invalid { field, found: found.to_string(), expected: expected.into() })
}

fn size(field: &'static str, found: usize, limit: usize) -> Result<(), ConfigErrorKind> {
    require((1..=limit).contains(&found), field, found, format!("1 to {limit}"))
}

fn positive(field: &'static str, found: f64) -> Result<(), ConfigErrorKind> {
    require(found.is_finite() && found > 0.0, field, found, "a finite number above 0")
}

fn heads(config: &LlamaConfig) -> Result<(), ConfigErrorKind> {
    let &LlamaConfig { n_heads, n_kv_heads, head_dim, .. } = config;
    let expected = format!("a divisor of the {n_heads} query heads");
    require(n_heads.is_multiple_of(n_kv_heads), "n_kv_heads (num_key_value_heads)", n_kv_heads, expected)?;
    require(head_dim.is_multiple_of(2), "head_dim", head_dim, "an even number, because rotation works on pairs")?;
    let width = n_heads.checked_mul(head_dim);
    let expected = format!("at most {} for all {n_heads} heads together", limits::WIDTH);
    require(width.is_some_and(|width| width <= limits::WIDTH), "head_dim", head_dim, expected)
}

fn scaling(scaling: &RopeScaling, head_dim: usize) -> Result<(), ConfigErrorKind> {
    match *scaling {
        RopeScaling::None => Ok(()),
        RopeScaling::Linear { factor } => positive("rope.scaling.factor (rope_scaling.factor)", factor),
        RopeScaling::PerFrequency { ref divisors } => {
            let field = "rope.scaling.divisors (rope_freqs.weight)";
            let (found, expected) = (divisors.len(), head_dim / 2);
            require(found == expected, field, format!("{found} numbers"), format!("{expected}, half of head_dim"))?;
            divisors.iter().try_for_each(|divisor| positive(field, f64::from(*divisor)))
        }
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
            positive("rope.scaling.factor (rope_scaling.factor)", factor)?;
            positive("rope.scaling.low_freq_factor (rope_scaling.low_freq_factor)", low_freq_factor)?;
            let field = "rope.scaling.high_freq_factor (rope_scaling.high_freq_factor)";
            positive(field, high_freq_factor)?;
            // Frequencies between the two factors are interpolated, which divides by their difference.
            let expected = format!("above low_freq_factor {low_freq_factor}");
            require(high_freq_factor > low_freq_factor, field, high_freq_factor, expected)?;
            let field = "rope.scaling.original_max_positions (rope_scaling.original_max_position_embeddings)";
            size(field, original_max_positions, limits::POSITIONS)
        }
    }
}

fn layers(config: &LlamaConfig) -> Result<(), ConfigErrorKind> {
    let &LlamaConfig { n_layers, max_positions, .. } = config;
    let windows = "windows (sliding_window)";
    for (field, last) in [
        (windows, config.windows.last_key_value().map(|(layer, _)| layer)),
        ("unrotated (no_rope_layers)", config.unrotated.last()),
    ] {
        let layer = last.copied().unwrap_or(0);
        let expected = format!("layers below n_layers {n_layers}");
        require(layer < n_layers, field, format!("set for layer {layer}"), expected)?;
    }
    config.windows.values().try_for_each(|window| {
        let expected = format!("at least 1, and below max_positions {max_positions}: longer ones hide nothing");
        require((1..max_positions).contains(window), windows, window, expected)
    })
}

fn tokens(config: &LlamaConfig) -> Result<(), ConfigErrorKind> {
    let LlamaConfig { bos_token, eos_tokens, .. } = config;
    let inside = |id: u32| usize::try_from(id).is_ok_and(|id| id < config.vocab_size);
    let expected = format!("ids below vocab_size {}", config.vocab_size);
    require(bos_token.is_none_or(inside), "bos_token (bos_token_id)", format!("{bos_token:?}"), expected.as_str())?;
    let (field, count) = ("eos_tokens (eos_token_id)", eos_tokens.len());
    let limit = format!("at most {}", limits::EOS_TOKENS);
    require(count <= limits::EOS_TOKENS, field, format!("{count} tokens"), limit)?;
    require(eos_tokens.iter().copied().all(inside), field, format!("{eos_tokens:?}"), expected)
}
