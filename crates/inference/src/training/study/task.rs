//! What a study is about.

use crate::controllers::Router;
use crate::generation::{Completion, GenerateOptions, ScoreItem};
use crate::training::{StepPart, TrainingBatch, TrainingError};

/// Data, routers and a measure of quality for a [`Study`](super::Study).
pub trait StudyTask {
    /// The router, the same for all inputs.
    type Router: Router;

    /// A router before its training; different seeds should give different weights.
    fn router(&self, seed: u64) -> Self::Router;

    /// What is learned from at a step. Derive it from seed and step, and from nothing else: all inputs and prices learn
    /// from the same data.
    ///
    /// # Errors
    /// If a batch cannot be made.
    fn batch(&self, seed: u64, at: StepPart) -> Result<TrainingBatch, TrainingError>;

    /// What routers are measured on: prompts, and the texts whose likelihood is measured after them, none empty. None of
    /// it should be learned from.
    fn items(&self) -> &[ScoreItem];

    /// How the items' prompts are continued. Where control begins is the training's choice, and ids are the items'
    /// indices, whatever stands here.
    fn options(&self) -> GenerateOptions<'_>;

    /// How good an item's output is; higher is better.
    fn quality(&self, item: usize, output: &Completion) -> f64;
}
