//! A pass over whole texts, as training needs it.

use super::{TrainingBatch, TrainingError};
use crate::control::{
    Batch, ControlFrom, Controller, ControllerError, Decision, KvPolicy, PartialSkips, Phase, Route, Site,
};
use crate::engine::{self, Chooser, PassInput, PolicyCache};
use crate::generation::GenerateError;
use crate::report::PhaseReport;
use burn::tensor::{Tensor, activation::log_softmax};
use dynlayer_model::Llama;

/// How a training pass is run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PassOptions {
    /// Where gates count; elsewhere they are 1, whatever the controller says.
    pub control_from: ControlFrom,
    /// Whether the states entering the layers are kept, for losses of early exits.
    pub keep_states: bool,
    /// The training step that is handed to the controller as the run's seed of noise.
    pub seed: u64,
}

/// What a training pass leaves: states and gates that gradients can flow through.
#[derive(Clone, Debug)]
pub struct TrainingPass {
    /// The residual stream after the last layer, `[rows, width, d_model]`.
    pub hidden: Tensor<3>,
    /// The residual stream entering each layer, `[rows, width, d_model]` each, if asked for.
    pub states: Vec<Tensor<3>>,
    /// The gates that the controller gave.
    pub gates: Vec<LayerGate>,
    /// What each row ran. A layer with a gate counts as run.
    pub routes: Vec<Route>,
}

/// A layer's gate.
#[derive(Clone, Debug)]
pub struct LayerGate {
    /// The layer.
    pub layer: usize,
    /// `[rows, width]`, 1 where the controller has no say.
    pub gate: Tensor<2>,
}

/// Runs every row's text in one pass, the controller asked at every layer with [`Phase::Train`].
///
/// The controller may answer with gates ([`Decision::Gate`]), which everything runs under, or with actions, which hold
/// for a row's whole text and skip work. Keys and values of a layer that is skipped so are seen by no one, as its
/// attention does not run.
///
/// The model may be on a plain device or an autodiff one, and so may the controller's weights.
///
/// # Errors
/// What the controller refuses, and breaches of its contract.
pub fn pass<C: Controller + ?Sized>(
    model: &Llama,
    controller: &mut C,
    batch: &TrainingBatch,
    options: PassOptions,
) -> Result<TrainingPass, TrainingError> {
    let ids: Vec<u64> = batch.rows().iter().map(|row| row.id).collect();
    let prompts: Vec<Vec<u32>> = batch.items().iter().map(|item| item.prompt.clone()).collect();
    controller.begin(&Batch::new(model, &ids, &prompts, options.seed))?;
    let device = model.device();
    let mask = batch.mask(&batch.controlled_places(options.control_from), &device);
    let mut gated = Gated { controller, mask, gates: Vec::new() };
    // Nothing reads the keys and values of a skipped layer, so none are computed.
    let mut cache = PolicyCache::new(model, ids.len(), batch.width(), KvPolicy::Deferred);
    let frame = cache.frame(model, batch.positions(), batch.padding());
    let input = PassInput {
        model,
        tokens: batch.tokens(model),
        frame: &frame,
        rows: batch.rows(),
        padding: batch.padding(),
        phase: Phase::Train,
        controlled: true,
        chooser: Chooser::new(PartialSkips::default(), &device),
        dimensions: engine::dimensions(model),
        keep_states: options.keep_states,
    };
    let pass = engine::run(input, &mut gated, &mut cache, &mut PhaseReport::default()).map_err(GenerateError::from)?;
    Ok(TrainingPass { hidden: pass.hidden, states: pass.states, gates: gated.gates, routes: pass.routes })
}

/// Opens the gates that the controller has no say about, and notes the rest.
struct Gated<'a, C: ?Sized> {
    controller: &'a mut C,
    /// 1 where the controller decides, `[rows, width]`.
    mask: Tensor<2>,
    gates: Vec<LayerGate>,
}

impl<C: Controller + ?Sized> Controller for Gated<'_, C> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        match self.controller.decide(site) {
            // A gate of another shape goes on to the engine, which refuses it.
            Decision::Gate(gate) if gate.dims() == self.mask.dims() => {
                let gate = gate * self.mask.clone() + (self.mask.clone().neg() + 1.0);
                self.gates.push(LayerGate { layer: site.layer(), gate: gate.clone() });
                Decision::Gate(gate)
            }
            other => other,
        }
    }

    fn begin(&mut self, _: &Batch<'_>) -> Result<(), ControllerError> {
        Ok(())
    }
}

impl TrainingPass {
    /// Mean negative log-likelihood of the labels, in nats, `[1]`.
    pub fn cross_entropy(&self, model: &Llama, batch: &TrainingBatch) -> Tensor<1> {
        cross_entropy(model, &self.hidden, batch)
    }
}

/// Mean negative log-likelihood of a batch's labels if final norm and head are put on `hidden: [rows, width, d_model]`, in
/// nats, `[1]`.
pub fn cross_entropy(model: &Llama, hidden: &Tensor<3>, batch: &TrainingBatch) -> Tensor<1> {
    let [rows, width, d_model] = hidden.dims();
    let device = hidden.device();
    let states = hidden.clone().reshape([rows * width, d_model]).select(0, batch.label_index(&device)); // [labels, d_model]
    let logits = model.logits(states.unsqueeze::<3>()).squeeze_dim::<2>(0); // [labels, vocab_size]
    let labels = batch.labels(&device).unsqueeze_dim::<2>(1); // [labels, 1]
    log_softmax(logits, 1).gather(1, labels).mean().neg()
}
