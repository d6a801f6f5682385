//! Reading a configuration from the metadata of a GGUF file.

use super::LoadError;
use crate::config::{AttentionBias, LlamaConfig, RopeConfig, RopeScaling};
use crate::format::{FormatError, GgufFile, GgufMetadata};

/// Reads the configuration, with a flag that is `true` if llama.cpp has reordered the rows of the query and key
/// projections.
///
/// The keys are those of the GGUF specification, section "Standardized key-value pairs".
///
/// # Errors
/// If a key is missing or of the wrong type, or if this crate cannot run the model exactly.
pub(super) fn config(file: &GgufFile) -> Result<(LlamaConfig, bool), LoadError> {
    let meta = file.metadata();
    let architecture = meta.get_str("general.architecture")?;
    let permuted = match architecture {
        "llama" => true,
        "qwen2" => false,
        other => return Err(refuse(file, "general.architecture", other, "llama, qwen2")),
    };
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| meta.get_usize(&key(name));
    let optional = |name: &str| GgufMetadata::optional(meta.get_usize(&key(name)));

    refuse_unsupported(file, meta, &key)?;
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
    let bias = |part: &str| file.get(&format!("blk.0.{part}.bias")).is_some();
    let config = LlamaConfig {
        vocab_size: embedding.rows(),
        d_model,
        d_ff: size("feed_forward_length")?,
        n_layers: size("block_count")?,
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
        qk_norm: false, // neither architecture has it; such tensors are reported as unexpected
        bos_token: GgufMetadata::optional(meta.get_u32("tokenizer.ggml.bos_token_id"))?,
        eos_tokens: eos_tokens(meta)?,
    };
    config.validate()?;
    Ok((config, permuted))
}

/// Refuses split files, and settings that change the arithmetic in ways that are not implemented.
fn refuse_unsupported(file: &GgufFile, meta: &GgufMetadata, key: &impl Fn(&str) -> String) -> Result<(), LoadError> {
    let optional = |name: &str| GgufMetadata::optional(meta.get_usize(name));
    if let Some(files) = optional("split.count")?.filter(|files| *files > 1) {
        return Err(refuse(file, "split.count", &files.to_string(), "1 or absent: a single file"));
    }
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

/// Returns the token that ends a text and, if the model has a separate one, the token that ends a turn.
fn eos_tokens(meta: &GgufMetadata) -> Result<Vec<u32>, FormatError> {
    let mut tokens = Vec::new();
    for name in ["eos", "eot"] {
        let token = GgufMetadata::optional(meta.get_u32(&format!("tokenizer.ggml.{name}_token_id")))?;
        tokens.extend(token.filter(|token| !tokens.contains(token)));
    }
    Ok(tokens)
}

/// Reads the scaling of the rotary embedding. llama.cpp stores the scaling of Llama 3 as a tensor with one divisor per
/// frequency, and linear scaling in metadata keys.
fn scaling(file: &GgufFile, meta: &GgufMetadata, key: &impl Fn(&str) -> String) -> Result<RopeScaling, LoadError> {
    if file.get("rope_freqs.weight").is_some() {
        return Ok(RopeScaling::PerFrequency { divisors: file.dequantize_tensor("rope_freqs.weight")? });
    }
    let factor = GgufMetadata::optional(meta.get_f32(&key("rope.scaling.factor")))?;
    let old_factor = GgufMetadata::optional(meta.get_f32(&key("rope.scale_linear")))?;
    let kind = GgufMetadata::optional(meta.get_str(&key("rope.scaling.type")))?;
    match (kind, factor.or(old_factor)) {
        (None | Some("none"), None) | (Some("none"), Some(_)) => Ok(RopeScaling::None),
        (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor: shortest(factor) }),
        (Some("linear"), None) => {
            Err(refuse(file, &key("rope.scaling.factor"), "absent", "a number, since the scaling is linear"))
        }
        (Some(other), _) => Err(refuse(file, &key("rope.scaling.type"), other, "none, linear, or a rope_freqs tensor")),
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
