//! Tests of adapter tuning: what it learns, what it leaves alone, its gradients, and trainings that were stopped.

use super::super::pass::pass;
use super::super::teacher::Teacher;
use super::super::tests::{
    any_items, counting_batch, counting_model, model as model_of_four_layers, number, random_model, values, weights,
};
use super::super::{
    AdapterTuning, PassOptions, StepPart, TrainerOptions, TrainingBatch, TrainingError, TrainingFolder, TrainingItem,
};
use super::TunedDepth;
use crate::controllers::{ExitAfter, FullDepth};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::{Adapter, AdapterOptions, Llama, WeightDtype};

fn depths(texts: &[&str]) -> Vec<TunedDepth> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// An adapter whose factors are all random.
fn random_adapter(model: &Llama) -> Adapter {
    /// Numbers of the size 0.1, all different.
    struct Fill(f32);
    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                let (shape, n) = (tensor.dims(), tensor.dims().iter().product());
                let numbers: Vec<f32> = (0..n).map(|i| (self.0 + i as f32 * 0.7).sin() * 0.1).collect();
                self.0 += 1.3;
                Tensor::<1>::from_floats(numbers.as_slice(), &tensor.device()).reshape(shape)
            })
        }
    }
    let options = AdapterOptions { rank: 3, alpha: 6.0, ..AdapterOptions::default() };
    Adapter::new(model, &options).unwrap().map(&mut Fill(0.0))
}

#[test]
fn depths_are_text() {
    for text in ["full", "exit:10", "exit:6+10", "random:15"] {
        assert_eq!(text.parse::<TunedDepth>().unwrap().to_string(), text);
    }
    for text in ["", "exit", "exit:", "exit:6+", "exit:-1", "random:1+2", "skip:3", "full:1"] {
        assert!(text.parse::<TunedDepth>().unwrap_err().contains("expected full"), "{text}");
    }
}

/// The divergence of the kept tokens, with all others as one, from the definition, in `f64`.
#[test]
fn the_loss_is_the_divergence() {
    let model = random_model();
    let beside = model.adapted(&random_adapter(&model)).unwrap();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let logits = |model: &Llama, exit: usize| -> Vec<Vec<f64>> {
        let pass = pass(model, &mut ExitAfter(exit), &batch, PassOptions::default()).unwrap();
        let logits = values(pass.logits(model, &batch));
        logits.chunks_exact(64).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect()
    };
    let softmax = |logits: &[f64]| -> Vec<f64> {
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        logits.iter().map(|x| x.exp() / sum).collect()
    };
    for kept in [1, 5, 64, 1000] {
        let divergence = |exit: usize| {
            let rows = logits(&model, 6).into_iter().zip(logits(&beside, exit));
            let row = |(full, found): (Vec<f64>, Vec<f64>)| {
                let (p, q) = (softmax(&full), softmax(&found));
                let mut order: Vec<usize> = (0..64).collect();
                order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
                let kept = &order[..kept.min(64)];
                let sum: f64 = kept.iter().map(|i| p[*i] * (p[*i] / q[*i]).ln()).sum();
                let rest = |x: &[f64]| (1.0 - kept.iter().map(|i| x[*i]).sum::<f64>()).max(1e-6);
                sum + rest(&p) * (rest(&p) / rest(&q)).ln()
            };
            let divergences: Vec<f64> = rows.map(row).collect();
            divergences.iter().sum::<f64>() / divergences.len() as f64
        };
        let mut tuning = AdapterTuning::new(1, 1e-3, &depths(&["exit:2+5", "full"]));
        tuning.kept = kept;
        let mut teacher = Teacher::new(model.clone(), kept);
        for (step, expected) in [(0, f64::midpoint(divergence(2), divergence(5))), (1, divergence(6))] {
            let loss = number(tuning.loss(&beside, &mut teacher, &batch, step).unwrap().loss);
            assert!((loss - expected).abs() < 1e-5, "{kept} kept, step {step}: {loss} instead of {expected}");
        }
    }
}

/// Adds `by` times a direction to the factors.
struct Move(f32, f32);

impl ModuleMapper for Move {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let (shape, n) = (tensor.dims(), tensor.dims().iter().product());
            let numbers: Vec<f32> = (0..n).map(|i| self.0 * (self.1 + i as f32 * 1.1).cos()).collect();
            self.1 += 2.1;
            tensor.clone() + Tensor::<1>::from_floats(numbers.as_slice(), &tensor.device()).reshape(shape)
        })
    }
}

/// A loss of about 1 is exact to about 1e-6 in `f32`, so a slope from a difference over a step of 1e-3 to both sides is
/// exact to about 1e-3.
#[test]
fn gradients_are_slopes() {
    let model = random_model();
    let adapter = random_adapter(&model);
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let tuning = AdapterTuning::new(4, 1e-3, &depths(&["full", "exit:3", "exit:1+4", "random:3"]));
    let mut teacher = Teacher::new(model.clone(), 16);
    for step in 0..4 {
        let mut loss = |adapter: &Adapter| {
            let beside = model.adapted(adapter).unwrap();
            tuning.loss(&beside, &mut teacher, &batch, step).unwrap().loss
        };
        let trained = adapter.clone().train();
        let gradients = loss(&trained).backward();
        let mut along = 0.0;
        let mut phase = 0.0;
        for (_, product) in trained.products() {
            for factor in [product.a.val(), product.b.val()] {
                let n: usize = factor.dims().iter().product();
                let direction = (0..n).map(move |i| (phase + i as f32 * 1.1).cos());
                phase += 2.1;
                // Layers that did not run have no gradient.
                let Some(gradient) = factor.grad(&gradients) else { continue };
                along += values(gradient).iter().zip(direction).map(|(g, d)| f64::from(g * d)).sum::<f64>();
            }
        }
        let h = 1e-3;
        let moved = |by: f32| adapter.clone().map(&mut Move(by, 0.0));
        let slope = (number(loss(&moved(h))) - number(loss(&moved(-h)))) / (2.0 * f64::from(h));
        assert!((slope - along).abs() < 3e-3 * (1.0 + slope.abs()), "step {step}: {along} instead of {slope}");
    }
}

/// The work is the same but for the order of sums: a loss of about 1 and its gradients differ by rounding.
#[test]
fn prompts_that_begin_alike_give_the_same_loss_and_gradients_together() {
    let windowed = r#"{"model_type": "mistral", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
        "sliding_window": 4}"#;
    let windowed = LlamaConfig::from_hf_json(windowed, "a test").unwrap();
    let windowed = windowed.init(3, WeightDtype::F32, &Device::flex()).unwrap();
    for model in [random_model(), windowed] {
        let adapter = random_adapter(&model);
        let item = |id, end: &[u32], answer: &[u32]| TrainingItem {
            id,
            prompt: [&[5, 9, 2, 40, 11, 3, 8], end].concat(),
            answer: answer.to_vec(),
        };
        let items = vec![item(3, &[7, 1], &[61, 2, 9]), item(8, &[], &[30, 2]), item(4, &[55], &[3, 60, 5, 1])];
        let batch = TrainingBatch::new(&model, items).unwrap();
        let packed = batch.packed().unwrap();
        let tuning = AdapterTuning::new(3, 1e-3, &depths(&["full", "exit:1+3", "random:3"]));
        let found = |batch: &TrainingBatch, step| {
            let trained = adapter.clone().train();
            let beside = model.adapted(&trained).unwrap();
            let targets = Teacher::new(model.clone(), 16).targets(batch).unwrap();
            let loss = tuning.loss_at(&beside, &targets, batch, step).unwrap().loss;
            let gradients = loss.clone().backward();
            let factors = trained.products().flat_map(|(_, product)| [product.a.val(), product.b.val()]);
            let gradients = factors.filter_map(|factor| Some(values(factor.grad(&gradients)?)));
            (number(loss), gradients.flatten().collect::<Vec<f32>>())
        };
        for step in 0..3 {
            let ((loss, gradients), (other, others)) = (found(&batch, step), found(&packed, step));
            assert!((loss - other).abs() < 1e-5, "step {step}: {loss} {other}");
            assert_eq!(gradients.len(), others.len());
            let apart = gradients.iter().zip(&others).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "step {step}: gradients differ by {apart}");
        }
    }
}

/// A model that counts learns to count with one of its six layers, and its weights stay as they are.
#[test]
fn fewer_layers_say_what_all_say() {
    let model = counting_model();
    let before = weights(model);
    let adapter = Adapter::new(model, &AdapterOptions { rank: 4, alpha: 8.0, ..AdapterOptions::default() }).unwrap();
    let tuning = AdapterTuning::new(60, 1e-2, &depths(&["exit:1", "exit:1", "random:3", "full"]));
    let trained = tuning.run(model, adapter, None, |at| counting_batch(model, at, 16), |_| {}).unwrap();
    assert_eq!(weights(model), before);
    let beside = model.adapted(&trained).unwrap();
    assert_eq!(weights(&beside.without_adapter()), before);
    let batch = counting_batch(model, StepPart { step: 1000, part: 0 }, 40).unwrap();
    let agreement = |model: &Llama, exit: usize| {
        let targets = Teacher::new(counting_model().clone(), 8).targets(&batch).unwrap();
        let pass = pass(model, &mut ExitAfter(exit), &batch, PassOptions::default()).unwrap();
        number(targets.divergence(pass.logits(model, &batch)).1)
    };
    let [untrained, exit, full] = [agreement(model, 1), agreement(&beside, 1), agreement(&beside, 6)];
    assert!(untrained < 0.8 && exit > 0.95 && full > 0.98, "{untrained} {exit} {full}");
}

#[test]
fn a_new_adapter_changes_nothing() {
    let model = random_model();
    let adapter = Adapter::new(&model, &AdapterOptions::default()).unwrap();
    let beside = model.adapted(&adapter).unwrap();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let bits = |model: &Llama| -> Vec<u32> {
        let pass = pass(model, &mut FullDepth, &batch, PassOptions::default()).unwrap();
        values(pass.logits(model, &batch)).into_iter().map(f32::to_bits).collect()
    };
    assert_eq!(bits(&beside), bits(&model));
    assert_eq!(weights(&beside.merged()), weights(&model));
    // Also with factors that gradients reach, as in the middle of a training.
    let trained = model.adapted(&adapter.clone().train()).unwrap();
    assert_eq!(weights(&trained.merged()), weights(&model));
    // The scale is part of what the model is.
    let other = Adapter::new(&model, &AdapterOptions { alpha: 8.0, ..AdapterOptions::default() }).unwrap();
    let digest = |model: &Llama| model.weights_digest().unwrap();
    assert_ne!(digest(&model.adapted(&other).unwrap()), digest(&beside));
    assert_eq!(digest(&beside.without_adapter()), digest(&model));
}

#[test]
fn a_training_that_was_stopped_ends_as_one_that_was_not() {
    let model = random_model();
    let adapter = || Adapter::new(&model, &AdapterOptions { rank: 2, ..AdapterOptions::default() }).unwrap();
    let mut tuning = AdapterTuning::new(7, 1e-2, &depths(&["exit:2+4", "random:3", "full"]));
    tuning.trainer = TrainerOptions { checkpoint_every: 2, ..tuning.trainer };
    tuning.dropout = 0.3;
    // Other items in each step, so that a training that continues meets some of them for the first time.
    let data = |at: StepPart| {
        let all = any_items();
        let pick = |i: u64| all[usize::try_from((at.step + i) % 3).unwrap()].clone();
        TrainingBatch::new(&model, vec![pick(0), pick(1 + at.step / 3 % 2)])
    };
    let undisturbed = tuning.run(&model, adapter(), None, data, |_| {}).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let of = || Some(TrainingFolder { path: folder.path(), what: "a test" });
    for stop in [1, 3, 6] {
        let mut trainer = tuning.start(&model, adapter(), of(), data).unwrap();
        while trainer.steps_done() < stop {
            trainer.step(data).unwrap();
        }
    }
    let stopped = tuning.run(&model, adapter(), of(), data, |_| {}).unwrap();
    assert!(weights(&stopped) == weights(&undisturbed));
    // The checkpoint holds the adapter, not the model.
    let size = std::fs::metadata(folder.path().join("checkpoint.safetensors")).unwrap().len();
    assert!(size < 4 * 4 * undisturbed.num_params() as u64 + 40_000, "{size}");
    // Another scale or other layers are another training, though all first factors are the same.
    for options in [
        AdapterOptions { rank: 2, alpha: 8.0, ..AdapterOptions::default() },
        AdapterOptions { rank: 2, layers: Some([0, 1, 2, 3, 4].into()), ..AdapterOptions::default() },
    ] {
        let other = Adapter::new(&model, &options).unwrap();
        let error = tuning.start(&model, other, of(), data).unwrap_err();
        assert!(matches!(error, TrainingError::OtherTraining { .. }), "{error}");
    }
    tuning.depths.push(TunedDepth::Full);
    let error = tuning.start(&model, adapter(), of(), data).unwrap_err();
    assert!(matches!(&error, TrainingError::OtherTraining { setting, .. } if setting.contains("depths")), "{error}");
}

#[test]
fn unusable_options_are_refused() {
    let model = random_model();
    let data = |_: StepPart| TrainingBatch::new(&model, any_items());
    let adapter = Adapter::new(&model, &AdapterOptions::default()).unwrap();
    for texts in [&[][..], &["exit:0"], &["exit:7"], &["exit:2+7"], &["random:1"], &["random:7"]] {
        let tuning = AdapterTuning::new(1, 1e-3, &depths(texts));
        let error = tuning.start(&model, adapter.clone(), None, data).unwrap_err();
        assert!(matches!(error, TrainingError::Option { .. }), "{texts:?}: {error}");
    }
    for dropout in [1.0, -0.1, f64::NAN] {
        let tuning = AdapterTuning { dropout, ..AdapterTuning::new(1, 1e-3, &depths(&["exit:2"])) };
        assert!(matches!(tuning.start(&model, adapter.clone(), None, data), Err(TrainingError::Option { .. })));
    }
    let other = model_of_four_layers(&Device::flex());
    let tuning = AdapterTuning::new(1, 1e-3, &depths(&["full"]));
    let error = tuning.start(&other, adapter, None, data).unwrap_err();
    assert!(matches!(&error, TrainingError::Adapter(error) if error.to_string().contains("layers.")), "{error}");
    let options = |change: fn(&mut AdapterOptions)| {
        let mut options = AdapterOptions::default();
        change(&mut options);
        Adapter::new(&model, &options).unwrap_err().to_string()
    };
    assert_eq!(options(|options| options.rank = 0), "the rank is 0; expected at least 1");
    assert_eq!(options(|options| options.layers = Some([6].into())), "a layer is 6; expected a number below 6");
    assert!(options(|options| options.targets = ["w1".into()].into()).starts_with("a target is w1; expected q_proj, "));
    assert!(options(|options| options.alpha = f32::NAN).starts_with("alpha is NaN"));
    assert!(options(|options| options.targets.clear()).contains("adapted maps is 0"));
}
