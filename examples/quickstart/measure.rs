//! Quality, depth and speed of a controller on the problems.

use dynlayer::inference::controllers::{ControllerSpec, Resources};
use dynlayer::inference::{Completion, Controller, GenerateOptions, generate};
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use dynlayer_examples::{Loaded, embedded};
use dynlayer_tiny::{self as tiny, Problem, Task};
use std::error::Error;

/// The number of problems that run together when time is not measured.
const BATCH: usize = 100;

/// The results of a controller on the problems.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    /// The share of problems that were solved.
    pub exact_match: f64,
    /// Mean layers per token, over problems.
    pub depth: f64,
    /// For each problem, `true` if it was solved, and its layers per token.
    pub each: Vec<(bool, f64)>,
    /// Seconds per generated token, one problem at a time.
    pub seconds: Option<f64>,
}

/// The answers to some problems.
pub struct Answers {
    pub completions: Vec<Completion>,
    /// Layers per token of each answer.
    pub depths: Vec<f64>,
    /// Seconds that decoding took.
    pub seconds: f64,
}

/// The model, the problems, and the resources for building controllers.
pub struct Bench<'a> {
    pub model: &'a Llama,
    pub tokenizer: &'a Tokenizer,
    pub problems: &'a [Problem],
    prompts: Vec<Vec<u32>>,
    /// The indices of problems that are also run one at a time.
    timed: Vec<usize>,
    pub resources: Resources,
}

impl<'a> Bench<'a> {
    pub fn new(loaded: &'a Loaded, problems: &'a [Problem], timed: usize) -> Result<Self, Box<dyn Error>> {
        let Loaded { model, tokenizer, .. } = loaded;
        let encode = |problem: &Problem| tokenizer.encode(&problem.prompt, false);
        let of_task = problems.len() / Task::ALL.len();
        Ok(Self {
            model,
            tokenizer,
            problems,
            prompts: problems.iter().map(encode).collect::<Result<_, _>>()?,
            timed: (0..problems.len()).filter(|i| i % of_task < timed).collect(),
            resources: tiny::resources().texts(embedded::calibration(tokenizer)?),
        })
    }

    /// The token ids of a problem's prompt.
    pub fn prompt(&self, problem: usize) -> &[u32] {
        &self.prompts[problem]
    }

    /// Measures quality, depth and speed.
    pub fn row(&self, spec: &ControllerSpec) -> Result<Row, Box<dyn Error>> {
        let mut row = self.quality(spec)?;
        row.seconds = self.seconds(spec.build(self.model, &self.resources)?)?;
        Ok(row)
    }

    /// Measures quality and depth, in batches.
    pub fn quality(&self, spec: &ControllerSpec) -> Result<Row, Box<dyn Error>> {
        self.of(spec.to_string(), spec.build(self.model, &self.resources)?)
    }

    pub fn of(&self, name: String, mut controller: impl Controller) -> Result<Row, Box<dyn Error>> {
        let mut each = Vec::new();
        let indices: Vec<usize> = (0..self.problems.len()).collect();
        for some in indices.chunks(BATCH) {
            let Answers { completions, depths, .. } = self.generate(some, &mut controller)?;
            let solved = |(i, completion): (&usize, &Completion)| self.problems[*i].solved_by(&completion.text);
            each.extend(some.iter().zip(&completions).map(solved).zip(depths));
        }
        let n = each.len() as f64;
        let exact_match = each.iter().map(|(solved, _)| f64::from(u8::from(*solved))).sum::<f64>() / n;
        let depth = each.iter().map(|(_, depth)| depth).sum::<f64>() / n;
        Ok(Row { name, exact_match, depth, each, seconds: None })
    }

    /// Measures the seconds per generated token, one problem at a time.
    pub fn seconds(&self, mut controller: impl Controller) -> Result<Option<f64>, Box<dyn Error>> {
        // The first run warms up and is not counted.
        self.generate(&self.timed[..1], &mut controller)?;
        let (mut seconds, mut passes) = (0.0, 0u32);
        for i in &self.timed {
            let answers = self.generate(&[*i], &mut controller)?;
            seconds += answers.seconds;
            passes += answers.completions.iter().map(|c| u32::try_from(c.tokens.len()).unwrap_or(0)).sum::<u32>();
        }
        Ok((passes > 0).then(|| seconds / f64::from(passes)))
    }

    /// Generates answers; a controlled pass predicts every token.
    pub fn generate(&self, problems: &[usize], controller: impl Controller) -> Result<Answers, Box<dyn Error>> {
        let prompts: Vec<Vec<u32>> = problems.iter().map(|i| self.prompts[*i].clone()).collect();
        let options = GenerateOptions {
            // The oracle knows problems by their index.
            sequence_ids: problems.iter().map(|i| *i as u64).collect(),
            ..tiny::options(self.tokenizer)
        };
        let (completions, report) = generate(self.model, controller, &prompts, options)?.finish()?;
        let depths = report.sequences.iter().map(|sequence| sequence.depth().unwrap_or(0.0)).collect();
        Ok(Answers { completions, depths, seconds: report.decode.seconds })
    }
}
