//! Steps of a layer that are several operations, which the kernels of `flex` compute without tensors in between.

use super::{add_rms_norm, linear, rms_norm, swiglu};
use crate::matrix::Matrix;
use burn::tensor::Tensor;

/// Computes `rms_norm(x) Wᵀ` for each weight `W`, as [`rms_norm`] and [`linear`] do.
pub(crate) fn norm_linear<const N: usize>(
    x: &Tensor<3>,
    gamma: Tensor<1>,
    eps: f64,
    weights: [&Matrix; N],
) -> [Tensor<3>; N] {
    #[cfg(feature = "flex")]
    if let Some(products) = super::flex::norm_linear(x, &gamma, eps, weights) {
        return products;
    }
    linear(&rms_norm(x.clone(), gamma, eps), weights)
}

/// Computes `x Wᵀ + residual`, as [`linear`] does.
pub(crate) fn linear_add(x: &Tensor<3>, weight: &Matrix, residual: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(sum) = super::flex::linear_add(x, weight, &residual) {
        return sum;
    }
    let [product] = linear(x, [weight]);
    product + residual
}

/// Computes `x Wᵀ + residual`, and its norm as [`rms_norm`] does.
pub(crate) fn linear_add_norm(
    x: &Tensor<3>,
    weight: &Matrix,
    residual: Tensor<3>,
    gamma: Tensor<1>,
    eps: f64,
) -> (Tensor<3>, Tensor<3>) {
    #[cfg(feature = "flex")]
    if let Some(sum) = super::flex::linear_add(x, weight, &residual) {
        let normed = rms_norm(sum.clone(), gamma, eps);
        return (sum, normed);
    }
    let [product] = linear(x, [weight]);
    add_rms_norm(product, residual, gamma, eps)
}

/// Computes `swiglu(x Gᵀ, x Uᵀ)` with the weights `G` of the gate and `U`, as [`linear`] and [`swiglu`] do.
pub(crate) fn gate_up(x: &Tensor<3>, gate: &Matrix, up: &Matrix) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(activations) = super::flex::gate_up(x, gate, up) {
        return activations;
    }
    let [gate, up] = linear(x, [gate, up]);
    swiglu(gate, up)
}
