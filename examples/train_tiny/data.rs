//! Batches of problems, by step.

use dynlayer::inference::training::{TrainingBatch, TrainingError, TrainingItem};
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use dynlayer_tiny::{Problem, Task};

pub struct Data {
    tokenizer: Tokenizer,
    seed: u64,
    batch: usize,
    tasks: Vec<Task>,
    /// The number of steps of earlier stages, whose problems are not repeated.
    after: u64,
}

impl Data {
    pub fn new(tokenizer: Tokenizer, seed: u64, batch: usize, tasks: Vec<Task>, after: u64) -> Self {
        Self { tokenizer, seed, batch, tasks, after }
    }

    /// Returns the problems of a step, of the tasks in turn.
    pub fn batch(&self, model: &Llama, step: u64, part: u64) -> Result<TrainingBatch, TrainingError> {
        let first = (self.after + step + (part << 32)) * self.batch as u64;
        let items = (0..self.batch).map(|i| {
            let id = first + i as u64;
            let problem = Problem::new(self.tasks[i % self.tasks.len()], self.seed, id, false);
            let ids = |text: &str| self.tokenizer.encode(text, false).unwrap_or_default();
            let mut answer = ids(&problem.answer);
            answer.push(super::tokenizer::END_ID);
            TrainingItem { id, prompt: ids(&problem.prompt), answer }
        });
        TrainingBatch::new(model, items.collect())
    }
}
