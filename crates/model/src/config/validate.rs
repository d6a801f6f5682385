//! The checks that every configuration passes, wherever it came from.

use super::error::ConfigError;
use super::family::Family;
use super::llama::LlamaConfig;
use super::rope::RopeScaling;

/// Upper bounds of a configuration's sizes.
///
/// Far above any model, and low enough that products of two of them fit in 64 bits: a hostile file must not decide how
/// much memory is asked for before its tensors have been looked at.
pub mod limits {
    /// Most tokens of a vocabulary.
    pub const VOCAB_SIZE: usize = 1 << 24;
    /// Widest residual stream, MLP, or sum of a layer's heads.
    pub const WIDTH: usize = 1 << 20;
    /// Most layers.
    pub const LAYERS: usize = 4096;
    /// Widest head.
    pub const HEAD_DIM: usize = 1 << 14;
    /// Longest context.
    pub const POSITIONS: usize = 1 << 26;
    /// Most tokens that end a text.
    pub const EOS_TOKENS: usize = 1 << 10;
}

impl LlamaConfig {
    /// Checks every field, and the fields against each other.
    ///
    /// # Errors
    /// The first field that no supported model can have: sizes that are zero or above [`limits`], heads that do not divide,
    /// an odd head width, numbers that are not finite or not positive, tokens outside the vocabulary, or a combination of
    /// biases and norms that no supported family has.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_as("model configuration")
    }

    pub(super) fn validate_as(&self, origin: &str) -> Result<(), ConfigError> {
        let check = Check { origin };
        check.size("vocab_size", self.vocab_size, limits::VOCAB_SIZE)?;
        check.size("d_model (hidden_size)", self.d_model, limits::WIDTH)?;
        check.size("d_ff (intermediate_size)", self.d_ff, limits::WIDTH)?;
        check.size("n_layers (num_hidden_layers)", self.n_layers, limits::LAYERS)?;
        check.size("n_heads (num_attention_heads)", self.n_heads, limits::WIDTH)?;
        check.size("n_kv_heads (num_key_value_heads)", self.n_kv_heads, self.n_heads)?;
        check.size("head_dim", self.head_dim, limits::HEAD_DIM)?;
        check.size("max_positions (max_position_embeddings)", self.max_positions, limits::POSITIONS)?;
        check.heads(self)?;
        check.that(self.norm_eps.is_finite() && self.norm_eps > 0.0 && self.norm_eps < 1.0, || {
            ("norm_eps (rms_norm_eps)", self.norm_eps.to_string(), "between 0 and 1, both excluded".to_owned())
        })?;
        check.positive("rope.theta (rope_theta)", self.rope.theta)?;
        check.scaling(&self.rope.scaling, self.head_dim)?;
        check.tokens(self)?;
        check.that(Family::of_config(self).is_some(), || {
            (
                "attention_bias and qk_norm",
                format!("{:?}, qk_norm {}", self.attention_bias, self.qk_norm),
                "Llama's (output as qkv), Qwen2's (qkv alone) or Qwen3's (qk_norm, output as qkv, no mlp)".to_owned(),
            )
        })
    }
}

/// Makes errors that know where the configuration came from.
struct Check<'a> {
    origin: &'a str,
}

impl Check<'_> {
    fn that(&self, holds: bool, what: impl FnOnce() -> (&'static str, String, String)) -> Result<(), ConfigError> {
        if holds {
            return Ok(());
        }
        let (field, found, expected) = what();
        Err(ConfigError::Invalid { origin: self.origin.to_owned(), field, found, expected })
    }

    fn size(&self, field: &'static str, found: usize, limit: usize) -> Result<(), ConfigError> {
        self.that((1..=limit).contains(&found), || (field, found.to_string(), format!("1 to {limit}")))
    }

    fn positive(&self, field: &'static str, found: f64) -> Result<(), ConfigError> {
        self.that(found.is_finite() && found > 0.0, || (field, found.to_string(), "a finite number above 0".to_owned()))
    }

    fn heads(&self, config: &LlamaConfig) -> Result<(), ConfigError> {
        self.that(config.n_heads.is_multiple_of(config.n_kv_heads), || {
            (
                "n_kv_heads (num_key_value_heads)",
                config.n_kv_heads.to_string(),
                format!("a divisor of the {} query heads", config.n_heads),
            )
        })?;
        self.that(config.head_dim.is_multiple_of(2), || {
            ("head_dim", config.head_dim.to_string(), "an even number, as rotation works on pairs".to_owned())
        })?;
        let width = config.n_heads.checked_mul(config.head_dim);
        self.that(width.is_some_and(|width| width <= limits::WIDTH), || {
            (
                "head_dim",
                config.head_dim.to_string(),
                format!("{} heads to be at most {} wide together", config.n_heads, limits::WIDTH),
            )
        })
    }

    fn scaling(&self, scaling: &RopeScaling, head_dim: usize) -> Result<(), ConfigError> {
        match *scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => self.positive("rope.scaling.factor (rope_scaling.factor)", factor),
            RopeScaling::PerFrequency { ref divisors } => {
                let field = "rope.scaling.divisors (rope_freqs.weight)";
                self.that(divisors.len() == head_dim / 2, || {
                    (field, format!("{} numbers", divisors.len()), format!("{}, half of head_dim", head_dim / 2))
                })?;
                divisors.iter().try_for_each(|divisor| self.positive(field, f64::from(*divisor)))
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                self.positive("rope.scaling.factor (rope_scaling.factor)", factor)?;
                self.positive("rope.scaling.low_freq_factor (rope_scaling.low_freq_factor)", low_freq_factor)?;
                self.positive("rope.scaling.high_freq_factor (rope_scaling.high_freq_factor)", high_freq_factor)?;
                // Between the two the frequencies are interpolated by a division by their difference.
                self.that(high_freq_factor > low_freq_factor, || {
                    (
                        "rope.scaling.high_freq_factor (rope_scaling.high_freq_factor)",
                        high_freq_factor.to_string(),
                        format!("above low_freq_factor {low_freq_factor}"),
                    )
                })?;
                self.size(
                    "rope.scaling.original_max_positions (rope_scaling.original_max_position_embeddings)",
                    original_max_positions,
                    limits::POSITIONS,
                )
            }
        }
    }

    fn tokens(&self, config: &LlamaConfig) -> Result<(), ConfigError> {
        let inside = |id: u32| usize::try_from(id).is_ok_and(|id| id < config.vocab_size);
        let expected = || format!("ids below vocab_size {}", config.vocab_size);
        self.that(config.bos_token.is_none_or(inside), || {
            ("bos_token (bos_token_id)", format!("{:?}", config.bos_token), expected())
        })?;
        self.that(config.eos_tokens.len() <= limits::EOS_TOKENS, || {
            (
                "eos_tokens (eos_token_id)",
                format!("{} tokens", config.eos_tokens.len()),
                format!("at most {}", limits::EOS_TOKENS),
            )
        })?;
        self.that(config.eos_tokens.iter().copied().all(inside), || {
            ("eos_tokens (eos_token_id)", format!("{:?}", config.eos_tokens), expected())
        })
    }
}
