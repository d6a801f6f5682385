//! Early exits, compared with a second implementation in f64 on the pieces of the model.

use super::{LAYERS, assert_batch_equals_solo, options, prompts, run, small};
use crate::support::{rows, some};
use burn::tensor::Tensor;
use dynlayer::inference::controllers::{ConfidenceExit, EntropyExit, ExitRule, SaturationExit};
use dynlayer::inference::{ControlFrom, Controller, ScoreOptions, score};
use dynlayer::model::Llama;
use proptest::prelude::*;

/// A state at one check.
struct Seen {
    state: Vec<f32>,
    before: Vec<f32>,
    logits: Vec<f32>,
}

/// The measure of confidence: larger is more confident.
type Measure = fn(&Seen) -> f64;

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let weights: Vec<f64> = logits.iter().map(|x| f64::from(*x).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}

fn gap(seen: &Seen) -> f64 {
    let mut p = probabilities(&seen.logits);
    p.sort_by(f64::total_cmp);
    p[p.len() - 1] - p[p.len() - 2]
}

fn negative_entropy(seen: &Seen) -> f64 {
    probabilities(&seen.logits).iter().map(|p| p * p.ln()).sum()
}

fn cosine(seen: &Seen) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (a, b) = (&seen.state, &seen.before);
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

fn numbers(hidden: &Tensor<3>) -> Vec<f32> {
    hidden.clone().into_data().try_into_vec_as().unwrap()
}

/// The number of layers that each token after the prompt runs, from the second on; `None` if a decision is a near tie.
fn depths(
    model: &Llama,
    measure: Measure,
    rule: &ExitRule,
    sign: f64,
    prompt: &[u32],
    rest: &[u32],
) -> Option<Vec<usize>> {
    let mut cache = model.cache(1, prompt.len() + rest.len());
    let frame = model.frame(&cache, &[0], &[(0..prompt.len()).collect()]);
    model.forward(model.tokens(&[prompt]), &frame, &mut cache);
    let mut depths = Vec::new();
    for (i, token) in rest[..rest.len() - 1].iter().enumerate() {
        let frame = model.frame(&cache, &[0], &[vec![prompt.len() + i]]);
        let mut hidden = model.embed(model.tokens(&[&[*token]]));
        let (mut before, mut passed, mut depth) = (Vec::new(), 0, None);
        for (layer, block) in model.layers().iter().enumerate() {
            let state = numbers(&hidden);
            if depth.is_none() && layer >= rule.min_layers && (layer - rule.min_layers).is_multiple_of(rule.every) {
                let logits = rows(model.logits(hidden.clone())).remove(0);
                let confidence = measure(&Seen { state: state.clone(), before, logits });
                let threshold = sign * f64::from(rule.threshold);
                if (confidence - threshold).abs() < 1e-5 {
                    return None;
                }
                passed = if confidence >= threshold { passed + 1 } else { 0 };
                if passed == rule.patience {
                    depth = Some(layer);
                }
            }
            before = state;
            match depth {
                Some(_) => block.propagate(hidden.clone(), &frame, cache.layer_mut(layer)),
                None => hidden = block.forward(hidden, &frame, cache.layer_mut(layer)),
            }
        }
        cache.advance(&frame);
        depths.push(depth.unwrap_or(LAYERS));
    }
    Some(depths)
}

fn rules(thresholds: std::ops::Range<f32>) -> impl Strategy<Value = ExitRule> {
    (thresholds, 1usize..4, 1usize..4, 1usize..3).prop_map(|(threshold, patience, min_layers, every)| ExitRule {
        threshold,
        patience,
        min_layers,
        every,
    })
}

/// The engine against the implementation above.
fn compare(
    controller: impl Controller,
    (measure, sign): (Measure, f64),
    rule: &ExitRule,
    prompt: &[u32],
    rest: &[u32],
) -> Result<(), TestCaseError> {
    let model = small();
    let Some(expected) = depths(&model, measure, rule, sign, prompt, rest) else { return Ok(()) };
    let scored = score(&model, controller, prompt, rest, &ScoreOptions::default()).unwrap();
    let found: Vec<usize> = scored.0.tokens[1..].iter().map(|token| token.route.depth() as usize).collect();
    prop_assert_eq!(found, expected);
    Ok(())
}

fn text(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..97, lengths)
}

proptest! {
    #![proptest_config(crate::support::cases(48))]

    #[test]
    fn confidence(rule in rules(0.0..0.1), prompt in text(1..6), rest in text(2..8)) {
        compare(ConfidenceExit::new(rule), (gap, 1.0), &rule, &prompt, &rest)?;
    }

    #[test]
    fn entropy(rule in rules(3.9..4.4), prompt in text(1..6), rest in text(2..8)) {
        compare(EntropyExit::new(rule), (negative_entropy, -1.0), &rule, &prompt, &rest)?;
    }

    #[test]
    fn saturation(rule in rules(0.6..0.95), prompt in text(1..6), rest in text(2..8)) {
        compare(SaturationExit::new(rule), (cosine, 1.0), &rule, &prompt, &rest)?;
    }
}

/// Thresholds in the middle of the small model's range, so that rows exit at different layers.
fn middling() -> [(&'static str, f32); 3] {
    [("confidence", 0.02), ("entropy", 4.05), ("saturation", 0.8)]
}

fn controller(name: &str, rule: ExitRule) -> Box<dyn Controller + Send> {
    match name {
        "confidence" => Box::new(ConfidenceExit::new(rule)),
        "entropy" => Box::new(EntropyExit::new(rule)),
        _ => Box::new(SaturationExit::new(rule)),
    }
}

#[test]
fn exits_do_not_depend_on_the_batch() {
    let model = small();
    for (name, threshold) in middling() {
        for patience in [1, 2] {
            let rule = ExitRule { patience, ..ExitRule::new(threshold) };
            for from in some(ControlFrom::ALL, 1) {
                assert_batch_equals_solo(&model, name, from, || controller(name, rule));
            }
        }
    }
}

#[test]
fn rows_that_exited_are_not_paid_for_again() {
    let model = small();
    for (name, threshold) in middling() {
        let rule = ExitRule::new(threshold);
        let (done, report) =
            run(&model, controller(name, rule), &prompts(), options(vec![], ControlFrom::LastPromptToken));
        let depths: Vec<usize> = done.iter().flat_map(|done| done.routes.iter().map(|r| r.depth() as usize)).collect();
        assert!(depths.iter().any(|depth| *depth < LAYERS) && depths.contains(&LAYERS), "{name}: {depths:?}");
        // A row is checked before each layer from the first it may exit at to the one it exits at. The logits of the
        // last check are the row's own, if it exits.
        let checks: usize = depths.iter().map(|depth| (*depth).min(LAYERS - 1)).sum();
        let never = depths.iter().filter(|depth| **depth == LAYERS).count();
        let heads = if name == "saturation" { depths.len() } else { checks + never };
        assert_eq!(report.decode.spent.nominal.head_products, heads as u64, "{name}");
        assert!(report.decode.host_reads <= report.decode.passes * (LAYERS as u64 - 1), "{name}: one a layer at most");
        assert!(report.decode.host_reads > 0);
    }
}

#[test]
fn thresholds_that_always_and_never_pass() {
    let model = small();
    for (name, always, never) in [("confidence", 0.0, 1.0), ("entropy", 100.0, 0.0), ("saturation", -1.0, 1.0)] {
        for (threshold, patience, expected) in [(always, 1, 2.0), (always, 3, 4.0), (never, 1, 5.0)] {
            let rule = ExitRule { threshold, patience, min_layers: 2, every: 1 };
            let (_, report) =
                run(&model, controller(name, rule), &prompts(), options(vec![], ControlFrom::LastPromptToken));
            assert_eq!(report.mean_depth(), Some(expected), "{name} {threshold}");
        }
        // Every second layer: 1, then 3.
        let rule = ExitRule { threshold: always, patience: 2, min_layers: 1, every: 2 };
        let (_, report) =
            run(&model, controller(name, rule), &prompts(), options(vec![], ControlFrom::LastPromptToken));
        assert_eq!(report.mean_depth(), Some(3.0), "{name}");
    }
}
