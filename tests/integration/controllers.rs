//! The controllers of the library.

mod calibrated;
mod combinators;
mod exits;
mod positions;
mod random;
mod routed;
mod specs;

use crate::support::{asked_for, device, filled};
use dynlayer::inference::report::RunReport;
use dynlayer::inference::{
    Completion, ControlFrom, Controller, ControllerError, Decision, Event, GenerateError, GenerateOptions, RunSettings,
    Site, generate,
};
use dynlayer::model::Llama;

pub const LAYERS: usize = 5;

pub fn small() -> Llama {
    crate::support::small(&device())
}

/// Returns prompts of different lengths.
pub fn prompts() -> Vec<Vec<u32>> {
    vec![vec![1, 2, 3], vec![40, 41, 42, 43, 44, 45, 46], vec![9], vec![77, 3, 77, 3]]
}

pub fn options(ids: Vec<u64>, control_from: ControlFrom) -> GenerateOptions<'static> {
    GenerateOptions {
        run: RunSettings { control_from, ..RunSettings::default() },
        max_new_tokens: 7,
        stop_tokens: vec![5, 50],
        sequence_ids: ids,
        ..Default::default()
    }
}

pub fn run(
    model: &Llama,
    controller: impl Controller,
    prompts: &[Vec<u32>],
    options: GenerateOptions<'static>,
) -> (Vec<Completion>, RunReport) {
    generate(model, controller, prompts, options).unwrap().finish().unwrap()
}

/// Returns the error with which a run is refused or ends.
pub fn error(model: &Llama, controller: impl Controller, control_from: ControlFrom) -> GenerateError {
    let options = options(vec![], control_from);
    generate(model, controller, &prompts(), options).and_then(|run| run.finish().map(|_| ())).unwrap_err()
}

/// Joins the messages of an error and of its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", chain(source)))
}

/// Checks that every sequence runs the same in a batch, in a batch of another order, and alone.
#[track_caller]
pub fn assert_batch_equals_solo<C: Controller>(
    model: &Llama,
    what: &str,
    from: ControlFrom,
    mut make: impl FnMut() -> C,
) {
    let prompts = prompts();
    let ids: Vec<u64> = vec![30, 7, 11, 2];
    let (together, report) = run(model, make(), &prompts, options(ids.clone(), from));
    let backwards: Vec<Vec<u32>> = prompts.iter().rev().cloned().collect();
    let (mut turned, _) = run(model, make(), &backwards, options(ids.iter().rev().copied().collect(), from));
    turned.reverse();
    assert_eq!(turned, together, "{what}, in another order");
    for (i, prompt) in prompts.iter().enumerate() {
        let (alone, solo) = run(model, make(), std::slice::from_ref(prompt), options(vec![ids[i]], from));
        assert_eq!(alone[0], together[i], "{what}, sequence {i}");
        assert_eq!(asked_for(&solo.sequences[0]), asked_for(&report.sequences[i]), "{what}, sequence {i}");
    }
}

/// Returns the model with some layers that change nothing, because their two output projections are zero.
pub fn without_effect(model: Llama, layers: &[usize]) -> Llama {
    let names = |layer: &usize| [format!("layers.{layer}.self_attn.o_proj"), format!("layers.{layer}.mlp.down_proj")];
    let names: Vec<String> = layers.iter().flat_map(names).collect();
    filled(model, &names, 0.0)
}

/// Returns a controller that shows each site to an observer just before it decides.
pub fn watch<'a, C: Controller>(inner: &'a mut C, see: impl FnMut(&Site<'_>) + 'a) -> impl Controller + 'a {
    struct Watched<'a, C, F>(&'a mut C, F);
    impl<C: Controller, F: FnMut(&Site<'_>)> Controller for Watched<'_, C, F> {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            (self.1)(site);
            self.0.decide(site)
        }

        fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
            self.0.observe(site)
        }

        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            self.0.on(event)
        }
    }
    Watched(inner, see)
}
