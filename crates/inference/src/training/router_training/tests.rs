//! Tests of router training on a model that can count, and of gradients against differences at fixed noise.
//!
//! Everything is `f32`: a loss of about 4 is exact to about 1e-6, so a slope from a difference over a step `h` to both
//! sides is exact to about 1e-6 / h. The function's curvature adds an error of the order of h². With h = 0.02 both
//! errors are far below the tolerance, a hundredth of the gradient's norm, which is between 0.05 and 1. Differences are
//! taken along directions, not weight by weight, so that they are large against the rounding: along the gradient, where
//! the slope is its norm, and along an unrelated direction.
#![allow(clippy::cast_possible_truncation, clippy::float_cmp, reason = "small numbers, compared exactly on purpose")]

use super::super::tests::{any_items, counting, counting_batch, counting_model, number, random_model, values, weights};
use super::super::weights::restore;
use super::super::{
    DepthLoss, PassOptions, RouterTraining, StepLoss, StepPart, Temperature, TrainingBatch, TrainingError,
    TrainingFolder, TrainingItem, TrainingPass, pass,
};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
use crate::controllers::{Ends, FullDepth, LinearRouter, MlpRouter, Routed, Router, RouterInput, RouterOptions};
use crate::parameters::{self, VisitNamed, visit};
use crate::{ControlFrom, RunSettings, ScoreItem, ScoreOptions, controller_fn, score_batch};
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dynlayer_model::{Llama, WeightDtype};
use std::collections::BTreeMap;
use std::path::Path;

const FROM: ControlFrom = ControlFrom::LastPromptToken;
const STEP: f32 = 0.02;

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

/// The mean negative log-likelihood and the mean depth in decoding.
fn measured(model: &Llama, controller: &mut impl Controller) -> (f64, f64) {
    let text = |item: TrainingItem| ScoreItem { prompt: item.prompt, continuation: item.answer };
    let texts: Vec<ScoreItem> = counting(1000, 20).into_iter().map(text).collect();
    let options =
        ScoreOptions { run: RunSettings { control_from: FROM, ..RunSettings::default() }, ..ScoreOptions::default() };
    let scores = score_batch(model, controller, &texts, &options).unwrap();
    let nll = scores.sequences.iter().map(|sequence| sequence.mean_nll().unwrap()).sum::<f64>() / 20.0;
    (nll, scores.report.mean_depth().unwrap())
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
    // Noise may add up to half a layer.
    assert!(results.windows(2).all(|pair| pair[1].1 <= pair[0].1 + 0.5), "{found}");
    assert!(results[3].1 < results[0].1 - 2.0 && results[3].1 < 3.0, "{found}");
}

#[test]
fn a_budget_is_met() {
    for budget in [3.0, 4.5] {
        let training = training(80, DepthLoss::budget(budget));
        let (_, depth) = measured(counting_model(), &mut trained(&training));
        // Training counts sampled gates, while decoding compares probabilities with a threshold.
        assert!((depth - budget).abs() < 0.75, "{depth} of {budget}");
    }
}

#[test]
fn trained_routers_decide_without_noise() {
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
fn a_quantised_model_stays_and_only_the_router_learns() {
    // 48 wide matrices are kept in f16.
    let quantised = random_model().config().init(11, WeightDtype::Q8, &Device::flex()).unwrap();
    let training = training(3, DepthLoss::Price { alpha: 0.5 });
    let data = |at: StepPart| TrainingBatch::new(&quantised, counting(at.step * 4, 4));
    let start = weights(&router());
    let trained = training.run(&quantised, router(), None, data, |_| {}).unwrap();
    assert_ne!(weights(trained.router()), start);
    let error = training.run_jointly(quantised.clone(), router(), None, data, |_| {}).map(drop).unwrap_err();
    let TrainingError::Quantised { weight } = &error else { panic!("{error}") };
    assert_eq!(weight, "model.embed_tokens");
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
    // AdamW divides a gradient by its own size, so a weight with almost no gradient follows the rounding. The tolerance
    // is a hundredth of the distance that three steps can move a weight.
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
    training.temperature = Temperature { first: 2.0, last: 0.5, steps: 9 };
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
    // Other options, data, models and routers are refused by name, and leave the checkpoint as it is.
    let checkpoint = std::fs::read(folder.path().join("checkpoint.safetensors")).unwrap();
    let differs = |training: &RouterTraining, model: &Llama, bias, items| {
        let router = LinearRouter::new([6, 32], bias, 0, &Device::flex());
        match training.run(model, router, kept, |at| counting_batch(model, at, items), |_| {}) {
            Err(TrainingError::OtherTraining { setting, .. }) => setting,
            other => panic!("{other:?}"),
        }
    };
    let price = RouterTraining { depth: DepthLoss::Price { alpha: 0.4 }, ..training };
    let seed = RouterTraining { seed: 1, ..training };
    assert!(differs(&price, model, 2.0, 6).starts_with("options.depth"));
    assert_eq!(differs(&seed, model, 2.0, 6), "options.seed");
    assert_eq!(differs(&training, model, 2.0, 7), "the first batch");
    assert_eq!(differs(&training, &random_model(), 2.0, 6), "the model's weights");
    assert_eq!(differs(&training, model, 1.0, 6), "the first weights");
    assert_eq!(std::fs::read(folder.path().join("checkpoint.safetensors")).unwrap(), checkpoint);
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
    // Training the router alone leaves the model unchanged.
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
    // If the ends were kept, at least two layers would run.
    assert!(measured(model, &mut routed).1 < 2.0, "{layers:?}");
}

#[test]
fn invalid_trainings_are_refused() {
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
    /// A router that runs every layer, whatever the noise.
    #[derive(Module, Debug)]
    struct Open;
    impl Router for Open {
        fn logits(&self, _: usize, features: Tensor<3>) -> Tensor<2> {
            features.narrow(2, 0, 1).squeeze_dim::<2>(2) * 0.0 + 50.0
        }
    }
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let StepLoss { loss, metrics } =
        training(1, DepthLoss::Price { alpha: 2.0 }).loss(&model, &Open, &batch, 0).unwrap();
    let [(_, cross_entropy), (_, layers)] = metrics.as_slice() else { panic!("{metrics:?}") };
    assert!((layers - 6.0).abs() < 1e-5);
    assert!((number(loss) - cross_entropy - 2.0).abs() < 1e-5);
}

/// A controller that answers with a router's gates before they are rounded.
struct Soft<R>(Routed<R>);

impl<R: Router> Controller for Soft<R> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        if self.0.options().ends.keeps(site.layer(), site.n_layers()) {
            return Ok(Action::Run.into());
        }
        Ok(Decision::Gate(self.0.soft_gate(site)?))
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.0.on(event)
    }
}

fn soft_pass<R: Router>(router: &R, input: RouterInput) -> (TrainingPass, TrainingBatch) {
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let options = RouterOptions { input, temperature: 0.8, ..RouterOptions::default() };
    let mut controller = Routed::new(router.clone(), options);
    controller.set_step(5);
    let options = PassOptions { control_from: FROM, keep_states: false, seed: 1 };
    (pass(&model, &mut Soft(controller), &batch, options).unwrap(), batch)
}

fn soft_loss<R: Router>(router: &R, input: RouterInput, depth: DepthLoss) -> Tensor<1> {
    let (pass, batch) = soft_pass(router, input);
    pass.cross_entropy(&random_model(), &batch) + depth.loss(&pass, &batch, FROM).unwrap()
}

/// The gradients of a module, by the names of its weights.
fn gradients<M: Module>(module: &M, loss: &Tensor<1>) -> BTreeMap<String, Vec<f32>> {
    struct Visitor {
        gradients: GradientsParams,
        found: BTreeMap<String, Vec<f32>>,
    }
    impl VisitNamed for Visitor {
        fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                self.found.insert(name, values(gradient));
            }
        }
    }
    let gradients = GradientsParams::from_grads(loss.backward(), module);
    let mut visitor = Visitor { gradients, found: BTreeMap::new() };
    visit(module, &mut visitor);
    visitor.found
}

fn norm(direction: &BTreeMap<String, Vec<f32>>) -> f64 {
    direction.values().flatten().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

fn moved<M: Module>(module: &M, direction: &BTreeMap<String, Vec<f32>>, by: f64) -> M {
    let mut weights = parameters::values(module).unwrap();
    for (name, direction) in direction {
        for (weight, d) in weights.get_mut(name).unwrap().1.iter_mut().zip(direction) {
            *weight += (by * f64::from(*d)) as f32;
        }
    }
    restore(module.clone(), weights, Path::new("moved")).unwrap()
}

/// Compares the gradient with differences along two directions.
fn check<M: Module>(name: &str, module: &M, only: &str, loss: impl Fn(&M) -> Tensor<1>) {
    let mut gradient = gradients(module, &loss(module));
    gradient.retain(|name, _| name.starts_with(only));
    let length = norm(&gradient);
    assert!(length > 0.03, "{name}: a gradient of {length} is no test");
    let mut other = gradient.clone();
    for (i, x) in other.values_mut().flatten().enumerate() {
        *x = ((i * i) as f32 * 0.7).sin();
    }
    for direction in [&gradient, &other] {
        let h = f64::from(STEP) / norm(direction);
        let difference = number(loss(&moved(module, direction, h))) - number(loss(&moved(module, direction, -h)));
        let found = difference / (2.0 * f64::from(STEP));
        let dot = |(name, direction): (&String, &Vec<f32>)| -> f64 {
            gradient[name].iter().zip(direction).map(|(g, d)| f64::from(g * d)).sum()
        };
        let expected = direction.iter().map(dot).sum::<f64>() / norm(direction);
        assert!((found - expected).abs() < 0.01 * length, "{name}: {found} {expected}, norm {length}");
    }
}

#[test]
fn routers_and_the_cost_of_depth_against_differences() {
    let device = Device::flex().autodiff();
    let (price, budget) = (DepthLoss::Price { alpha: 0.5 }, DepthLoss::budget(3.0));
    for depth in [price, budget] {
        // These inputs do not depend on gates, so the gradient is that of the whole function.
        let linear = LinearRouter::new([6, 32], 0.4, 0, &device);
        let mlp = MlpRouter::new([6, 32], 0.4, 0, &device);
        check("embedding", &linear, "", |r| soft_loss(r, RouterInput::Embedding, depth));
        check("constant", &linear, "", |r| soft_loss(r, RouterInput::Constant, depth));
        check("position", &mlp, "", |r| soft_loss(r, RouterInput::Position, depth));
        // Hidden states depend on earlier gates, and a router's input is detached, so the gradient is that of the whole
        // function only for the last gate, which no later router sees.
        check("hidden", &linear, "layers.4.", |r| soft_loss(r, RouterInput::Hidden, depth));
    }
}

/// Gates that are parameters, so that the loss has gradients with respect to them.
#[derive(Module, Debug)]
struct Gates {
    layers: Vec<Param<Tensor<2>>>,
}

impl Gates {
    fn pass(&self, batch: &TrainingBatch) -> TrainingPass {
        let mut controller = controller_fn(|site: &Site<'_>| match site.layer() {
            0 | 5 => Action::Run.into(),
            layer => Decision::Gate(self.layers[layer - 1].val()),
        });
        let options = PassOptions { control_from: FROM, keep_states: false, seed: 0 };
        pass(&random_model(), &mut controller, batch, options).unwrap()
    }
}

#[test]
fn gates_against_differences() {
    let device = Device::flex().autodiff();
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let [rows, width] = [batch.items().len(), batch.width()];
    let gate = |layer: usize| {
        let values: Vec<f32> = (0..rows * width).map(|i| 0.5 + 0.4 * ((i + 31 * layer) as f32 * 1.3).sin()).collect();
        Param::from_tensor(Tensor::<1>::from_floats(values.as_slice(), &device).reshape([rows, width]))
    };
    let gates = Gates { layers: (1..5).map(gate).collect() };
    check("cross-entropy", &gates, "", |gates| gates.pass(&batch).cross_entropy(&model, &batch));
    check("open gates", &gates, "", |gates| {
        DepthLoss::Price { alpha: 1.0 }.loss(&gates.pass(&batch), &batch, FROM).unwrap()
    });
}

#[test]
fn straight_through_is_the_soft_gradient_at_the_hard_values() {
    let device = Device::flex().autodiff();
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let router = LinearRouter::new([6, 32], 0.4, 0, &device);
    let mut training = RouterTraining::new(1, 1.0, DepthLoss::Price { alpha: 0.5 });
    training.router.input = RouterInput::Embedding;
    training.temperature = Temperature { first: 0.8, last: 0.8, steps: 1 };
    (training.control_from, training.seed) = (FROM, 1);
    let found = gradients(&router, &training.loss(&model, &router, &batch, 5).unwrap().loss);

    // The gradient of the loss with respect to the gates, at their hard values.
    let (soft, _) = soft_pass(&router, RouterInput::Embedding);
    let hard = soft.gates.iter().map(|(_, gate)| gate.clone().detach().greater_elem(0.5).float());
    let hard = Gates { layers: hard.map(Param::from_tensor).collect() };
    let all: Vec<f32> = hard.layers.iter().flat_map(|gate| values(gate.val())).collect();
    assert!(all.iter().all(|gate| [0.0, 1.0].contains(gate)) && all.contains(&0.0));
    let pass = hard.pass(&batch);
    let loss = pass.cross_entropy(&model, &batch) + training.depth.loss(&pass, &batch, FROM).unwrap();
    let total = number(training.loss(&model, &router, &batch, 5).unwrap().loss);
    assert!((number(loss.clone()) - total).abs() < 1e-5);
    let gate_gradients = gradients(&hard, &loss);
    // This is multiplied by the gradient of the soft gates with respect to the router's weights.
    let products = soft.gates.iter().enumerate().map(|(i, (_, soft))| {
        let slope = Tensor::<1>::from_floats(gate_gradients[&format!("layers.{i}")].as_slice(), &device);
        (soft.clone() * slope.reshape(soft.dims())).sum()
    });
    let expected = gradients(&router, &Tensor::cat(products.collect(), 0).sum());

    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let largest = norm(&expected);
    assert!(largest > 0.03, "{largest}");
    for (name, expected) in &expected {
        for (found, expected) in found[name].iter().zip(expected) {
            assert!(f64::from((found - expected).abs()) < 1e-5 * largest, "{name}: {found} {expected}");
        }
    }
}
