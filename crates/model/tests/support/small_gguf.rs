//! A whole model in a GGUF file of a few kilobytes, in parts that tests change.

use crate::format::{GgufArray, GgufValue};
use crate::gguf_writer::GgufWriter;
use std::path::Path;

/// Metadata and tensors.
#[derive(Clone, Debug)]
pub(super) struct SmallGguf {
    pub pairs: Vec<(String, GgufValue)>,
    /// Names, shapes and values.
    pub tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

const TOKENS: [&str; 6] = ["a", "b", "ab", "<s>", "</s>", "\u{120}"];
const LAYERS: usize = 2;
const D_MODEL: usize = 8;
const D_FF: usize = 16;

impl SmallGguf {
    /// Two layers, two query heads of width 4 and one of keys and values, and a tokenizer of six tokens.
    pub fn new(architecture: &str) -> Self {
        let mut file = Self { pairs: Vec::new(), tensors: Vec::new() };
        let own = |name: &str| format!("{architecture}.{name}");
        file.set("general.architecture", GgufValue::String(architecture.to_owned()));
        for (name, value) in [
            ("block_count", LAYERS),
            ("embedding_length", D_MODEL),
            ("feed_forward_length", D_FF),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
            ("context_length", 32),
        ] {
            file.set(&own(name), GgufValue::U32(u32::try_from(value).unwrap()));
        }
        file.set(&own("attention.layer_norm_rms_epsilon"), GgufValue::F32(1e-5));
        let strings = |of: &[&str]| GgufArray::String(of.iter().map(|text| (*text).to_owned()).collect());
        file.set("tokenizer.ggml.model", GgufValue::String("gpt2".into()));
        file.set("tokenizer.ggml.pre", GgufValue::String("smollm".into()));
        file.set("tokenizer.ggml.tokens", GgufValue::Array(strings(&TOKENS)));
        file.set("tokenizer.ggml.token_type", GgufValue::Array(GgufArray::I32(vec![1, 1, 1, 3, 3, 1])));
        file.set("tokenizer.ggml.merges", GgufValue::Array(strings(&["a b"])));
        file.set("tokenizer.ggml.bos_token_id", GgufValue::U32(3));
        file.set("tokenizer.ggml.eos_token_id", GgufValue::U32(4));
        file.set("tokenizer.chat_template", GgufValue::String("{{ messages[0].content }}".into()));

        file.add("token_embd.weight", &[TOKENS.len(), D_MODEL]);
        file.add("output_norm.weight", &[D_MODEL]);
        for layer in 0..LAYERS {
            for (name, shape) in [
                ("attn_norm", &[D_MODEL][..]),
                ("attn_q", &[D_MODEL, D_MODEL]),
                ("attn_k", &[4, D_MODEL]),
                ("attn_v", &[4, D_MODEL]),
                ("attn_output", &[D_MODEL, D_MODEL]),
                ("ffn_norm", &[D_MODEL]),
                ("ffn_gate", &[D_FF, D_MODEL]),
                ("ffn_up", &[D_FF, D_MODEL]),
                ("ffn_down", &[D_MODEL, D_FF]),
            ] {
                file.add(&format!("blk.{layer}.{name}.weight"), shape);
            }
        }
        file
    }

    /// Sets a key, which may be there already.
    pub fn set(&mut self, key: &str, value: GgufValue) {
        match self.pairs.iter_mut().find(|(name, _)| name == key) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
    }

    /// Adds a tensor of small numbers.
    pub fn add(&mut self, name: &str, shape: &[usize]) {
        let values =
            (0..shape.iter().product::<usize>()).map(|i| f32::from(u8::try_from(i % 7).unwrap()) * 0.1 - 0.3).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), values));
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        let mut writer = GgufWriter::new();
        for (key, value) in &self.pairs {
            writer = writer.pair(key, value.clone());
        }
        for (name, shape, values) in &self.tensors {
            writer = writer.tensor_f32(name, shape.clone(), values);
        }
        writer.write(path);
    }
}
