//! Tests of the predictor on synthetic sequences, whose states tell the needed depth or are noise.

use super::*;
use crate::conformance::small_model;
use crate::control::{Controller, Event, Phase, Place, Row, RunSettings, Sequence, Setup, Site, SiteLog};
use crate::controllers::ExitAfter;
use crate::oracle::Candidate;
use burn::tensor::{Device, Tensor};
use dynlayer_metrics::allocation::{Evidence, Record};
use dynlayer_metrics::baselines::Comparison;
use dynlayer_model::Llama;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// Sequences with 20 features each. The first one depends on the needed depth with weight `strength`; the others are
/// noise.
fn world(seed: u64, n: u64, strength: f64) -> (Evidence, PromptStates) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut records, mut states) = (Vec::new(), HashMap::new());
    for sequence in 0..n {
        let need: f64 = rng.random();
        let mut state: Vec<f32> = (0..20).map(|_| rng.random::<f32>()).collect();
        state[0] = (strength * need + (1.0 - strength) * rng.random::<f64>()) as f32;
        states.insert(sequence, state);
        for depth in [2.0, 4.0, 6.0, 8.0] {
            let quality = f64::from(u8::from(depth >= 8.0 * need)) + 0.05 * rng.random::<f64>();
            records.push(Record::new(sequence, format!("exit:{depth}"), quality, depth));
        }
    }
    (Evidence::new(records).unwrap(), PromptStates::new(3, states))
}

#[test]
fn beats_one_depth_for_all_where_the_prompt_tells() {
    let (evidence, states) = world(1, 200, 1.0);
    let outcomes = PredictorTrial::default().run(&evidence, &states, 5.0).unwrap();
    assert_eq!(outcomes.len(), 200);
    let baselines = Comparison::new(&evidence, 5.0).controller("predictor", outcomes).run().unwrap();
    let row = &baselines.controllers[0];
    assert!(row.row.gain.unwrap().low > 0.05, "{baselines}");
    assert!(row.row.mean_cost < 5.5 && row.regret.unwrap().low > 0.0, "{baselines}");
}

#[test]
fn gains_nothing_where_the_prompt_does_not_tell() {
    let (evidence, states) = world(2, 200, 0.0);
    let outcomes = PredictorTrial::default().run(&evidence, &states, 6.1).unwrap();
    let baselines = Comparison::new(&evidence, 6.1).controller("predictor", outcomes).run().unwrap();
    assert!(baselines.controllers[0].row.gain.unwrap().low <= 0.0, "{baselines}");
}

#[test]
fn keeps_the_budget_on_what_it_learned_from() {
    let (evidence, states) = world(3, 120, 0.7);
    let mut before = f64::INFINITY;
    for budget in [2.0, 3.5, 5.0, 8.0] {
        let predictor = PromptPredictor::fit(&evidence, &states, budget).unwrap();
        assert!(predictor.price() <= before, "a larger budget should not raise the price");
        before = predictor.price();
        assert_eq!(predictor.layer(), 3);
        let json = serde_json::to_string(&predictor).unwrap();
        assert_eq!(serde_json::from_str::<PromptPredictor>(&json).unwrap(), predictor);
        let choice = |id: u64| predictor.choose(states.get(id).unwrap());
        let cost = (0..120).map(|id| evidence.cell(id as usize, choice(id)).unwrap().cost).sum::<f64>() / 120.0;
        // The price keeps the budget on leave-one-out predictions, which differ a little from these.
        assert!(cost <= 1.1 * budget, "{cost} layers within {budget}");
        if budget < 2.5 {
            assert!((0..120).all(|id| choice(id) == 0), "only the cheapest fits");
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let (evidence, states) = world(4, 12, 0.5);
    let text = |result: Result<PromptPredictor, PredictorError>| result.unwrap_err().to_string();
    let nothing = PromptStates::new(3, []);
    assert!(text(PromptPredictor::fit(&evidence, &nothing, 5.0)).contains("sequence 0"));
    assert!(text(PromptPredictor::fit(&evidence, &states, 1.0)).contains("the cheapest candidate costs 2"));
    let gap = Evidence::new(evidence.records().skip(1)).unwrap();
    assert!(text(PromptPredictor::fit(&gap, &states, 5.0)).contains("lacks candidate \"exit:2\""));
    let few = Evidence::new(evidence.records().take(12)).unwrap();
    assert!(text(PromptPredictor::fit(&few, &states, 5.0)).contains("expected at least 4, found 3"));
    let trial = |folds| PredictorTrial { folds, seed: 0 }.run(&evidence, &states, 5.0).unwrap_err().to_string();
    assert!(trial(1).contains("folds: expected at least 2"));
    assert!(trial(13).contains("sequences: expected at least 13, found 12"));
}

/// Calls `f` with layer 0 of a pass over tokens of one sequence that all have the state `value`.
fn site<R>(model: &Llama, id: u64, tokens: usize, value: f32, f: impl FnOnce(&Site<'_>) -> R) -> R {
    let row = Row::text(id, tokens);
    let hidden = Tensor::full([1, tokens, 32], value, &model.device());
    let log = SiteLog::default();
    f(&Site {
        model,
        layer: 0,
        place: Place::Layer,
        phase: Phase::Prefill,
        rows: &[row],
        hidden: &hidden,
        embedded: &hidden,
        log: &log,
    })
}

#[test]
fn the_choice_follows_what_is_left_of_the_prompt() {
    let model = small_model(&Device::flex()).unwrap();
    let records = (0..8u8).flat_map(|id| {
        let (sequence, shallow) = (u64::from(id), f64::from(id));
        [Record::new(sequence, "exit:1", shallow, 1.0), Record::new(sequence, "full", 4.0, 4.0)]
    });
    let states = PromptStates::new(0, (0..8u8).map(|id| (u64::from(id), vec![f32::from(id); 32])));
    let predictor = PromptPredictor::fit(&Evidence::new(records).unwrap(), &states, 3.0).unwrap();
    let expected = |mean: f32| Some(predictor.candidates()[predictor.choose(&[mean; 32])].as_str());
    assert_ne!(expected(7.0), expected(-11.0));

    let candidates = [Candidate::full(), Candidate::new("exit:1", || ExitAfter(1))];
    let mut controller = PredictorController::new(predictor.clone(), &candidates).unwrap();
    let setup = Setup { model: &model, settings: RunSettings::default() };
    let begin = |controller: &mut PredictorController, id, copy_of| {
        let sequence = Sequence { setup, id, stream: id, seed: 0, tokens: &[1; 3], cached: 0, joins: true, copy_of };
        controller.on(&Event::Begin(&sequence)).unwrap();
    };
    let observe = |controller: &mut PredictorController, id, tokens, value| {
        site(&model, id, tokens, value, |site| controller.observe(site)).unwrap();
    };
    let decide = |controller: &mut PredictorController, id| {
        site(&model, id, 1, 0.0, |site| controller.decide(site)).unwrap();
    };
    controller.on(&Event::Start(&setup)).unwrap();
    begin(&mut controller, 1, None);
    observe(&mut controller, 1, 3, 7.0);
    begin(&mut controller, 2, Some(1));
    begin(&mut controller, 3, None);
    observe(&mut controller, 3, 2, -11.0);
    assert_eq!(controller.choice(1), None);
    for id in [1, 2, 3] {
        decide(&mut controller, id);
    }
    let choices = |controller: &PredictorController| [1, 2, 3].map(|id| controller.choice(id).map(str::to_owned));
    let owned = |mean| expected(mean).map(str::to_owned);
    assert_eq!(choices(&controller), [owned(7.0), owned(7.0), owned(-11.0)]);
    // Later turns do not change the choice, and neither does a shorter output.
    observe(&mut controller, 1, 9, -20.0);
    controller.on(&Event::Rewind { id: 1, tokens: 4 }).unwrap();
    decide(&mut controller, 1);
    assert_eq!(choices(&controller), [owned(7.0), owned(7.0), owned(-11.0)]);
    // A shorter prompt does: two tokens of 7 and four of -20.
    controller.on(&Event::Rewind { id: 1, tokens: 2 }).unwrap();
    assert_eq!(choices(&controller), [None, owned(7.0), owned(-11.0)]);
    observe(&mut controller, 1, 4, -20.0);
    decide(&mut controller, 1);
    assert_eq!(choices(&controller), [owned(-11.0), owned(7.0), owned(-11.0)]);
    controller.on(&Event::End { id: 2 }).unwrap();
    assert_eq!(choices(&controller), [owned(-11.0), None, owned(-11.0)]);
}
