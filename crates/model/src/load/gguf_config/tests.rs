//! Tests with metadata of models that cannot be run exactly, and with similar metadata of models that can.

use super::super::{Checkpoint, LoadError, Warning};
use crate::config::{LlamaConfig, RopeScaling};
use crate::format::{GgufArray, GgufValue};
use crate::small_gguf::SmallGguf;

fn open(file: &SmallGguf) -> Result<LlamaConfig, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    file.write(&path);
    Ok(Checkpoint::open(&path)?.config().clone())
}

fn with(key: &str, value: GgufValue) -> SmallGguf {
    let mut file = SmallGguf::new("llama");
    file.set(key, value);
    file
}

#[test]
fn the_small_file_is_a_model() {
    for architecture in ["llama", "qwen2"] {
        let config = open(&SmallGguf::new(architecture)).unwrap();
        assert_eq!((config.n_layers, config.d_model, config.head_dim, config.vocab_size), (2, 8, 4, 6));
        assert!(config.tied_embeddings && !config.qk_norm);
        assert_eq!((config.bos_token, config.eos_tokens.as_slice()), (Some(3), [4].as_slice()));
        assert_eq!((config.rope.theta, &config.rope.scaling), (10_000.0, &RopeScaling::None));
    }
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let text = |text: &str| GgufValue::String(text.to_owned());
    for (key, value, found) in [
        ("general.architecture", text("gemma3"), "gemma3 (other arithmetic: scaled embeddings"),
        ("general.architecture", text("an unknown one"), "an unknown one"),
        ("llama.expert_count", GgufValue::U32(8), "8"),
        ("llama.attention.sliding_window", GgufValue::U32(31), "31"),
        ("llama.attention.causal", GgufValue::Bool(false), "false"),
        ("llama.attention.value_length", GgufValue::U32(6), "6"),
        ("llama.rope.dimension_count", GgufValue::U32(2), "2"),
        ("llama.rope.scaling.type", text("yarn"), "yarn"),
        ("llama.rope.scaling.type", text("longrope"), "longrope"),
        ("llama.rope.scaling.attn_factor", GgufValue::F32(1.25), "1.25"),
        ("llama.vocab_size", GgufValue::U32(7), "7"),
    ] {
        let error = open(&with(key, value)).unwrap_err();
        let LoadError::GgufField { key: named, found: shown, .. } = &error else { panic!("{key}: {error:?}") };
        assert!(named == key && shown.starts_with(found), "{error}");
        let text = error.to_string();
        assert!(text.contains("small.gguf") && text.contains("supported: "), "{text}");
    }
    let error = open(&with("llama.rope.scaling.type", GgufValue::String("linear".into()))).unwrap_err();
    assert!(error.to_string().contains("llama.rope.scaling.factor is absent"), "{error}");
}

#[test]
fn what_changes_nothing_is_accepted() {
    for (key, value) in [
        ("split.count", GgufValue::U16(1)),
        ("llama.expert_count", GgufValue::U32(0)),
        ("llama.attention.sliding_window", GgufValue::U32(0)),
        ("llama.attention.sliding_window", GgufValue::U32(32)),
        ("llama.attention.causal", GgufValue::Bool(true)),
        ("llama.attention.key_length", GgufValue::U32(4)),
        ("llama.attention.value_length", GgufValue::U32(4)),
        ("llama.rope.dimension_count", GgufValue::U32(4)),
        ("llama.rope.scaling.type", GgufValue::String("none".into())),
        ("llama.rope.scaling.attn_factor", GgufValue::F32(1.0)),
        ("llama.vocab_size", GgufValue::U32(6)),
    ] {
        assert_eq!(open(&with(key, value)).unwrap(), open(&SmallGguf::new("llama")).unwrap(), "{key}");
    }
}

#[test]
fn rope_in_its_spellings() {
    let scaling = |pairs: &[(&str, GgufValue)]| {
        let mut file = SmallGguf::new("llama");
        for (key, value) in pairs {
            file.set(key, value.clone());
        }
        open(&file).unwrap().rope.scaling
    };
    let linear = RopeScaling::Linear { factor: 2.5 };
    let factor = GgufValue::F32(2.5);
    assert_eq!(scaling(&[("llama.rope.scaling.factor", factor.clone())]), linear);
    assert_eq!(scaling(&[("llama.rope.scale_linear", factor.clone())]), linear);
    let typed =
        [("llama.rope.scaling.type", GgufValue::String("linear".into())), ("llama.rope.scaling.factor", factor)];
    assert_eq!(scaling(&typed), linear);
    assert_eq!(scaling(&[("llama.rope.scaling.factor", GgufValue::F32(0.0))]), RopeScaling::None, "0 is no factor");
    let mut file = SmallGguf::new("llama");
    file.tensors.push(("rope_freqs.weight".into(), vec![2], vec![1.0, 8.0]));
    assert_eq!(open(&file).unwrap().rope.scaling, RopeScaling::PerFrequency { divisors: vec![1.0, 8.0] });
    // Both apply, and what is refused alone is refused beside the divisors as well.
    file.set("llama.rope.scaling.factor", GgufValue::F32(4.0));
    assert_eq!(open(&file).unwrap().rope.scaling, RopeScaling::PerFrequency { divisors: vec![4.0, 32.0] });
    file.set("llama.rope.scaling.type", GgufValue::String("yarn".into()));
    assert!(open(&file).unwrap_err().to_string().contains("yarn"));
}

#[test]
fn each_architecture_has_its_arithmetic() {
    let mut file = SmallGguf::new("qwen3");
    for layer in 0..2 {
        file.add(&format!("blk.{layer}.attn_q_norm.weight"), &[4]);
        file.add(&format!("blk.{layer}.attn_k_norm.weight"), &[4]);
    }
    let config = open(&file).unwrap();
    assert!(config.qk_norm && config.unrotated.is_empty() && config.windows.is_empty());

    let mut file = SmallGguf::new("smollm3");
    for layer in 2..9 {
        for (name, shape, values) in SmallGguf::new("smollm3").tensors {
            if let Some(rest) = name.strip_prefix("blk.0.") {
                file.tensors.push((format!("blk.{layer}.{rest}"), shape, values));
            }
        }
    }
    file.set("smollm3.block_count", GgufValue::U32(9));
    assert_eq!(open(&file).unwrap().unrotated, [3, 7].into());

    let mut file = SmallGguf::new("mistral3");
    file.set("mistral3.attention.temperature_scale", GgufValue::F32(0.0));
    file.set("mistral3.rope.scaling.factor", GgufValue::F32(1.0));
    open(&file).unwrap();
    for (key, value) in [("attention.temperature_scale", 0.1), ("rope.scaling.factor", 16.0)] {
        let mut file = SmallGguf::new("mistral3");
        let key = format!("mistral3.{key}");
        file.set(&key, GgufValue::F32(value));
        assert!(matches!(open(&file).unwrap_err(), LoadError::GgufField { key: named, .. } if named == key));
    }
}

#[test]
fn special_tokens_that_the_vocabulary_lacks_are_warnings() {
    for (name, value, id) in [
        ("bos", GgufValue::U32(6), Some(6)),
        ("eos", GgufValue::U64(1 << 40), Some(1_u64 << 40)),
        ("eot", GgufValue::U32(7), Some(7)),
        ("padding", GgufValue::U32(6), Some(6)),
        ("padding", GgufValue::U32(5), None),
        ("bos", GgufValue::I32(-1), None),
        ("eos", GgufValue::U32(u32::MAX), None),
    ] {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.gguf");
        with(&key, value).write(&path);
        let checkpoint = Checkpoint::open(&path).unwrap();
        let warning = id.map(|id| Warning::SpecialTokenOutOfRange { key, id, vocab_size: 6 });
        assert_eq!(checkpoint.warnings(), warning.as_slice());
        assert_eq!(checkpoint.config().bos_token, (name != "bos").then_some(3));
        assert_eq!(checkpoint.config().eos_tokens, if name == "eos" { vec![] } else { vec![4] });
    }
    assert!(open(&with("tokenizer.ggml.bos_token_id", GgufValue::I32(-2))).is_err());
}

#[test]
fn more_layers_than_the_configuration_has_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    with("llama.block_count", GgufValue::U32(1)).write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.warnings(), [Warning::MoreLayersStored { stored: 2, used: 1 }]);
    let mut file = SmallGguf::new("llama");
    file.add("blk.0.attn_sinks.weight", &[2]);
    assert!(open(&file).unwrap_err().to_string().contains("unexpected: blk.0.attn_sinks.weight"));
}

#[test]
fn missing_and_impossible_values_are_named() {
    for key in ["block_count", "embedding_length", "feed_forward_length", "attention.head_count", "context_length"] {
        let key = format!("llama.{key}");
        let mut file = SmallGguf::new("llama");
        file.pairs.retain(|(name, _)| *name != key);
        let text = open(&file).unwrap_err().to_string();
        assert!(text.contains(&key), "{text}");
        for value in [GgufValue::U32(0), GgufValue::I32(-1), GgufValue::U64(u64::MAX), GgufValue::String("8".into())] {
            assert!(open(&with(&key, value.clone())).is_err(), "{key} {value:?}");
        }
    }
    // Some architectures have a list of head counts, one per layer.
    let heads = GgufValue::Array(GgufArray::U32(vec![2, 2]));
    let text = open(&with("llama.attention.head_count", heads)).unwrap_err().to_string();
    assert!(text.contains("llama.attention.head_count") && text.contains("array"), "{text}");
    let mut file = SmallGguf::new("llama");
    file.tensors.remove(0);
    assert!(open(&file).unwrap_err().to_string().contains("token_embd.weight"));
}

#[test]
fn tensors_are_listed_with_both_shapes() {
    let mut file = SmallGguf::new("llama");
    file.tensors.retain(|(name, ..)| name != "blk.1.ffn_up.weight");
    file.add("blk.0.attn_q_norm.weight", &[4]);
    let norm = file.tensors.iter_mut().find(|(name, ..)| name == "output_norm.weight").unwrap();
    (norm.1, norm.2) = (vec![9], vec![1.0; 9]);
    let text = open(&file).unwrap_err().to_string();
    for line in [
        "missing: model.layers.1.mlp.up_proj.weight [16, 8]",
        "unexpected: model.layers.0.self_attn.q_norm.weight [4]",
        "wrong shape: model.norm.weight [9], expected [8]",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
