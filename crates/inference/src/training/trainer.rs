//! The training loop for any loss: gradients, updates, checkpoints and the log.

use super::checkpoint::{self, Loaded};
use super::folder::Log;
use super::optimizer::{Optimizer, finite};
use super::{AdamWOptions, LearningRate, TrainingBatch, TrainingError, TrainingFolder};
use crate::identity::{Identity, named};
use crate::parameters::to_host;
use burn::module::Module;
use burn::tensor::Tensor;
use dynlayer_model::{Digest, quantised_weight};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of a training, for any loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerOptions {
    /// The learning rate of each step, and the number of steps.
    pub rate: LearningRate,
    /// The optimizer.
    pub adamw: AdamWOptions,
    /// The number of losses whose gradients are averaged in a step, at least 1.
    pub accumulation: u64,
    /// The number of steps between checkpoints, at least 1.
    pub checkpoint_every: u64,
}

impl TrainerOptions {
    /// Options for `steps` steps with a peak learning rate of `peak`. The rate rises over the first twentieth of the
    /// steps, and every 100th step writes a checkpoint.
    pub fn new(steps: u64, peak: f64) -> Self {
        Self {
            rate: LearningRate { peak, warm_up: steps / 20, steps, final_fraction: 0.05 },
            adamw: AdamWOptions::default(),
            accumulation: 1,
            checkpoint_every: 100,
        }
    }
}

/// The place of a loss in the training: a step, and a part of it. The data and the noise of a loss must depend on it
/// alone, so that a resumed training sees the same data and noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPart {
    /// The step, from 0.
    pub step: u64,
    /// The part of an accumulated step, from 0.
    pub part: u64,
}

/// A loss, and numbers for the log.
#[derive(Clone, Debug)]
pub struct StepLoss {
    /// The loss to minimise, `[1]`, on an autodiff device.
    pub loss: Tensor<1>,
    /// Names and values for the log, averaged over the parts of a step.
    pub metrics: Vec<(String, f64)>,
}

/// The report of a step: a line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step, from 0.
    pub step: u64,
    /// The mean loss of its parts.
    pub loss: f64,
    /// The norm of the averaged gradients before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub rate: f64,
    /// The metrics of the loss.
    pub metrics: BTreeMap<String, f64>,
    /// The wall time of the step, in seconds.
    pub seconds: f64,
}

/// A training in progress.
///
/// A training with a folder can be stopped at any time, even by a crash. It continues from its last checkpoint and
/// reaches the same weights as without the stop: bit for bit on one thread, while several threads may sum in another
/// order. The folder holds `checkpoint.safetensors` and `steps.jsonl`, a [`StepReport`] per line.
///
/// ```
/// use burn::module::{Module, Param};
/// use burn::tensor::{Device, Tensor};
/// use dynlayer_inference::training::{StepLoss, Trainer, TrainerOptions};
///
/// #[derive(Module, Debug)]
/// struct Number {
///     x: Param<Tensor<1>>,
/// }
///
/// # fn run(device: &Device) -> Result<(), Box<dyn std::error::Error>> {
/// let number = Number { x: Param::from_tensor(Tensor::from_floats([4.0], &device.clone().autodiff())) };
/// let trained = Trainer::new(number, TrainerOptions::new(100, 0.1))?.run(
///     |number, _| Ok(StepLoss { loss: (number.x.val() - 1.0).square(), metrics: Vec::new() }),
///     |report| println!("{} {}", report.step, report.loss),
/// )?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer<M> {
    module: M,
    options: TrainerOptions,
    optimizer: Optimizer<M>,
    step: u64,
    folder: Option<(PathBuf, Log, Identity)>,
}

impl<M: Module> Trainer<M> {
    /// Begins a training that writes nothing to disk. `module` must be on an autodiff device; weights without gradients
    /// do not change.
    ///
    /// # Errors
    /// If an option is out of its range, or if a weight is kept as quantised blocks.
    pub fn new(module: M, options: TrainerOptions) -> Result<Self, TrainingError> {
        options.rate.check()?;
        options.adamw.check()?;
        TrainingError::check(options.accumulation > 0, "accumulation", options.accumulation, "at least 1")?;
        TrainingError::check(options.checkpoint_every > 0, "checkpoint_every", options.checkpoint_every, "at least 1")?;
        if let Some(weight) = quantised_weight(&module) {
            return Err(TrainingError::Quantised { weight });
        }
        Ok(Self { module, options, optimizer: Optimizer::new(options.adamw, BTreeMap::new()), step: 0, folder: None })
    }

    /// Begins a training in a folder, or continues it from the folder's checkpoint.
    ///
    /// `what` names what the loss depends on, such as its seed and the [digest](dynlayer_model::Digest) of its data. A
    /// checkpoint with another name or other options is refused, as is one of a training that began with other weights
    /// than `module` has.
    ///
    /// # Errors
    /// If an option is out of its range, a weight is kept as quantised blocks, the folder cannot be written or has no
    /// room for the checkpoints, or its checkpoint is broken or belongs to another training. All of this is found
    /// before the first step.
    pub fn in_folder(
        folder: impl AsRef<Path>,
        what: &str,
        module: M,
        options: TrainerOptions,
    ) -> Result<Self, TrainingError> {
        Self::begin(folder.as_ref(), named([("what", json!(what))]), module, options)
    }

    /// Begins a training in a folder or continues it, as [`in_folder`](Self::in_folder) does.
    fn begin(folder: &Path, mut identity: Identity, module: M, options: TrainerOptions) -> Result<Self, TrainingError> {
        let mut trainer = Self::new(module, options)?;
        checkpoint::prepare(folder, &trainer.module)?;
        let weights = Digest::of_weights(&trainer.module)?;
        let devices = json!(format!("{:?}", trainer.module.devices()));
        let values = [("trainer", json!(options)), ("device", devices), ("the first weights", json!(weights))];
        identity.extend(named(values));
        let device = trainer.module.devices().into_iter().next().unwrap_or_default().inner();
        if let Some(Loaded { module, moments, step }) =
            checkpoint::load(folder, trainer.module.clone(), &device, &identity)?
        {
            trainer = Self { module, optimizer: Optimizer::new(options.adamw, moments), step, ..trainer };
        }
        let log = Log::open(folder, trainer.step)?;
        trainer.folder = Some((folder.to_path_buf(), log, identity));
        Ok(trainer)
    }

    /// Begins or continues a training in the folder, or without a folder begins one that writes nothing to disk. The
    /// recipe and the first batch are part of the training's identity: a checkpoint with others is refused.
    pub(super) fn start(
        folder: Option<TrainingFolder<'_>>,
        recipe: impl FnOnce() -> Result<Identity, TrainingError>,
        data: &mut impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
        module: M,
        options: TrainerOptions,
    ) -> Result<Self, TrainingError> {
        let Some(TrainingFolder { path, what }) = folder else { return Self::new(module, options) };
        let first = data(StepPart { step: 0, part: 0 })?.digest();
        let mut identity = named([("what", json!(what)), ("the first batch", json!(first))]);
        identity.extend(recipe()?);
        Self::begin(path, identity, module, options)
    }

    /// The module with its current weights.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// The number of steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Does one step.
    ///
    /// # Errors
    /// The errors of `loss`; [`TrainingError::NotFinite`] if the loss or the gradients are not finite; or
    /// [`TrainingError::Device`] if they cannot be read. The module and the optimizer are then as before the step.
    ///
    /// An error is also returned if the log or a checkpoint cannot be written; the step is then already done.
    pub fn step(
        &mut self,
        mut loss: impl FnMut(&M, StepPart) -> Result<StepLoss, TrainingError>,
    ) -> Result<StepReport, TrainingError> {
        let started = Instant::now();
        let (step, parts) = (self.step, self.options.accumulation);
        let share = 1.0 / parts as f64;
        let (mut total, mut metrics) = (0.0, BTreeMap::new());
        // A step that failed may have left gradients of its first parts.
        self.optimizer.clear();
        for part in 0..parts {
            let StepLoss { loss, metrics: noted } = loss(&self.module, StepPart { step, part })?;
            let loss = loss.mul_scalar(share);
            let value = to_host(loss.clone(), || "the loss".into())?.first().map_or(f64::NAN, |x| f64::from(*x));
            finite(step, "the loss", value)?;
            total += value;
            for (name, value) in noted {
                *metrics.entry(name).or_insert(0.0) += value * share;
            }
            self.optimizer.add(&self.module, &loss);
        }
        let rate = self.options.rate.at(step);
        let (module, gradient_norm) = self.optimizer.step(step, rate, self.module.clone())?;
        self.module = module;
        self.step += 1;
        let report =
            StepReport { step, loss: total, gradient_norm, rate, metrics, seconds: started.elapsed().as_secs_f64() };
        if let Some((_, log, _)) = &mut self.folder {
            log.write(&report)?;
        }
        if self.step.is_multiple_of(self.options.checkpoint_every) || self.step == self.options.rate.steps {
            self.save()?;
        }
        Ok(report)
    }

    /// Does the remaining steps, and returns the trained module.
    ///
    /// # Errors
    /// The first error of a step.
    pub fn run(
        mut self,
        mut loss: impl FnMut(&M, StepPart) -> Result<StepLoss, TrainingError>,
        mut progress: impl FnMut(&StepReport),
    ) -> Result<M, TrainingError> {
        while self.step < self.options.rate.steps {
            progress(&self.step(&mut loss)?);
        }
        Ok(self.module)
    }

    /// Writes a checkpoint now, if the training has a folder.
    ///
    /// # Errors
    /// If it cannot be written; the previous checkpoint is then still there.
    pub fn save(&self) -> Result<(), TrainingError> {
        match &self.folder {
            Some((folder, _, identity)) => {
                checkpoint::save(folder, &self.module, self.optimizer.moments(), self.step, identity)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
