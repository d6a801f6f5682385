//! The mirror of `config.json`, field by field, with nothing interpreted.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::error::{ConfigError, shorten};

/// The fields of `config.json` that matter here. Others are ignored.
///
/// A double `Option` tells an absent field (outer `None`) from an explicit null, where transformers tells them apart.
#[expect(clippy::option_option, reason = "transformers tells an absent field from an explicit null")]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HfConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architectures: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_hidden_layers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_attention_heads: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub num_key_value_heads: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_act: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_position_embeddings: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rms_norm_eps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<HfRope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<HfRope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_bias: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlp_bias: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tie_word_embeddings: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_sliding_window: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub sliding_window: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_window_layers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub bos_token_id: Option<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub eos_token_id: Option<Option<OneOrMany>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_local_experts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_experts: Option<u64>,
}

/// `rope_scaling`, or transformers 5's `rope_parameters`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HfRope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// The name of `rope_type` before transformers 4.43.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub legacy_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<u64>,
    /// Whatever else is there: an object would be one set of parameters per layer type.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// A value that may be written alone or in a list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl HfConfig {
    /// Parses the text of a `config.json`.
    pub(super) fn parse(json: &[u8], origin: &str) -> Result<Self, ConfigError> {
        let value: Value =
            serde_json::from_slice(json).map_err(|source| ConfigError::Json { origin: origin.to_owned(), source })?;
        let Value::Object(fields) = value else {
            return Err(ConfigError::NotAnObject { origin: origin.to_owned(), found: shorten(&value) });
        };
        Self::deserialize(&fields).map_err(|source| blame(&fields, source, origin))
    }
}

/// Finds the field that serde refused: its own message tells the type, but not the field.
fn blame(fields: &Map<String, Value>, source: serde_json::Error, origin: &str) -> ConfigError {
    for (field, value) in fields {
        let alone = Map::from_iter([(field.clone(), value.clone())]);
        if let Err(source) = HfConfig::deserialize(&alone) {
            return ConfigError::WrongType {
                origin: origin.to_owned(),
                field: shorten(field),
                found: shorten(value),
                source,
            };
        }
    }
    ConfigError::Json { origin: origin.to_owned(), source }
}

/// Keeps an explicit null apart from an absent field, which serde does not call this for.
#[expect(clippy::option_option, reason = "an absent field is not an explicit null")]
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
