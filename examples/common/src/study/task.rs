//! The task of a study.

use dynlayer::inference::controllers::Router;
use dynlayer::inference::training::{StepPart, TrainingBatch, TrainingError};
use dynlayer::inference::{Completion, GenerateOptions, ScoreItem};

/// The data, the routers and the measure of quality of a [`Study`](super::Study).
pub trait StudyTask {
    /// The type of the routers, the same for all inputs.
    type Router: Router;

    /// Returns an untrained router; different seeds should give different weights.
    fn router(&self, seed: u64) -> Self::Router;

    /// Returns the batch of a training step. It must depend on seed and step alone, so that all inputs and prices learn
    /// from the same data.
    ///
    /// # Errors
    /// If a batch cannot be made.
    fn batch(&self, seed: u64, at: StepPart) -> Result<TrainingBatch, TrainingError>;

    /// Returns the items that routers are measured on: prompts, and continuations, none empty, whose likelihood is
    /// measured. No training batch should contain them.
    fn items(&self) -> &[ScoreItem];

    /// Returns the options of generation from the items' prompts. The study sets `control_from` as in the training, and
    /// uses the items' indices as sequence ids.
    fn options(&self) -> GenerateOptions<'_>;

    /// Returns the quality of an item's output; higher is better.
    fn quality(&self, item: usize, output: &Completion) -> f64;
}
