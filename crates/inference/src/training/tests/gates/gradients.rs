//! Gradients against differences, at fixed noise.
//!
//! Everything is `f32`: a loss of about 4 is exact to about 1e-6, so a difference over a step `h` to both sides to about
//! 1e-6 / h; what it leaves out of the function's curvature is of the order of h². With h = 0.02 both are far below the
//! tolerance, a hundredth of the gradient's norm, which is between 0.05 and 1. Differences are taken along directions, not
//! weight by weight, so that they are large against the rounding: along the gradient, where the slope is its norm, and along
//! a direction that has nothing to do with it.

use super::{any_items, number, random_model, values};
use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};
use crate::controllers::{LinearRouter, MlpRouter, Routed, Router, RouterInput, RouterOptions};
use crate::training::parameters::{self, Place, Values};
use crate::training::{
    DepthLoss, PassOptions, RouterTraining, Temperature, TrainingBatch, TrainingPass, cross_entropy, pass,
};
use crate::{ControlFrom, controller_fn};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

const FROM: ControlFrom = ControlFrom::LastPromptToken;
const STEP: f32 = 0.02;

/// The router's gates before they are rounded.
struct Soft<R>(Routed<R>);

impl<R: Router> Controller for Soft<R> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if self.0.options().ends.keeps(site.layer(), site.n_layers()) {
            return Action::Run.into();
        }
        Decision::Gate(self.0.soft_gate(site).unwrap())
    }

    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        self.0.begin(batch)
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

/// Gradients by the weights' names.
fn gradients<M: Module>(module: &M, loss: &Tensor<1>) -> BTreeMap<String, Vec<f32>> {
    struct Visitor {
        place: Place,
        gradients: GradientsParams,
        found: BTreeMap<String, Vec<f32>>,
    }
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.place.enter(name);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.leave();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                self.found.insert(self.place.name(), values(gradient));
            }
        }
    }
    let gradients = GradientsParams::from_grads(loss.backward(), module);
    let mut visitor = Visitor { place: Place::default(), gradients, found: BTreeMap::new() };
    module.visit(&mut visitor);
    visitor.found
}

fn norm(direction: &BTreeMap<String, Vec<f32>>) -> f64 {
    direction.values().flatten().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

fn moved<M: Module>(module: &M, direction: &BTreeMap<String, Vec<f32>>, by: f64) -> M {
    let mut weights: BTreeMap<String, Values> = parameters::values(module).unwrap();
    for (name, direction) in direction {
        for (weight, d) in weights.get_mut(name).unwrap().1.iter_mut().zip(direction) {
            *weight += (by * f64::from(*d)) as f32;
        }
    }
    parameters::restore(module.clone(), weights, Path::new("moved")).unwrap()
}

/// Compares the slope along two directions.
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
        // What these see does not depend on gates, so the gradient is that of the whole function.
        let linear = LinearRouter::new([6, 32], 0.4, 0, &device);
        let mlp = MlpRouter::new([6, 32], 0.4, 0, &device);
        check("embedding", &linear, "", |r| soft_loss(r, RouterInput::Embedding, depth));
        check("constant", &linear, "", |r| soft_loss(r, RouterInput::Constant, depth));
        check("position", &mlp, "", |r| soft_loss(r, RouterInput::Position, depth));
        // States depend on the gates before them, and what a router sees is detached. Nothing later sees the last gate.
        check("hidden", &linear, "layers.4.", |r| soft_loss(r, RouterInput::Hidden, depth));
    }
}

/// Gates as leaves.
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
    check("cross-entropy", &gates, "", |gates| cross_entropy(&model, &gates.pass(&batch).hidden, &batch));
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
    let found = gradients(&router, &training.loss(&model, &router, &batch, 5).unwrap().total);

    // How the loss depends on the gates, at their hard values.
    let (soft, _) = soft_pass(&router, RouterInput::Embedding);
    let hard = soft.gates.iter().map(|gate| gate.gate.clone().detach().greater_elem(0.5).float());
    let hard = Gates { layers: hard.map(Param::from_tensor).collect() };
    let all: Vec<f32> = hard.layers.iter().flat_map(|gate| values(gate.val())).collect();
    assert!(all.iter().all(|gate| [0.0, 1.0].contains(gate)) && all.contains(&0.0));
    let pass = hard.pass(&batch);
    let loss = pass.cross_entropy(&model, &batch) + training.depth.loss(&pass, &batch, FROM).unwrap();
    let total = number(training.loss(&model, &router, &batch, 5).unwrap().total);
    assert!((number(loss.clone()) - total).abs() < 1e-5);
    let of_gates = gradients(&hard, &loss);
    // Times how the soft gates depend on the router.
    let products = soft.gates.iter().enumerate().map(|(i, soft)| {
        let slope = Tensor::<1>::from_floats(of_gates[&format!("layers.{i}")].as_slice(), &device);
        (soft.gate.clone() * slope.reshape(soft.gate.dims())).sum()
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
