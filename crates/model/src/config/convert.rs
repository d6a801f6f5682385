//! Conversion between `config.json` and [`LlamaConfig`].

use serde_json::{Value, json};

use super::error::ConfigErrorKind;
use super::family::Family;
use super::hf::{HfConfig, HfRope};
use super::llama::{AttentionBias, LlamaConfig, RopeConfig, RopeScaling};
use crate::files::shorten;

const DEFAULT_NORM_EPS: f64 = 1e-6;
const DEFAULT_THETA: f64 = 1e4;
const ROPE_TYPES: &str = "default, linear, llama3";
/// The sliding window of a Mistral or Qwen configuration without the field `sliding_window`.
const DEFAULT_WINDOW: u64 = 4096;

/// Converts the fields of `config.json`. The result is not validated yet.
pub(super) fn from_hf(hf: HfConfig) -> Result<LlamaConfig, ConfigErrorKind> {
    let family = Family::detect(&hf)?;
    let max_positions = hf.max_position_embeddings.unwrap_or(family.default_max_positions());
    refuse_unsupported(&hf)?;
    refuse_windows(&hf, family, max_positions)?;

    let d_model = required(hf.hidden_size, "hidden_size")?;
    let n_heads = required(hf.num_attention_heads, "num_attention_heads")?;
    let head_dim = match hf.head_dim.or(family.default_head_dim()) {
        Some(width) => width,
        None => match (d_model.checked_div(n_heads), d_model.checked_rem(n_heads)) {
            (Some(width), Some(0)) => width,
            _ => {
                return Err(ConfigErrorKind::Invalid {
                    field: "num_attention_heads",
                    found: n_heads.to_string(),
                    expected: format!("a divisor of hidden_size {d_model}, because head_dim is not given"),
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
        vocab_size: size(required(hf.vocab_size, "vocab_size")?, "vocab_size")?,
        d_model: size(d_model, "hidden_size")?,
        d_ff: size(required(hf.intermediate_size, "intermediate_size")?, "intermediate_size")?,
        n_layers: size(required(hf.num_hidden_layers, "num_hidden_layers")?, "num_hidden_layers")?,
        n_heads: size(n_heads, "num_attention_heads")?,
        n_kv_heads: size(n_kv_heads, "num_key_value_heads")?,
        head_dim: size(head_dim, "head_dim")?,
        max_positions: size(max_positions, "max_position_embeddings")?,
        norm_eps: hf.rms_norm_eps.unwrap_or(DEFAULT_NORM_EPS),
        rope: rope(&hf, max_positions)?,
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
            Some(Some(ids)) => ids.into_vec(),
        },
    })
}

fn required(value: Option<u64>, field: &'static str) -> Result<u64, ConfigErrorKind> {
    value.ok_or(ConfigErrorKind::MissingField { field, expected: "a positive integer" })
}

fn size(value: u64, field: &'static str) -> Result<usize, ConfigErrorKind> {
    usize::try_from(value).map_err(|_| ConfigErrorKind::Invalid {
        field,
        found: value.to_string(),
        expected: format!("at most {}", usize::MAX),
    })
}

fn unsupported<T>(field: &'static str, found: &impl ToString, supported: &'static str) -> Result<T, ConfigErrorKind> {
    Err(ConfigErrorKind::Unsupported { field, found: shorten(found), supported })
}

fn refuse_unsupported(hf: &HfConfig) -> Result<(), ConfigErrorKind> {
    if let Some(act) = hf.hidden_act.as_deref()
        && !matches!(act, "silu" | "swish")
    {
        return unsupported("hidden_act", &act, "silu (also called swish)");
    }
    if let Some(quantization) = &hf.quantization_config {
        return unsupported("quantization_config", quantization, "absent or null: weights in f32, f16 or bf16");
    }
    for (field, experts) in [("num_local_experts", hf.num_local_experts), ("num_experts", hf.num_experts)] {
        if let Some(experts @ 1..) = experts {
            return unsupported(field, &experts, "absent or 0: dense models only");
        }
    }
    Ok(())
}

/// Refuses sliding windows that are shorter than the context. Windows at least as long hide nothing.
fn refuse_windows(hf: &HfConfig, family: Family, max_positions: u64) -> Result<(), ConfigErrorKind> {
    const WINDOW: &str = "null, or not shorter than max_position_embeddings";
    let window = hf.sliding_window.unwrap_or(Some(DEFAULT_WINDOW));
    let Some(window) = window.filter(|window| *window < max_positions) else {
        return refuse_layer_types(hf, false);
    };
    refuse_layer_types(hf, true)?;
    let slides = match family {
        Family::Llama => false,
        Family::Mistral => true,
        Family::Qwen2 | Family::Qwen3 => {
            // A list of layer types, which was checked above, overrides the other two fields.
            hf.use_sliding_window.unwrap_or(false)
                && hf.layer_types.is_none()
                && hf.max_window_layers.unwrap_or(28) < hf.num_hidden_layers.unwrap_or(u64::MAX)
        }
    };
    if slides { unsupported("sliding_window", &window, WINDOW) } else { Ok(()) }
}

fn refuse_layer_types(hf: &HfConfig, window_is_short: bool) -> Result<(), ConfigErrorKind> {
    for kind in hf.layer_types.iter().flatten() {
        match kind.as_str() {
            "full_attention" => {}
            "sliding_attention" if !window_is_short => {}
            _ => return unsupported("layer_types", kind, "full_attention for every layer"),
        }
    }
    Ok(())
}

fn rope(hf: &HfConfig, max_positions: u64) -> Result<RopeConfig, ConfigErrorKind> {
    // As in transformers, a non-empty `rope_scaling` takes precedence over `rope_parameters`.
    let given = [("rope_scaling", &hf.rope_scaling), ("rope_parameters", &hf.rope_parameters)]
        .into_iter()
        .find_map(|(field, rope)| rope.as_ref().filter(|rope| **rope != HfRope::default()).map(|rope| (field, rope)));
    let inner_partial = given.and_then(|(_, rope)| rope.partial_rotary_factor);
    if let Some(part) = inner_partial.or(hf.partial_rotary_factor)
        && (part - 1.0).abs() > f64::EPSILON
    {
        return unsupported("partial_rotary_factor", &part, "1: the whole head rotates");
    }
    let Some((field, rope)) = given else {
        return Ok(RopeConfig { theta: hf.rope_theta.unwrap_or(DEFAULT_THETA), scaling: RopeScaling::None });
    };
    if let Some((layer_type, _)) = rope.rest.iter().find(|(_, value)| value.is_object()) {
        return unsupported(field, layer_type, "one set of rotary parameters for every layer");
    }
    Ok(RopeConfig {
        theta: rope.rope_theta.or(hf.rope_theta).unwrap_or(DEFAULT_THETA),
        scaling: scaling(rope, hf.original_max_position_embeddings, max_positions)?,
    })
}

fn scaling(rope: &HfRope, outer_original: Option<u64>, max_positions: u64) -> Result<RopeScaling, ConfigErrorKind> {
    let number =
        |value: Option<f64>, field| value.ok_or(ConfigErrorKind::MissingField { field, expected: "a positive number" });
    match rope.rope_type.as_deref().or(rope.legacy_type.as_deref()) {
        // transformers would ignore a factor without a type, but it was surely meant to have an effect.
        None if rope.factor.is_some() => Err(ConfigErrorKind::MissingField {
            field: "rope_scaling.rope_type",
            expected: "one of default, linear, llama3, because a factor is given",
        }),
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: number(rope.factor, "rope_scaling.factor")? }),
        Some("llama3") => {
            let original = outer_original.or(rope.original_max_position_embeddings).unwrap_or(max_positions);
            Ok(RopeScaling::Llama3 {
                factor: number(rope.factor, "rope_scaling.factor")?,
                low_freq_factor: number(rope.low_freq_factor, "rope_scaling.low_freq_factor")?,
                high_freq_factor: number(rope.high_freq_factor, "rope_scaling.high_freq_factor")?,
                original_max_positions: size(original, "rope_scaling.original_max_position_embeddings")?,
            })
        }
        Some(other) => unsupported("rope_scaling.rope_type", &other, ROPE_TYPES),
    }
}

/// Converts a validated configuration to `config.json`, with every field explicit, so that no reader's defaults matter.
pub(super) fn to_hf(config: &LlamaConfig) -> Value {
    let family = Family::of_config(config).unwrap_or(Family::Llama);
    let mut hf = json!({
        "architectures": [family.architecture()],
        "model_type": family.model_type(),
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope.theta,
        "tie_word_embeddings": config.tied_embeddings,
        "bos_token_id": config.bos_token,
        "eos_token_id": match config.eos_tokens.as_slice() {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        },
    });
    if let Some(rope) = to_hf_rope(&config.rope.scaling) {
        hf["rope_scaling"] = rope;
    }
    if family != Family::Qwen2 {
        hf["attention_bias"] = config.attention_bias.qkv.into();
    }
    if family == Family::Llama {
        hf["mlp_bias"] = config.attention_bias.mlp.into();
    }
    if family.is_qwen() {
        hf["use_sliding_window"] = false.into();
    }
    hf
}

fn to_hf_rope(scaling: &RopeScaling) -> Option<Value> {
    match scaling {
        // `to_hf_json` refuses a list of divisors, which `config.json` cannot express.
        RopeScaling::None | RopeScaling::PerFrequency { .. } => None,
        // Old releases of transformers look for the older name `type`.
        RopeScaling::Linear { factor } => Some(json!({"rope_type": "linear", "type": "linear", "factor": factor})),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => Some(json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_positions,
        })),
    }
}
