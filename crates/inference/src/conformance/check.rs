//! The conformance checks.

use super::runs::{Routes, Text, Way, continued, joining, routes, texts};
use super::{Broken, Rule};
use crate::control::{ControlFrom, Controller};
use crate::generation::GenerateError;
use crate::report::Route;
use burn::tensor::Device;
use dynlayer_model::config::{ConfigError, LlamaConfig};
use dynlayer_model::{Llama, WeightDtype};

/// Checks the given rules on this model, in the order of [`Rule::ALL`]. `make` must return an equal controller at every
/// call.
///
/// Returns the different routes that the controller took, in the order of their first use. A controller that took only
/// one of them has not been put to the test: choose its settings so that it does different things on this model.
///
/// [`Rule::Answers`] is always checked, since the other rules compare runs with the run that it needs. All rules
/// together take about 1200 passes; [`small_model`] is enough unless the controller needs a certain model. Routes are
/// compared exactly. On backends other than `flex`, a decision that depends on a tensor's last bits may differ between a batch
/// and a single row, since their sums are rounded in a different order.
///
/// # Errors
/// [`Broken`], which names the first broken rule and describes the failure.
pub fn check<C: Controller>(model: &Llama, rules: &[Rule], mut make: impl FnMut() -> C) -> Result<Vec<Route>, Broken> {
    let texts = texts(model);
    let mut taken = Vec::new();
    for control_from in [ControlFrom::LastPromptToken, ControlFrom::FirstGenerated, ControlFrom::All] {
        let run = |rule: Rule, controller: &mut dyn Controller, texts: &[Text]| {
            routes(model, controller, texts, control_from).map_err(|source| failed(rule, control_from, source))
        };
        let mut controller = make();
        let first = run(Rule::Answers, &mut controller, &texts)?;
        for route in first.iter().flat_map(|(_, routes)| routes) {
            if !taken.contains(route) {
                taken.push(route.clone());
            }
        }
        for rule in Rule::ALL.iter().copied().filter(|rule| rules.contains(rule)) {
            let same = |expected: &[Routes], found: &[Routes]| same(rule, control_from, expected, found);
            match rule {
                // The first run.
                Rule::Answers => {}
                Rule::Deterministic => same(&first, &run(rule, &mut make(), &texts)?)?,
                Rule::StartResets => same(&first, &run(rule, &mut controller, &texts)?)?,
                Rule::BoxedEqualsUnboxed => {
                    let mut boxed: Box<dyn Controller + '_> = Box::new(make());
                    same(&first, &run(rule, &mut boxed, &texts)?)?;
                }
                Rule::BatchEqualsSolo => {
                    let mut alone = Vec::new();
                    for text in &texts {
                        alone.extend(run(rule, &mut make(), std::slice::from_ref(text))?);
                    }
                    same(&alone, &first)?;
                    let reversed: Vec<Text> = texts.iter().rev().cloned().collect();
                    let mut turned = run(rule, &mut make(), &reversed)?;
                    turned.reverse();
                    same(&alone, &turned)?;
                }
                Rule::JoiningKeepsOthers => {
                    let found = joining(model, &mut make(), &texts, control_from);
                    same(&first, &found.map_err(|source| failed(rule, control_from, source))?)?;
                }
                Rule::RewindForgets | Rule::CopyContinues => {
                    let way = if rule == Rule::RewindForgets { Way::Rewind } else { Way::Copy };
                    // The first text at every place, the others after their first token.
                    for (i, text) in texts.iter().enumerate() {
                        let places = if i == 0 { text.1.continuation.len() } else { 2 };
                        for tokens in 1..places.min(text.1.continuation.len()) {
                            let mut run = |way| {
                                let found = continued(model, &mut make(), text, control_from, (tokens, way));
                                found.map_err(|source| failed(rule, control_from, source))
                            };
                            same(&run(Way::Direct)?, &run(way)?)?;
                        }
                    }
                }
            }
        }
    }
    Ok(taken)
}

/// Makes a random model of six layers with a vocabulary of 64 and a context of 64 tokens, for tests and examples.
///
/// # Errors
/// If the device does not support `f32` weights.
pub fn small_model(device: &Device) -> Result<Llama, ConfigError> {
    let json = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}"#;
    LlamaConfig::from_hf_json(json, "the conformance suite")?.init(11, WeightDtype::F32, device)
}

fn failed(rule: Rule, control_from: ControlFrom, source: GenerateError) -> Broken {
    Broken { rule, found: format!("the run failed with control from {control_from}"), source: Some(Box::new(source)) }
}

/// Compares the routes of two runs over the same texts.
fn same(rule: Rule, control_from: ControlFrom, expected: &[Routes], found: &[Routes]) -> Result<(), Broken> {
    let broken =
        |found: String| Err(Broken { rule, found: format!("with control from {control_from}, {found}"), source: None });
    let ids = |routes: &[Routes]| routes.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    if ids(expected) != ids(found) {
        return broken(format!("the sequences {:?} were run; expected {:?}", ids(found), ids(expected)));
    }
    for ((id, expected), (_, found)) in expected.iter().zip(found) {
        let tokens = expected.len().max(found.len());
        if let Some(token) = (0..tokens).find(|token| expected.get(*token) != found.get(*token)) {
            let shown = |routes: &[Route]| routes.get(token).map_or("none".into(), ToString::to_string);
            let (expected, found) = (shown(expected), shown(found));
            return broken(format!("token {token} of sequence {id} took the route {found}; expected {expected}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_other_lengths_differ() {
        let compare = |expected: &[Routes], found: &[Routes]| {
            same(Rule::Deterministic, ControlFrom::All, expected, found).map_err(|broken| broken.found)
        };
        let routes = |n: usize| vec![Route::default(); n];
        let two = [(4, routes(1)), (7, routes(2))];
        assert_eq!(compare(&two, &two), Ok(()));
        let sequences = "with control from all, the sequences [4] were run; expected [4, 7]";
        assert_eq!(compare(&two, &two[..1]), Err(sequences.to_owned()));
        assert!(compare(&two[..1], &two).is_err());
        let longer = [(4, routes(1)), (7, routes(3))];
        assert!(compare(&two, &longer).unwrap_err().contains("token 2 of sequence 7"));
        assert!(compare(&longer, &two).unwrap_err().contains("took the route none"));
    }
}
