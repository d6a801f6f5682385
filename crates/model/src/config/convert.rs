//! Conversion between `config.json` and [`LlamaConfig`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::error::ConfigErrorKind;
use super::family::Family;
use super::hf::{HfConfig, HfRope, OneOrMany};
use super::llama::{AttentionBias, LlamaConfig, RopeConfig, RopeScaling};
use super::validate::limits;
use crate::files::shorten;

const DEFAULT_NORM_EPS: f64 = 1e-6;
const ROPE_TYPES: &str = "default, linear, llama3";

/// Converts the fields of `config.json`. The result is not validated yet.
pub(super) fn from_hf(hf: HfConfig) -> Result<LlamaConfig, ConfigErrorKind> {
    let family = Family::detect(&hf)?;
    let max_positions = hf.max_position_embeddings.unwrap_or(family.default_max_positions());
    refuse_unsupported(&hf)?;

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
    let n_layers = size(required(hf.num_hidden_layers, "num_hidden_layers")?, "num_hidden_layers")?;
    let unrotated = unrotated(&hf, family, n_layers)?;

    Ok(LlamaConfig {
        vocab_size: size(required(hf.vocab_size, "vocab_size")?, "vocab_size")?,
        d_model: size(d_model, "hidden_size")?,
        d_ff: size(required(hf.intermediate_size, "intermediate_size")?, "intermediate_size")?,
        n_layers,
        n_heads: size(n_heads, "num_attention_heads")?,
        n_kv_heads: size(n_kv_heads, "num_key_value_heads")?,
        head_dim: size(head_dim, "head_dim")?,
        max_positions: size(max_positions, "max_position_embeddings")?,
        norm_eps: hf.rms_norm_eps.unwrap_or(DEFAULT_NORM_EPS),
        rope: rope(&hf, family, max_positions)?,
        tied_embeddings: hf.tie_word_embeddings.unwrap_or(family.default_tied()),
        attention_bias: AttentionBias {
            qkv,
            output: qkv && family != Family::Qwen2,
            // Only these two classes have this field; the others would ignore it.
            mlp: matches!(family, Family::Llama | Family::SmolLm3) && hf.mlp_bias.unwrap_or(false),
        },
        qk_norm: family == Family::Qwen3,
        windows: windows(&hf, family, n_layers, max_positions, &unrotated)?,
        unrotated,
        bos_token: tokens(hf.bos_token_id, family.default_bos(), "bos_token_id")?.first().copied(),
        eos_tokens: tokens(hf.eos_token_id, family.default_eos(), "eos_token_id")?,
    })
}

#[expect(clippy::option_option, reason = "an absent field is not an explicit null")]
fn tokens(
    given: Option<Option<OneOrMany>>,
    default: Option<u32>,
    field: &'static str,
) -> Result<Vec<u32>, ConfigErrorKind> {
    match given {
        None => Ok(default.into_iter().collect()),
        Some(None) => Ok(Vec::new()),
        Some(Some(ids)) => ids.into_tokens(field),
    }
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
        const PLAIN: &str = "absent or null: weights in f32, f16 or bf16; take the model's GGUF file, or its \
                             folder from before it was quantised";
        return unsupported("quantization_config", quantization, PLAIN);
    }
    for (field, experts) in [("num_local_experts", hf.num_local_experts), ("num_experts", hf.num_experts)] {
        if let Some(experts @ 1..) = experts {
            return unsupported(field, &experts, "absent or 0: dense models only");
        }
    }
    Ok(())
}

/// Returns the layers whose queries and keys are not rotated.
fn unrotated(hf: &HfConfig, family: Family, n_layers: usize) -> Result<BTreeSet<usize>, ConfigErrorKind> {
    if family != Family::SmolLm3 {
        return Ok(BTreeSet::new());
    }
    let layers = 0..n_layers.min(limits::LAYERS); // more layers are refused later
    if let Some(rotated) = &hf.no_rope_layers {
        // In spite of its name, the field holds a 1 for a layer that rotates.
        check_length("no_rope_layers", rotated.len(), layers.len())?;
        return Ok(layers.filter(|layer| rotated.get(*layer) == Some(&0)).collect());
    }
    let field = "no_rope_layer_interval";
    let every = size(hf.no_rope_layer_interval.unwrap_or(4), field)?;
    if every == 0 {
        return Err(ConfigErrorKind::Invalid { field, found: "0".to_owned(), expected: "at least 1".to_owned() });
    }
    Ok(layers.filter(|layer| (layer + 1).is_multiple_of(every)).collect())
}

/// Returns the sliding windows by layer. Windows that are not shorter than the context hide nothing and are left out.
fn windows(
    hf: &HfConfig,
    family: Family,
    n_layers: usize,
    max_positions: u64,
    unrotated: &BTreeSet<usize>,
) -> Result<BTreeMap<usize, usize>, ConfigErrorKind> {
    let slides = hf.layer_types.as_deref().map(layer_types).transpose()?;
    let used = match family {
        Family::Llama => false,
        Family::Mistral => true,
        Family::Qwen2 | Family::Qwen3 | Family::SmolLm3 => hf.use_sliding_window.unwrap_or(false),
    };
    let window = hf.sliding_window.unwrap_or(family.default_window());
    let hides = window.is_some_and(|window| window < max_positions);
    let Some(window) = window.filter(|_| used) else {
        // Libraries disagree about a list that contradicts the other fields.
        if hides && slides.is_some_and(|slides| slides.contains(&true)) {
            let supported = "full_attention for every layer, because the other fields switch the windows off";
            return unsupported("layer_types", &"sliding_attention", supported);
        }
        return Ok(BTreeMap::new());
    };
    if !hides {
        return Ok(BTreeMap::new());
    }
    let window = size(window, "sliding_window")?;
    let layers = n_layers.min(limits::LAYERS); // more layers are refused later
    let slides = match (family, slides) {
        (Family::Mistral, Some(slides)) if slides.contains(&false) => {
            return unsupported("layer_types", &"full_attention", "sliding_attention for every layer of this family");
        }
        (Family::Llama | Family::Mistral, _) => vec![true; layers],
        (_, Some(slides)) => {
            check_length("layer_types", slides.len(), layers)?;
            slides
        }
        (Family::SmolLm3, None) => (0..layers).map(|layer| unrotated.contains(&layer)).collect(),
        (Family::Qwen2 | Family::Qwen3, None) => {
            let first = size(hf.max_window_layers.unwrap_or(28), "max_window_layers")?;
            (0..layers).map(|layer| layer >= first).collect()
        }
    };
    let slides = slides.into_iter().take(layers).enumerate();
    Ok(slides.filter(|(_, slides)| *slides).map(|(layer, _)| (layer, window)).collect())
}

/// Returns `true` for each layer with a sliding window.
fn layer_types(names: &[String]) -> Result<Vec<bool>, ConfigErrorKind> {
    let slides = |name: &String| match name.as_str() {
        "full_attention" | "attention" => Ok(false),
        "sliding_attention" => Ok(true),
        _ => unsupported("layer_types", name, "full_attention, sliding_attention"),
    };
    names.iter().map(slides).collect()
}

/// Checks that a list has an entry for every layer. More entries are ignored, since people cut layers off by lowering
/// `num_hidden_layers` alone.
fn check_length(field: &'static str, found: usize, layers: usize) -> Result<(), ConfigErrorKind> {
    if found >= layers {
        return Ok(());
    }
    let expected = format!("an entry for each of the {layers} layers");
    Err(ConfigErrorKind::Invalid { field, found: format!("{found} entries"), expected })
}

fn rope(hf: &HfConfig, family: Family, max_positions: u64) -> Result<RopeConfig, ConfigErrorKind> {
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
        return Ok(RopeConfig { theta: hf.rope_theta.unwrap_or(family.default_theta()), scaling: RopeScaling::None });
    };
    if let Some((layer_type, _)) = rope.rest.iter().find(|(_, value)| value.is_object()) {
        return unsupported(field, layer_type, "one set of rotary parameters for every layer");
    }
    Ok(RopeConfig {
        theta: rope.rope_theta.or(hf.rope_theta).unwrap_or(family.default_theta()),
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
pub(super) fn to_hf(config: &LlamaConfig, family: Family) -> Value {
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
    if matches!(family, Family::Llama | Family::SmolLm3) {
        hf["mlp_bias"] = config.attention_bias.mlp.into();
    }
    let some_layers_slide = family.is_qwen() || family == Family::SmolLm3;
    if some_layers_slide {
        hf["use_sliding_window"] = (!config.windows.is_empty()).into();
    }
    if let Some((first, window)) = config.windows.first_key_value() {
        hf["sliding_window"] = json!(window);
        if some_layers_slide {
            let slides = |layer: usize| config.windows.contains_key(&layer);
            let kind = |layer| if slides(layer) { "sliding_attention" } else { "full_attention" };
            hf["layer_types"] = (0..config.n_layers).map(kind).collect();
        }
        if family.is_qwen() {
            hf["max_window_layers"] = json!(first); // for releases of transformers without `layer_types`
        }
    }
    if family == Family::SmolLm3 {
        let rotates = |layer: usize| u8::from(!config.unrotated.contains(&layer));
        hf["no_rope_layers"] = (0..config.n_layers).map(rotates).collect();
        hf["pad_token_id"] = Value::Null; // the default would lie outside a small vocabulary
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
