//! The conformance checks.

use super::runs::{Text, routes, texts};
use super::{Broken, Rule};
use crate::control::{ControlFrom, Controller};
use crate::generation::GenerateError;
use crate::report::Route;
use burn::tensor::Device;
use dynlayer_model::config::{ConfigError, LlamaConfig};
use dynlayer_model::{Llama, WeightDtype};

/// Checks every [`Rule`] in order on this model. `make` must return an equal controller at every call.
///
/// The checks run about 150 passes; [`small_model`] is enough unless the controller needs a certain model. Routes are
/// compared exactly. A decision that depends on a tensor's last bits may differ between a batch and a single row, since
/// their sums are rounded in a different order.
///
/// # Errors
/// [`Broken`], which names the first broken rule and describes the failure.
pub fn check<C: Controller>(model: &Llama, mut make: impl FnMut() -> C) -> Result<(), Broken> {
    let texts = texts(model);
    for control_from in [ControlFrom::LastPromptToken, ControlFrom::FirstGenerated, ControlFrom::All] {
        let run = |rule: Rule, controller: &mut dyn Controller, texts: &[Text]| {
            routes(model, controller, texts, control_from).map_err(|source| failed(rule, control_from, source))
        };
        let mut controller = make();
        let first = run(Rule::Answers, &mut controller, &texts)?;
        same(Rule::Deterministic, control_from, &first, &run(Rule::Deterministic, &mut make(), &texts)?)?;
        same(Rule::BeginResets, control_from, &first, &run(Rule::BeginResets, &mut controller, &texts)?)?;
        let mut boxed: Box<dyn Controller + '_> = Box::new(make());
        same(Rule::BoxedEqualsUnboxed, control_from, &first, &run(Rule::BoxedEqualsUnboxed, &mut boxed, &texts)?)?;

        let rule = Rule::BatchEqualsSolo;
        let mut alone = Vec::new();
        for text in &texts {
            alone.extend(run(rule, &mut make(), std::slice::from_ref(text))?);
        }
        same(rule, control_from, &alone, &first)?;
        let reversed: Vec<Text> = texts.iter().rev().cloned().collect();
        let mut turned = run(rule, &mut make(), &reversed)?;
        turned.reverse();
        same(rule, control_from, &alone, &turned)?;
    }
    Ok(())
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

fn same(
    rule: Rule,
    control_from: ControlFrom,
    expected: &[(u64, Vec<Route>)],
    found: &[(u64, Vec<Route>)],
) -> Result<(), Broken> {
    for ((id, expected), (_, found)) in expected.iter().zip(found) {
        if let Some(token) = (0..expected.len()).find(|i| expected.get(*i) != found.get(*i)) {
            let shown = |routes: &[Route]| routes.get(token).map_or("none".into(), ToString::to_string);
            let found = format!(
                "with control from {control_from}, token {token} of sequence {id} took the route {}; expected {}",
                shown(found),
                shown(expected)
            );
            return Err(Broken { rule, found, source: None });
        }
    }
    Ok(())
}
