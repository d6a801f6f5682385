//! Models written to disk and read back.

use crate::support::{SMALL, config, rows};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use dynlayer::model::decoder::Linear;
use dynlayer::model::format::{GgufValue, GgufWriter};
use dynlayer::model::{Checkpoint, Llama, LoadError, WeightDtype};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use std::collections::BTreeMap;
use std::path::Path;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A model's weights under their Hugging Face names.
pub fn tensors(model: &Llama) -> Tensors {
    fn values<const D: usize>(param: &Param<Tensor<D>>) -> (Vec<usize>, Vec<f32>) {
        let value = param.val();
        (value.dims().to_vec(), value.into_data().convert::<f32>().try_into_vec_as::<f32>().unwrap())
    }
    let mut out = Tensors::new();
    out.insert("model.embed_tokens.weight".into(), values(&model.embed_tokens));
    out.insert("model.norm.weight".into(), values(&model.norm.weight));
    let mut linear = |name: String, map: &Linear| {
        out.insert(format!("{name}.weight"), values(&map.weight));
        if let Some(bias) = &map.bias {
            out.insert(format!("{name}.bias"), values(bias));
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
                out.insert(format!("model.layers.{i}.{name}.weight"), values(&norm.weight));
            }
        }
    }
    out
}

fn write_safetensors(tensors: &Tensors, path: &Path) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (name.clone(), shape.clone(), values.iter().flat_map(|x| x.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes.iter().map(|(n, s, b)| (n.clone(), TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

pub fn write_folder(model: &Llama, folder: &Path) {
    std::fs::write(folder.join("config.json"), model.config().to_hf_json().unwrap()).unwrap();
    write_safetensors(&tensors(model), &folder.join("model.safetensors"));
}

/// As llama.cpp writes it: other names, and the rows of queries and keys reordered.
fn write_gguf(model: &Llama, path: &Path) {
    let c = model.config();
    let n = |x: usize| GgufValue::U32(x as u32);
    let mut file = GgufWriter::new()
        .pair("general.architecture", GgufValue::String("llama".into()))
        .pair("llama.block_count", n(c.n_layers))
        .pair("llama.embedding_length", n(c.d_model))
        .pair("llama.feed_forward_length", n(c.d_ff))
        .pair("llama.attention.head_count", n(c.n_heads))
        .pair("llama.attention.head_count_kv", n(c.n_kv_heads))
        .pair("llama.attention.key_length", n(c.head_dim))
        .pair("llama.attention.value_length", n(c.head_dim))
        .pair("llama.context_length", n(c.max_positions))
        .pair("llama.attention.layer_norm_rms_epsilon", GgufValue::F32(c.norm_eps as f32))
        .pair("tokenizer.ggml.bos_token_id", GgufValue::U32(1))
        .pair("tokenizer.ggml.eos_token_id", GgufValue::U32(2))
        .pair("llama.rope.freq_base", GgufValue::F32(c.rope.theta as f32));
    for (name, (shape, values)) in tensors(model) {
        let mut values = values;
        if name.contains("q_proj") || name.contains("k_proj") {
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
    file.write(path).unwrap();
}

fn logits(model: &Llama) -> Vec<Vec<f32>> {
    let text = [1, 2, 3, 4, 5, 6, 7];
    let mut cache = model.cache(1, 7);
    let frame = model.frame(&cache, &[(0..7).collect()], &[0]);
    rows(model.logits(model.forward(model.tokens(&[&text]), &frame, &mut cache)))
}

fn original() -> Llama {
    config(SMALL).init(3, WeightDtype::F32, &Device::flex()).unwrap()
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
    let model = checkpoint.load(WeightDtype::F32, &Device::flex(), |p| steps.push((p.done, p.total))).unwrap();
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
    let model = checkpoint.load(WeightDtype::F32, &Device::flex(), |_| {}).unwrap();
    assert_eq!(logits(&model), logits(&original()));
}

#[test]
fn f16_is_the_same_from_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&original(), folder.path());
    write_gguf(&original(), &folder.path().join("model.gguf"));
    let load = |path: &Path| Checkpoint::open(path).unwrap().load(WeightDtype::F16, &Device::flex(), |_| {}).unwrap();
    assert_eq!(logits(&load(folder.path())), logits(&load(&folder.path().join("model.gguf"))));
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&original(), folder.path());
    let mut changed = tensors(&original());
    changed.remove("model.layers.1.mlp.up_proj.weight").unwrap();
    changed.insert("model.layers.9.extra".into(), (vec![2], vec![0.0; 2]));
    changed.insert("model.norm.weight".into(), (vec![47], vec![1.0; 47]));
    write_safetensors(&changed, &folder.path().join("model.safetensors"));
    let text = opened(folder.path()).to_string();
    for line in [
        "missing: model.layers.1.mlp.up_proj.weight [80, 48]",
        "unexpected: model.layers.9.extra [2]",
        "wrong shape: model.norm.weight [47], expected [48]",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn weights_that_are_no_numbers_or_too_large() {
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
        let error =
            Checkpoint::open(folder.path()).unwrap().load(dtype, &Device::flex(), |_| {}).map(|_| ()).unwrap_err();
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
    GgufWriter::new().pair("general.architecture", GgufValue::String("gemma3".into())).write(&path).unwrap();
    let text = opened(&path).to_string();
    assert!(text.contains("general.architecture is gemma3; supported: llama, qwen2"), "{text}");
}
