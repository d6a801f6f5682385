//! Training data and held-out problems for routers of the embedded model.

use crate::arguments::ModelArguments;
use crate::study::{StudyTask, purposes};
use burn::tensor::Device;
use clap::ValueEnum;
use dynlayer::burn;
use dynlayer::inference::controllers::{AnyRouter, LinearRouter, MlpRouter};
use dynlayer::inference::training::{StepPart, TrainingBatch, TrainingError, TrainingItem};
use dynlayer::inference::{Completion, GenerateOptions, ScoreItem};
use dynlayer::metrics::random;
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use dynlayer_tiny::{self as tiny, Problem, Task, problems};
use std::error::Error;

/// The seed of the held-out problems that routers are measured on.
const MEASURED: u64 = 2_000_000;

/// A kind of router to train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RouterKind {
    /// A linear map per layer.
    #[default]
    Linear,
    /// A small MLP per layer.
    Mlp,
}

impl RouterKind {
    /// Returns an untrained router for a model, whose logits are all nearly `bias`; a positive logit runs a layer.
    pub fn router(self, model: &Llama, bias: f32, seed: u64) -> AnyRouter {
        let (dimensions, device): (_, Device) = ([model.layers().len(), model.config().d_model], model.device());
        match self {
            Self::Linear => LinearRouter::new(dimensions, bias, seed, &device).into(),
            Self::Mlp => MlpRouter::new(dimensions, bias, seed, &device).into(),
        }
    }
}

/// The data and the measure of quality for training routers on the embedded model's tasks.
pub struct TinyTask<'a> {
    arguments: &'a ModelArguments,
    model: &'a Llama,
    tokenizer: &'a Tokenizer,
    end: u32,
    kind: RouterKind,
    bias: f32,
    batch: usize,
    problems: Vec<Problem>,
    items: Vec<ScoreItem>,
}

impl<'a> TinyTask<'a> {
    /// Returns a task with batches of `batch` problems to learn from, and `measured` held-out problems of each task to
    /// measure routers on.
    pub fn new(
        arguments: &'a ModelArguments,
        model: &'a Llama,
        tokenizer: &'a Tokenizer,
        (kind, bias): (RouterKind, f32),
        batch: usize,
        measured: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let end = tokenizer.eos_id().ok_or("the tokenizer has no end-of-text token")?;
        let problems = problems(&Task::ALL, measured, MEASURED);
        let mut task = Self { arguments, model, tokenizer, end, kind, bias, batch, problems, items: Vec::new() };
        for problem in &task.problems {
            let (prompt, continuation) = task.tokens(problem)?;
            task.items.push(ScoreItem { prompt, continuation });
        }
        Ok(task)
    }

    /// The held-out problems, in the order of the items.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the token ids of a problem's prompt and of its answer, which ends with the end-of-text token.
    fn tokens(&self, problem: &Problem) -> Result<(Vec<u32>, Vec<u32>), Box<dyn Error>> {
        let mut answer = self.tokenizer.encode(&problem.answer, false)?;
        answer.push(self.end);
        Ok((self.arguments.encode(self.tokenizer, &problem.prompt)?, answer))
    }
}

impl StudyTask for TinyTask<'_> {
    type Router = AnyRouter;

    fn router(&self, seed: u64) -> AnyRouter {
        self.kind.router(self.model, self.bias, seed)
    }

    fn batch(&self, seed: u64, StepPart { step, part }: StepPart) -> Result<TrainingBatch, TrainingError> {
        let first = (step + (part << 32)) * self.batch as u64;
        // Not the seed itself: the embedded model was trained with its problems.
        let seed = random::derive(purposes::LEARNED, seed, [0, 0, 0]);
        let items = (0..self.batch).map(|i| {
            let id = first + i as u64;
            let problem = Problem::new(Task::ALL[i % Task::ALL.len()], seed, id, false);
            // A problem that cannot be encoded leaves an empty item, which the batch refuses.
            let (prompt, answer) = self.tokens(&problem).unwrap_or_default();
            TrainingItem { id, prompt, answer }
        });
        TrainingBatch::new(self.model, items.collect())
    }

    fn items(&self) -> &[ScoreItem] {
        &self.items
    }

    fn options(&self) -> GenerateOptions<'_> {
        tiny::options(self.tokenizer)
    }

    /// Returns 1 for an exact match, otherwise 0.
    fn quality(&self, item: usize, output: &Completion) -> f64 {
        f64::from(u8::from(self.problems[item].solved_by(&output.text)))
    }
}
