//! Tests with well-formed files whose metadata, configuration and tensors contradict each other. Each must give a typed
//! error or a model that runs.

use super::{Checkpoint, LoadError};
use crate::device::WeightDtype;
use crate::format::{GgufArray, GgufValue};
use crate::small_gguf::SmallGguf;
use burn::tensor::Device;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::cell::Cell;
use std::path::Path;

/// The number of changed checkpoints per format.
const CASES: u32 = 10_000;

/// Opens a checkpoint with its tokenizer, loads the model and runs two tokens.
fn survive(path: &Path) -> Result<(), LoadError> {
    let checkpoint = Checkpoint::open(path)?;
    if let Ok(tokenizer) = checkpoint.tokenizer() {
        checkpoint.stop_tokens(&tokenizer)?;
        let _ = tokenizer.encode("ab <s>b", true);
        let _ = tokenizer.chat_template();
    }
    let config = checkpoint.config();
    config.validate().unwrap();
    let model = checkpoint.load(WeightDtype::F32, &Device::flex(), |_| {})?;
    let tokens: Vec<u32> = vec![0; config.max_positions.min(2)];
    let mut cache = model.cache(1, tokens.len());
    let frame = model.frame(&cache, &[0], &[(0..tokens.len()).collect()]);
    let hidden = model.forward(model.tokens(&[&tokens]), &frame, &mut cache);
    assert_eq!(model.logits(hidden).dims(), [1, tokens.len(), config.vocab_size]);
    Ok(())
}

/// A change to a file.
#[derive(Clone, Debug)]
enum Change {
    Value(Index, GgufValue),
    /// Sets a key that the unchanged file lacks.
    Key(&'static str, GgufValue),
    Remove(Index),
    RemoveTensor(Index),
    Rename(Index, Index),
    Shape(Index, Vec<usize>),
    Weight(Index, f32),
    Add(&'static str, Vec<usize>),
}

fn value() -> impl Strategy<Value = GgufValue> {
    let small = || prop_oneof![4 => 0..12_u32, 1 => Just(u32::MAX), 1 => any::<u32>()];
    let text =
        prop::sample::select(vec!["llama", "qwen2", "gpt2", "smollm", "linear", "yarn", "", "a", "{{ bos_token }}"]);
    prop_oneof![
        6 => small().prop_map(GgufValue::U32),
        2 => any::<u64>().prop_map(GgufValue::U64),
        1 => any::<i32>().prop_map(GgufValue::I32),
        2 => any::<f32>().prop_map(GgufValue::F32),
        1 => any::<bool>().prop_map(GgufValue::Bool),
        2 => text.prop_map(|text| GgufValue::String(text.to_owned())),
        1 => vec(any::<i32>(), 0..8).prop_map(|values| GgufValue::Array(GgufArray::I32(values))),
        1 => vec("[ab\u{120} ]{0,3}", 0..8).prop_map(|values| GgufValue::Array(GgufArray::String(values))),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let key = prop::sample::select(vec![
        "llama.attention.key_length",
        "llama.attention.value_length",
        "llama.attention.sliding_window",
        "llama.rope.freq_base",
        "llama.rope.dimension_count",
        "llama.rope.scaling.type",
        "llama.rope.scaling.factor",
        "llama.vocab_size",
        "llama.expert_count",
        "split.count",
        "tokenizer.ggml.scores",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.eot_token_id",
    ]);
    let name = prop::sample::select(vec!["rope_freqs.weight", "output.weight", "blk.0.attn_q.bias", "blk.9.x", "x"]);
    let shape = || vec(1..20_usize, 0..4);
    let weight = prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::MAX, -1e-40, 0.0]);
    prop_oneof![
        4 => (any::<Index>(), value()).prop_map(|(at, value)| Change::Value(at, value)),
        2 => (key, value()).prop_map(|(key, value)| Change::Key(key, value)),
        1 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::RemoveTensor),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Change::Rename(from, to)),
        2 => (any::<Index>(), shape()).prop_map(|(at, shape)| Change::Shape(at, shape)),
        1 => (any::<Index>(), weight).prop_map(|(at, weight)| Change::Weight(at, weight)),
        1 => (name, shape()).prop_map(|(name, shape)| Change::Add(name, shape)),
    ]
}

fn apply(file: &mut SmallGguf, change: Change) {
    let (pairs, tensors) = (file.pairs.len(), file.tensors.len());
    match change {
        Change::Value(at, value) if pairs > 0 => file.pairs[at.index(pairs)].1 = value,
        Change::Key(key, value) => file.set(key, value),
        Change::Remove(at) if pairs > 0 => drop(file.pairs.remove(at.index(pairs))),
        Change::RemoveTensor(at) if tensors > 0 => drop(file.tensors.remove(at.index(tensors))),
        Change::Rename(from, to) if tensors > 0 => {
            let name = file.tensors[from.index(tensors)].0.clone();
            file.tensors[to.index(tensors)].0 = name;
        }
        Change::Shape(at, shape) if tensors > 0 => {
            let tensor = &mut file.tensors[at.index(tensors)];
            tensor.2.resize(shape.iter().product(), 0.5);
            tensor.1 = shape;
        }
        Change::Weight(at, weight) if tensors > 0 => {
            if let Some(first) = file.tensors[at.index(tensors)].2.first_mut() {
                *first = weight;
            }
        }
        Change::Add(name, shape) => file.add(name, &shape),
        _ => {}
    }
}

#[test]
fn gguf_files_whose_parts_disagree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    SmallGguf::new("llama").write(&path);
    survive(&path).unwrap();
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let accepted = Cell::new(0);
    proptest!(config, |(changes in vec(change(), 1..4))| {
        let mut file = SmallGguf::new("llama");
        for change in changes {
            apply(&mut file, change);
        }
        file.write(&path);
        accepted.set(accepted.get() + u32::from(survive(&path).is_ok()));
    });
    // If fewer were accepted, the changes would be too coarse to reach more than the first checks.
    let accepted = accepted.get();
    assert!((CASES / 50..CASES).contains(&accepted), "{accepted} of {CASES} were accepted");
}

fn config_json() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 6, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": 32,
        "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": true, "bos_token_id": 3, "eos_token_id": 4,
        "attention_bias": false, "rope_scaling": null, "sliding_window": null,
    })
}

#[test]
fn folders_whose_parts_disagree() {
    let folder = tempfile::tempdir().unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = SmallGguf::new("llama")
        .tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let name = super::gguf_names::hugging_face_name(&name).unwrap();
            (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(folder.path().join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
    let write = |config: &Value| std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    write(&config_json());
    survive(folder.path()).unwrap();

    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let number = prop_oneof![
        6 => (0..20_u64).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        2 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!({"rope_type": "linear", "factor": 2})),
        1 => Just(json!([0, 1])),
        1 => Just(json!("qwen3")),
    ];
    let accepted = Cell::new(0);
    proptest!(config, |(changes in vec((any::<Index>(), number), 1..4))| {
        let mut changed = config_json();
        for (at, value) in changes {
            let fields = changed.as_object_mut().unwrap();
            let field = fields.keys().nth(at.index(fields.len())).unwrap().clone();
            fields[&field] = value;
        }
        write(&changed);
        accepted.set(accepted.get() + u32::from(survive(folder.path()).is_ok()));
    });
    let accepted = accepted.get();
    assert!((CASES / 50..CASES).contains(&accepted), "{accepted} of {CASES} were accepted");
}
