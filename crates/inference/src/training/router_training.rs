//! Training of routers, alone or with the model.

use super::folder::{TrainingFolder, trainer};
use super::parameters::read;
use super::{
    DepthLoss, PassOptions, StepLoss, StepPart, StepReport, Temperature, TrainerOptions, TrainingBatch, TrainingError,
    gated_depth, pass,
};
use crate::control::ControlFrom;
use crate::controllers::{Routed, Router, RouterOptions};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// How a router is trained: cross-entropy of the answers under sampled gates, plus what depth costs.
///
/// Gates are hard, with noise that derives from the seed, the step, the item's id, the position and the layer, and
/// gradients go straight through ([`Routed`]). [`run`](Self::run) keeps the model as it is, as arXiv 2410.20022 does;
/// [`run_jointly`](Self::run_jointly) trains it too. What comes out decides without noise.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::LinearRouter;
/// use dynlayer_inference::training::{DepthLoss, RouterTraining, TrainingBatch, TrainingItem};
/// # use dynlayer_inference::conformance::small_model;
///
/// # #[cfg(feature = "flex")] {
/// let model = small_model(&Device::flex())?;
/// let router = LinearRouter::new([6, 32], 2.0, 0, &Device::flex());
/// let training = RouterTraining::new(3, 1e-2, DepthLoss::Price { alpha: 0.1 });
/// let trained = training.run(
///     &model,
///     router,
///     None,
///     |at| {
///         // Any two items: each step its own, by its number.
///         let item = |id: u64| TrainingItem { id, prompt: vec![1, 2], answer: vec![id as u32 % 64, 3] };
///         TrainingBatch::new(&model, vec![item(2 * at.step), item(2 * at.step + 1)])
///     },
///     |report| println!("{} {:.2} layers", report.loss, report.metrics["layers"]),
/// )?;
/// trained.save(std::env::temp_dir().join("router.safetensors"))?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterTraining {
    /// Steps, learning rate, accumulation, checkpoints.
    pub trainer: TrainerOptions,
    /// What depth costs.
    pub depth: DepthLoss,
    /// The gates' temperature, step by step.
    pub temperature: Temperature,
    /// What the router sees and how it is used afterwards. Its temperature is set by the schedule.
    pub router: RouterOptions,
    /// Where gates count. Take what the router will be used with.
    pub control_from: ControlFrom,
    /// The seed of the gates' noise.
    pub seed: u64,
}

/// A model and a router that are trained together.
#[derive(Module, Debug)]
pub struct Joint<R: Module> {
    /// The model.
    pub model: Llama,
    /// The router.
    pub router: R,
}

/// A router's losses on a batch.
#[derive(Clone, Debug)]
pub struct RouterLoss {
    /// What is minimised, `[1]`: cross-entropy plus depth.
    pub total: Tensor<1>,
    /// Mean negative log-likelihood of the labels in nats, `[1]`.
    pub cross_entropy: Tensor<1>,
    /// Mean layers per controlled token, `[1]`.
    pub layers: Tensor<1>,
}

impl RouterTraining {
    /// `steps` steps with a peak learning rate of `peak`; weights do not decay, as nothing should pull a gate to one half.
    /// The rest is as [`TrainerOptions::new`], [`RouterOptions::default`], and a temperature of 1.
    pub fn new(steps: u64, peak: f64, depth: DepthLoss) -> Self {
        let mut trainer = TrainerOptions::new(steps, peak);
        trainer.adamw.weight_decay = 0.0;
        Self {
            trainer,
            depth,
            temperature: Temperature::default(),
            router: RouterOptions::default(),
            control_from: ControlFrom::default(),
            seed: 0,
        }
    }

    /// Trains a router for a model that stays as it is. Both may be on a plain device; the trained router is on one.
    ///
    /// `data` gives the batch of a step and part, and must derive it from these and from nothing else. Items of all parts
    /// of a step should have different ids, as their noise is drawn by these.
    ///
    /// # Errors
    /// If an option is out of its range, the router does not fit the model, the folder cannot be used (before the first
    /// step), the training diverges, or `data` fails.
    pub fn run<R: Router>(
        &self,
        model: &Llama,
        router: R,
        folder: Option<TrainingFolder<'_>>,
        mut data: impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
        progress: impl FnMut(&StepReport),
    ) -> Result<Routed<R>, TrainingError> {
        self.temperature.check()?;
        // A constant, wherever it is.
        let model = model.valid();
        let trainer = trainer(folder, &(self, model.config()), router.train(), self.trainer)?;
        let step = |router: &R, at: StepPart| self.step(&model, router, &data(at)?, at);
        let router = trainer.run(step, progress)?;
        Ok(Routed::new(router.valid(), self.deciding()))
    }

    /// Trains model and router together. Both may be on a plain device, and are on one afterwards.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_jointly<R: Router + ModuleDisplay>(
        &self,
        model: Llama,
        router: R,
        folder: Option<TrainingFolder<'_>>,
        mut data: impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
        progress: impl FnMut(&StepReport),
    ) -> Result<(Llama, Routed<R>), TrainingError> {
        self.temperature.check()?;
        let recipe = (self, model.config().clone(), "jointly");
        let trainer = trainer(folder, &recipe, Joint { model, router }.train(), self.trainer)?;
        let step = |joint: &Joint<R>, at: StepPart| self.step(&joint.model, &joint.router, &data(at)?, at);
        let Joint { model, router } = trainer.run(step, progress)?.valid();
        Ok((model, Routed::new(router, self.deciding())))
    }

    /// The losses of a batch at a step, for a loop of your own. Gradients reach whatever is on an autodiff device.
    ///
    /// # Errors
    /// As [`run`](Self::run), of this batch.
    pub fn loss<R: Router>(
        &self,
        model: &Llama,
        router: &R,
        batch: &TrainingBatch,
        step: u64,
    ) -> Result<RouterLoss, TrainingError> {
        let mut controller = Routed::new(router.clone(), self.sampling(step));
        controller.set_step(step);
        controller.set_labels(batch.controlled_places(self.control_from));
        let options = PassOptions { control_from: self.control_from, keep_states: false, seed: self.seed };
        let pass = pass(model, &mut controller, batch, options)?;
        let cross_entropy = pass.cross_entropy(model, batch);
        let total = cross_entropy.clone() + self.depth.loss(&pass, batch, self.control_from)?;
        Ok(RouterLoss { total, cross_entropy, layers: gated_depth(&pass, batch, self.control_from)? })
    }

    fn step<R: Router>(
        &self,
        model: &Llama,
        router: &R,
        batch: &TrainingBatch,
        at: StepPart,
    ) -> Result<StepLoss, TrainingError> {
        let RouterLoss { total, cross_entropy, layers } = self.loss(model, router, batch, at.step)?;
        // One read for both.
        let noted = read(Tensor::cat(vec![cross_entropy.detach(), layers.detach()], 0), || "the losses".into())?;
        let metrics = ["cross_entropy", "layers"].into_iter().map(str::to_owned).zip(noted.into_iter().map(f64::from));
        Ok(StepLoss { loss: total, metrics: metrics.collect() })
    }

    /// The options of a step's gates.
    #[expect(clippy::cast_possible_truncation, reason = "a temperature")]
    fn sampling(&self, step: u64) -> RouterOptions {
        RouterOptions { temperature: self.temperature.at(step) as f32, ..self.router }
    }

    /// The options of the trained router.
    fn deciding(&self) -> RouterOptions {
        self.sampling(self.trainer.rate.steps)
    }
}
