//! Backbones: what a training pass computes, what a step does, and that a training goes on as if nothing had happened.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers in tests")]

mod adamw;
mod batches;
mod early_exit;
mod gates;
mod passes;
mod resume;

use super::{TrainingBatch, TrainingItem};
use burn::tensor::{Device, Tensor};
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::{Llama, WeightDtype};

fn config() -> LlamaConfig {
    let json = r#"{"model_type": "llama", "vocab_size": 30, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}"#;
    LlamaConfig::from_hf_json(json, "a test").unwrap()
}

fn model(device: &Device) -> Llama {
    config().init(3, WeightDtype::F32, device).unwrap()
}

fn item(id: u64, prompt: &[u32], answer: &[u32]) -> TrainingItem {
    TrainingItem { id, prompt: prompt.to_vec(), answer: answer.to_vec() }
}

/// Items of different lengths.
fn items() -> Vec<TrainingItem> {
    vec![item(4, &[1, 2, 3, 4, 5], &[6, 7, 8]), item(9, &[10, 11], &[12]), item(2, &[20], &[21, 22, 23, 24])]
}

fn batch(model: &Llama) -> TrainingBatch {
    TrainingBatch::new(model, items()).unwrap()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec_as::<f32>().unwrap()
}
