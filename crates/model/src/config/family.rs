//! The supported model families and the defaults of transformers for each.
//!
//! Defaults are those of the configuration classes of transformers 5 (`configuration_llama.py`,
//! `configuration_mistral.py`, `configuration_qwen2.py`, `configuration_qwen3.py`, `configuration_smollm3.py`).

use super::error::ConfigErrorKind;
use super::hf::HfConfig;
use super::llama::{AttentionBias, LlamaConfig};
use crate::files::shorten;
use std::collections::BTreeSet;

const SUPPORTED_TYPES: &str = "llama, mistral, qwen2, qwen3, smollm3";
const SUPPORTED_ARCHITECTURES: &str =
    "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, SmolLM3ForCausalLM";

/// A model family that has its own configuration class in transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    SmolLm3,
}

/// The families in the order of the enum, with their `model_type` and their entry of `architectures`.
const FAMILIES: [(Family, &str, &str); 5] = [
    (Family::Llama, "llama", "LlamaForCausalLM"),
    (Family::Mistral, "mistral", "MistralForCausalLM"),
    (Family::Qwen2, "qwen2", "Qwen2ForCausalLM"),
    (Family::Qwen3, "qwen3", "Qwen3ForCausalLM"),
    (Family::SmolLm3, "smollm3", "SmolLM3ForCausalLM"),
];

/// Endings, after `Llama` or `Qwen2`, of the names of classes that hold the same decoder: without a head, or with the
/// head of another task.
const OTHER_HEADS: [&str; 4] = ["Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"];

/// Well-known families that are not supported, and what they compute differently. A name matches the first row that
/// it begins with.
const OTHER_ARITHMETIC: [(&str, &str); 19] = [
    ("phi3", "joined projections and LongRoPE"),
    ("phi", "layer norms, and rotation of a part of each head"),
    ("gemma", "scaled embeddings, norms around each part, GELU"),
    ("qwen2moe", "a mixture of experts"),
    ("qwen3moe", "a mixture of experts"),
    ("qwen3next", "linear attention"),
    ("mixtral", "a mixture of experts"),
    ("llama4", "a mixture of experts, and chunked attention"),
    ("gptoss", "a mixture of experts, and attention sinks"),
    ("deepseek", "latent attention, and a mixture of experts"),
    ("cohere", "layer norms, and attention beside the MLP"),
    ("commandr", "layer norms, and attention beside the MLP"),
    ("olmo", "other norms"),
    ("granite", "multipliers on embeddings, attention, residuals and logits"),
    ("minicpm", "multipliers on embeddings, residuals and logits"),
    ("gpt", "layer norms, GELU"),
    ("falcon", "layer norms, GELU"),
    ("starcoder", "layer norms, GELU"),
    ("mamba", "a state space instead of attention"),
];

/// Adds to the name of an unsupported family what it computes differently, if that is known.
///
/// `name` is a `model_type`, an entry of `architectures`, or the architecture in a GGUF file.
pub(crate) fn describe_unsupported(name: &str) -> String {
    let plain = name.replace(['_', '-'], "").to_lowercase();
    match OTHER_ARITHMETIC.iter().find(|(prefix, _)| plain.starts_with(prefix)) {
        Some((_, what)) => format!("{} (other arithmetic: {what})", shorten(&name)),
        None => shorten(&name),
    }
}

impl Family {
    /// Returns the family that a file names in `model_type`, `architectures` or both.
    pub(super) fn detect(hf: &HfConfig) -> Result<Self, ConfigErrorKind> {
        let by_type = hf.model_type.as_deref().map(Self::of_type).transpose()?;
        let by_architecture = match hf.architectures.as_deref() {
            None | Some([]) => None,
            Some(names) => Some(Self::of_architectures(names)?),
        };
        match (by_type, by_architecture) {
            (None, None) => Err(ConfigErrorKind::MissingField {
                field: "model_type",
                expected: "one of llama, mistral, qwen2, qwen3, smollm3",
            }),
            (Some(one), Some(other)) if one != other => Err(ConfigErrorKind::Invalid {
                field: "architectures",
                found: other.architecture().to_owned(),
                expected: format!("{}, since model_type is {}", one.architecture(), one.model_type()),
            }),
            (Some(family), _) | (None, Some(family)) => Ok(family),
        }
    }

    fn of_type(name: &str) -> Result<Self, ConfigErrorKind> {
        let found = FAMILIES.iter().find(|(_, model_type, _)| *model_type == name);
        found.map(|row| row.0).ok_or_else(|| ConfigErrorKind::Unsupported {
            field: "model_type",
            found: describe_unsupported(name),
            supported: SUPPORTED_TYPES,
        })
    }

    fn of_architectures(names: &[String]) -> Result<Self, ConfigErrorKind> {
        let name = match names {
            // The spelling of the first Llama conversions.
            [name] if name == "LLaMAForCausalLM" => "LlamaForCausalLM",
            [name] => name.as_str(),
            _ => "",
        };
        let found = FAMILIES.iter().find(|(_, _, architecture)| {
            let stem = architecture.trim_end_matches("ForCausalLM");
            *architecture == name || name.strip_prefix(stem).is_some_and(|rest| OTHER_HEADS.contains(&rest))
        });
        found.map(|row| row.0).ok_or_else(|| ConfigErrorKind::Unsupported {
            field: "architectures",
            found: describe_unsupported(&names.join(", ")),
            supported: SUPPORTED_ARCHITECTURES,
        })
    }

    /// Returns the family whose blocks have the biases and norms of `config`, if any. The blocks of Mistral and
    /// `SmolLM3` equal Llama's.
    pub(super) fn of_blocks(config: &LlamaConfig) -> Option<Self> {
        let bias = config.attention_bias;
        match (config.qk_norm, bias.qkv, bias.output, bias.mlp) {
            (true, qkv, output, false) if qkv == output => Some(Self::Qwen3),
            (false, true, false, false) => Some(Self::Qwen2),
            (false, qkv, output, _) if qkv == output => Some(Self::Llama),
            _ => None,
        }
    }

    /// Returns the family whose `config.json` can express `config`, if any: its blocks, its windows, and its layers
    /// without rotation.
    pub(super) fn of_config(config: &LlamaConfig) -> Option<Self> {
        let family = Self::of_blocks(config)?;
        let windows: BTreeSet<usize> = config.windows.values().copied().collect();
        if windows.len() > 1 {
            return None; // there is one field for all layers
        }
        match (family, config.windows.len(), config.unrotated.is_empty()) {
            (Self::Llama, 0, true) | (Self::Qwen2 | Self::Qwen3, _, true) => Some(family),
            (Self::Llama, n, true) if n == config.n_layers && config.attention_bias == AttentionBias::default() => {
                Some(Self::Mistral)
            }
            (Self::Llama, ..) => Some(Self::SmolLm3),
            _ => None,
        }
    }

    pub(super) const fn model_type(self) -> &'static str {
        FAMILIES[self as usize].1
    }

    pub(super) const fn architecture(self) -> &'static str {
        FAMILIES[self as usize].2
    }

    pub(super) const fn is_qwen(self) -> bool {
        matches!(self, Self::Qwen2 | Self::Qwen3)
    }

    pub(super) const fn default_max_positions(self) -> u64 {
        match self {
            Self::Llama => 2048,
            Self::Mistral => 4096 * 32,
            Self::Qwen2 | Self::Qwen3 | Self::SmolLm3 => 32768,
        }
    }

    /// The number of key and value heads if the field is absent. `None` means as many as query heads, and so does an
    /// explicit null in the file.
    pub(super) const fn default_kv_heads(self) -> Option<u64> {
        match self {
            Self::Llama => None,
            Self::Mistral => Some(8),
            Self::Qwen2 | Self::Qwen3 => Some(32),
            Self::SmolLm3 => Some(4),
        }
    }

    /// The head width if the field is absent or null; `None` means `hidden_size / num_attention_heads`.
    pub(super) const fn default_head_dim(self) -> Option<u64> {
        match self {
            Self::Qwen3 => Some(128),
            Self::Llama | Self::Mistral | Self::Qwen2 | Self::SmolLm3 => None,
        }
    }

    pub(super) const fn default_theta(self) -> f64 {
        if matches!(self, Self::SmolLm3) { 2e6 } else { 1e4 }
    }

    pub(super) const fn default_tied(self) -> bool {
        matches!(self, Self::SmolLm3)
    }

    /// The field `sliding_window` if it is absent.
    pub(super) const fn default_window(self) -> Option<u64> {
        if matches!(self, Self::SmolLm3) { None } else { Some(4096) }
    }

    pub(super) const fn default_bos(self) -> Option<u32> {
        match self {
            Self::Llama | Self::Mistral => Some(1),
            Self::Qwen2 | Self::Qwen3 => None,
            Self::SmolLm3 => Some(128_000),
        }
    }

    pub(super) const fn default_eos(self) -> Option<u32> {
        match self {
            Self::Llama | Self::Mistral => Some(2),
            Self::Qwen2 | Self::Qwen3 => None,
            Self::SmolLm3 => Some(128_001),
        }
    }
}
