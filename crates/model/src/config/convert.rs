//! Between `config.json` and [`LlamaConfig`].

use std::collections::BTreeMap;

use super::error::{ConfigError, shorten};
use super::family::Family;
use super::hf::{HfConfig, HfRope, OneOrMany};
use super::llama::{AttentionBias, LlamaConfig};
use super::rope::{RopeConfig, RopeScaling};

const DEFAULT_NORM_EPS: f64 = 1e-6;
const DEFAULT_THETA: f64 = 1e4;
const ROPE_TYPES: &str = "default, linear, llama3";
/// The sliding window of a Mistral or Qwen configuration that names none.
const DEFAULT_WINDOW: u64 = 4096;

/// Interprets the fields; the result is not validated yet.
pub(super) fn from_hf(hf: HfConfig, origin: &str) -> Result<LlamaConfig, ConfigError> {
    let family = Family::detect(&hf, origin)?;
    let max_positions = hf.max_position_embeddings.unwrap_or(family.default_max_positions());
    refuse_unsupported(&hf, origin)?;
    refuse_windows(&hf, family, max_positions, origin)?;

    let d_model = required(hf.hidden_size, "hidden_size", origin)?;
    let n_heads = required(hf.num_attention_heads, "num_attention_heads", origin)?;
    let head_dim = match hf.head_dim.or(family.default_head_dim()) {
        Some(width) => width,
        None => match (d_model.checked_div(n_heads), d_model.checked_rem(n_heads)) {
            (Some(width), Some(0)) => width,
            _ => {
                return Err(ConfigError::Invalid {
                    origin: origin.to_owned(),
                    field: "num_attention_heads",
                    found: n_heads.to_string(),
                    expected: format!("a divisor of hidden_size {d_model}, as head_dim is not given"),
                });
            }
        },
    };
    let n_kv_heads = match hf.num_key_value_heads {
        Some(Some(given)) => given,
        Some(None) => n_heads,
        None => family.default_kv_heads().unwrap_or(n_heads),
    };
    let qkv = family == Family::Qwen2 || (family != Family::Mistral && hf.attention_bias.unwrap_or(false));

    Ok(LlamaConfig {
        vocab_size: size(required(hf.vocab_size, "vocab_size", origin)?, "vocab_size", origin)?,
        d_model: size(d_model, "hidden_size", origin)?,
        d_ff: size(required(hf.intermediate_size, "intermediate_size", origin)?, "intermediate_size", origin)?,
        n_layers: size(required(hf.num_hidden_layers, "num_hidden_layers", origin)?, "num_hidden_layers", origin)?,
        n_heads: size(n_heads, "num_attention_heads", origin)?,
        n_kv_heads: size(n_kv_heads, "num_key_value_heads", origin)?,
        head_dim: size(head_dim, "head_dim", origin)?,
        max_positions: size(max_positions, "max_position_embeddings", origin)?,
        norm_eps: hf.rms_norm_eps.unwrap_or(DEFAULT_NORM_EPS),
        rope: rope(&hf, max_positions, origin)?,
        tied_embeddings: hf.tie_word_embeddings.unwrap_or(false),
        attention_bias: AttentionBias {
            qkv,
            output: qkv && family != Family::Qwen2,
            // Only Llama's class has this field; the others would ignore it.
            mlp: family == Family::Llama && hf.mlp_bias.unwrap_or(false),
        },
        qk_norm: family == Family::Qwen3,
        bos_token: hf.bos_token_id.unwrap_or(family.default_bos()),
        eos_tokens: match hf.eos_token_id {
            None => family.default_eos().into_iter().collect(),
            Some(None) => Vec::new(),
            Some(Some(OneOrMany::One(id))) => vec![id],
            Some(Some(OneOrMany::Many(ids))) => ids,
        },
    })
}

fn required(value: Option<u64>, field: &'static str, origin: &str) -> Result<u64, ConfigError> {
    value.ok_or_else(|| ConfigError::MissingField { origin: origin.to_owned(), field, expected: "a positive integer" })
}

fn size(value: u64, field: &'static str, origin: &str) -> Result<usize, ConfigError> {
    usize::try_from(value).map_err(|_| ConfigError::Invalid {
        origin: origin.to_owned(),
        field,
        found: value.to_string(),
        expected: format!("at most {}", usize::MAX),
    })
}

fn unsupported<T>(
    field: &'static str,
    found: &impl ToString,
    supported: &'static str,
    origin: &str,
) -> Result<T, ConfigError> {
    Err(ConfigError::Unsupported { origin: origin.to_owned(), field, found: shorten(found), supported })
}

fn refuse_unsupported(hf: &HfConfig, origin: &str) -> Result<(), ConfigError> {
    if let Some(act) = hf.hidden_act.as_deref()
        && !matches!(act, "silu" | "swish")
    {
        return unsupported("hidden_act", &act, "silu (also called swish)", origin);
    }
    if let Some(quantization) = &hf.quantization_config {
        return unsupported("quantization_config", quantization, "absent or null: weights in f32, f16 or bf16", origin);
    }
    for (field, experts) in [("num_local_experts", hf.num_local_experts), ("num_experts", hf.num_experts)] {
        if let Some(experts @ 1..) = experts {
            return unsupported(field, &experts, "absent or 0: dense models only", origin);
        }
    }
    Ok(())
}

/// A window as long as the context hides nothing; a shorter one changes the attention.
fn refuse_windows(hf: &HfConfig, family: Family, max_positions: u64, origin: &str) -> Result<(), ConfigError> {
    const WINDOW: &str = "null, or not shorter than max_position_embeddings";
    let window = hf.sliding_window.unwrap_or(Some(DEFAULT_WINDOW));
    let Some(window) = window.filter(|window| *window < max_positions) else {
        return refuse_layer_types(hf, false, origin);
    };
    refuse_layer_types(hf, true, origin)?;
    let slides = match family {
        Family::Llama => false,
        Family::Mistral => true,
        Family::Qwen2 | Family::Qwen3 => {
            // An explicit list of layer types decides alone; it was checked above.
            hf.use_sliding_window.unwrap_or(false)
                && hf.layer_types.is_none()
                && hf.max_window_layers.unwrap_or(28) < hf.num_hidden_layers.unwrap_or(u64::MAX)
        }
    };
    if slides { unsupported("sliding_window", &window, WINDOW, origin) } else { Ok(()) }
}

fn refuse_layer_types(hf: &HfConfig, window_is_short: bool, origin: &str) -> Result<(), ConfigError> {
    for kind in hf.layer_types.iter().flatten() {
        match kind.as_str() {
            "full_attention" => {}
            "sliding_attention" if !window_is_short => {}
            _ => return unsupported("layer_types", kind, "full_attention for every layer", origin),
        }
    }
    Ok(())
}

fn rope(hf: &HfConfig, max_positions: u64, origin: &str) -> Result<RopeConfig, ConfigError> {
    // transformers' order: a non-empty `rope_scaling` wins over `rope_parameters`.
    let given = [("rope_scaling", &hf.rope_scaling), ("rope_parameters", &hf.rope_parameters)]
        .into_iter()
        .find_map(|(field, rope)| rope.as_ref().filter(|rope| !rope.is_empty()).map(|rope| (field, rope)));
    let inner_partial = given.and_then(|(_, rope)| rope.partial_rotary_factor);
    if let Some(part) = inner_partial.or(hf.partial_rotary_factor)
        && (part - 1.0).abs() > f64::EPSILON
    {
        return unsupported("partial_rotary_factor", &part, "1: the whole head rotates", origin);
    }
    let Some((field, rope)) = given else {
        return Ok(RopeConfig { theta: hf.rope_theta.unwrap_or(DEFAULT_THETA), scaling: RopeScaling::None });
    };
    if let Some((layer_type, _)) = rope.rest.iter().find(|(_, value)| value.is_object()) {
        return unsupported(field, layer_type, "one set of rotary parameters for every layer", origin);
    }
    Ok(RopeConfig {
        theta: rope.rope_theta.or(hf.rope_theta).unwrap_or(DEFAULT_THETA),
        scaling: scaling(rope, hf.original_max_position_embeddings, max_positions, origin)?,
    })
}

fn scaling(
    rope: &HfRope,
    outer_original: Option<u64>,
    max_positions: u64,
    origin: &str,
) -> Result<RopeScaling, ConfigError> {
    let number = |value: Option<f64>, field| {
        value.ok_or_else(|| ConfigError::MissingField {
            origin: origin.to_owned(),
            field,
            expected: "a positive number",
        })
    };
    match rope.rope_type.as_deref().or(rope.legacy_type.as_deref()) {
        // A factor without a type would be ignored by transformers; whoever wrote it meant something.
        None if rope.factor.is_some() => Err(ConfigError::MissingField {
            origin: origin.to_owned(),
            field: "rope_scaling.rope_type",
            expected: "one of default, linear, llama3, as a factor is given",
        }),
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: number(rope.factor, "rope_scaling.factor")? }),
        Some("llama3") => {
            let original = outer_original.or(rope.original_max_position_embeddings).unwrap_or(max_positions);
            Ok(RopeScaling::Llama3 {
                factor: number(rope.factor, "rope_scaling.factor")?,
                low_freq_factor: number(rope.low_freq_factor, "rope_scaling.low_freq_factor")?,
                high_freq_factor: number(rope.high_freq_factor, "rope_scaling.high_freq_factor")?,
                original_max_positions: size(original, "rope_scaling.original_max_position_embeddings", origin)?,
            })
        }
        Some(other) => unsupported("rope_scaling.rope_type", &other, ROPE_TYPES, origin),
    }
}

impl HfRope {
    fn is_empty(&self) -> bool {
        self.rope_type.is_none()
            && self.legacy_type.is_none()
            && self.rope_theta.is_none()
            && self.partial_rotary_factor.is_none()
            && self.factor.is_none()
            && self.low_freq_factor.is_none()
            && self.high_freq_factor.is_none()
            && self.original_max_position_embeddings.is_none()
            && self.rest.is_empty()
    }
}

/// Writes a validated configuration, every field explicit, so that no reader's defaults matter.
pub(super) fn to_hf(config: &LlamaConfig) -> HfConfig {
    let family = Family::of_config(config).unwrap_or(Family::Llama);
    let is_llama = family == Family::Llama;
    HfConfig {
        architectures: Some(vec![family.architecture().to_owned()]),
        model_type: Some(family.model_type().to_owned()),
        vocab_size: Some(config.vocab_size as u64),
        hidden_size: Some(config.d_model as u64),
        intermediate_size: Some(config.d_ff as u64),
        num_hidden_layers: Some(config.n_layers as u64),
        num_attention_heads: Some(config.n_heads as u64),
        num_key_value_heads: Some(Some(config.n_kv_heads as u64)),
        head_dim: Some(config.head_dim as u64),
        hidden_act: Some("silu".to_owned()),
        max_position_embeddings: Some(config.max_positions as u64),
        rms_norm_eps: Some(config.norm_eps),
        rope_theta: Some(config.rope.theta),
        rope_scaling: to_hf_rope(&config.rope.scaling),
        attention_bias: (family != Family::Qwen2).then_some(config.attention_bias.qkv),
        mlp_bias: is_llama.then_some(config.attention_bias.mlp),
        tie_word_embeddings: Some(config.tied_embeddings),
        use_sliding_window: family.is_qwen().then_some(false),
        bos_token_id: Some(config.bos_token),
        eos_token_id: Some(match config.eos_tokens.as_slice() {
            [] => None,
            [id] => Some(OneOrMany::One(*id)),
            ids => Some(OneOrMany::Many(ids.to_vec())),
        }),
        ..HfConfig::default()
    }
}

fn to_hf_rope(scaling: &RopeScaling) -> Option<HfRope> {
    let (kind, factor) = match scaling {
        // A list of divisors never comes here: `config.json` has no form for it, and writing says so.
        RopeScaling::None | RopeScaling::PerFrequency { .. } => return None,
        RopeScaling::Linear { factor } => ("linear", *factor),
        RopeScaling::Llama3 { factor, .. } => ("llama3", *factor),
    };
    let mut rope = HfRope {
        rope_type: Some(kind.to_owned()),
        // Releases of transformers that know only linear scaling look for the older name.
        legacy_type: (kind == "linear").then(|| kind.to_owned()),
        factor: Some(factor),
        rest: BTreeMap::new(),
        ..HfRope::default()
    };
    if let RopeScaling::Llama3 { low_freq_factor, high_freq_factor, original_max_positions, .. } = scaling {
        rope.low_freq_factor = Some(*low_freq_factor);
        rope.high_freq_factor = Some(*high_freq_factor);
        rope.original_max_position_embeddings = Some(*original_max_positions as u64);
    }
    Some(rope)
}
