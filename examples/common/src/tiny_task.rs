//! Routers for the embedded model: what they learn from, and what they are judged by.

use crate::study::StudyTask;
use burn::tensor::Device;
use clap::ValueEnum;
use dynlayer::burn;
use dynlayer::inference::controllers::{AnyRouter, LinearRouter, MlpRouter};
use dynlayer::inference::training::{StepPart, TrainingBatch, TrainingError, TrainingItem};
use dynlayer::inference::{Completion, GenerateOptions, ScoreItem};
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use dynlayer_tiny::{self as tiny, Problem, Task, problems};
use std::error::Error;

/// Seeds of problems that routers learn from begin here, so that they are not the model's own.
const FIRST_SEED: u64 = 1_000_000;
/// The seed of the held-out problems that routers are measured on.
const MEASURED: u64 = 2_000_000;

/// Which router is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RouterKind {
    /// A linear map per layer.
    #[default]
    Linear,
    /// A small MLP per layer.
    Mlp,
}

impl RouterKind {
    /// A new router for a model, which lets layers run with the probability that belongs to the logit `bias`.
    pub fn router(self, model: &Llama, bias: f32, seed: u64) -> AnyRouter {
        let (dimensions, device): (_, Device) = ([model.layers().len(), model.config().d_model], model.device());
        match self {
            Self::Linear => LinearRouter::new(dimensions, bias, seed, &device).into(),
            Self::Mlp => MlpRouter::new(dimensions, bias, seed, &device).into(),
        }
    }
}

/// The embedded model's tasks.
pub struct TinyTask<'a> {
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
    /// Batches of `batch` problems to learn from, and `measured` held-out problems of each task to be judged by.
    pub fn new(
        model: &'a Llama,
        tokenizer: &'a Tokenizer,
        (kind, bias): (RouterKind, f32),
        batch: usize,
        measured: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let end = tokenizer.eos_id().ok_or("the tokenizer names no token that ends a text")?;
        let problems = problems(&Task::ALL, measured, MEASURED);
        let mut task = Self { model, tokenizer, end, kind, bias, batch, problems, items: Vec::new() };
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

    /// Prompt and answer.
    fn tokens(&self, problem: &Problem) -> Result<(Vec<u32>, Vec<u32>), Box<dyn Error>> {
        let mut answer = self.tokenizer.encode(&problem.answer, false)?;
        answer.push(self.end);
        Ok((self.tokenizer.encode(&problem.prompt, false)?, answer))
    }
}

impl StudyTask for TinyTask<'_> {
    type Router = AnyRouter;

    fn router(&self, seed: u64) -> AnyRouter {
        self.kind.router(self.model, self.bias, seed)
    }

    fn batch(&self, seed: u64, StepPart { step, part }: StepPart) -> Result<TrainingBatch, TrainingError> {
        let first = (step + (part << 32)) * self.batch as u64;
        let items = (0..self.batch).map(|i| {
            let id = first + i as u64;
            let problem = Problem::new(Task::ALL[i % Task::ALL.len()], FIRST_SEED + seed, id, false);
            // An unknown token would leave an empty text, which the batch refuses.
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

    /// Exact match.
    fn quality(&self, item: usize, output: &Completion) -> f64 {
        f64::from(u8::from(self.problems[item].solved_by(&output.text)))
    }
}
