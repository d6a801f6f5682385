//! Tests of the predictor on synthetic sequences, whose states tell the needed depth or are noise.

use super::*;
use dynlayer_metrics::allocation::{Evidence, Record};
use dynlayer_metrics::baselines::Comparison;
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
