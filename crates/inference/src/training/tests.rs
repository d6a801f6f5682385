//! Models and data for the tests of training.

use super::{
    AdamWOptions, PassOptions, StepLoss, StepPart, Trainer, TrainerOptions, TrainingBatch, TrainingError, TrainingItem,
    pass,
};
use crate::conformance::small_model;
use crate::controllers::FullDepth;
use crate::parameters;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::{Llama, WeightDtype};
use std::sync::OnceLock;

pub(super) fn config() -> LlamaConfig {
    let json = r#"{"model_type": "llama", "vocab_size": 30, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}"#;
    LlamaConfig::from_hf_json(json, "a test").unwrap()
}

pub(super) fn model(device: &Device) -> Llama {
    config().init(3, WeightDtype::F32, device).unwrap()
}

pub(super) fn item(id: u64, prompt: &[u32], answer: &[u32]) -> TrainingItem {
    TrainingItem { id, prompt: prompt.to_vec(), answer: answer.to_vec() }
}

/// Items of different lengths.
pub(super) fn items() -> Vec<TrainingItem> {
    vec![item(4, &[1, 2, 3, 4, 5], &[6, 7, 8]), item(9, &[10, 11], &[12]), item(2, &[20], &[21, 22, 23, 24])]
}

pub(super) fn batch(model: &Llama) -> TrainingBatch {
    TrainingBatch::new(model, items()).unwrap()
}

pub(super) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec_as::<f32>().unwrap()
}

pub(super) fn number(x: Tensor<1>) -> f64 {
    f64::from(values(x)[0])
}

pub(super) fn random_model() -> Llama {
    small_model(&Device::flex()).unwrap()
}

/// Items of several lengths for the random model.
pub(super) fn any_items() -> Vec<TrainingItem> {
    vec![
        TrainingItem { id: 3, prompt: vec![5, 9, 2, 40], answer: vec![7, 7, 61] },
        TrainingItem { id: 8, prompt: vec![1], answer: vec![30, 2, 11, 4, 50] },
        TrainingItem { id: 4, prompt: vec![13, 21, 34, 55, 8, 17], answer: vec![3, 60] },
    ]
}

/// Items that count up: the prompt is `a a+1 a+2` and the answer `a+3 a+4 a+5`, modulo 20.
pub(super) fn counting(first: u64, n: u64) -> Vec<TrainingItem> {
    let item = |id: u64| {
        let number = |i: u64| u32::try_from((id * 7 + i) % 20).unwrap();
        TrainingItem { id, prompt: (0..3).map(number).collect(), answer: (3..6).map(number).collect() }
    };
    (first..first + n).map(item).collect()
}

pub(super) fn counting_batch(model: &Llama, at: StepPart, n: u64) -> Result<TrainingBatch, TrainingError> {
    TrainingBatch::new(model, counting((at.step + (at.part << 20)) * n, n))
}

/// A model of six layers that can count, for which it needs only a few of them.
pub(super) fn counting_model() -> &'static Llama {
    static MODEL: OnceLock<Llama> = OnceLock::new();
    MODEL.get_or_init(|| {
        let mut options = TrainerOptions::new(80, 5e-3);
        options.adamw = AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() };
        let loss = |model: &Llama, at: StepPart| {
            let batch = counting_batch(model, at, 16)?;
            let pass = pass(model, &mut FullDepth, &batch, PassOptions::default())?;
            Ok(StepLoss { loss: pass.cross_entropy(model, &batch), metrics: Vec::new() })
        };
        let mut last = f64::NAN;
        let model = Trainer::new(random_model().train(), options).unwrap().run(loss, |report| last = report.loss);
        assert!(last < 0.1, "the model did not learn to count: {last}");
        model.unwrap().valid()
    })
}

/// The bits of a module's weights.
pub(super) fn weights<M: Module>(module: &M) -> Vec<u32> {
    parameters::values(module).unwrap().into_values().flat_map(|(_, x)| x).map(f32::to_bits).collect()
}
