//! The batch that a controller is shown before a run.

use super::ControllerError;
use dynlayer_model::Llama;
use dynlayer_model::config::LlamaConfig;

/// A batch of sequences that is about to be run.
#[derive(Debug)]
pub struct Batch<'a> {
    model: &'a Llama,
    ids: &'a [u64],
    prompts: &'a [Vec<u32>],
    seed: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(model: &'a Llama, ids: &'a [u64], prompts: &'a [Vec<u32>], seed: u64) -> Self {
        Self { model, ids, prompts, seed }
    }

    /// Makes a batch of only the given sequences, with the model and seed of this batch.
    pub(crate) fn part<'b>(&'b self, ids: &'b [u64], prompts: &'b [Vec<u32>]) -> Batch<'b> {
        Batch { model: self.model, ids, prompts, seed: self.seed }
    }

    /// The number of layers of the model.
    pub fn n_layers(&self) -> usize {
        self.model.layers().len()
    }

    /// The model's configuration.
    pub fn config(&self) -> &'a LlamaConfig {
        self.model.config()
    }

    /// The sequences' ids, which the caller chose.
    pub fn ids(&self) -> &'a [u64] {
        self.ids
    }

    /// The prompts' token ids, in the order of [`ids`](Self::ids).
    pub fn prompts(&self) -> &'a [Vec<u32>] {
        self.prompts
    }

    /// The seed of the run, [`RunSettings::seed`](super::RunSettings::seed). A random controller should derive each
    /// draw from it and from the sequence's id, the position and the layer.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Checks that the model has a layer with this index.
    ///
    /// # Errors
    /// [`ControllerError::LayerOutOfRange`] if the model has no such layer.
    pub fn check_layer(&self, layer: usize) -> Result<(), ControllerError> {
        let n_layers = self.n_layers();
        if layer < n_layers { Ok(()) } else { Err(ControllerError::LayerOutOfRange { layer, n_layers }) }
    }

    /// Checks that `budget` is at least `least` and at most the model's number of layers.
    ///
    /// # Errors
    /// [`ControllerError::Budget`] if the budget is out of this range.
    pub fn check_budget(&self, budget: usize, least: usize) -> Result<(), ControllerError> {
        let n_layers = self.n_layers();
        if (least..=n_layers).contains(&budget) {
            Ok(())
        } else {
            Err(ControllerError::Budget { budget, least, n_layers })
        }
    }
}
