//! What a controller is told before a batch begins.

use super::ControllerError;
use dynlayer_model::Llama;

/// The batch that is about to be run.
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

    /// Some of the batch's sequences, as a batch.
    pub(crate) fn part<'b>(&'b self, ids: &'b [u64], prompts: &'b [Vec<u32>]) -> Batch<'b> {
        Batch { model: self.model, ids, prompts, seed: self.seed }
    }

    /// How many layers the model has.
    pub fn n_layers(&self) -> usize {
        self.model.layers().len()
    }

    /// The model's dimensions.
    pub fn config(&self) -> &'a dynlayer_model::config::LlamaConfig {
        self.model.config()
    }

    /// The sequences' ids, as the caller chose them.
    pub fn ids(&self) -> &'a [u64] {
        self.ids
    }

    /// The prompts' token ids, in the order of [`ids`](Self::ids).
    pub fn prompts(&self) -> &'a [Vec<u32>] {
        self.prompts
    }

    /// The seed of the run, from which a random controller should draw (with a sequence's id, position and layer).
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Checks that the model has a layer of this index.
    ///
    /// # Errors
    /// [`ControllerError::LayerOutOfRange`] if it has not.
    pub fn check_layer(&self, layer: usize) -> Result<(), ControllerError> {
        let n_layers = self.n_layers();
        if layer < n_layers { Ok(()) } else { Err(ControllerError::LayerOutOfRange { layer, n_layers }) }
    }

    /// Checks that `budget` layers, at least `least`, can be run.
    ///
    /// # Errors
    /// [`ControllerError::Budget`] if they cannot.
    pub fn check_budget(&self, budget: usize, least: usize) -> Result<(), ControllerError> {
        let n_layers = self.n_layers();
        if (least..=n_layers).contains(&budget) {
            Ok(())
        } else {
            Err(ControllerError::Budget { budget, least, n_layers })
        }
    }
}
