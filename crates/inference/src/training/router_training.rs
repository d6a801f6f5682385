//! Training of routers, alone or together with the model.

use super::{
    DepthLoss, PassOptions, StepLoss, StepPart, StepReport, Temperature, Trainer, TrainerOptions, TrainingBatch,
    TrainingError, TrainingFolder, gated_depth, pass,
};
use crate::control::ControlFrom;
use crate::controllers::{Routed, Router, RouterOptions};
use crate::identity::named;
use crate::parameters::to_host;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Training of a router: the loss is the cross-entropy of the answers under sampled gates, plus a [`DepthLoss`].
///
/// Gates are 0 or 1, sampled with noise that derives from the seed, the step, the item's id, the position and the
/// layer; gradients pass straight through the rounding ([`Routed`]). [`run`](Self::run) trains only the router, as
/// arXiv 2410.20022 does; [`run_jointly`](Self::run_jointly) trains the model too. The trained router decides without
/// noise.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::LinearRouter;
/// use dynlayer_inference::training::{DepthLoss, RouterTraining, TrainingBatch, TrainingItem};
/// # use dynlayer_inference::conformance::small_model;
///
/// let model = small_model(&Device::flex())?;
/// let router = LinearRouter::new([6, 32], 2.0, 0, &Device::flex());
/// let training = RouterTraining::new(3, 1e-2, DepthLoss::Price { alpha: 0.1 });
/// let trained = training.run(
///     &model,
///     router,
///     None,
///     |at| {
///         // Two made-up items, which differ from step to step.
///         let item = |id: u64| TrainingItem { id, prompt: vec![1, 2], answer: vec![id as u32 % 64, 3] };
///         TrainingBatch::new(&model, vec![item(2 * at.step), item(2 * at.step + 1)])
///     },
///     |report| println!("{} {:.2} layers", report.loss, report.metrics["layers"]),
/// )?;
/// trained.save(std::env::temp_dir().join("router.safetensors"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterTraining {
    /// The number of steps, the learning rate, accumulation and checkpoints.
    pub trainer: TrainerOptions,
    /// The cost of depth.
    pub depth: DepthLoss,
    /// The schedule of the gates' temperature.
    pub temperature: Temperature,
    /// The options of the router, in training and afterwards; the temperature is set by the schedule.
    pub router: RouterOptions,
    /// The first token at which gates apply. Use the same setting when the trained router decides.
    pub control_from: ControlFrom,
    /// The seed of the gates' noise.
    pub seed: u64,
}

/// A model and a router that are trained together.
#[derive(Module, Debug)]
struct Joint<R: Module> {
    model: Llama,
    router: R,
}

impl RouterTraining {
    /// Returns a training of `steps` steps with a peak learning rate of `peak` and a temperature of 1. There is no
    /// weight decay, since it would pull gates to one half. Everything else is as in [`TrainerOptions::new`] and
    /// [`RouterOptions::default`].
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

    /// Trains a router, and leaves the model unchanged, which may be quantised. Both may be on a device without
    /// autodiff; the trained router is returned on one.
    ///
    /// `data` returns the batch of a step and part, and must derive it from these alone. The items of all parts of a
    /// step should have different ids, as their noise derives from the id.
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
        // Without autodiff for the model, gradients reach only the router.
        let model = model.valid();
        let recipe = || {
            let weights = json!(model.weights_digest()?);
            let config = json!(model.config());
            let values = [("options", json!(self)), ("configuration", config), ("the model's weights", weights)];
            Ok::<_, TrainingError>(named(values))
        };
        let trainer = Trainer::start(folder, recipe, &mut data, router.train(), self.trainer)?;
        let router = trainer.run(|router, at| self.loss(&model, router, &data(at)?, at.step), progress)?;
        Ok(Routed::new(router.valid(), self.final_options()))
    }

    /// Trains model and router together. Both may be on a device without autodiff, and both are returned on one.
    ///
    /// # Errors
    /// The same as for [`run`](Self::run), and if the model is quantised.
    pub fn run_jointly<R: Router + ModuleDisplay>(
        &self,
        model: Llama,
        router: R,
        folder: Option<TrainingFolder<'_>>,
        mut data: impl FnMut(StepPart) -> Result<TrainingBatch, TrainingError>,
        progress: impl FnMut(&StepReport),
    ) -> Result<(Llama, Routed<R>), TrainingError> {
        self.temperature.check()?;
        let config = json!(model.config());
        let recipe = || Ok(named([("options", json!(self)), ("configuration", config), ("jointly", json!(true))]));
        let trainer = Trainer::start(folder, recipe, &mut data, Joint { model, router }.train(), self.trainer)?;
        let loss = |joint: &Joint<R>, at: StepPart| self.loss(&joint.model, &joint.router, &data(at)?, at.step);
        let Joint { model, router } = trainer.run(loss, progress)?.valid();
        Ok((model, Routed::new(router, self.final_options())))
    }

    /// Returns the loss of a batch at a step, `[1]`, with `cross_entropy` and `layers` as metrics, for use in a custom
    /// training loop. Gradients reach the weights that are on an autodiff device.
    ///
    /// # Errors
    /// If a router option is out of its range, the router does not fit the model, or [`DepthLoss::loss`] fails.
    pub fn loss<R: Router>(
        &self,
        model: &Llama,
        router: &R,
        batch: &TrainingBatch,
        step: u64,
    ) -> Result<StepLoss, TrainingError> {
        let mut controller = Routed::new(router.clone(), self.options_at(step));
        controller.set_step(step);
        controller.set_labels(batch.controlled_places(self.control_from));
        let options = PassOptions { control_from: self.control_from, keep_states: false, seed: self.seed };
        let pass = pass(model, &mut controller, batch, options)?;
        let cross_entropy = pass.cross_entropy(model, batch);
        let loss = cross_entropy.clone() + self.depth.loss(&pass, batch, self.control_from)?;
        let layers = gated_depth(&pass, batch, self.control_from)?;
        // One read from the device for both values.
        let values = to_host(Tensor::cat(vec![cross_entropy.detach(), layers.detach()], 0), || "the losses".into())?;
        let metrics = ["cross_entropy", "layers"].map(str::to_owned).into_iter().zip(values.into_iter().map(f64::from));
        Ok(StepLoss { loss, metrics: metrics.collect() })
    }

    /// The router's options at a step.
    #[expect(clippy::cast_possible_truncation, reason = "a temperature needs no more precision")]
    fn options_at(&self, step: u64) -> RouterOptions {
        RouterOptions { temperature: self.temperature.at(step) as f32, ..self.router }
    }

    /// The options of the trained router.
    fn final_options(&self) -> RouterOptions {
        self.options_at(self.trainer.rate.steps)
    }
}

#[cfg(test)]
mod tests;
