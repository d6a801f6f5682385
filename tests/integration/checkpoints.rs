//! Models written to disk and read back.

use crate::support::{SMALL, assert_close, config, device, rows};
use burn::tensor::Tensor;
use dynlayer::inference::controllers::FullDepth;
use dynlayer::inference::{GenerateOptions, generate};
use dynlayer::model::decoder::Linear;
use dynlayer::model::format::{GgufArray, GgufValue};
use dynlayer::model::{Checkpoint, Llama, LoadError, WeightDtype};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use std::collections::BTreeMap;
use std::path::Path;

#[path = "../../crates/model/tests/support/gguf_writer.rs"]
mod gguf_writer;

use gguf_writer::GgufWriter;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Returns a model's weights under their Hugging Face names.
pub fn tensors(model: &Llama) -> Tensors {
    fn values<const D: usize>(value: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
        (value.dims().to_vec(), value.into_data().convert::<f32>().try_into_vec_as::<f32>().unwrap())
    }
    let mut out = Tensors::new();
    out.insert("model.embed_tokens.weight".into(), values(model.embed_tokens.tensor()));
    out.insert("model.norm.weight".into(), values(model.norm.weight.val()));
    let mut linear = |name: String, map: &Linear| {
        out.insert(format!("{name}.weight"), values(map.weight.tensor()));
        if let Some(bias) = &map.bias {
            out.insert(format!("{name}.bias"), values(bias.val()));
        }
    };
    if let Some(head) = &model.lm_head {
        linear("lm_head".into(), head);
    }
    for (i, block) in model.layers().iter().enumerate() {
        let (attn, mlp) = (&block.self_attn, &block.mlp);
        for (name, map) in [
            ("self_attn.q_proj", &attn.q_proj),
            ("self_attn.k_proj", &attn.k_proj),
            ("self_attn.v_proj", &attn.v_proj),
            ("self_attn.o_proj", &attn.o_proj),
            ("mlp.gate_proj", &mlp.gate_proj),
            ("mlp.up_proj", &mlp.up_proj),
            ("mlp.down_proj", &mlp.down_proj),
        ] {
            linear(format!("model.layers.{i}.{name}"), map);
        }
    }
    for (i, block) in model.layers().iter().enumerate() {
        let norms = [
            ("input_layernorm", Some(&block.input_layernorm)),
            ("post_attention_layernorm", Some(&block.post_attention_layernorm)),
            ("self_attn.q_norm", block.self_attn.q_norm.as_ref()),
            ("self_attn.k_norm", block.self_attn.k_norm.as_ref()),
        ];
        for (name, norm) in norms {
            if let Some(norm) = norm {
                out.insert(format!("model.layers.{i}.{name}.weight"), values(norm.weight.val()));
            }
        }
    }
    out
}

pub fn write_safetensors(tensors: &Tensors, path: &Path) {
    write_safetensors_as(tensors, Dtype::F32, path);
}

fn write_safetensors_as(tensors: &Tensors, dtype: Dtype, path: &Path) {
    let stored = |x: f32| match dtype {
        Dtype::F16 => half::f16::from_f32(x).to_le_bytes().to_vec(),
        Dtype::BF16 => half::bf16::from_f32(x).to_le_bytes().to_vec(),
        _ => x.to_le_bytes().to_vec(),
    };
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (name.clone(), shape.clone(), values.iter().flat_map(|x| stored(*x)).collect()))
        .collect();
    let views = bytes.iter().map(|(n, s, b)| (n.clone(), TensorView::new(dtype, s.clone(), b).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

pub fn write_folder(model: &Llama, folder: &Path) {
    std::fs::write(folder.join("config.json"), model.config().to_hf_json().unwrap()).unwrap();
    write_safetensors(&tensors(model), &folder.join("model.safetensors"));
}

/// Writes a GGUF file as llama.cpp does: other names and, for its architecture `llama`, reordered rows of queries and
/// keys.
fn gguf(model: &Llama, architecture: &str) -> GgufWriter {
    let c = model.config();
    let n = |x: usize| GgufValue::U32(x as u32);
    let mut file = GgufWriter::new()
        .pair("general.architecture", GgufValue::String(architecture.into()))
        .pair("tokenizer.ggml.bos_token_id", GgufValue::U32(1))
        .pair("tokenizer.ggml.eos_token_id", GgufValue::U32(2));
    for (key, value) in [
        ("block_count", n(c.n_layers)),
        ("embedding_length", n(c.d_model)),
        ("feed_forward_length", n(c.d_ff)),
        ("attention.head_count", n(c.n_heads)),
        ("attention.head_count_kv", n(c.n_kv_heads)),
        ("attention.key_length", n(c.head_dim)),
        ("attention.value_length", n(c.head_dim)),
        ("context_length", n(c.max_positions)),
        ("attention.layer_norm_rms_epsilon", GgufValue::F32(c.norm_eps as f32)),
        ("rope.freq_base", GgufValue::F32(c.rope.theta as f32)),
    ] {
        file = file.pair(format!("{architecture}.{key}"), value);
    }
    for (name, (shape, values)) in tensors(model) {
        let mut values = values;
        if architecture == "llama" && (name.contains("q_proj") || name.contains("k_proj")) {
            let (row, half) = (shape[1], c.head_dim / 2);
            let old = values.clone();
            for at in 0..shape[0] {
                let (head, k) = (at / c.head_dim, at % c.head_dim);
                let to = head * c.head_dim + (k % half) * 2 + k / half;
                values[to * row..(to + 1) * row].copy_from_slice(&old[at * row..(at + 1) * row]);
            }
        }
        let name = [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("model.layers", "blk"),
            ("post_attention_layernorm", "ffn_norm"),
            ("input_layernorm", "attn_norm"),
            ("self_attn.o_proj", "attn_output"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ]
        .iter()
        .fold(name, |name, (from, to)| name.replace(from, to));
        file = file.tensor_f32(name, shape, &values);
    }
    file
}

pub fn write_gguf(model: &Llama, path: &Path) {
    gguf(model, "llama").write(path);
}

fn logits(model: &Llama) -> Vec<Vec<f32>> {
    let text = [1, 2, 3, 4, 5, 6, 7];
    let mut cache = model.cache(1, 7);
    let frame = model.frame(&cache, &[0], &[(0..7).collect()]);
    rows(model.logits(model.forward(model.tokens(&[&text]), &frame, &mut cache)))
}

fn original() -> Llama {
    config(SMALL).init(3, WeightDtype::F32, &device()).unwrap()
}

fn opened(path: &Path) -> LoadError {
    Checkpoint::open(path).map(|_| ()).unwrap_err()
}

#[test]
fn a_folder_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&original(), folder.path());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let mut steps = Vec::new();
    let model = checkpoint.load(WeightDtype::F32, &device(), |p| steps.push((p.done, p.total))).unwrap();
    assert_eq!(logits(&model), logits(&original()));
    assert_eq!(steps.len(), tensors(&model).len() + 1);
    assert!(steps.windows(2).all(|w| w[0].0 < w[1].0));
    assert_eq!((steps[0].0, steps.last().unwrap().0), (0, steps[0].1));
}

#[test]
fn a_gguf_file_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write_gguf(&original(), &path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.config(), original().config());
    let model = checkpoint.load(WeightDtype::F32, &device(), |_| {}).unwrap();
    assert_eq!(logits(&model), logits(&original()));
}

/// Checkpoints of this family have biases, and rows of queries and keys in the original order.
#[test]
fn a_gguf_file_of_qwen_2_comes_back_bit_for_bit() {
    let json = SMALL.replace("\"llama\"", "\"qwen2\"");
    let original = config(&json).init(3, WeightDtype::F32, &device()).unwrap();
    assert!(tensors(&original).contains_key("model.layers.4.self_attn.v_proj.bias"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    gguf(&original, "qwen2").write(&path);
    let model = Checkpoint::open(&path).unwrap().load(WeightDtype::F32, &device(), |_| {}).unwrap();
    assert_eq!(model.config().attention_bias, original.config().attention_bias);
    assert_eq!(logits(&model), logits(&original));
}

/// Llama 3's scaling is a field in one format, and a divisor per frequency in the other; linear scaling is a key.
#[test]
fn rotary_scaling_is_the_same_from_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let load = || Checkpoint::open(&path).unwrap().load(WeightDtype::F32, &device(), |_| {}).unwrap();
    let with = |scaling: &str| {
        let json = SMALL.replace("\"rope_theta\"", &format!("\"rope_scaling\": {scaling}, \"rope_theta\""));
        config(&json).init(3, WeightDtype::F32, &device()).unwrap()
    };
    let linear = with(r#"{"rope_type": "linear", "factor": 2.5}"#);
    gguf(&linear, "llama")
        .pair("llama.rope.scaling.type", GgufValue::String("linear".into()))
        .pair("llama.rope.scaling.factor", GgufValue::F32(2.5))
        .write(&path);
    assert_eq!(logits(&load()), logits(&linear));

    let (factor, low, high, original) = (8.0, 1.0, 4.0, 48.0_f64);
    let llama3 = with(&format!(
        r#"{{"rope_type": "llama3", "factor": {factor}, "low_freq_factor": {low}, "high_freq_factor": {high},
            "original_max_position_embeddings": {original}}}"#
    ));
    assert_ne!(logits(&llama3), logits(&linear));
    // convert_hf_to_gguf.py, `generate_extra_tensors` of its Llama class.
    let divisors: Vec<f32> = (0..6)
        .map(|i| {
            let wavelength = 2.0 * std::f64::consts::PI * 10_000.0_f64.powf(f64::from(2 * i) / 12.0);
            if wavelength < original / high {
                return 1.0;
            }
            if wavelength > original / low {
                return factor as f32;
            }
            let smooth = (original / wavelength - low) / (high - low);
            (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
        })
        .collect();
    assert!(divisors.contains(&1.0) && divisors.contains(&8.0) && divisors.iter().any(|d| *d > 1.0 && *d < 8.0));
    gguf(&llama3, "llama").tensor_f32("rope_freqs.weight", [6], &divisors).write(&path);
    assert_close(&logits(&load()), &logits(&llama3));
}

/// Two files with an index, in each element type: every number is rounded once, to the nearest.
#[test]
fn shards_and_element_types() {
    if crate::support::lacks_f16() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let load = |dtype| {
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        logits(&checkpoint.load(dtype, &device(), |_| {}).unwrap())
    };
    let rounded = |round: fn(f32) -> f32| {
        let mut all = tensors(&original());
        all.values_mut().flat_map(|(_, values)| values).for_each(|x| *x = round(*x));
        all
    };
    std::fs::write(folder.path().join("config.json"), original().config().to_hf_json().unwrap()).unwrap();
    type Rounding = fn(f32) -> f32;
    let types: [(Dtype, Rounding); 3] = [
        (Dtype::F32, |x| x),
        (Dtype::F16, |x| half::f16::from_f32(x).to_f32()),
        (Dtype::BF16, |x| half::bf16::from_f32(x).to_f32()),
    ];
    for (dtype, round) in types {
        let all = rounded(round);
        write_safetensors(&all, &folder.path().join("model.safetensors"));
        let (expected, expected_f16) = (load(WeightDtype::F32), load(WeightDtype::F16));
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        if dtype == Dtype::F32 {
            assert_eq!(expected, logits(&original()));
        }

        let (first, second): (Tensors, Tensors) = all.into_iter().partition(|(name, _)| name.contains("layers.2"));
        let mut places = serde_json::Map::new();
        for (file, part) in [("one.safetensors", first), ("two.safetensors", second)] {
            places.extend(part.keys().map(|name| (name.clone(), file.into())));
            write_safetensors_as(&part, dtype, &folder.path().join(file));
        }
        let index = serde_json::json!({"metadata": {}, "weight_map": places});
        let index_file = folder.path().join("model.safetensors.index.json");
        std::fs::write(&index_file, index.to_string()).unwrap();
        assert_eq!(load(WeightDtype::F32), expected, "{dtype:?}");
        assert_eq!(load(WeightDtype::F16), expected_f16, "{dtype:?} as f16");
        std::fs::remove_file(index_file).unwrap();
    }
}

/// Compares the cost formulas, whose crate does not depend on the model crate, with the tensors of a model.
#[test]
fn dimensions_count_the_weights_that_are_there() {
    let model = original();
    let options = GenerateOptions { max_new_tokens: 1, ..GenerateOptions::default() };
    let report = generate(&model, FullDepth, &[vec![1]], options).unwrap().finish().unwrap().1;
    let all = tensors(&model);
    let weights = |parts: &[&str]| -> f64 {
        let of = |part: &&str| all.iter().find(|(name, _)| name.contains(part)).unwrap().1.1.len();
        parts.iter().map(of).sum::<usize>() as f64
    };
    let found = report.dimensions;
    assert_eq!(found.attention_weights(), weights(&["q_proj", "k_proj", "v_proj", "o_proj"]));
    assert_eq!(found.mlp_weights(), weights(&["gate_proj", "up_proj", "down_proj"]));
    assert_eq!(found.kv_weights(), weights(&["k_proj", "v_proj"]));
    assert_eq!(found.head_weights(), weights(&["lm_head"]));
}

/// A token without an embedding, such as one for padding that was added later, is an error only where it occurs.
#[test]
fn a_tokenizer_that_knows_one_token_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let strings = |of: Vec<String>| GgufValue::Array(GgufArray::String(of));
    gguf(&original(), "llama")
        .pair("tokenizer.ggml.model", GgufValue::String("gpt2".into()))
        .pair("tokenizer.ggml.pre", GgufValue::String("gpt-2".into()))
        .pair("tokenizer.ggml.tokens", strings((0..98).map(|i| format!("t{i}")).collect()))
        .pair("tokenizer.ggml.merges", strings(vec![]))
        .write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    assert_eq!((tokenizer.vocab_size(), checkpoint.config().vocab_size), (98, 97));
    let model = checkpoint.load(WeightDtype::F32, &device(), |_| {}).unwrap();
    let error = |token: u32| {
        let options = GenerateOptions { max_new_tokens: 1, tokenizer: Some(&tokenizer), ..GenerateOptions::default() };
        generate(&model, FullDepth, &[vec![token]], options).err().map(|error| error.to_string())
    };
    assert_eq!(error(96), None);
    let message = error(97).unwrap();
    assert!(message.contains("token 97") && message.contains("97 tokens"), "{message}");
}

#[test]
fn f16_is_the_same_from_both_formats() {
    if crate::support::lacks_f16() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_folder(&original(), folder.path());
    write_gguf(&original(), &folder.path().join("model.gguf"));
    let load = |path: &Path| Checkpoint::open(path).unwrap().load(WeightDtype::F16, &device(), |_| {}).unwrap();
    assert_eq!(logits(&load(folder.path())), logits(&load(&folder.path().join("model.gguf"))));
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&original(), folder.path());
    let mut changed = tensors(&original());
    changed.remove("model.layers.1.mlp.up_proj.weight").unwrap();
    changed.insert("model.layers.1.extra".into(), (vec![2], vec![0.0; 2]));
    changed.insert("model.norm.weight".into(), (vec![47], vec![1.0; 47]));
    write_safetensors(&changed, &folder.path().join("model.safetensors"));
    let text = opened(folder.path()).to_string();
    for line in [
        "missing: model.layers.1.mlp.up_proj.weight [80, 48]",
        "unexpected: model.layers.1.extra [2]",
        "wrong shape: model.norm.weight [47], expected [48]",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn weights_that_are_no_numbers_or_too_large() {
    if crate::support::lacks_f16() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (value, dtype, part) in [
        (f32::NAN, WeightDtype::F32, "model.embed_tokens.weight holds 1 values that are not finite"),
        (f32::INFINITY, WeightDtype::F16, "model.embed_tokens.weight holds 1 values that are not finite"),
        (1e6, WeightDtype::F16, "model.embed_tokens.weight holds 1 values that do not fit f16; load as f32"),
    ] {
        write_folder(&original(), folder.path());
        let mut changed = tensors(&original());
        changed.get_mut("model.embed_tokens.weight").unwrap().1[5] = value;
        write_safetensors(&changed, &folder.path().join("model.safetensors"));
        let error = Checkpoint::open(folder.path()).unwrap().load(dtype, &device(), |_| {}).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn places_without_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    assert!(opened(&folder.path().join("nothing")).to_string().contains("nothing is there"));
    assert!(opened(folder.path()).to_string().contains("config.json"));
    std::fs::write(folder.path().join("config.json"), SMALL).unwrap();
    assert!(opened(folder.path()).to_string().contains("model.safetensors"));
    std::fs::write(folder.path().join("x.gguf"), b"GGML").unwrap();
    assert!(opened(&folder.path().join("x.gguf")).to_string().contains("not a GGUF file"));
}

#[test]
fn other_architectures_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    GgufWriter::new().pair("general.architecture", GgufValue::String("gemma3".into())).write(&path);
    let text = opened(&path).to_string();
    assert!(text.contains("gemma3 (other arithmetic") && text.contains("supported: llama"), "{text}");
}
