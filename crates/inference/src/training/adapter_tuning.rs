//! Training of an adapter with which a model works with fewer layers.

use super::teacher::{Targets, Teacher};
use super::{
    LayerDropout, PassOptions, StepLoss, StepPart, StepReport, Trainer, TrainerOptions, TrainingBatch, TrainingError,
    TrainingFolder, pass,
};
use crate::control::{Action, ControlFrom, Controller, ControllerError, Decision, Event, Site};
use crate::identity::named;
use crate::parameters::to_host;
use crate::random;
use burn::module::Module;
use burn::tensor::Tensor;
use dynlayer_model::{Adapter, Llama};
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The layers that a step of [`AdapterTuning`] runs. As text: `full`, `exit:10`, `exit:6+10`, `random:15`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunedDepth {
    /// All layers.
    Full,
    /// The first layers, as many as the largest number says. Norm and head follow after each of these numbers of layers, and
    /// the loss is the mean over them.
    Exits(BTreeSet<usize>),
    /// A number of layers: the first, the last, and others that the step draws.
    Random(usize),
}

impl fmt::Display for TunedDepth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Exits(exits) => {
                let exits: Vec<String> = exits.iter().map(ToString::to_string).collect();
                write!(f, "exit:{}", exits.join("+"))
            }
            Self::Random(layers) => write!(f, "random:{layers}"),
        }
    }
}

impl FromStr for TunedDepth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |layers: &str| layers.parse().ok();
        match text.split_once(':') {
            None if text == "full" => Some(Self::Full),
            Some(("exit", exits)) => exits.split('+').map(number).collect::<Option<_>>().map(Self::Exits),
            Some(("random", layers)) => number(layers).map(Self::Random),
            _ => None,
        }
        .ok_or_else(|| format!("{text:?} is no depth; expected full, exit:N, exit:N+N+.. or random:N"))
    }
}

impl Serialize for TunedDepth {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TunedDepth {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Training of an adapter (`LoRA`) with which a model says with some of its layers what it says with all of them.
///
/// The loss of a step is the divergence KL(model without the adapter at full depth || model with the adapter at the
/// step's depth), the mean over the tokens of the answers. Steps take the depths in turn; full depth is one of them, so
/// that the adapted model stays the model that it was. The model's own weights do not change. It learns from its own
/// distributions, so the answers should be its own too.
///
/// Only the likeliest tokens of the model at full depth are kept, and all others count as one token: the divergence is
/// a lower bound of that over all tokens.
///
/// If at least half of the longest text is a beginning that all prompts of a batch share, a pass runs it once, unless layers
/// are dropped.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::training::{AdapterTuning, TrainerOptions, TrainingBatch, TrainingItem};
/// use dynlayer_model::{Adapter, AdapterOptions};
/// # use dynlayer_inference::conformance::small_model;
///
/// let model = small_model(&Device::flex())?; // 6 layers
/// let adapter = Adapter::new(&model, &AdapterOptions::default())?;
/// let tuning = AdapterTuning::new(3, 1e-3, &["exit:2".parse()?, "full".parse()?]);
/// let data = |_| TrainingBatch::new(&model, vec![TrainingItem { id: 0, prompt: vec![1, 2], answer: vec![3, 4] }]);
/// let trained = tuning.run(&model, adapter, None, data, |report| println!("{}", report.loss))?;
/// let adapted = model.adapted(&trained)?;
/// # let _ = adapted;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterTuning {
    /// The number of steps, the learning rate, accumulation and checkpoints.
    pub trainer: TrainerOptions,
    /// The depths, which the steps take in turn; at least one.
    pub depths: Vec<TunedDepth>,
    /// The probability with which the last layer is dropped in steps of all depths but [`Full`](TunedDepth::Full). Earlier
    /// layers are dropped less often ([`LayerDropout`]).
    pub dropout: f64,
    /// The first token that skips layers at a random depth; before it all layers run, as they do for a prompt.
    pub control_from: ControlFrom,
    /// The number of the model's likeliest tokens that the divergence tells apart, at least 1.
    pub kept: usize,
    /// The seed of random depths and of the dropout.
    pub seed: u64,
}

impl AdapterTuning {
    /// Returns a tuning of `steps` steps with a peak learning rate of `peak`, without weight decay and dropout, that
    /// keeps 64 tokens.
    pub fn new(steps: u64, peak: f64, depths: &[TunedDepth]) -> Self {
        let mut trainer = TrainerOptions::new(steps, peak);
        trainer.adamw.weight_decay = 0.0;
        let control_from = ControlFrom::default();
        Self { trainer, depths: depths.to_vec(), dropout: 0.0, control_from, kept: 64, seed: 0 }
    }

    /// The depth of a step.
    pub fn depth(&self, step: u64) -> TunedDepth {
        let turn = usize::try_from(step).unwrap_or_default() % self.depths.len().max(1);
        self.depths.get(turn).cloned().unwrap_or(TunedDepth::Full)
    }

    /// Trains the adapter, and leaves the model unchanged, which may be quantised. Both may be on a device without
    /// autodiff; the trained adapter is returned on a device without it.
    ///
    /// `data` returns the batch of a step and part, and must derive it from these alone. The distributions that the
    /// adapter learns are computed once per item, so items should be repeated.
    ///
    /// # Errors
    /// If an option is out of its range, the adapter does not fit the model, the folder cannot be used (before the
    /// first step), the training diverges, or `data` fails.
    pub fn run(
        &self,
        model: &Llama,
        adapter: Adapter,
        folder: Option<TrainingFolder<'_>>,
        mut data: impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
        mut progress: impl FnMut(&StepReport),
    ) -> Result<Adapter, TrainingError> {
        let mut trainer = self.start(model, adapter, folder, &mut data)?;
        while trainer.steps_done() < self.trainer.rate.steps {
            progress(&trainer.step(&mut data)?);
        }
        Ok(trainer.adapter())
    }

    /// Begins a training as [`run`](Self::run) does, or continues it, to be taken step by step.
    ///
    /// # Errors
    /// The same as for [`run`](Self::run).
    pub fn start(
        &self,
        model: &Llama,
        adapter: Adapter,
        folder: Option<TrainingFolder<'_>>,
        mut data: impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
    ) -> Result<AdapterTrainer, TrainingError> {
        // Without autodiff for the model, gradients reach only the adapter.
        let model = model.valid().without_adapter();
        self.check(&model)?;
        model.adapted(&adapter)?;
        let recipe = || {
            let weights = json!(model.weights_digest()?);
            let config = json!(model.config());
            let (options, form) = (json!(self), json!(adapter.form()));
            let values = [
                ("options", options),
                ("configuration", config),
                ("the model's weights", weights),
                ("the adapter's maps and scales", form),
            ];
            Ok::<_, TrainingError>(named(values))
        };
        let trainer = Trainer::start(folder, recipe, &mut data, adapter.clone().train(), self.trainer)?;
        Ok(AdapterTrainer { tuning: self.clone(), teacher: Teacher::new(model, self.kept), trainer })
    }

    fn check(&self, model: &Llama) -> Result<(), TrainingError> {
        let n_layers = model.layers().len();
        TrainingError::check(!self.depths.is_empty(), "the number of depths", 0, "at least 1")?;
        TrainingError::check(self.kept > 0, "the number of kept tokens", self.kept, "at least 1")?;
        for depth in &self.depths {
            let ok = match depth {
                TunedDepth::Full => true,
                TunedDepth::Exits(exits) => {
                    !exits.is_empty() && exits.iter().all(|layers| (1..=n_layers).contains(layers))
                }
                TunedDepth::Random(layers) => (2..=n_layers).contains(layers),
            };
            TrainingError::check(ok, "a depth", depth, "exits from 1 and random depths from 2, to the model's layers")?;
        }
        LayerDropout { max: self.dropout, ..LayerDropout::default() }.check()
    }

    fn loss(
        &self,
        adapted: &Llama,
        teacher: &mut Teacher,
        batch: &TrainingBatch,
        step: u64,
    ) -> Result<StepLoss, TrainingError> {
        let targets = teacher.targets(batch)?;
        // Dropped layers are drawn for each row.
        let packed = if self.dropout > 0.0 { None } else { batch.packed() };
        self.loss_at(adapted, &targets, packed.as_ref().unwrap_or(batch), step)
    }

    fn loss_at(
        &self,
        adapted: &Llama,
        targets: &Targets,
        batch: &TrainingBatch,
        step: u64,
    ) -> Result<StepLoss, TrainingError> {
        let depth = self.depth(step);
        let max = if depth == TunedDepth::Full { 0.0 } else { self.dropout };
        let exits = if let TunedDepth::Exits(exits) = &depth { exits.clone() } else { BTreeSet::new() };
        let mut controller = Depth {
            exit: exits.last().copied().unwrap_or(usize::MAX),
            gated: self.skipped(&depth, adapted.layers().len(), step),
            dropout: LayerDropout { max, curriculum: None, seed: self.seed, step },
        };
        let options = PassOptions { control_from: self.control_from, keep_states: exits.len() > 1, seed: self.seed };
        let pass = pass(adapted, &mut controller, batch, options)?;
        let (mut losses, mut agreements) = (Vec::new(), Vec::new());
        let before_last = exits.len().saturating_sub(1);
        // The state after some layers is the one that enters the next layer.
        let early =
            exits.iter().take(before_last).filter_map(|layers| Some((*layers, pass.states.get(*layers)?.clone())));
        let last = exits.last().copied().unwrap_or_default();
        for (layers, hidden) in early.chain([(last, pass.hidden.clone())]) {
            let (loss, agreement) = targets.divergence(batch.logits(adapted, hidden));
            losses.push(loss);
            let name = if exits.is_empty() { depth.to_string() } else { format!("exit:{layers}") };
            agreements.push((format!("agreement {name}"), agreement));
        }
        let (names, agreements): (Vec<String>, Vec<Tensor<1>>) = agreements.into_iter().unzip();
        let values = to_host(Tensor::cat(agreements, 0), || "the agreement".into())?;
        let metrics = names.into_iter().zip(values.into_iter().map(f64::from)).collect();
        Ok(StepLoss { loss: Tensor::cat(losses, 0).mean(), metrics })
    }

    /// The layers that do not run at a random depth.
    fn skipped(&self, depth: &TunedDepth, n_layers: usize, step: u64) -> BTreeSet<usize> {
        let TunedDepth::Random(layers) = *depth else { return BTreeSet::new() };
        let mut rng = random::at(random::TUNED_DEPTH, self.seed, [step, 0, 0]);
        sample(&mut rng, n_layers - 2, n_layers - layers).into_iter().map(|layer| layer + 1).collect()
    }
}

/// A training of an adapter in progress.
#[derive(Debug)]
pub struct AdapterTrainer {
    tuning: AdapterTuning,
    teacher: Teacher,
    trainer: Trainer<Adapter>,
}

impl AdapterTrainer {
    /// Does one step.
    ///
    /// # Errors
    /// The errors of `data`, and those of [`Trainer::step`].
    pub fn step(
        &mut self,
        mut data: impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
    ) -> Result<StepReport, TrainingError> {
        let Self { tuning, teacher, trainer } = self;
        trainer.step(|adapter, at| {
            let adapted = teacher.model().adapted(adapter)?;
            tuning.loss(&adapted, teacher, &data(at)?, at.step)
        })
    }

    /// The number of steps done.
    pub fn steps_done(&self) -> u64 {
        self.trainer.steps_done()
    }

    /// Returns the adapter as it is now, on a device without autodiff.
    pub fn adapter(&self) -> Adapter {
        self.trainer.module().valid()
    }

    /// Writes a checkpoint now, if the training has a folder.
    ///
    /// # Errors
    /// If it cannot be written; the previous checkpoint is then still there.
    pub fn save(&self) -> Result<(), TrainingError> {
        self.trainer.save()
    }
}

/// A controller that exits or skips as a step's depth says, and drops layers.
struct Depth {
    /// The layer at which it exits.
    exit: usize,
    /// The layers whose gates are 0. An action would hold for the whole text, and the prompt runs them.
    gated: BTreeSet<usize>,
    dropout: LayerDropout,
}

impl Controller for Depth {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        if site.layer() >= self.exit {
            return Ok(Action::Exit.into());
        }
        if self.gated.contains(&site.layer()) {
            let [rows, tokens, _] = site.hidden().dims();
            return Ok(Decision::Gate(Tensor::zeros([rows, tokens], &site.hidden().device())));
        }
        self.dropout.decide(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.dropout.on(event)
    }
}

#[cfg(test)]
mod tests;
