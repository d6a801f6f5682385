//! Tests of a router's gates in training.
#![allow(clippy::float_cmp, reason = "compared exactly on purpose")]

use super::{AnyRouter, LinearRouter, MlpRouter, Routed, Router, RouterInput, RouterOptions, row};
use crate::control::{Action, Controller, Decision, Phase, Place, Row, Site, SiteLog};
use burn::tensor::{Device, Tensor, TensorData};
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::{Llama, WeightDtype};

const LAYERS: usize = 4;
const WIDTH: usize = 16;
const TOKENS: usize = 6;

fn model() -> Llama {
    let json = r#"{"model_type": "llama", "vocab_size": 30, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 4, "num_attention_heads": 2}"#;
    LlamaConfig::from_hf_json(json, "a test").unwrap().init(3, WeightDtype::F32, &Device::flex()).unwrap()
}

/// States that differ by row id and position.
fn states(rows: &[Row], device: &Device) -> Tensor<3> {
    let values = rows.iter().flat_map(|row| {
        (0..TOKENS * WIDTH)
            .map(move |i| ((row.id * 97) as f32 + (i * i) as f32 * 0.37).sin() + 0.1 * (i % WIDTH) as f32)
    });
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), [rows.len(), TOKENS, WIDTH]), device)
}

fn ask<R: Router>(routed: &mut Routed<R>, layer: usize, rows: &[Row], hidden: &Tensor<3>) -> Decision {
    let (model, log) = (model(), SiteLog::default());
    let site = Site {
        model: &model,
        layer,
        place: Place::Layer,
        phase: Phase::Train,
        rows,
        hidden,
        embedded: hidden,
        log: &log,
    };
    let decision = routed.decide(&site).unwrap();
    assert_eq!(log.host_reads.get(), 0, "training reads nothing");
    decision
}

fn gate<R: Router>(routed: &mut Routed<R>, layer: usize, rows: &[Row], hidden: &Tensor<3>) -> Tensor<2> {
    match ask(routed, layer, rows, hidden) {
        Decision::Gate(gate) => gate,
        other => unreachable!("{other:?}"),
    }
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec_as::<f32>().unwrap()
}

#[test]
fn gates_are_hard_and_their_gradient_is_the_soft_gates() {
    let (plain, trained) = (Device::flex(), Device::flex().autodiff());
    let rows = [row(0, 5), row(1, 8)];
    let hidden = states(&rows, &plain);
    let temperature = 0.7;
    let options = RouterOptions { temperature, ..RouterOptions::default() };
    let mut routed = Routed::new(LinearRouter::new([LAYERS, WIDTH], 0.3, 0, &trained), options);
    routed.set_step(12);
    let gate = gate(&mut routed, 2, &rows, &hidden);
    assert_eq!(gate.dims(), [2, TOKENS]);

    let features = values(super::features::standardise(hidden));
    let noise = values(super::noise::logistic(12, &rows, TOKENS, 2, &plain));
    let weight = values(routed.router().layers[2].weight.val());
    let soft: Vec<f64> = features
        .chunks(WIDTH)
        .zip(&noise)
        .map(|(x, noise)| {
            let logit = 0.3 + x.iter().zip(&weight).map(|(x, w)| f64::from(x * w)).sum::<f64>();
            1.0 / (1.0 + (-(logit + f64::from(*noise)) / f64::from(temperature)).exp())
        })
        .collect();
    let found = values(gate.clone());
    for (gate, soft) in found.iter().zip(&soft) {
        assert_eq!(*gate, if *soft > 0.5 { 1.0 } else { 0.0 });
    }
    assert!(found.contains(&0.0) && found.contains(&1.0), "{found:?}");

    let gradients = gate.sum().backward();
    let found = values(routed.router().layers[2].weight.val().grad(&gradients).expect("the layer's weight"));
    for (i, found) in found.iter().enumerate() {
        let slope = |soft: &f64| soft * (1.0 - soft) / f64::from(temperature);
        let terms = soft.iter().zip(features.chunks(WIDTH)).map(|(soft, x)| slope(soft) * f64::from(x[i]));
        let expected: f64 = terms.sum();
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
    }
    assert!(routed.router().layers[1].weight.val().grad(&gradients).is_none(), "another layer has no gradient");
}

#[test]
fn gradients_stop_at_the_features() {
    let device = Device::flex().autodiff();
    let rows = [row(0, 5)];
    for input in [RouterInput::Hidden, RouterInput::Embedding, RouterInput::ShuffledHidden] {
        let leaf = states(&rows, &device).require_grad();
        let hidden = leaf.clone() * 2.0;
        let options = RouterOptions { input, ..RouterOptions::default() };
        let mlp = AnyRouter::from(MlpRouter::new([LAYERS, WIDTH], 0.0, 0, &device));
        let mut routed = Routed::new(mlp, options);
        let gate = gate(&mut routed, 1, &rows, &hidden);
        // The residual stream itself is differentiable.
        let gradients = (gate.sum() + hidden.sum()).backward();
        let found = values(leaf.grad(&gradients).expect("through the residual stream"));
        assert!(found.iter().all(|x| *x == 2.0), "{input:?}: {found:?}");
        let AnyRouter::Mlp(mlp) = routed.router() else { unreachable!() };
        let up = values(mlp.layers[1].up.weight.val().grad(&gradients).expect("the router's weight"));
        assert!(up.iter().any(|x| *x != 0.0));
    }
}

#[test]
fn gates_depend_on_row_and_step_and_not_on_the_batch() {
    let device = Device::flex();
    for input in [RouterInput::Hidden, RouterInput::ShuffledHidden, RouterInput::Position, RouterInput::Constant] {
        let options = RouterOptions { input, ..RouterOptions::default() };
        let run = |rows: &[Row], step| {
            let mut routed = Routed::new(LinearRouter::new([LAYERS, WIDTH], 0.0, 0, &device), options);
            routed.set_step(step);
            values(Tensor::cat(
                vec![1, 2].into_iter().map(|l| gate(&mut routed, l, rows, &states(rows, &device))).collect(),
                1,
            ))
        };
        let both = run(&[row(3, 7), row(9, 5)], 4);
        assert_eq!(run(&[row(3, 7)], 4), both[..2 * TOKENS], "{input:?}");
        assert_eq!(run(&[row(9, 5)], 4), both[2 * TOKENS..], "{input:?}");
        assert!((5..9).any(|step| run(&[row(9, 5)], step) != both[2 * TOKENS..]), "{input:?}");
    }
}

#[test]
fn only_label_tokens_are_shuffled() {
    /// The first feature is the logit.
    #[derive(burn::module::Module, Debug)]
    struct First;
    impl Router for First {
        fn logits(&self, _: usize, features: Tensor<3>) -> Tensor<2> {
            features.narrow(2, 0, 1).squeeze_dim::<2>(2) * 1e6 // beyond any noise
        }
    }
    let device = Device::flex();
    let rows = [row(0, 5)];
    // Every other state is negated, so that signs differ between the label tokens.
    let signs = Tensor::<1>::from_floats([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], &device).reshape([1, TOKENS, 1]);
    let hidden = states(&rows, &device) * signs;
    let logits = values(super::features::standardise(hidden.clone()).narrow(2, 0, 1));
    let open = |from: usize, to: usize, gate: &[f32]| gate[from..to].iter().filter(|x| **x > 0.0).count();
    let expected = |from: usize, to: usize| logits[from..to].iter().filter(|x| **x > 0.0).count();
    let mut moved = false;
    for step in 0..20 {
        let options = RouterOptions { input: RouterInput::ShuffledHidden, ..RouterOptions::default() };
        let mut routed = Routed::new(First, options);
        routed.set_step(step);
        routed.set_labels(std::iter::once(2..5).collect());
        let gate = values(gate(&mut routed, 1, &rows, &hidden));
        for token in [0, 1, 5] {
            assert_eq!(gate[token] > 0.0, logits[token] > 0.0);
        }
        assert_eq!(open(2, 5, &gate), expected(2, 5), "the same states in another order");
        moved |= (2..5).any(|token| (gate[token] > 0.0) != (logits[token] > 0.0));
    }
    assert!(moved, "{logits:?}");
}

#[test]
fn the_first_and_the_last_layer_have_no_gate_unless_they_are_free() {
    let device = Device::flex();
    let rows = [row(0, 5)];
    let hidden = states(&rows, &device);
    let router = LinearRouter::new([LAYERS, WIDTH], 0.0, 0, &device);
    let mut kept = Routed::new(router.clone(), RouterOptions::default());
    let options = RouterOptions { ends: crate::controllers::Ends::Free, ..RouterOptions::default() };
    let mut free = Routed::new(router, options);
    for layer in [0, LAYERS - 1] {
        assert!(matches!(ask(&mut kept, layer, &rows, &hidden), Decision::All(Action::Run)));
        assert!(matches!(ask(&mut free, layer, &rows, &hidden), Decision::Gate(_)));
    }
}
