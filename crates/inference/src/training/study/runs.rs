//! The trainings and measurements of a study.

use super::store::Store;
use super::{Evaluation, StudyError, StudyReport, StudyTask, evaluate};
use crate::controllers::{FullDepth, RouterInput};
use crate::training::{DepthLoss, RouterTraining, StepReport, TrainingFolder};
use dynlayer_metrics::statistics::Bootstrap;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// Which routers are trained and compared, and how.
///
/// ```
/// use dynlayer_inference::ControlFrom;
/// use dynlayer_inference::controllers::RouterInput;
/// use dynlayer_inference::training::study::Study;
/// use dynlayer_inference::training::{DepthLoss, RouterTraining};
///
/// let mut training = RouterTraining::new(200, 5e-3, DepthLoss::budget(8.0));
/// training.control_from = ControlFrom::LastPromptToken;
/// let study = Study {
///     inputs: vec![RouterInput::Hidden, RouterInput::Constant],
///     ..Study::new(training, [0.1, 0.3, 1.0].map(|alpha| DepthLoss::Price { alpha }), 0..3)
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// How every router is trained. Its input, its depth loss and its seed are those of each run.
    pub training: RouterTraining,
    /// What routers see.
    pub inputs: Vec<RouterInput>,
    /// The prices of depth, or budgets.
    pub depths: Vec<DepthLoss>,
    /// The seeds of weights, data and noise.
    pub seeds: Vec<u64>,
    /// Items that are measured together; a matter of speed only.
    pub batch: usize,
    /// How intervals are computed.
    pub bootstrap: Bootstrap,
}

/// A router that was trained and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyRun {
    /// What it saw.
    pub input: RouterInput,
    /// What depth cost.
    pub depth: DepthLoss,
    /// The seed.
    pub seed: u64,
    /// Loss of the last training step, with noise.
    pub training_loss: f64,
    /// Layers per token of the last training step, with noise.
    pub training_layers: f64,
    /// What it reaches without.
    pub evaluation: Evaluation,
}

/// How far a study is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum StudyProgress<'a> {
    /// A router learned.
    Step {
        /// What it sees, what depth costs, and its seed.
        run: (RouterInput, DepthLoss, u64),
        /// The step.
        report: &'a StepReport,
    },
    /// A router is trained and measured, or was so before.
    Run {
        /// What it reaches.
        run: &'a StudyRun,
        /// Runs done.
        done: usize,
        /// Runs of the study.
        of: usize,
    },
}

impl Study {
    /// All five inputs, 50 items at a time, intervals from 1,000 resamples.
    pub fn new(
        training: RouterTraining,
        depths: impl IntoIterator<Item = DepthLoss>,
        seeds: impl IntoIterator<Item = u64>,
    ) -> Self {
        Self {
            training,
            inputs: vec![
                RouterInput::Hidden,
                RouterInput::Constant,
                RouterInput::Position,
                RouterInput::Embedding,
                RouterInput::ShuffledHidden,
            ],
            depths: depths.into_iter().collect(),
            seeds: seeds.into_iter().collect(),
            batch: 50,
            bootstrap: Bootstrap::new(0),
        }
    }

    /// Trains and measures all routers.
    ///
    /// With a folder, finished runs are kept there, a file each, and not repeated; studies that share inputs, prices or
    /// seeds may share it, also at the same time.
    ///
    /// # Errors
    /// If a list is empty, the folder cannot be used or holds runs of another study, or a training or measurement fails.
    pub fn run<T: StudyTask>(
        &self,
        model: &Llama,
        task: &T,
        folder: Option<TrainingFolder<'_>>,
        mut progress: impl FnMut(StudyProgress<'_>),
    ) -> Result<StudyReport, StudyError> {
        for (what, n) in
            [("inputs", self.inputs.len()), ("prices of depth", self.depths.len()), ("seeds", self.seeds.len())]
        {
            if n == 0 {
                return Err(StudyError::Empty { what });
            }
        }
        let store = Store::open(folder)?;
        let full = evaluate(model, &mut FullDepth, task, self.training.control_from, self.batch)?;
        let of = self.inputs.len() * self.depths.len() * self.seeds.len();
        let mut runs = Vec::with_capacity(of);
        // Seed by seed, so that a study that is stopped early has whole comparisons.
        for &seed in &self.seeds {
            for &depth in &self.depths {
                for &input in &self.inputs {
                    let recipe = self.recipe(input, depth, seed);
                    let run = match store.load(&recipe, task.items().len())? {
                        Some(run) => run,
                        None => {
                            let step = |report: &StepReport| {
                                progress(StudyProgress::Step { run: (input, depth, seed), report });
                            };
                            let run = self.one(model, task, &recipe, step)?;
                            store.save(&recipe, task.items().len(), &run)?;
                            run
                        }
                    };
                    progress(StudyProgress::Run { run: &run, done: runs.len() + 1, of });
                    runs.push(run);
                }
            }
        }
        StudyReport::new(self, model.layers().len(), full, runs)
    }

    fn recipe(&self, input: RouterInput, depth: DepthLoss, seed: u64) -> RouterTraining {
        let mut recipe = RouterTraining { depth, seed, ..self.training };
        recipe.router.input = input;
        recipe
    }

    fn one<T: StudyTask>(
        &self,
        model: &Llama,
        task: &T,
        recipe: &RouterTraining,
        mut step: impl FnMut(&StepReport),
    ) -> Result<StudyRun, StudyError> {
        let (input, depth, seed) = (recipe.router.input, recipe.depth, recipe.seed);
        let (mut training_loss, mut training_layers) = (f64::NAN, f64::NAN);
        let progress = |report: &StepReport| {
            training_loss = report.loss;
            training_layers = report.metrics.get("layers").copied().unwrap_or(f64::NAN);
            step(report);
        };
        let mut routed = recipe.run(model, task.router(seed), None, |at| task.batch(seed, at), progress)?;
        let evaluation = evaluate(model, &mut routed, task, recipe.control_from, self.batch)?;
        Ok(StudyRun { input, depth, seed, training_loss, training_layers, evaluation })
    }
}
