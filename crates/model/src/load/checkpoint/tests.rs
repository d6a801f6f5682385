//! Tests that a checkpoint in memory equals the one on disk, in tensors, tokenizer and errors.

use super::*;
use crate::small_gguf::SmallGguf;

use crate::text::ChatMessage;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde_json::json;
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
