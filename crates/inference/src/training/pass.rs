//! A training pass over whole texts.

use super::{TrainingBatch, TrainingError};
use crate::control::{
    ControlFrom, Controller, ControllerError, Decision, Event, KvPolicy, PartialSkips, Phase, Route, RunSettings,
    Sequence, Setup, Site,
};
use crate::engine::{self, Chooser, PassInput, PolicyCache};
use crate::generation::GenerateError;
use burn::tensor::{Tensor, activation::log_softmax};
use dynlayer_model::{KvDtype, Llama};

/// Options of a training pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PassOptions {
    /// The tokens at which gates count; elsewhere they are 1, whatever the controller says.
    pub control_from: ControlFrom,
    /// Keeps the states entering the layers, for losses of early exits.
    pub keep_states: bool,
    /// The run's seed, from which the controller derives its noise.
    pub seed: u64,
}

/// The result of a training pass: states and gates that gradients flow through.
#[derive(Clone, Debug)]
pub struct TrainingPass {
    /// The residual stream after the last layer, `[rows, width, d_model]`.
    pub hidden: Tensor<3>,
    /// The residual stream entering each layer, `[rows, width, d_model]` each; empty unless
    /// [`PassOptions::keep_states`] is set.
    pub states: Vec<Tensor<3>>,
    /// The layers for which the controller answered with a gate, each with its gate, `[rows, width]`, which is 1 where
    /// the controller does not decide.
    pub gates: Vec<(usize, Tensor<2>)>,
    /// The route of each row. A layer with a gate counts as run.
    pub routes: Vec<Route>,
}

/// Runs the whole text of every row in one pass, under a controller that decides at every layer ([`Phase::Train`]).
///
/// The controller may answer with a gate ([`Decision::Gate`]); the layer then runs, and its effect is weighted token by
/// token. It may also answer with actions, which hold for a row's whole text and save the work of skipped layers.
/// Nothing reads the keys and values of a skipped layer, as its attention does not run.
///
/// The model may be on a device with or without autodiff, and so may the controller's weights.
///
/// # Errors
/// If the controller refuses the model or an item, fails, or breaks its contract.
pub fn pass<C: Controller + ?Sized>(
    model: &Llama,
    controller: &mut C,
    batch: &TrainingBatch,
    options: PassOptions,
) -> Result<TrainingPass, TrainingError> {
    let PassOptions { control_from, keep_states, seed } = options;
    let setup = Setup { model, settings: RunSettings { control_from, seed, ..RunSettings::default() } };
    controller.on(&Event::Start(&setup))?;
    let rows = batch.rows(seed);
    for (row, item) in rows.iter().zip(batch.items()) {
        controller.on(&Event::Begin(&Sequence {
            setup,
            id: row.id,
            stream: row.stream,
            seed,
            tokens: &item.prompt,
            cached: 0,
            joins: true,
            copy_of: None,
        }))?;
    }
    let device = model.device();
    let mask = batch.mask(&batch.controlled_places(control_from), &device);
    let mut gated = Gated { controller, mask, gates: Vec::new() };
    // Nobody reads the keys and values after the pass, so they are not cached.
    let mut cache = PolicyCache::new(model, KvPolicy::default(), KvDtype::default());
    let frame = batch.frame(model);
    let input = PassInput {
        model,
        hidden: model.embed(batch.tokens(model)),
        layers: 0..model.layers().len(),
        frame: &frame,
        rows,
        phase: Phase::Train,
        controlled: true,
        chooser: Chooser::new(PartialSkips::default(), &device),
        dimensions: engine::dimensions(model),
        keep_states,
    };
    let pass = engine::run(input, &mut gated, &mut cache).map_err(GenerateError::from)?;
    Ok(TrainingPass { hidden: pass.hidden, states: pass.states, gates: gated.gates, routes: pass.routes })
}

/// A controller that sets another controller's gates to 1 where that does not decide, and keeps them.
struct Gated<'a, C: ?Sized> {
    controller: &'a mut C,
    /// 1 where the controller decides, `[rows, width]`.
    mask: Tensor<2>,
    gates: Vec<(usize, Tensor<2>)>,
}

impl<C: Controller + ?Sized> Controller for Gated<'_, C> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        Ok(match self.controller.decide(site)? {
            // A gate of another shape goes on to the engine, which refuses it.
            Decision::Gate(gate) if gate.dims() == self.mask.dims() => {
                let gate = gate * self.mask.clone() + (self.mask.clone().neg() + 1.0);
                self.gates.push((site.layer(), gate.clone()));
                Decision::Gate(gate)
            }
            other => other,
        })
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.controller.observe(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.controller.on(event)
    }
}

impl TrainingPass {
    /// Returns the logits for the labels of the batch, `[labels, vocab_size]`.
    pub fn logits(&self, model: &Llama, batch: &TrainingBatch) -> Tensor<2> {
        batch.logits(model, self.hidden.clone())
    }

    /// The mean negative log-likelihood of the labels, in nats, `[1]`.
    pub fn cross_entropy(&self, model: &Llama, batch: &TrainingBatch) -> Tensor<1> {
        let labels = batch.labels(&self.hidden.device()).unsqueeze_dim::<2>(1); // [labels, 1]
        log_softmax(self.logits(model, batch), 1).gather(1, labels).mean().neg()
    }
}

#[cfg(test)]
mod tests;
