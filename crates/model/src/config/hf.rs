//! The fields of `config.json`, parsed but not interpreted.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::error::ConfigErrorKind;
use crate::files::{python_json, shorten};

/// The fields of `config.json` that are used. Others are ignored.
///
/// The fields with a double `Option` are those in which transformers tells an absent field (outer `None`) from an
/// explicit null.
#[expect(clippy::option_option, reason = "transformers tells an absent field from an explicit null")]
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HfConfig {
    pub architectures: Option<Vec<String>>,
    pub model_type: Option<String>,
    pub vocab_size: Option<u64>,
    pub hidden_size: Option<u64>,
    pub intermediate_size: Option<u64>,
    pub num_hidden_layers: Option<u64>,
    pub num_attention_heads: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub num_key_value_heads: Option<Option<u64>>,
    pub head_dim: Option<u64>,
    pub hidden_act: Option<String>,
    pub max_position_embeddings: Option<u64>,
    pub rms_norm_eps: Option<f64>,
    pub rope_theta: Option<f64>,
    pub rope_scaling: Option<HfRope>,
    pub rope_parameters: Option<HfRope>,
    pub original_max_position_embeddings: Option<u64>,
    pub partial_rotary_factor: Option<f64>,
    pub attention_bias: Option<bool>,
    pub mlp_bias: Option<bool>,
    pub tie_word_embeddings: Option<bool>,
    pub use_sliding_window: Option<bool>,
    #[serde(deserialize_with = "present")]
    pub sliding_window: Option<Option<u64>>,
    pub max_window_layers: Option<u64>,
    pub layer_types: Option<Vec<String>>,
    pub no_rope_layers: Option<Vec<u64>>,
    pub no_rope_layer_interval: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub bos_token_id: Option<Option<OneOrMany>>,
    #[serde(deserialize_with = "present")]
    pub eos_token_id: Option<Option<OneOrMany>>,
    pub quantization_config: Option<Value>,
    pub num_local_experts: Option<u64>,
    pub num_experts: Option<u64>,
}

/// `rope_scaling`, or transformers 5's `rope_parameters`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct HfRope {
    pub rope_type: Option<String>,
    /// The name of `rope_type` before transformers 4.43.
    #[serde(rename = "type")]
    pub legacy_type: Option<String>,
    pub rope_theta: Option<f64>,
    pub partial_rotary_factor: Option<f64>,
    pub factor: Option<f64>,
    pub low_freq_factor: Option<f64>,
    pub high_freq_factor: Option<f64>,
    pub original_max_position_embeddings: Option<u64>,
    /// All other fields. An object among them holds the parameters of one layer type, which is refused.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Token ids, written alone or in a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(i64),
    Many(Vec<i64>),
}

impl OneOrMany {
    /// Returns the tokens, without -1, which means that there is none.
    pub(super) fn into_tokens(self, field: &'static str) -> Result<Vec<u32>, ConfigErrorKind> {
        let ids = match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        };
        let token = |id: i64| {
            u32::try_from(id).map_err(|_| ConfigErrorKind::Invalid {
                field,
                found: id.to_string(),
                expected: "token ids, or -1 for none".to_owned(),
            })
        };
        ids.into_iter().filter(|id| *id != -1).map(token).collect()
    }
}

impl HfConfig {
    /// Parses the text of a `config.json`.
    pub(super) fn parse(json: &[u8]) -> Result<Self, ConfigErrorKind> {
        let value = python_json(json).map_err(ConfigErrorKind::Json)?;
        let Value::Object(fields) = value else {
            return Err(ConfigErrorKind::NotAnObject { found: shorten(&value) });
        };
        Self::deserialize(&fields).map_err(|source| blame(&fields, source))
    }
}

/// Finds the field that serde refused, since serde's message names the type but not the field.
fn blame(fields: &Map<String, Value>, source: serde_json::Error) -> ConfigErrorKind {
    for (field, value) in fields {
        let alone = Map::from_iter([(field.clone(), value.clone())]);
        if let Err(source) = HfConfig::deserialize(&alone) {
            return ConfigErrorKind::WrongType { field: shorten(field), found: shorten(value), source };
        }
    }
    ConfigErrorKind::Json(source)
}

/// Deserializes a field that is present; an explicit null becomes `Some(None)`. serde does not call this function for
/// an absent field.
#[expect(clippy::option_option, reason = "an absent field is not an explicit null")]
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
