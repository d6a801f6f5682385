//! Tests that a checkpoint in memory equals the one on disk, in tensors, tokenizer and errors, and that oddities of a
//! checkpoint become warnings.

use super::*;
use crate::load::NamedShape;
use crate::small_gguf::SmallGguf;
use crate::text::ChatMessage;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

type Parts = Vec<(String, Vec<u8>)>;

/// Returns a folder with every file that is read, and the same files in memory.
fn folder() -> (TempDir, Parts) {
    let config = json!({
        "model_type": "llama", "vocab_size": 6, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "eos_token_id": 4,
    });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3, "</s>": 4}, "merges": [["a", "b"]],
        },
    });
    let folder = tempfile::tempdir().unwrap();
    let config = LlamaConfig::from_hf_json(&config.to_string(), "test").unwrap();
    config.init(3, WeightDtype::F32, &Device::flex()).unwrap().save(folder.path(), WeightDtype::F16).unwrap();
    for (name, text) in [
        ("tokenizer.json", tokenizer.to_string()),
        ("tokenizer_config.json", json!({"bos_token": "<s>", "eos_token": "</s>"}).to_string()),
        ("generation_config.json", json!({"eos_token_id": [4, 5]}).to_string()),
        ("chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}".to_owned()),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let parts = fs::read_dir(folder.path()).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
    });
    let parts = parts.collect();
    (folder, parts)
}

/// Returns every weight, in the order of the module tree.
fn weights(checkpoint: &Checkpoint) -> Vec<f32> {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().convert::<f32>().try_into_vec_as::<f32>().unwrap());
        }
    }
    let mut collect = Collect(Vec::new());
    checkpoint.load(WeightDtype::F32, &Device::flex(), |_| {}).unwrap().visit(&mut collect);
    collect.0
}

fn assert_same(one: &Checkpoint, other: &Checkpoint) {
    assert_eq!(one.config(), other.config());
    assert_eq!(weights(one), weights(other));
    let (a, b) = (one.tokenizer().unwrap(), other.tokenizer().unwrap());
    assert_eq!(a.encode("abba", true).unwrap(), b.encode("abba", true).unwrap());
    assert_eq!(a.special_tokens(), b.special_tokens());
    let render = |tokenizer: &Tokenizer| {
        tokenizer.chat_template().unwrap().unwrap().render(&[ChatMessage::user("ab")], true).unwrap()
    };
    assert_eq!(render(&a), render(&b));
    assert_eq!(one.stop_tokens(&a).unwrap(), other.stop_tokens(&b).unwrap());
}

#[test]
fn a_folder_in_memory_is_the_folder() {
    let (folder, parts) = folder();
    let memory = Checkpoint::from_files(parts).unwrap();
    assert_same(&Checkpoint::open(folder.path()).unwrap(), &memory);
    assert_eq!(memory.stop_tokens(&memory.tokenizer().unwrap()).unwrap(), [4, 5]);
    assert!(format!("{memory:?}").len() < 10_000, "the files are not printed");
}

#[test]
fn shards_in_memory_are_shards() {
    let (folder, mut parts) = folder();
    let weights = parts.iter_mut().find(|(name, _)| name == "model.safetensors").unwrap();
    "0.safetensors".clone_into(&mut weights.0);
    let single = Checkpoint::open(folder.path()).unwrap();
    let Weights::Safetensors { tensors, .. } = &single.weights else { panic!() };
    let map: serde_json::Map<_, _> =
        tensors.tensors().map(|(name, _)| (name.to_owned(), "0.safetensors".into())).collect();
    parts.push(("model.safetensors.index.json".into(), json!({"weight_map": map}).to_string().into_bytes()));
    assert_same(&single, &Checkpoint::from_files(parts.clone()).unwrap());
    parts.retain(|(name, _)| name != "0.safetensors");
    let error = Checkpoint::from_files(parts).unwrap_err().to_string();
    assert!(error.starts_with("model.safetensors.index.json: ") && error.contains("0.safetensors"), "{error}");
}

#[test]
fn a_gguf_file_in_memory_is_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    SmallGguf::new("llama").write(&path);
    let memory = Checkpoint::from_gguf_bytes(fs::read(&path).unwrap()).unwrap();
    assert_same(&Checkpoint::open(&path).unwrap(), &memory);
    // Static bytes, as those of `include_bytes!`, are borrowed.
    let leaked: &'static [u8] = fs::read(&path).unwrap().leak();
    assert_same(&memory, &Checkpoint::from_gguf_bytes(leaked).unwrap());
}

/// Returns the messages of an error and of its sources.
fn messages(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn errors_are_those_of_a_folder_and_name_the_part() {
    let everything = |checkpoint: Result<Checkpoint, LoadError>| {
        let checkpoint = checkpoint?;
        checkpoint.stop_tokens(&checkpoint.tokenizer()?)?;
        checkpoint.load(WeightDtype::F32, &Device::flex(), |_| {}).map(|_| ())
    };
    let (original, parts) = folder();
    for name in parts.iter().map(|(name, _)| name.clone()).filter(|name| name != "chat_template.jinja") {
        for keep in [0, 7] {
            let mut parts = parts.clone();
            parts.iter_mut().find(|(part, _)| *part == name).unwrap().1.truncate(keep);
            fs::write(original.path().join(&name), &parts.iter().find(|(part, _)| *part == name).unwrap().1).unwrap();
            let disk = messages(&everything(Checkpoint::open(original.path())).unwrap_err());
            let memory = messages(&everything(Checkpoint::from_files(parts)).unwrap_err());
            assert!(memory.contains(&name), "{memory}");
            assert_eq!(disk.replace(&format!("{}/", original.path().display()), ""), memory);
        }
        fs::write(original.path().join(&name), &parts.iter().find(|(part, _)| *part == name).unwrap().1).unwrap();
    }
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let parts = parts.iter().filter(|(part, _)| part != name).cloned();
        let memory = messages(&everything(Checkpoint::from_files(parts)).unwrap_err());
        assert!(memory.contains(name), "{memory}");
    }

    let mut gguf = SmallGguf::new("llama");
    gguf.set("llama.expert_count", crate::format::GgufValue::U32(8));
    let path = original.path().join("small.gguf");
    gguf.write(&path);
    let bytes = fs::read(&path).unwrap();
    for bytes in [&bytes[..], &bytes[..40], b"GGUF", b""] {
        fs::write(&path, bytes).unwrap();
        let disk = messages(&Checkpoint::open(&path).unwrap_err());
        let memory = messages(&Checkpoint::from_gguf_bytes(bytes.to_vec()).unwrap_err());
        assert_eq!(disk.replace(path.to_str().unwrap(), "GGUF in memory"), memory);
    }
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Opens a tied model of two layers whose configuration and tensors have been changed; its files are in memory.
fn changed(fields: &[(&str, Value)], change: impl FnOnce(&mut Tensors)) -> Result<Checkpoint, LoadError> {
    changed_in_shards(fields, change, &[])
}

/// Does the same with an index that also lists the tensors in `missing`, if there are any.
fn changed_in_shards(
    fields: &[(&str, Value)],
    change: impl FnOnce(&mut Tensors),
    missing: &[&str],
) -> Result<Checkpoint, LoadError> {
    let mut config = json!({
        "model_type": "llama", "vocab_size": 6, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": true,
    });
    let names_and_shapes = expected(&LlamaConfig::from_hf_json(&config.to_string(), "test")?);
    let tensor = |(tensor, n): (NamedShape, u8)| {
        let size = u8::try_from(tensor.shape.iter().product::<usize>()).unwrap();
        (tensor.name, (tensor.shape, (0..size).map(|i| f32::from(n) + f32::from(i)).collect()))
    };
    let mut tensors: Tensors = names_and_shapes.into_iter().zip(0..).map(tensor).collect();
    for (field, value) in fields {
        config[*field] = value.clone();
    }
    change(&mut tensors);
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let weights = safetensors::serialize(views, None).unwrap();
    let mut parts = vec![("config.json", config.to_string().into_bytes())];
    if missing.is_empty() {
        parts.push(("model.safetensors", weights));
    } else {
        let names = bytes.iter().map(|(name, ..)| name.as_str()).chain(missing.iter().copied());
        let map: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), "0.safetensors".into())).collect();
        parts.push(("0.safetensors", weights));
        parts.push(("model.safetensors.index.json", json!({"weight_map": map}).to_string().into_bytes()));
    }
    Checkpoint::from_files(parts)
}

fn rename(tensors: &mut Tensors, new: impl Fn(&str) -> String) {
    *tensors = std::mem::take(tensors).into_iter().map(|(name, tensor)| (new(&name), tensor)).collect();
}

fn plain() -> Checkpoint {
    changed(&[], |_| {}).unwrap()
}

#[test]
fn prefixes_of_names_do_not_matter() {
    assert!(plain().warnings().is_empty());
    for prefix in ["", "model.model.", "module.model.", "_orig_mod.model."] {
        let checkpoint = changed(&[], |tensors| {
            rename(tensors, |name| name.replacen("model.", prefix, 1));
        });
        let checkpoint = checkpoint.unwrap();
        assert!(checkpoint.warnings().is_empty() && weights(&checkpoint) == weights(&plain()), "{prefix}");
    }
    let error = changed(&[], |tensors| rename(tensors, |name| name.replacen("model.", "transformer.", 1))).unwrap_err();
    let LoadError::Tensors { mismatch, .. } = &error else { panic!("{error:?}") };
    assert_eq!(mismatch.missing.len(), mismatch.unexpected.len());
    assert!(error.to_string().contains("more"), "{error}");
}

#[test]
fn a_stored_head_is_used_if_it_differs_from_the_embedding() {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    let equal = changed(&[], |tensors| drop(tensors.insert(HEAD.to_owned(), tensors[EMBEDDING].clone()))).unwrap();
    assert!(equal.warnings().is_empty() && equal.config().tied_embeddings);
    assert_eq!(weights(&equal), weights(&plain()));

    let different = changed(&[], |tensors| {
        let mut head = tensors[EMBEDDING].clone();
        head.1[47] = 0.5;
        tensors.insert(HEAD.to_owned(), head);
    });
    let different = different.unwrap();
    assert_eq!(different.warnings(), [Warning::TiedHeadDiffers]);
    assert!(!different.config().tied_embeddings);
    let head = weights(&different).split_off(weights(&plain()).len());
    assert_eq!((head.len(), head[47]), (48, 0.5));

    let only = changed(&[], |tensors| {
        let embedding = tensors.remove(EMBEDDING).unwrap();
        tensors.insert(HEAD.to_owned(), embedding);
    });
    assert_eq!(weights(&only.unwrap()), weights(&plain()));
    for prefix in ["", "module.model."] {
        let only = changed(&[], |tensors| {
            let embedding = tensors.remove(EMBEDDING).unwrap();
            rename(tensors, |name| name.replacen("model.", prefix, 1));
            tensors.insert(format!("{}{HEAD}", prefix.trim_end_matches("model.")), embedding);
        });
        assert_eq!(weights(&only.unwrap()), weights(&plain()), "{prefix:?}");
    }

    let wide = changed(&[], |tensors| drop(tensors.insert(HEAD.to_owned(), (vec![7, 8], vec![0.0; 56])))).unwrap_err();
    assert!(wide.to_string().contains("wrong shape: lm_head.weight [7, 8], expected [6, 8]"), "{wide}");
    let untied = changed(&[("tie_word_embeddings", json!(false))], |_| {}).unwrap_err().to_string();
    assert!(untied.contains("missing: lm_head.weight") && untied.contains("cannot generate"), "{untied}");
}

#[test]
fn what_lies_beside_the_model_is_ignored_with_a_warning() {
    let one: &[(&str, Value)] = &[("num_hidden_layers", json!(1))];
    let fewer = changed(one, |_| {}).unwrap();
    assert_eq!(fewer.warnings(), [Warning::MoreLayersStored { stored: 2, used: 1 }]);
    assert_eq!(fewer.load(WeightDtype::F32, &Device::flex(), |_| {}).unwrap().layers().len(), 1);

    let add =
        |name: &'static str| move |tensors: &mut Tensors| drop(tensors.insert(name.to_owned(), (vec![1], vec![1.0])));
    for name in ["v_head.summary.weight", "score.weight"] {
        let checkpoint = changed(&[], add(name)).unwrap();
        assert_eq!(checkpoint.warnings(), [Warning::Ignored { tensors: vec![name.to_owned()] }]);
        assert!(checkpoint.warnings()[0].to_string().contains(name));
        assert_eq!(weights(&checkpoint), weights(&plain()));
    }
    assert!(changed(&[], add("model.layers.1.self_attn.rotary_emb.inv_freq")).unwrap().warnings().is_empty());
    for (name, advice) in [
        ("model.layers.1.self_attn.q_proj.bias", "unexpected"),
        ("model.norm.bias", "unexpected"),
        ("lm_head.bias", "unexpected"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "adapter"),
        ("model.layers.0.self_attn.q_proj.qweight", "GGUF file"),
        ("model.layers.0.mlp.experts.0.up_proj.weight", "mixture of experts"),
    ] {
        let error = changed(&[], add(name)).unwrap_err().to_string();
        assert!(error.contains(&format!("unexpected: {name} [1]")) && error.contains(advice), "{error}");
    }

    let listed = changed_in_shards(&[], |_| {}, &["lm_head.weight"]).unwrap();
    assert_eq!(listed.warnings(), [Warning::IndexedButMissing { tensors: vec!["lm_head.weight".to_owned()] }]);
    let needed = changed_in_shards(&[], |tensors| drop(tensors.remove("model.norm.weight")), &["model.norm.weight"]);
    assert!(needed.unwrap_err().to_string().contains("missing: model.norm.weight"));
}

#[test]
fn special_tokens_that_the_vocabulary_lacks_are_removed_with_a_warning() {
    let checkpoint = changed(&[("eos_token_id", json!([2, 6])), ("bos_token_id", json!(32000))], |_| {}).unwrap();
    let warning = |key: &str, id| Warning::SpecialTokenOutOfRange { key: key.to_owned(), id, vocab_size: 6 };
    assert_eq!(checkpoint.warnings(), [warning("bos_token_id", 32000), warning("eos_token_id", 6)]);
    assert_eq!((checkpoint.config().bos_token, checkpoint.config().eos_tokens.as_slice()), (None, [2].as_slice()));
}

#[test]
fn windows_and_unrotated_layers_survive_saving() {
    for (windows, unrotated) in [(vec![0, 1], vec![]), (vec![1], vec![0]), (vec![], vec![1])] {
        let mut config = plain().config().clone();
        config.windows = windows.into_iter().map(|layer| (layer, 4)).collect();
        config.unrotated = unrotated.into_iter().collect();
        let folder = tempfile::tempdir().unwrap();
        config.init(3, WeightDtype::F32, &Device::flex()).unwrap().save(folder.path(), WeightDtype::F32).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert!(checkpoint.warnings().is_empty());
        assert_eq!(checkpoint.config(), &config);
    }
}

/// Early files of Llama 3 name `<|end_of_text|>` and not the token that ends a turn; others write -1 for no token.
#[test]
fn turns_of_a_gguf_model_end_at_tokens_known_by_their_text() {
    use crate::format::{GgufArray, GgufValue};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    let mut file = SmallGguf::new("llama");
    let tokens = ["a", "b", "ab", "<|end_of_text|>", "<|eot_id|>", "\u{120}"].map(str::to_owned).to_vec();
    file.set("tokenizer.ggml.tokens", GgufValue::Array(GgufArray::String(tokens)));
    file.set("tokenizer.ggml.eos_token_id", GgufValue::U32(3));
    file.set("tokenizer.ggml.padding_token_id", GgufValue::I32(-1));
    file.write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    assert_eq!(checkpoint.stop_tokens(&tokenizer).unwrap(), [3, 4]);
    assert_eq!(tokenizer.special_tokens().pad, None);
}
