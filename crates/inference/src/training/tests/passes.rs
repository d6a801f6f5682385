//! A training pass against stepping through the same text, and its gradients against differences.

use super::super::{LayerDropout, PassOptions, TrainingBatch, cross_entropy, pass};
use super::{batch, items, model, values};
use crate::controllers::{ExitAfter, FullDepth, SkipLayers};
use crate::{Controller, RunSettings, ScoreItem, ScoreOptions, score_batch};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};

/// Mean negative log-likelihood of all labels, token by token, as decoding runs.
fn stepped<C: Controller>(controller: C) -> f64 {
    let model = model(&Device::flex());
    let items: Vec<ScoreItem> =
        items().into_iter().map(|item| ScoreItem { prompt: item.prompt, continuation: item.answer }).collect();
    let options = ScoreOptions {
        run: RunSettings { control_from: crate::ControlFrom::All, ..RunSettings::default() },
        ..ScoreOptions::default()
    };
    let scores = score_batch(&model, controller, &items, &options).unwrap();
    let tokens: Vec<f64> = scores.sequences.iter().flat_map(|s| s.tokens.iter().map(|t| -t.log_probability)).collect();
    tokens.iter().sum::<f64>() / tokens.len() as f64
}

fn at_once<C: Controller>(mut controller: C, device: &Device) -> f64 {
    let model = model(device);
    let batch = batch(&model);
    let pass = pass(&model, &mut controller, &batch, PassOptions::default()).unwrap();
    f64::from(values(pass.cross_entropy(&model, &batch))[0])
}

#[test]
fn one_pass_over_whole_texts_gives_what_stepping_gives() {
    // f32, another order of summation: 1e-5 of losses of about 4 nats.
    for device in [Device::flex(), Device::flex().autodiff()] {
        assert!((at_once(FullDepth, &device) - stepped(FullDepth)).abs() < 4e-5);
        let skip = || SkipLayers::new([1, 2]);
        assert!((at_once(skip(), &device) - stepped(skip())).abs() < 4e-5);
        assert!((at_once(ExitAfter(2), &device) - stepped(ExitAfter(2))).abs() < 4e-5);
    }
}

#[test]
fn dropped_layers_depend_on_step_and_item_alone() {
    let model = model(&Device::flex());
    let routes = |items, step| {
        let batch = TrainingBatch::new(&model, items).unwrap();
        let mut dropout = LayerDropout { max: 0.9, curriculum: None, seed: 1, step };
        pass(&model, &mut dropout, &batch, PassOptions::default()).unwrap().routes
    };
    let all = routes(items(), 5);
    for (i, item) in items().into_iter().enumerate() {
        assert_eq!(routes(vec![item], 5)[0], all[i], "alone as in the batch");
    }
    assert!((0..20).any(|step| routes(items(), step) != all));
}

#[test]
fn layers_are_dropped_as_often_as_said() {
    let model = model(&Device::flex());
    let batch = batch(&model);
    let n = 2000;
    let mut dropped = [0u32; 4];
    for step in 0..n {
        let mut dropout = LayerDropout { max: 0.4, curriculum: None, seed: 8, step };
        for route in pass(&model, &mut dropout, &batch, PassOptions::default()).unwrap().routes {
            for (layer, ran) in route.layers().iter().enumerate() {
                dropped[layer] += u32::from(!ran.attention);
            }
        }
    }
    let dropout = LayerDropout { max: 0.4, ..LayerDropout::default() };
    for (layer, dropped) in dropped.iter().enumerate() {
        let (p, draws) = (dropout.probability(layer, 4), 3.0 * n as f64);
        let five_deviations = 5.0 * (p * (1.0 - p) / draws).sqrt();
        assert!((f64::from(*dropped) / draws - p).abs() <= five_deviations, "layer {layer}: {dropped} of {draws}");
    }
}

/// Adds `by` to the parameter at a path's element.
struct Nudge {
    path: Vec<String>,
    at: &'static str,
    element: usize,
    by: f32,
}

impl ModuleMapper for Nudge {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.path.join(".") != self.at {
            return param;
        }
        param.map(|tensor| {
            let shape = tensor.dims();
            let mut data = values(tensor.clone());
            data[self.element] += self.by;
            Tensor::<1>::from_floats(data.as_slice(), &tensor.device()).reshape(shape)
        })
    }
}

#[test]
fn gradients_of_the_loss_are_its_slopes() {
    let plain = Device::flex();
    let trained = model(&plain.clone().autodiff());
    let of = batch(&trained);
    let full = pass(&trained, &mut FullDepth, &of, PassOptions::default()).unwrap();
    let gradients = cross_entropy(&trained, &full.hidden, &of).backward();
    let loss = |nudge: Nudge| {
        let model = model(&plain).map(&mut { nudge });
        let batch = batch(&model);
        let pass = pass(&model, &mut FullDepth, &batch, PassOptions::default()).unwrap();
        f64::from(values(pass.cross_entropy(&model, &batch))[0])
    };
    let layers = trained.layers();
    let checks = [
        ("layers.0.self_attn.k_proj.weight", values(layers[0].self_attn.k_proj.weight.val().grad(&gradients).unwrap())),
        ("layers.2.self_attn.o_proj.weight", values(layers[2].self_attn.o_proj.weight.val().grad(&gradients).unwrap())),
        ("layers.3.mlp.down_proj.weight", values(layers[3].mlp.down_proj.weight.val().grad(&gradients).unwrap())),
        ("layers.1.input_layernorm.weight", values(layers[1].input_layernorm.weight.val().grad(&gradients).unwrap())),
        ("embed_tokens", values(trained.embed_tokens.val().grad(&gradients).unwrap())),
    ];
    for (at, gradient) in checks {
        // The largest ones: a difference in f32 says little about slopes near zero. The step is a compromise between the
        // rounding of the loss (about 4e-7) and its curvature.
        let mut by_size: Vec<usize> = (0..gradient.len()).collect();
        by_size.sort_by(|a, b| gradient[*b].abs().total_cmp(&gradient[*a].abs()));
        for element in by_size.into_iter().take(3) {
            let step = 4e-3;
            let at_distance = |by| loss(Nudge { path: Vec::new(), at, element, by });
            let slope = (at_distance(step) - at_distance(-step)) / f64::from(2.0 * step);
            let found = f64::from(gradient[element]);
            assert!((found - slope).abs() < 1e-3 + 0.02 * slope.abs(), "{at}[{element}]: {found} {slope}");
        }
    }
}
