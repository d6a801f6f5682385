//! Root-mean-square normalisation with a learned scale.

use crate::ops;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// `x / sqrt(mean(x²) + eps) * weight` over the last axis (Zhang and Sennrich 2019).
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    pub(crate) eps: f64,
}

impl RmsNorm {
    /// Normalises the last axis of `x`, which has the weight's width; the shape stays.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::rms_norm(x, self.weight.val(), self.eps)
    }
}
