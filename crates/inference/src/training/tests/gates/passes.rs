//! Passes over whole texts against each other and against decoding.

use super::{any_items, number, random_model, values};
use crate::control::{Action, Controller, Decision, Phase, Row, Site};
use crate::controllers::{FullDepth, LinearRouter, Routed, RouterInput, RouterOptions};
use crate::training::{PassOptions, TrainingBatch, TrainingItem, TrainingPass, gated_depth, pass};
use crate::{ControlFrom, KvPolicy, RunSettings, ScoreItem, ScoreOptions, controller_fn, score, score_batch};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

const BOTH: [ControlFrom; 2] = [ControlFrom::FirstGenerated, ControlFrom::LastPromptToken];

fn options(control_from: ControlFrom) -> PassOptions {
    PassOptions { control_from, keep_states: false, seed: 0 }
}

/// A layer runs or not for a token, by no rule.
fn runs(id: u64, position: usize, layer: usize) -> bool {
    (id as usize * 31 + position * 17 + layer * 7 + position * layer) % 5 > 1
}

/// The same decisions as gates in training and as skips in decoding.
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

/// Log-probabilities of a row's labels.
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
            // And the depth that training counts is what decoding runs.
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
    // x + (y - x) is y but for one rounding a layer.
    assert!(gated.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-5 * largest));
}

/// A router that decides for itself.
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
        assert_eq!(pass.gates.iter().map(|gate| gate.layer).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let mut closed = 0;
        for gate in &pass.gates {
            for ((row, gate), controlled) in
                values(gate.gate.clone()).chunks(batch.width()).enumerate().zip(batch.controlled_places(control_from))
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
            for (alone, together) in alone.gates.iter().zip(&together.gates) {
                let (alone, together) = (values(alone.gate.clone()), values(together.gate.clone().narrow(0, row, 1)));
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
