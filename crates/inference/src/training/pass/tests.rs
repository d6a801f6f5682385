//! Tests of training passes against token-by-token passes and each other, and of their gradients against differences.
#![allow(clippy::cast_possible_truncation, clippy::float_cmp, reason = "small numbers, compared exactly on purpose")]

use super::super::tests::{any_items, batch, items, model, number, random_model, values};
use super::super::weights::{MapNamed, map};
use super::super::{LayerDropout, PassOptions, TrainingBatch, TrainingItem, TrainingPass, gated_depth, pass};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Phase, Row, Site};
use crate::controllers::{ExitAfter, FullDepth, LinearRouter, Routed, RouterInput, RouterOptions, SkipLayers};
use crate::{ControlFrom, KvPolicy, RunSettings, ScoreItem, ScoreOptions, controller_fn, score, score_batch};
use burn::module::Param;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

/// The mean negative log-likelihood of all labels, computed token by token as in decoding.
fn stepped<C: Controller>(controller: C) -> f64 {
    let model = model(&Device::flex());
    let items: Vec<ScoreItem> =
        items().into_iter().map(|item| ScoreItem { prompt: item.prompt, continuation: item.answer }).collect();
    let options = ScoreOptions {
        run: RunSettings { control_from: ControlFrom::All, ..RunSettings::default() },
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
    // The sums are in f32 and in another order: a tolerance of 1e-5 of losses of about 4 nats.
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

/// Adds `by` to one element of the parameter `at`.
struct Nudge {
    at: &'static str,
    element: usize,
    by: f32,
}

impl MapNamed for Nudge {
    fn map<const D: usize>(&mut self, name: String, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if name != self.at {
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
    let whole = batch(&trained);
    let full = pass(&trained, &mut FullDepth, &whole, PassOptions::default()).unwrap();
    let gradients = full.cross_entropy(&trained, &whole).backward();
    let loss = |nudge: Nudge| {
        let model = map(model(&plain), &mut { nudge });
        let batch = batch(&model);
        let pass = pass(&model, &mut FullDepth, &batch, PassOptions::default()).unwrap();
        f64::from(values(pass.cross_entropy(&model, &batch))[0])
    };
    let layers = trained.layers();
    let checks = [
        (
            "layers.0.self_attn.k_proj.weight",
            values(layers[0].self_attn.k_proj.weight.tensor().grad(&gradients).unwrap()),
        ),
        (
            "layers.2.self_attn.o_proj.weight",
            values(layers[2].self_attn.o_proj.weight.tensor().grad(&gradients).unwrap()),
        ),
        ("layers.3.mlp.down_proj.weight", values(layers[3].mlp.down_proj.weight.tensor().grad(&gradients).unwrap())),
        ("layers.1.input_layernorm.weight", values(layers[1].input_layernorm.weight.val().grad(&gradients).unwrap())),
        ("embed_tokens", values(trained.embed_tokens.tensor().grad(&gradients).unwrap())),
    ];
    for (at, gradient) in checks {
        // Only the largest gradients are checked: a difference in f32 says little about slopes near zero. The step is a
        // compromise between the rounding of the loss (about 4e-7) and its curvature.
        let mut by_size: Vec<usize> = (0..gradient.len()).collect();
        by_size.sort_by(|a, b| gradient[*b].abs().total_cmp(&gradient[*a].abs()));
        for element in by_size.into_iter().take(3) {
            let step = 4e-3;
            let at_distance = |by| loss(Nudge { at, element, by });
            let slope = (at_distance(step) - at_distance(-step)) / f64::from(2.0 * step);
            let found = f64::from(gradient[element]);
            assert!((found - slope).abs() < 1e-3 + 0.02 * slope.abs(), "{at}[{element}]: {found} {slope}");
        }
    }
}

const BOTH: [ControlFrom; 2] = [ControlFrom::FirstGenerated, ControlFrom::LastPromptToken];

fn options(control_from: ControlFrom) -> PassOptions {
    PassOptions { control_from, keep_states: false, seed: 0 }
}

/// An arbitrary pattern of layers that run for a token.
fn runs(id: u64, position: usize, layer: usize) -> bool {
    (id as usize * 31 + position * 17 + layer * 7 + position * layer) % 5 > 1
}

/// A controller that makes the same decisions as gates in training and as skips in decoding.
fn by_place() -> impl Controller {
    controller_fn(|site: &Site<'_>| {
        let layer = site.layer();
        if site.phase() == Phase::Decode {
            let action = |row: &Row| if runs(row.id, row.position, layer) { Action::Run } else { Action::Skip };
            return Decision::per_row(site.rows().iter().map(action));
        }
        let [rows, tokens, _] = site.hidden().dims();
        let gate = site.rows().iter().flat_map(|row| {
            (0..tokens)
                .map(move |t| f32::from(u8::from(runs(row.id, (row.position + 1 + t).saturating_sub(tokens), layer))))
        });
        let gate = TensorData::new(gate.collect::<Vec<f32>>(), [rows, tokens]);
        Decision::Gate(Tensor::from_data(gate, &site.hidden().device()))
    })
}

/// The log-probabilities of a row's labels.
fn log_probabilities(pass: &TrainingPass, batch: &TrainingBatch, row: usize) -> Vec<f64> {
    let places = batch.label_places()[row].clone();
    let states = pass.hidden.clone().narrow(0, row, 1).narrow(1, places.start, places.len());
    let all = log_softmax(random_model().logits(states), 2);
    let width = all.dims()[2];
    let all = values(all);
    let answer = &batch.items()[row].answer;
    answer.iter().enumerate().map(|(i, token)| f64::from(all[i * width + *token as usize])).collect()
}

#[test]
fn hard_gates_are_the_skips_of_decoding() {
    let model = random_model();
    for control_from in BOTH {
        let batch = TrainingBatch::new(&model, any_items()).unwrap();
        let trained = pass(&model, &mut by_place(), &batch, options(control_from)).unwrap();
        for (row, item) in any_items().into_iter().enumerate() {
            let options = ScoreOptions {
                run: RunSettings { control_from, kv_policy: KvPolicy::Propagate, ..RunSettings::default() },
                sequence_ids: vec![item.id],
                ..ScoreOptions::default()
            };
            let (scored, report) = score(&model, by_place(), &item.prompt, &item.answer, &options).unwrap();
            let found = log_probabilities(&trained, &batch, row);
            for (found, scored) in found.iter().zip(&scored.tokens) {
                let expected = scored.log_probability;
                assert!((found - expected).abs() < 2e-5, "{control_from}, item {}: {found} {expected}", item.id);
            }
            // The depth that training counts is the depth that decoding runs.
            let solo = TrainingBatch::new(&model, vec![item]).unwrap();
            let alone = pass(&model, &mut by_place(), &solo, self::options(control_from)).unwrap();
            let depth = number(gated_depth(&alone, &solo, control_from).unwrap());
            assert!((depth - report.mean_depth().unwrap()).abs() < 1e-5, "{depth} {:?}", report.mean_depth());
            assert!(depth < 6.0);
        }
        let items = any_items();
        let texts = |item: &TrainingItem| ScoreItem { prompt: item.prompt.clone(), continuation: item.answer.clone() };
        let texts: Vec<ScoreItem> = items.iter().map(texts).collect();
        let sequence_ids = items.iter().map(|item| item.id).collect();
        let options = ScoreOptions {
            run: RunSettings { control_from, ..RunSettings::default() },
            sequence_ids,
            ..ScoreOptions::default()
        };
        let report = score_batch(&model, by_place(), &texts, &options).unwrap().report;
        let depth = number(gated_depth(&trained, &batch, control_from).unwrap());
        assert!((depth - report.mean_depth().unwrap()).abs() < 1e-5, "every sequence counts the same");
    }
}

#[test]
fn gates_of_1_change_nothing() {
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let mut open = controller_fn(|site: &Site<'_>| {
        let [rows, tokens, _] = site.hidden().dims();
        Decision::Gate(Tensor::ones([rows, tokens], &site.hidden().device()))
    });
    let gated = pass(&model, &mut open, &batch, options(ControlFrom::All)).unwrap();
    let plain = pass(&model, &mut FullDepth, &batch, options(ControlFrom::All)).unwrap();
    assert_eq!((gated.gates.len(), plain.gates.len()), (6, 0));
    let (gated, plain) = (values(gated.hidden), values(plain.hidden));
    let largest = plain.iter().fold(0f32, |most, x| most.max(x.abs()));
    // `x + (y - x)` equals `y` up to one rounding per layer.
    assert!(gated.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-5 * largest));
}

#[test]
fn controllers_learn_of_the_run_the_items_and_the_pass() {
    #[derive(Default)]
    struct Listing(Vec<String>);
    impl Controller for Listing {
        fn decide(&mut self, _: &Site<'_>) -> Result<Decision, ControllerError> {
            Ok(Action::Run.into())
        }

        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            self.0.push(match event {
                Event::Start(setup) => format!("start {}", setup.settings().seed),
                Event::Begin(sequence) => format!("begin {} {} {:?}", sequence.id, sequence.seed, sequence.tokens),
                Event::Pass(pass) => format!("pass {:?} {}", pass.phase(), pass.rows().len()),
                _ => "another event".to_owned(),
            });
            Ok(())
        }
    }
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    let mut listing = Listing::default();
    pass(&model, &mut listing, &batch, PassOptions { seed: 6, ..PassOptions::default() }).unwrap();
    let expected =
        ["start 6", "begin 3 6 [5, 9, 2, 40]", "begin 8 6 [1]", "begin 4 6 [13, 21, 34, 55, 8, 17]", "pass Train 3"];
    assert_eq!(listing.0, expected);
}

/// A router with a bias of 0, which opens about half of its gates.
fn routed(input: RouterInput) -> Routed<LinearRouter> {
    let linear = LinearRouter::new([6, 32], 0.0, 0, &Device::flex());
    let mut routed = Routed::new(linear, RouterOptions { input, ..RouterOptions::default() });
    routed.set_step(9);
    routed
}

#[test]
fn padding_and_prompt_have_gates_of_1() {
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    for control_from in ControlFrom::ALL {
        let pass = pass(&model, &mut routed(RouterInput::Hidden), &batch, options(control_from)).unwrap();
        assert_eq!(pass.gates.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let mut closed = 0;
        for (_, gate) in &pass.gates {
            for ((row, gate), controlled) in
                values(gate.clone()).chunks(batch.width()).enumerate().zip(batch.controlled_places(control_from))
            {
                let item = &batch.items()[row];
                let padding = batch.width() + 1 - item.prompt.len() - item.answer.len();
                for (place, gate) in gate.iter().enumerate() {
                    let free = match control_from {
                        ControlFrom::FirstGenerated => place >= padding + item.prompt.len(),
                        ControlFrom::LastPromptToken => place + 1 >= padding + item.prompt.len(),
                        ControlFrom::All => place >= padding,
                    };
                    assert_eq!(free, controlled.contains(&place), "{control_from}: row {row}, place {place}");
                    let open = *gate == 1.0;
                    assert!(free || open, "{control_from}: row {row}, place {place}: {gate}");
                    closed += usize::from(!open);
                }
            }
        }
        assert!(closed > 5, "{control_from}: {closed}");
    }
}

#[test]
fn a_batch_equals_its_rows_alone() {
    let model = random_model();
    let batch = TrainingBatch::new(&model, any_items()).unwrap();
    for input in [RouterInput::Hidden, RouterInput::Position, RouterInput::Embedding, RouterInput::ShuffledHidden] {
        let from = ControlFrom::LastPromptToken;
        let run = |batch: &TrainingBatch| {
            let mut routed = routed(input);
            routed.set_labels(batch.controlled_places(from));
            pass(&model, &mut routed, batch, options(from)).unwrap()
        };
        let together = run(&batch);
        let mut sum = 0.0;
        for (row, item) in any_items().into_iter().enumerate() {
            let labels = item.answer.len() as f64;
            let solo = TrainingBatch::new(&model, vec![item]).unwrap();
            let alone = run(&solo);
            for ((_, alone), (_, together)) in alone.gates.iter().zip(&together.gates) {
                let (alone, together) = (values(alone.clone()), values(together.clone().narrow(0, row, 1)));
                assert_eq!(alone, together[together.len() - alone.len()..], "{input:?}");
            }
            let (a, b) = (log_probabilities(&alone, &solo, 0), log_probabilities(&together, &batch, row));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 2e-5), "{input:?}: {a:?} {b:?}");
            sum += labels * number(alone.cross_entropy(&model, &solo));
        }
        let mean = sum / batch.label_count() as f64;
        assert!((mean - number(together.cross_entropy(&model, &batch))).abs() < 2e-5, "{input:?}");
    }
}
