//! Gates: their gradients, their passes against decoding, routers, layers that are trained away, the study.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "small numbers in tests, compared exactly on purpose"
)]

mod gradients;
mod passes;
mod routers;
mod skipping;
mod studies;

use super::super::{
    AdamWOptions, PassOptions, StepLoss, StepPart, Trainer, TrainerOptions, TrainingBatch, TrainingError, TrainingItem,
    pass,
};
use crate::conformance::small_model;
use crate::controllers::FullDepth;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dynlayer_model::Llama;
use std::sync::OnceLock;

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec_as::<f32>().unwrap()
}

fn number(x: Tensor<1>) -> f64 {
    f64::from(values(x)[0])
}

fn random_model() -> Llama {
    small_model(&Device::flex()).unwrap()
}

/// Items of several lengths, of no meaning.
fn any_items() -> Vec<TrainingItem> {
    vec![
        TrainingItem { id: 3, prompt: vec![5, 9, 2, 40], answer: vec![7, 7, 61] },
        TrainingItem { id: 8, prompt: vec![1], answer: vec![30, 2, 11, 4, 50] },
        TrainingItem { id: 4, prompt: vec![13, 21, 34, 55, 8, 17], answer: vec![3, 60] },
    ]
}

/// Numbers that count up: `a a+1 a+2` goes on with `a+3 a+4 a+5`, modulo 20.
fn counting(first: u64, n: u64) -> Vec<TrainingItem> {
    let item = |id: u64| {
        let number = |i: u64| ((id * 7 + i) % 20) as u32;
        TrainingItem { id, prompt: (0..3).map(number).collect(), answer: (3..6).map(number).collect() }
    };
    (first..first + n).map(item).collect()
}

fn counting_batch(model: &Llama, at: StepPart, n: u64) -> Result<TrainingBatch, TrainingError> {
    TrainingBatch::new(model, counting((at.step + (at.part << 20)) * n, n))
}

/// A model of six layers that can count, which needs few of them.
fn counting_model() -> &'static Llama {
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
