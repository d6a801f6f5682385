//! The settings of a study, its trainings and its measurements.

use super::store::Store;
use super::{Evaluation, StudyError, StudyReport, StudyTask, evaluate};
use crate::stored::Stored;
use dynlayer::inference::controllers::{FullDepth, RouterInput};
use dynlayer::inference::oracle::Shard;
use dynlayer::inference::training::{DepthLoss, RouterTraining, StepReport, TrainingFolder};
use dynlayer::metrics::statistics::Bootstrap;
use dynlayer::model::Llama;
use serde::{Deserialize, Serialize};

/// The settings of a study: the routers that are trained and compared.
///
/// ```
/// use dynlayer::inference::ControlFrom;
/// use dynlayer::inference::controllers::RouterInput;
/// use dynlayer::inference::training::{DepthLoss, RouterTraining};
/// use dynlayer_examples::study::Study;
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
    /// The training of every router; each run replaces its input, depth loss and seed.
    pub training: RouterTraining,
    /// The inputs of the routers.
    pub inputs: Vec<RouterInput>,
    /// The costs of depth: prices or budgets.
    pub depths: Vec<DepthLoss>,
    /// The seeds of weights, data and noise.
    pub seeds: Vec<u64>,
    /// The number of items that are measured together, which changes the speed, and the results by rounding.
    pub batch: usize,
    /// The bootstrap of the intervals.
    pub bootstrap: Bootstrap,
}

/// The results of one router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyRun {
    /// The input of the router.
    pub input: RouterInput,
    /// The cost of depth in its training.
    pub depth: DepthLoss,
    /// The seed of weights, data and noise.
    pub seed: u64,
    /// The loss of the last training step, with noise.
    pub training_loss: f64,
    /// The layers per token in the last training step, with noise.
    pub training_layers: f64,
    /// The measurement, without noise.
    pub evaluation: Evaluation,
}

/// The progress of a study.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum StudyProgress<'a> {
    /// A training step.
    Step {
        /// The input, the cost of depth and the seed of the router.
        run: (RouterInput, DepthLoss, u64),
        /// The report of the step.
        report: &'a StepReport,
    },
    /// The end of a run: a router was trained and measured, by this call or an earlier one.
    Run {
        /// The results of the router.
        run: &'a StudyRun,
        /// The number of runs done.
        done: usize,
        /// The number of runs of the study, or of its shard.
        total: usize,
    },
}

impl Study {
    /// Returns a study of all five inputs, with 50 items at a time and intervals from 1,000 resamples.
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
    /// With a folder, every finished run is stored there as a file and is not repeated. Studies that share inputs,
    /// prices or seeds may use the same folder, also at the same time. A stored run of another model, other items,
    /// other settings or another first batch is refused. The folder's `what` names everything else: the rest of the
    /// data, and the measure of quality.
    ///
    /// # Errors
    /// If a list is empty, the folder cannot be used or holds runs of another study, or a training or measurement
    /// fails.
    pub fn run<T: StudyTask>(
        &self,
        model: &Llama,
        task: &T,
        folder: Option<TrainingFolder<'_>>,
        mut progress: impl FnMut(StudyProgress<'_>),
    ) -> Result<StudyReport, StudyError> {
        let store = self.store(model, task, folder)?;
        let full = evaluate(model, &mut FullDepth, task, self.training.control_from, self.batch)?;
        let runs = self.runs(model, task, &store, |_| true, &mut progress)?;
        StudyReport::new(self, model.layers().len(), full, runs)
    }

    /// Trains and measures a shard of the routers, in the folder where [`run`](Self::run) finds them.
    ///
    /// # Errors
    /// The same as for [`run`](Self::run).
    pub fn run_shard<T: StudyTask>(
        &self,
        model: &Llama,
        task: &T,
        folder: TrainingFolder<'_>,
        shard: Shard,
        mut progress: impl FnMut(StudyProgress<'_>),
    ) -> Result<(), StudyError> {
        let store = self.store(model, task, Some(folder))?;
        self.runs(model, task, &store, |run| shard.has(run), &mut progress).map(|_| ())
    }

    fn store<'f, T: StudyTask>(
        &self,
        model: &Llama,
        task: &T,
        folder: Option<TrainingFolder<'f>>,
    ) -> Result<Store<'f>, StudyError> {
        for (what, n) in
            [("inputs", self.inputs.len()), ("prices of depth", self.depths.len()), ("seeds", self.seeds.len())]
        {
            if n == 0 {
                return Err(StudyError::Empty { what });
            }
        }
        Store::open(folder, model, task, self.batch)
    }

    /// Trains and measures the routers whose number `takes` accepts.
    fn runs<T: StudyTask>(
        &self,
        model: &Llama,
        task: &T,
        store: &Store<'_>,
        takes: impl Fn(usize) -> bool,
        progress: &mut impl FnMut(StudyProgress<'_>),
    ) -> Result<Vec<StudyRun>, StudyError> {
        // All routers of one seed come before the next seed, so that a study that is stopped early has complete
        // comparisons.
        let depths = self.seeds.iter().flat_map(|seed| self.depths.iter().map(move |depth| (*seed, *depth)));
        let all = depths.flat_map(|(seed, depth)| self.inputs.iter().map(move |input| (*input, depth, seed)));
        let chosen: Vec<_> = all.enumerate().filter(|(number, _)| takes(*number)).map(|(_, run)| run).collect();
        let total = chosen.len();
        let mut runs = Vec::with_capacity(total);
        for (input, depth, seed) in chosen {
            let recipe = self.recipe(input, depth, seed);
            let stored = store.place(&recipe, task)?;
            let run = match stored.as_ref().map(Stored::load).transpose()?.flatten() {
                Some(run) => run,
                None => {
                    let step = |report: &StepReport| {
                        progress(StudyProgress::Step { run: (input, depth, seed), report });
                    };
                    let run = self.train_and_measure(model, task, &recipe, step)?;
                    stored.map(|stored| stored.save(&run)).transpose()?;
                    run
                }
            };
            progress(StudyProgress::Run { run: &run, done: runs.len() + 1, total });
            runs.push(run);
        }
        Ok(runs)
    }

    fn recipe(&self, input: RouterInput, depth: DepthLoss, seed: u64) -> RouterTraining {
        let mut recipe = RouterTraining { depth, seed, ..self.training };
        recipe.router.input = input;
        recipe
    }

    fn train_and_measure<T: StudyTask>(
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
