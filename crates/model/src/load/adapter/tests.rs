//! Tests with small adapters, valid, refused and hostile.

use super::*;
use crate::load::tensors::expected;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use tempfile::TempDir;

/// The number of changed adapters.
const CASES: u32 = 10_000;

const Q: &str = "model.layers.0.self_attn.q_proj";
const Q_WEIGHT: &str = "model.layers.0.self_attn.q_proj.weight";

/// A name, a shape and values.
type Tensor = (String, Vec<usize>, Vec<f32>);

fn model(tied: bool) -> LlamaConfig {
    let json = json!({
        "model_type": "llama", "vocab_size": 6, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": tied,
    });
    LlamaConfig::from_hf_json(&json.to_string(), "a test").unwrap()
}

fn description() -> Value {
    json!({"peft_type": "LORA", "r": 2, "lora_alpha": 3, "bias": "none", "target_modules": ["q_proj"]})
}

/// Small numbers, none of them zero.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| f32::from(u8::try_from(i % 7).unwrap()) * 0.1 - 0.35).collect()
}

/// The factors of a module, as peft names them.
fn factors(module: &str, a: [usize; 2], b: [usize; 2]) -> Vec<Tensor> {
    let tensor = |name: &str, shape: [usize; 2]| {
        (format!("base_model.model.{module}.{name}.weight"), shape.to_vec(), numbers(shape[0] * shape[1]))
    };
    vec![tensor("lora_A", a), tensor("lora_B", b)]
}

/// The factors of [`Q`].
fn query() -> Vec<Tensor> {
    factors(Q, [2, 8], [8, 2])
}

fn write(folder: &Path, description: &Value, tensors: &[Tensor]) {
    fs::write(folder.join(CONFIG), description.to_string()).unwrap();
    fs::write(folder.join(TENSORS), safetensors(tensors)).unwrap();
}

fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let bytes = tensors
        .iter()
        .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()));
    let bytes: Vec<_> = bytes.collect();
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| ((*name).clone(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

fn folder(description: &Value, tensors: &[Tensor]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), description, tensors);
    folder
}

fn open(folder: &Path, tied: bool) -> Result<AdapterFile, LoadError> {
    let model = model(tied);
    AdapterFile::open(folder, &model, &expected(&model))
}

/// Opens an adapter of an untied model that is valid.
fn opened(description: &Value, tensors: &[Tensor]) -> (AdapterFile, TempDir) {
    let folder = folder(description, tensors);
    (open(folder.path(), false).unwrap(), folder)
}

/// Returns the error of an adapter that is not valid.
fn error(description: &Value, tensors: &[Tensor], tied: bool) -> String {
    open(folder(description, tensors).path(), tied).unwrap_err().to_string()
}

/// Returns what an adapter adds to a matrix of zeros.
fn added(adapter: &AdapterFile, weight: &str, count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    adapter.merge(weight, &mut values).unwrap();
    values
}

#[test]
fn a_product_is_scaled_and_added() {
    let (adapter, _folder) = opened(&description(), &query());
    assert!(adapter.adapts(Q_WEIGHT) && !adapter.adapts("model.layers.1.self_attn.q_proj.weight"));
    let (a, b) = (numbers(16), numbers(16));
    let expected: Vec<f32> =
        (0..64).map(|at| 1.5 * (0..2).map(|k| b[at / 8 * 2 + k] * a[k * 8 + at % 8]).sum::<f32>()).collect();
    assert_eq!(added(&adapter, Q_WEIGHT, 64), expected);
    assert_eq!(added(&adapter, "model.norm.weight", 8), [0.0; 8]);
}

#[test]
fn all_ways_of_naming_tensors() {
    let (adapter, _folder) = opened(&description(), &query());
    let expected = added(&adapter, Q_WEIGHT, 64);
    for (old, new) in
        [("base_model.model.", ""), ("base_model.model.model.", ""), (".weight", ".default.weight"), (".weight", "")]
    {
        let mut tensors = query();
        for (name, _, _) in &mut tensors {
            *name = name.replace(old, new);
        }
        let (adapter, _folder) = opened(&description(), &tensors);
        assert_eq!(added(&adapter, Q_WEIGHT, 64), expected, "{old} {new}");
    }
}

#[test]
fn the_factors_of_an_embedding_are_transposed() {
    let mut tensors = factors("model.embed_tokens", [2, 6], [8, 2]);
    for (name, _, _) in &mut tensors {
        *name = name.replace("lora_", "lora_embedding_").replace(".weight", "");
    }
    let (adapter, _folder) = opened(&description(), &tensors);
    let (a, b) = (numbers(12), numbers(16));
    let expected: Vec<f32> =
        (0..48).map(|at| 1.5 * (0..2).map(|k| a[k * 6 + at / 8] * b[at % 8 * 2 + k]).sum::<f32>()).collect();
    assert_eq!(added(&adapter, EMBEDDING, 48), expected);
}

#[test]
fn a_copy_of_an_adapted_head_replaces_it() {
    let mut tensors = factors("lm_head", [2, 8], [6, 2]);
    tensors.push(("base_model.model.lm_head.base_layer.weight".to_owned(), vec![6, 8], numbers(48)));
    let (adapter, _folder) = opened(&description(), &tensors);
    assert_eq!(adapter.base("lm_head.weight").unwrap().unwrap(), numbers(48));
    assert!(adapter.base(Q_WEIGHT).is_none());
}

#[test]
fn factors_of_zeros_change_no_bit() {
    let mut tensors = query();
    tensors[1].2.fill(0.0);
    let (adapter, _folder) = opened(&description(), &tensors);
    let mut values = vec![-0.0_f32; 64];
    adapter.merge(Q_WEIGHT, &mut values).unwrap();
    assert!(values.iter().all(|x| x.to_bits() == (-0.0_f32).to_bits()));
}

#[test]
fn factors_have_to_be_finite() {
    let mut tensors = query();
    tensors[0].2[3] = f32::NAN;
    let (adapter, _folder) = opened(&description(), &tensors);
    let error = adapter.merge(Q_WEIGHT, &mut [0.0; 64]).unwrap_err();
    assert!(matches!(&error, LoadError::NotFinite { tensor, count: 1, .. } if tensor.contains("lora_A")), "{error}");
}

#[test]
fn all_tensors_that_do_not_fit_are_listed() {
    let mut tensors = query();
    tensors.extend(factors("model.layers.0.self_attn.k_proj", [2, 8], [8, 2])); // B should have 4 rows
    tensors.extend(factors("model.layers.1.self_attn.q_proj", [3, 8], [8, 3]));
    tensors.extend(factors("model.layers.2.self_attn.q_proj", [2, 8], [8, 2]));
    tensors.extend(factors("model.norm", [2, 8], [8, 2]));
    tensors.extend(factors("model.layers.0.mlp.up_proj", [2, 8], [16, 2]).into_iter().take(1));
    tensors.extend(factors("model.embed_tokens", [2, 8], [6, 2]));
    for name in ["lm_head.weight", "model.layers.0.mlp.down_proj.lora_magnitude_vector", "", "x.lora_B.bias"] {
        tensors.push((name.to_owned(), vec![1, 2], vec![0.5; 2]));
    }
    tensors.push(("lm_head.base_layer.weight".to_owned(), vec![6, 8], numbers(48)));
    let Err(LoadError::AdapterTensors { problems, .. }) = open(folder(&description(), &tensors).path(), false) else {
        panic!("expected an error about tensors");
    };
    for (start, end) in [
        ("base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight", "[8, 2], expected [4, 2] for rank 2"),
        ("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", "[3, 8], expected [2, 8] for rank 2"),
        ("model.layers.2.self_attn.q_proj", "no such matrix"),
        ("model.norm", "no such matrix"),
        ("model.layers.0.mlp.up_proj", "a lora_A without a lora_B"),
        ("model.embed_tokens", "only to it"),
        ("lm_head.weight", "neither a lora_A nor a lora_B"),
        ("model.layers.0.mlp.down_proj.lora_magnitude_vector", "neither a lora_A nor a lora_B"),
        (":", "neither a lora_A nor a lora_B"),
        ("x.lora_B.bias", "neither a lora_A nor a lora_B"),
        ("lm_head:", "a whole matrix, neither a lora_A nor a lora_B"),
    ] {
        assert!(problems.iter().any(|text| text.starts_with(start) && text.ends_with(end)), "{start}: {problems:?}");
    }
    assert_eq!(problems.len(), 11, "{problems:?}");
}

#[test]
fn tensors_have_to_be_there_once_and_adapt_something() {
    let mut twice = query();
    twice.push((format!("base_model.model.{Q}.lora_A.default.weight"), vec![2, 8], numbers(16)));
    assert!(error(&description(), &twice, false).contains("there twice"));
    let mut twice = query();
    for (name, shape, values) in query() {
        twice.push((name.replace("model.model.", "model."), shape, values));
    }
    assert!(error(&description(), &twice, false).contains("with and without"));
    assert!(error(&description(), &[], false).contains("no tensor adapts"));
}

#[test]
fn the_embedding_of_a_tied_model_is_not_adapted() {
    for module in ["lm_head", "model.embed_tokens"] {
        let text = error(&description(), &factors(module, [2, 8], [6, 2]), true);
        assert!(text.contains(module) && text.contains("also the output head"), "{text}");
    }
    open(folder(&description(), &query()).path(), true).unwrap();
}

#[test]
fn layers_that_are_left_out_are_ignored() {
    let mut description = description();
    description["layers_to_transform"] = json!([1]);
    let mut tensors = query();
    assert!(error(&description, &tensors, false).contains("no tensor adapts"));
    tensors.extend(factors("model.layers.1.self_attn.q_proj", [2, 8], [8, 2]));
    let (adapter, _folder) = opened(&description, &tensors);
    assert!(!adapter.adapts(Q_WEIGHT) && adapter.adapts("model.layers.1.self_attn.q_proj.weight"));
    assert_eq!(adapter.not_transformed, [tensors[0].0.as_str(), tensors[1].0.as_str()]);
}

#[test]
fn more_than_a_product_is_refused_by_name() {
    for (field, value, part) in [
        ("peft_type", json!("IA3"), "merge_and_unload"),
        ("peft_type", json!("PREFIX_TUNING"), "nor can it be merged"),
        ("bias", json!("lora_only"), "merge_and_unload"),
        ("init_lora_weights", json!("pissa_niter_16"), "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", json!("OLoRA"), "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", json!("something new"), "path_initial_model_for_weight_conversion"),
        ("use_dora", json!(true), "merge_and_unload"),
        ("lora_bias", json!(true), "merge_and_unload"),
        ("modules_to_save", json!(["lm_head"]), "merge_and_unload"),
        ("trainable_token_indices", json!({"embed_tokens": [1]}), "merge_and_unload"),
        ("alora_invocation_tokens", json!([1]), "nor can it be merged"),
        ("layer_replication", json!([[0, 1]]), "merge_and_unload"),
        ("target_parameters", json!(["x"]), "merge_and_unload"),
        ("use_something_new", json!(true), "merge_and_unload"),
        ("something_new_config", json!({"a": 1}), "merge_and_unload"),
        ("r", json!(0), "r or rank_pattern is 0"),
        ("lora_alpha", json!(-1e300), "lora_alpha or alpha_pattern"),
        ("alpha_pattern", json!({"(": 1}), "alpha_pattern is ("),
    ] {
        let mut description = description();
        description[field] = value;
        let text = error(&description, &query(), false);
        assert!(text.contains(field) && text.contains(part), "{text}");
    }
}

#[test]
fn what_changes_nothing_is_accepted() {
    for (field, value) in [
        ("init_lora_weights", json!(true)),
        ("init_lora_weights", json!("gaussian")),
        ("fan_in_fan_out", json!(true)),
        ("inference_mode", json!(true)),
        ("auto_mapping", json!({"base_model_class": "LlamaForCausalLM"})),
        ("eva_config", json!({"rho": 2.0})),
        ("loftq_config", json!({})),
        ("megatron_core", json!("megatron.core")),
        ("qalora_group_size", json!(16)),
        ("rank_pattern", Value::Null),
        ("modules_to_save", json!([])),
        ("bias", Value::Null),
        ("lora_alpha", json!(-1.5)),
        ("target_modules", json!("all-linear")),
        ("base_model_name_or_path", json!("another/model")),
    ] {
        let mut description = description();
        description[field] = value;
        opened(&description, &query());
    }
}

#[test]
fn what_is_no_adapter_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let text = |path: &Path| open(path, false).unwrap_err().to_string();
    assert!(text(&at.join("none")).contains("nothing is there"));
    assert!(text(at).contains("without adapter_config.json"));
    fs::write(at.join("config.json"), "{}").unwrap();
    assert!(text(at).contains("whole model"));
    assert!(text(&at.join("config.json")).contains("not a folder"));
    fs::write(at.join(CONFIG), description().to_string()).unwrap();
    assert!(text(at).contains("without adapter_model.safetensors"));
    fs::write(at.join(OLD_TENSORS), "").unwrap();
    assert!(text(at).contains("PyTorch's format; load and save it once more with peft"));
    for broken in ["", "[]", "{}", "{\"peft_type\": \"LORA\", \"lora_alpha\": NaN}"] {
        fs::write(at.join(CONFIG), broken).unwrap();
        let error = open(at, false).unwrap_err();
        assert!(matches!(error, LoadError::AdapterConfig { .. }), "{error}");
    }
    for (field, value) in [("peft_type", "1"), ("r", "null"), ("layers_to_transform", "[-1]"), ("rank_pattern", "[]")] {
        fs::write(at.join(CONFIG), format!("{{\"peft_type\": \"LORA\", \"{field}\": {value}}}")).unwrap();
        let found = text(at);
        assert!(found.contains(&format!("adapter_config.json: {field} is {value}; ")), "{found}");
    }
    fs::write(at.join(CONFIG), " ".repeat(2 << 20)).unwrap();
    assert!(text(at).contains("exceeds 1048576 bytes"));
}

#[test]
fn a_description_is_written_as_it_was_read() {
    let text = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 2.5, "use_rslora": true, "layers_to_transform": 1,
        "rank_pattern": {"b": 1, "a": 2}, "task_type": "CAUSAL_LM", "target_modules": ["q_proj"]}"#;
    let read: AdapterConfig = serde_json::from_str(text).unwrap();
    let written = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<AdapterConfig>(&written).unwrap(), read);
    assert!(written.contains(r#""rank_pattern":{"b":1,"a":2}"#), "{written}");
    assert!(written.contains(r#""task_type":"CAUSAL_LM""#), "{written}");
}

/// A change to an adapter.
#[derive(Clone, Debug)]
enum Change {
    Field(&'static str, Value),
    Shape(Index, Vec<usize>),
    Name(Index, &'static str),
    Number(Index, f32),
    Byte(Index, u8),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let field = select(vec![
        "peft_type",
        "r",
        "lora_alpha",
        "use_rslora",
        "rank_pattern",
        "alpha_pattern",
        "layers_to_transform",
        "layers_pattern",
        "target_modules",
        "bias",
        "use_dora",
        "x",
    ]);
    let value = prop_oneof![
        4 => (0..4_u64).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        2 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([0])),
        1 => "[a-z.*()|\\\\]{0,6}".prop_map(Value::from),
        1 => ("[q_proj.*()|\\\\]{0,6}", 0..4_u64).prop_map(|(key, value)| json!({key: value})),
    ];
    let name = select(vec![
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight",
        "model.embed_tokens.lora_embedding_A",
        "lm_head.base_layer.weight",
        "lora_A",
        "..lora_A.weight",
        "",
    ]);
    let number = select(vec![f32::NAN, f32::INFINITY, f32::MAX, -1e-40, 0.0]);
    prop_oneof![
        4 => (field, value).prop_map(|(field, value)| Change::Field(field, value)),
        1 => (any::<Index>(), vec(0..10_usize, 0..4)).prop_map(|(at, shape)| Change::Shape(at, shape)),
        1 => (any::<Index>(), name).prop_map(|(at, name)| Change::Name(at, name)),
        1 => (any::<Index>(), number).prop_map(|(at, number)| Change::Number(at, number)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

#[test]
fn changed_adapters_give_an_error_or_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (model, original) = (model(false), {
        let mut tensors = query();
        tensors.extend(factors("model.layers.1.self_attn.q_proj", [2, 8], [8, 2]));
        tensors
    });
    let matrices = expected(&model);
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let accepted = Cell::new(0);
    proptest!(config, |(changes in vec(change(), 1..3))| {
        let (mut description, mut tensors) = (description(), original.clone());
        let mut bytes = None;
        for change in changes {
            match change {
                Change::Field(field, value) => description[field] = value,
                Change::Shape(at, shape) => {
                    let tensor = at.index(tensors.len());
                    tensors[tensor].2.resize(shape.iter().product(), 0.5);
                    tensors[tensor].1 = shape;
                }
                Change::Name(at, name) => {
                    // The library that writes the file cannot write a name twice.
                    if tensors.iter().all(|(other, _, _)| other != name) {
                        let tensor = at.index(tensors.len());
                        name.clone_into(&mut tensors[tensor].0);
                    }
                }
                Change::Number(at, number) => {
                    let tensor = at.index(tensors.len());
                    if let Some(first) = tensors[tensor].2.first_mut() {
                        *first = number;
                    }
                }
                Change::Byte(at, byte) => {
                    let bytes = bytes.get_or_insert_with(|| safetensors(&tensors));
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                Change::Cut(at) => {
                    let bytes = bytes.get_or_insert_with(|| safetensors(&tensors));
                    bytes.truncate(at.index(bytes.len()).max(1));
                }
            }
        }
        fs::write(folder.path().join(CONFIG), description.to_string()).unwrap();
        fs::write(folder.path().join(TENSORS), bytes.unwrap_or_else(|| safetensors(&tensors))).unwrap();
        if let Ok(adapter) = AdapterFile::open(folder.path(), &model, &matrices) {
            accepted.set(accepted.get() + 1);
            for matrix in &matrices {
                let mut values = vec![0.5; matrix.shape.iter().product()];
                if adapter.merge(&matrix.name, &mut values).is_ok() {
                    let _ = adapter.base(&matrix.name);
                }
            }
        }
    });
    // If fewer were accepted, the changes would be too coarse to reach more than the first checks.
    let accepted = accepted.get();
    assert!((CASES / 50..CASES).contains(&accepted), "{accepted} of {CASES} were accepted");
}
