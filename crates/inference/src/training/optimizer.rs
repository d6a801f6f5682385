//! `AdamW` with clipping by the norm of all gradients together.

use super::TrainingError;
use super::weights::{MapNamed, map};
use crate::parameters::to_host;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamW, AdamWConfig, AdamWState, GradientsAccumulator, GradientsParams, Optimizer as _};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options of the optimizer, `AdamW` (Loshchilov and Hutter 2019, arXiv 1711.05101).
///
/// ```
/// use dynlayer_inference::training::AdamWOptions;
///
/// let options = AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWOptions {
    /// The decay rate of the running mean of gradients.
    pub beta_1: f32,
    /// The decay rate of the running mean of squared gradients.
    pub beta_2: f32,
    /// A small number that is added to the root of the mean square, against division by zero.
    pub epsilon: f32,
    /// The weight decay of matrices, as a multiple of the learning rate. Vectors (norms and biases) are not decayed.
    pub weight_decay: f32,
    /// The largest norm of all gradients together; larger gradients are scaled down to it (Pascanu et al. 2013).
    pub clip_norm: Option<f64>,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.98, epsilon: 1e-8, weight_decay: 0.01, clip_norm: Some(1.0) }
    }
}

impl AdamWOptions {
    pub(super) fn check(&self) -> Result<(), TrainingError> {
        for (option, beta) in [("beta_1", self.beta_1), ("beta_2", self.beta_2)] {
            TrainingError::check((0.0..1.0).contains(&beta), option, beta, "at least 0 and below 1")?;
        }
        let ok = self.epsilon.is_finite() && self.epsilon > 0.0;
        TrainingError::check(ok, "epsilon", self.epsilon, "a finite number above 0")?;
        let ok = self.weight_decay.is_finite() && self.weight_decay >= 0.0;
        TrainingError::check(ok, "weight_decay", self.weight_decay, "a finite number, at least 0")?;
        let clip = self.clip_norm.unwrap_or(1.0);
        TrainingError::check(clip > 0.0, "clip_norm", clip, "above 0")
    }

    fn build(&self, weight_decay: f32) -> AdamW {
        AdamWConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_weight_decay(weight_decay)
            .build()
    }
}

/// The moments of a parameter, in row-major order, and the number of its updates.
pub(super) type Moments = AdamWState<1>;

/// burn's `AdamW` with the state of every parameter under the parameter's name. burn's own container keys states by ids
/// that a program draws anew each time it runs.
pub(super) struct Optimizer<M> {
    options: AdamWOptions,
    moments: BTreeMap<String, Moments>,
    gradients: GradientsAccumulator<M>,
}

impl<M> std::fmt::Debug for Optimizer<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<M: Module> Optimizer<M> {
    pub(super) fn new(options: AdamWOptions, moments: BTreeMap<String, Moments>) -> Self {
        Self { options, moments, gradients: GradientsAccumulator::new() }
    }

    pub(super) fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Adds the gradients of a loss, `[1]`.
    pub(super) fn add(&mut self, module: &M, loss: &Tensor<1>) {
        let gradients = GradientsParams::from_grads(loss.backward(), module);
        self.gradients.accumulate(module, gradients);
    }

    /// Drops the gradients that were added since the last step.
    pub(super) fn clear(&mut self) {
        self.gradients = GradientsAccumulator::new();
    }

    /// Updates the parameters that have gradients, in training step `step`. Returns the module and the norm of all
    /// gradients before clipping. Nothing changes if the norm is not finite.
    pub(super) fn step(&mut self, step: u64, rate: f64, module: M) -> Result<(M, f64), TrainingError> {
        let gradients = self.gradients.grads();
        let norm = norm(&module, &gradients)?;
        finite(step, "the gradients' norm", norm)?;
        let scale = self.options.clip_norm.filter(|most| norm > *most).map(|most| most / norm);
        let mut update = Update {
            gradients,
            moments: &mut self.moments,
            matrices: self.options.build(self.options.weight_decay),
            vectors: self.options.build(0.0),
            rate,
            scale,
        };
        Ok((map(module, &mut update), norm))
    }
}

/// Refuses a number that is not finite.
pub(super) fn finite(step: u64, what: &'static str, value: f64) -> Result<(), TrainingError> {
    if value.is_finite() { Ok(()) } else { Err(TrainingError::NotFinite { step, what, value }) }
}

/// The norm of all gradients together.
fn norm<M: Module>(module: &M, gradients: &GradientsParams) -> Result<f64, TrainingError> {
    struct Squares<'a> {
        gradients: &'a GradientsParams,
        sums: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                self.sums.push(gradient.square().sum());
            }
        }
    }
    let mut squares = Squares { gradients, sums: Vec::new() };
    module.visit(&mut squares);
    if squares.sums.is_empty() {
        return Ok(0.0);
    }
    let sums = to_host(Tensor::cat(squares.sums, 0), || "the gradients' norm".into())?;
    Ok(sums.iter().map(|x| f64::from(*x)).sum::<f64>().sqrt())
}

struct Update<'a> {
    gradients: GradientsParams,
    moments: &'a mut BTreeMap<String, Moments>,
    matrices: AdamW,
    vectors: AdamW,
    rate: f64,
    scale: Option<f64>,
}

impl MapNamed for Update<'_> {
    fn map<const D: usize>(&mut self, name: String, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let n = shape.iter().product::<usize>();
        let gradient = gradient.reshape([n]);
        let gradient = match self.scale {
            Some(scale) => gradient.mul_scalar(scale),
            None => gradient,
        };
        let rule = if D > 1 { &self.matrices } else { &self.vectors };
        let (updated, state) = rule.step(self.rate, tensor.inner().reshape([n]), gradient, self.moments.remove(&name));
        if let Some(state) = state {
            self.moments.insert(name, state);
        }
        // Only parameters that require gradients have one, so the updated parameter requires gradients too.
        let updated = Tensor::from_inner(updated.reshape(shape)).require_grad();
        Param::from_mapped_value(id, updated, mapper)
    }
}

#[cfg(test)]
mod tests;
