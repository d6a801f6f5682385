//! Reading a configuration from the metadata of a GGUF file.

use super::{LoadError, Warning};
use crate::config::{AttentionBias, LlamaConfig, RopeConfig, RopeScaling, describe_unsupported, limits};
use crate::files::shorten;
use crate::format::{FormatError, GgufFile, GgufMetadata, GgufValue};
use std::collections::{BTreeMap, BTreeSet};

/// Reads the configuration, with a flag that is `true` if llama.cpp has reordered the rows of the query and key
/// projections, and with warnings.
///
/// The keys are those of the GGUF specification, section "Standardized key-value pairs".
///
/// # Errors
/// If a key is missing or of the wrong type, or if this crate cannot run the model exactly.
pub(super) fn config(file: &GgufFile) -> Result<(LlamaConfig, bool, Vec<Warning>), LoadError> {
    let meta = file.metadata();
    let architecture = meta.get_str("general.architecture")?;
    let permuted = match architecture {
        "llama" | "mistral3" | "smollm3" => true,
        "qwen2" | "qwen3" => false,
        other => {
            let supported = "llama, mistral3, qwen2, qwen3, smollm3";
            return Err(refuse(file, "general.architecture", &describe_unsupported(other), supported));
        }
    };
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| meta.get_usize(&key(name));
    let optional = |name: &str| GgufMetadata::optional(meta.get_usize(&key(name)));

    refuse_unsupported(file, meta, &key)?;
    if architecture == "mistral3" {
        refuse_mistral3(file, meta, &key)?;
    }
    let (d_model, n_heads) = (size("embedding_length")?, size("attention.head_count")?);
    let head_dim = optional("attention.key_length")?.or_else(|| d_model.checked_div(n_heads)).unwrap_or(0);
    for (name, expected) in [("attention.value_length", head_dim), ("rope.dimension_count", head_dim)] {
        if let Some(found) = optional(name)?.filter(|n| *n != expected) {
            return Err(refuse(file, &key(name), &found.to_string(), &format!("the head's width, {expected}")));
        }
    }
    let embedding = file.tensor("token_embd.weight")?;
    if let Some(found) = optional("vocab_size")?.filter(|n| *n != embedding.rows()) {
        let expected = format!("the rows of token_embd.weight, {}", embedding.rows());
        return Err(refuse(file, &key("vocab_size"), &found.to_string(), &expected));
    }
    let n_layers = size("block_count")?;
    let layers = 0..n_layers.min(limits::LAYERS); // more layers are refused later
    let unrotated = match architecture {
        "smollm3" => layers.filter(|layer| (layer + 1).is_multiple_of(4)).collect(), // no key says so
        _ => BTreeSet::new(),
    };
    let mut warnings = Vec::new();
    let mut token = |name: &str| token(meta, name, embedding.rows(), &mut warnings);
    let bos_token = token("bos")?;
    let mut eos_tokens = Vec::new();
    // The end of a text, of a turn, and of a message to a tool.
    for name in ["eos", "eot", "eom"] {
        eos_tokens.extend(token(name)?.filter(|token| !eos_tokens.contains(token)));
    }
    for name in ["unknown", "padding"] {
        token(name)?; // only for the warning
    }
    let bias = |part: &str| file.get(&format!("blk.0.{part}.bias")).is_some();
    let config = LlamaConfig {
        vocab_size: embedding.rows(),
        d_model,
        d_ff: size("feed_forward_length")?,
        n_layers,
        n_heads,
        n_kv_heads: optional("attention.head_count_kv")?.unwrap_or(n_heads),
        head_dim,
        max_positions: size("context_length")?,
        norm_eps: shortest(meta.get_f32(&key("attention.layer_norm_rms_epsilon"))?),
        rope: RopeConfig {
            theta: GgufMetadata::optional(meta.get_f32(&key("rope.freq_base")))?.map_or(10_000.0, shortest),
            scaling: scaling(file, meta, &key)?,
        },
        tied_embeddings: file.get("output.weight").is_none(),
        attention_bias: AttentionBias { qkv: bias("attn_q"), output: bias("attn_output"), mlp: bias("ffn_up") },
        qk_norm: architecture == "qwen3",
        windows: BTreeMap::new(), // llama.cpp's graphs of these architectures have none
        unrotated,
        bos_token,
        eos_tokens,
    };
    config.validate_as(&file.path().display().to_string())?;
    Ok((config, permuted, warnings))
}

/// Refuses settings that change the arithmetic in ways that are not implemented.
fn refuse_unsupported(file: &GgufFile, meta: &GgufMetadata, key: &impl Fn(&str) -> String) -> Result<(), LoadError> {
    let optional = |name: &str| GgufMetadata::optional(meta.get_usize(name));
    if let Some(experts) = optional(&key("expert_count"))?.filter(|n| *n > 0) {
        return Err(refuse(file, &key("expert_count"), &experts.to_string(), "0 or absent: dense models only"));
    }
    // A window at least as long as the context hides nothing.
    let context = meta.get_usize(&key("context_length"))?;
    if let Some(window) = optional(&key("attention.sliding_window"))?.filter(|n| (1..context).contains(n)) {
        let supported = format!("absent, 0, or no shorter than the context, {context}");
        return Err(refuse(file, &key("attention.sliding_window"), &window.to_string(), &supported));
    }
    if GgufMetadata::optional(meta.get_bool(&key("attention.causal")))? == Some(false) {
        return Err(refuse(file, &key("attention.causal"), "false", "true or absent"));
    }
    let attention_factor = GgufMetadata::optional(meta.get_f32(&key("rope.scaling.attn_factor")))?;
    if let Some(factor) = attention_factor.filter(|factor| (factor - 1.0).abs() > f32::EPSILON || factor.is_nan()) {
        return Err(refuse(file, &key("rope.scaling.attn_factor"), &factor.to_string(), "1 or absent"));
    }
    Ok(())
}

/// Refuses the settings in which the architecture `mistral3` differs from Llama.
fn refuse_mistral3(file: &GgufFile, meta: &GgufMetadata, key: &impl Fn(&str) -> String) -> Result<(), LoadError> {
    for (name, plain, supported) in [
        ("attention.temperature_scale", 0.0, "0 or absent: attention that is equally sharp at every position"),
        ("rope.scaling.factor", 1.0, "1 or absent, since mistral3 scales the rotated queries and keys with it"),
    ] {
        let value = factor(meta, &key(name))?;
        if let Some(value) = value.filter(|value| (value - plain).abs() > f32::EPSILON || value.is_nan()) {
            return Err(refuse(file, &key(name), &value.to_string(), supported));
        }
    }
    Ok(())
}

/// Reads a factor; 0 counts as absent, as in llama.cpp.
fn factor(meta: &GgufMetadata, key: &str) -> Result<Option<f32>, FormatError> {
    let factor = GgufMetadata::optional(meta.get_f32(key))?;
    Ok(factor.filter(|factor| factor.abs() > 0.0 || factor.is_nan()))
}

/// Reads a special token; one that the vocabulary lacks gives a warning and `None`.
fn token(
    meta: &GgufMetadata,
    name: &str,
    vocab_size: usize,
    warnings: &mut Vec<Warning>,
) -> Result<Option<u32>, FormatError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    if matches!(meta.get(&key), Some(GgufValue::I32(-1) | GgufValue::I64(-1) | GgufValue::U32(u32::MAX))) {
        return Ok(None); // the three ways to write that there is no such token
    }
    let Some(id) = GgufMetadata::optional(meta.get_u64(&key))? else { return Ok(None) };
    let known = u32::try_from(id).ok().filter(|id| usize::try_from(*id).is_ok_and(|id| id < vocab_size));
    if known.is_none() {
        warnings.push(Warning::SpecialTokenOutOfRange { key, id, vocab_size });
    }
    Ok(known)
}

/// Reads the scaling of the rotary embedding. llama.cpp stores the scaling of Llama 3 as a tensor with one divisor per
/// frequency, and linear scaling in metadata keys; if a file has both, both apply.
fn scaling(file: &GgufFile, meta: &GgufMetadata, key: &impl Fn(&str) -> String) -> Result<RopeScaling, LoadError> {
    let scaling = scaling_of_keys(file, meta, key)?;
    if file.get("rope_freqs.weight").is_none() {
        return Ok(scaling);
    }
    let mut divisors = file.dequantize_tensor("rope_freqs.weight")?;
    if let RopeScaling::Linear { factor } = scaling {
        #[expect(clippy::cast_possible_truncation, reason = "the file holds it as f32")]
        let factor = factor as f32;
        for divisor in &mut divisors {
            *divisor *= factor;
        }
    }
    Ok(RopeScaling::PerFrequency { divisors })
}

fn scaling_of_keys(
    file: &GgufFile,
    meta: &GgufMetadata,
    key: &impl Fn(&str) -> String,
) -> Result<RopeScaling, LoadError> {
    let factor = factor(meta, &key("rope.scaling.factor"))?;
    let old_factor = self::factor(meta, &key("rope.scale_linear"))?;
    let kind = GgufMetadata::optional(meta.get_str(&key("rope.scaling.type")))?;
    match (kind, factor.or(old_factor)) {
        (None | Some("none"), None) | (Some("none"), Some(_)) => Ok(RopeScaling::None),
        (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor: shortest(factor) }),
        (Some("linear"), None) => {
            Err(refuse(file, &key("rope.scaling.factor"), "absent", "a number, since the scaling is linear"))
        }
        (Some(other), _) => {
            Err(refuse(file, &key("rope.scaling.type"), &shorten(&other), "none, linear, or a rope_freqs tensor"))
        }
    }
}

fn refuse(file: &GgufFile, key: &str, found: &str, supported: &str) -> LoadError {
    LoadError::GgufField {
        path: file.path().to_path_buf(),
        key: key.to_owned(),
        found: found.to_owned(),
        supported: supported.to_owned(),
    }
}

/// Returns the `f64` with the fewest digits that rounds to this `f32`, which is the number in the original
/// configuration (1e-5, not 9.99999974e-6).
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests;
