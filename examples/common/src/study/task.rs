//! The task of a study.

use dynlayer::inference::controllers::Router;
use dynlayer::inference::training::{StepPart, TrainingBatch, TrainingError};
use dynlayer::inference::{Completion, GenerateOptions, ScoreItem};

/// The data, the routers and the measure of quality of a [`Study`](super::Study).
pub trait StudyTask {
    /// The type of the routers, the same for all inputs.
    type Router: Router;

    /// A router before its training; different seeds should give different weights.
    fn router(&self, seed: u64) -> Self::Router;

    /// The batch of a training step. It must derive from seed and step alone: all inputs and prices learn from the same
    /// data.
    ///
    /// # Errors
    /// If a batch cannot be made.
    fn batch(&self, seed: u64, at: StepPart) -> Result<TrainingBatch, TrainingError>;

    /// The items that routers are measured on: prompts, and texts, none empty, whose likelihood is measured after them. No
    /// training batch should hold them.
    fn items(&self) -> &[ScoreItem];

    /// The options of generation from the items' prompts. The study sets `control_from`, as in the training, and the
    /// sequence ids, the items' indices.
    fn options(&self) -> GenerateOptions<'_>;

    /// The quality of an item's output; higher is better.
    fn quality(&self, item: usize, output: &Completion) -> f64;
}
