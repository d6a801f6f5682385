//! The supported model families and the defaults of transformers for each.
//!
//! Defaults are those of the configuration classes of transformers 5 (`configuration_llama.py`,
//! `configuration_mistral.py`, `configuration_qwen2.py`, `configuration_qwen3.py`).

use super::error::ConfigErrorKind;
use super::hf::HfConfig;
use super::llama::LlamaConfig;
use crate::files::shorten;

const SUPPORTED_TYPES: &str = "llama, mistral, qwen2, qwen3";
const SUPPORTED_ARCHITECTURES: &str = "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM";

/// A model family that has its own configuration class in transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
}

/// The families in the order of the enum, with their `model_type` and their entry of `architectures`.
const FAMILIES: [(Family, &str, &str); 4] = [
    (Family::Llama, "llama", "LlamaForCausalLM"),
    (Family::Mistral, "mistral", "MistralForCausalLM"),
    (Family::Qwen2, "qwen2", "Qwen2ForCausalLM"),
    (Family::Qwen3, "qwen3", "Qwen3ForCausalLM"),
];

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
                expected: "one of llama, mistral, qwen2, qwen3",
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
            found: shorten(&name),
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
        let found = FAMILIES.iter().find(|(_, _, architecture)| *architecture == name);
        found.map(|row| row.0).ok_or_else(|| ConfigErrorKind::Unsupported {
            field: "architectures",
            found: shorten(&names.join(", ")),
            supported: SUPPORTED_ARCHITECTURES,
        })
    }

    /// Returns the family whose blocks have the biases and norms of `config`, if any. Mistral's blocks equal Llama's.
    pub(super) fn of_config(config: &LlamaConfig) -> Option<Self> {
        let bias = config.attention_bias;
        match (config.qk_norm, bias.qkv, bias.output, bias.mlp) {
            (true, qkv, output, false) if qkv == output => Some(Self::Qwen3),
            (false, true, false, false) => Some(Self::Qwen2),
            (false, qkv, output, _) if qkv == output => Some(Self::Llama),
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
            Self::Qwen2 | Self::Qwen3 => 32768,
        }
    }

    /// The number of key and value heads if the field is absent. `None` means as many as query heads, and so does an
    /// explicit null in the file.
    pub(super) const fn default_kv_heads(self) -> Option<u64> {
        match self {
            Self::Llama => None,
            Self::Mistral => Some(8),
            Self::Qwen2 | Self::Qwen3 => Some(32),
        }
    }

    /// The head width if the field is absent or null; `None` means `hidden_size / num_attention_heads`.
    pub(super) const fn default_head_dim(self) -> Option<u64> {
        match self {
            Self::Qwen3 => Some(128),
            Self::Llama | Self::Mistral | Self::Qwen2 => None,
        }
    }

    pub(super) const fn default_bos(self) -> Option<u32> {
        if self.is_qwen() { None } else { Some(1) }
    }

    pub(super) const fn default_eos(self) -> Option<u32> {
        if self.is_qwen() { None } else { Some(2) }
    }
}
