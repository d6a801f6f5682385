//! Routers trained on a model that can count.

use super::{counting, counting_batch, counting_model, number, random_model};
use crate::controllers::{Ends, FullDepth, LinearRouter, MlpRouter, Routed, Router, RouterInput};
use crate::training::{
    DepthLoss, RouterTraining, StepPart, TrainingBatch, TrainingError, TrainingFolder, TrainingItem, parameters,
};
use crate::{ControlFrom, Controller, RunSettings, ScoreItem, ScoreOptions, score_batch};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dynlayer_model::Llama;

const FROM: ControlFrom = ControlFrom::LastPromptToken;

fn router() -> LinearRouter {
    LinearRouter::new([6, 32], 2.0, 0, &Device::flex())
}

fn training(steps: u64, depth: DepthLoss) -> RouterTraining {
    let mut training = RouterTraining::new(steps, 2e-2, depth);
    training.control_from = FROM;
    training
}

fn trained(training: &RouterTraining) -> Routed<LinearRouter> {
    let model = counting_model();
    training.run(model, router(), None, |at| counting_batch(model, at, 12), |_| {}).unwrap()
}

/// Mean NLL and depth by decoding.
fn measured(model: &Llama, controller: &mut impl Controller) -> (f64, f64) {
    let text = |item: TrainingItem| ScoreItem { prompt: item.prompt, continuation: item.answer };
    let texts: Vec<ScoreItem> = counting(1000, 20).into_iter().map(text).collect();
    let options =
        ScoreOptions { run: RunSettings { control_from: FROM, ..RunSettings::default() }, ..ScoreOptions::default() };
    let scores = score_batch(model, controller, &texts, &options).unwrap();
    let nll = scores.sequences.iter().map(|sequence| sequence.mean_nll().unwrap()).sum::<f64>() / 20.0;
    (nll, scores.report.mean_depth().unwrap())
}

fn weights<M: Module>(module: &M) -> Vec<u32> {
    parameters::values(module).unwrap().into_values().flat_map(|(_, x)| x).map(f32::to_bits).collect()
}

#[test]
fn a_price_of_0_keeps_quality_and_higher_prices_take_layers() {
    let model = counting_model();
    let (full, _) = measured(model, &mut FullDepth);
    let mut results = Vec::new();
    for alpha in [0.0, 0.05, 0.5, 5.0] {
        results.push(measured(model, &mut trained(&training(200, DepthLoss::Price { alpha }))));
    }
    let found = format!("full {full:.4}; {results:.4?}");
    assert!(results[0].0 < full + 0.02, "{found}");
    // Half a layer of noise.
    assert!(results.windows(2).all(|pair| pair[1].1 <= pair[0].1 + 0.5), "{found}");
    assert!(results[3].1 < results[0].1 - 2.0 && results[3].1 < 2.5, "{found}");
}

#[test]
fn a_budget_is_met() {
    for budget in [3.0, 4.5] {
        let training = training(80, DepthLoss::budget(budget));
        let (_, depth) = measured(counting_model(), &mut trained(&training));
        // Training counts sampled gates, and decoding rounds them.
        assert!((depth - budget).abs() < 0.75, "{depth} of {budget}");
    }
}

#[test]
fn what_is_trained_decides_without_noise() {
    let model = counting_model();
    let mut routed = trained(&training(5, DepthLoss::Price { alpha: 0.5 }));
    let first = measured(model, &mut routed);
    routed.set_step(77);
    assert_eq!(measured(model, &mut routed), first);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.safetensors");
    routed.save(&path).unwrap();
    assert_eq!(measured(model, &mut Routed::load(&path, &Device::flex()).unwrap()), first);
}

#[test]
fn two_parts_are_one_batch_of_both() {
    let model = counting_model();
    let both = training(3, DepthLoss::Price { alpha: 0.3 });
    let mut parts = both;
    parts.trainer.accumulation = 2;
    let halves = |at: StepPart| counting(at.step * 12 + at.part * 6, 6);
    let run = |training: &RouterTraining, items: &dyn Fn(StepPart) -> Vec<TrainingItem>| {
        let mut losses = Vec::new();
        let data = |at| TrainingBatch::new(model, items(at));
        let trained = training.run(model, router(), None, data, |r| losses.push((r.loss, r.gradient_norm))).unwrap();
        (losses, parameters::values(trained.router()).unwrap())
    };
    let (a, in_parts) = run(&parts, &halves);
    let (b, at_once) =
        run(&both, &|at| [halves(StepPart { part: 0, ..at }), halves(StepPart { part: 1, ..at })].concat());
    for (a, b) in a.iter().zip(&b) {
        assert!((a.0 - b.0).abs() < 1e-5 * b.0 && (a.1 - b.1).abs() < 1e-4 * b.1, "{a:?} {b:?}");
    }
    // AdamW divides a gradient by its own size, so that a weight with almost none follows its rounding; a hundredth of
    // what three steps can move.
    for (name, (_, values)) in &at_once {
        assert!(values.iter().zip(&in_parts[name].1).all(|(a, b)| (a - b).abs() < 6e-4), "{name}");
    }
}

#[test]
fn a_training_that_was_stopped_ends_where_it_would_have() {
    let model = counting_model();
    let mut training = training(9, DepthLoss::Price { alpha: 0.3 });
    training.trainer.checkpoint_every = 4;
    training.router.input = RouterInput::ShuffledHidden;
    training.temperature = crate::training::Temperature { first: 2.0, last: 0.5, steps: 9 };
    let folder = tempfile::tempdir().unwrap();
    let kept = Some(TrainingFolder { path: folder.path(), what: "counting" });
    let run = |folder: Option<TrainingFolder<'_>>, stop: u64| {
        let data = |at: StepPart| {
            if at.step == stop { Err(TrainingError::EmptyBatch) } else { counting_batch(model, at, 6) }
        };
        let mut steps = 0;
        let trained = training.run(model, router(), folder, data, |_| steps += 1);
        (trained.map(|trained| weights(trained.router())), steps)
    };
    let (whole, _) = run(None, 99);
    assert!(run(kept, 6).0.is_err());
    let (resumed, steps) = run(kept, 99);
    assert_eq!(steps, 5, "from the checkpoint after step 4");
    assert_eq!(resumed.unwrap(), whole.unwrap());
    // Another recipe in the same folder is refused.
    training.depth = DepthLoss::Price { alpha: 0.4 };
    let other = training.run(model, router(), kept, |at| counting_batch(model, at, 6), |_| {});
    assert!(matches!(other, Err(TrainingError::Checkpoint { .. })), "{other:?}");
}

#[test]
fn model_and_router_learn_together() {
    let model = random_model();
    let before = weights(&model);
    let mut training = training(40, DepthLoss::budget(4.0));
    training.trainer.rate.peak = 5e-3;
    let mut losses = Vec::new();
    let (tuned, mut routed) = training
        .run_jointly(model.clone(), router(), None, |at| counting_batch(&model, at, 12), |r| losses.push(r.loss))
        .unwrap();
    assert!(losses[39] < 0.5 * losses[0], "{losses:?}");
    assert_ne!(weights(&tuned), before);
    assert_ne!(weights(routed.router()), weights(&router()));
    assert!(measured(&tuned, &mut routed).0 < measured(&model, &mut FullDepth).0);
    // Alone, the router leaves the model as it is.
    training.run(&model, router(), None, |at| counting_batch(&model, at, 4), |_| {}).unwrap();
    assert_eq!(weights(&model), before);
}

#[test]
fn any_router_and_free_ends() {
    let model = counting_model();
    let mut training = training(120, DepthLoss::Price { alpha: 10.0 });
    (training.router.ends, training.trainer.rate.peak) = (Ends::Free, 5e-2);
    let mlp = MlpRouter::new([6, 32], 1.0, 0, &Device::flex());
    let mut layers = Vec::new();
    let data = |at| counting_batch(model, at, 6);
    let mut routed = training.run(model, mlp, None, data, |r| layers.push(r.metrics["layers"])).unwrap();
    // Two layers run if the ends are kept.
    assert!(measured(model, &mut routed).1 < 2.0, "{layers:?}");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let model = counting_model();
    let run = |training: RouterTraining, items: Vec<TrainingItem>| {
        let data = |_| TrainingBatch::new(model, items.clone());
        training.run(model, router(), None, data, |_| {}).map(|_| ()).unwrap_err()
    };
    let good = training(2, DepthLoss::Price { alpha: 0.1 });
    let mut default = good;
    default.control_from = ControlFrom::FirstGenerated;
    let short = vec![TrainingItem { id: 0, prompt: vec![1, 2], answer: vec![3] }];
    assert!(matches!(run(default, short), TrainingError::NoGates));
    for depth in [DepthLoss::Price { alpha: -1.0 }, DepthLoss::budget(1.0), DepthLoss::budget(f64::NAN)] {
        let error = run(RouterTraining { depth, ..good }, counting(0, 2));
        assert!(matches!(error, TrainingError::Option { .. }), "{error}");
    }
    let mut cold = good;
    cold.temperature.last = 0.0;
    assert!(matches!(run(cold, counting(0, 2)), TrainingError::Option { .. }));
    let wide = LinearRouter::new([6, 16], 0.0, 0, &Device::flex());
    let error = good.run(model, wide, None, |at| counting_batch(model, at, 2), |_| {}).unwrap_err();
    assert!(matches!(error, TrainingError::Pass(_) | TrainingError::Controller(_)), "{error}");
}

#[test]
fn open_gates_cost_the_whole_price_however_long_the_answers() {
    /// Runs everything, noise or not.
    #[derive(Module, Debug)]
    struct Open;
    impl Router for Open {
        fn logits(&self, _: usize, features: Tensor<3>) -> Tensor<2> {
            features.narrow(2, 0, 1).squeeze_dim::<2>(2) * 0.0 + 50.0
        }
    }
    let model = random_model();
    let batch = TrainingBatch::new(&model, super::any_items()).unwrap();
    let loss = training(1, DepthLoss::Price { alpha: 2.0 }).loss(&model, &Open, &batch, 0).unwrap();
    assert!((number(loss.layers) - 6.0).abs() < 1e-5);
    assert!((number(loss.total) - number(loss.cross_entropy) - 2.0).abs() < 1e-5);
}
