//! Root-mean-square layer normalisation (Zhang and Sennrich 2019, equation 4).

use burn::tensor::Tensor;

/// Computes `x / sqrt(mean(x²) + eps) * gamma` over the last axis.
///
/// # Shapes
/// - `x`: `[.., width]`
/// - `gamma`: `[width]`
/// - result: as `x`
pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, eps: f64) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if let Some(normed) = super::flex::rms_norm(&x, &gamma, eps) {
        return normed;
    }
    definition(x, gamma, eps)
}

/// Computes `update + hidden`, and its norm as [`rms_norm`] does; all `[rows, tokens, width]`.
pub(crate) fn add_rms_norm(update: Tensor<3>, hidden: Tensor<3>, gamma: Tensor<1>, eps: f64) -> (Tensor<3>, Tensor<3>) {
    // The scale first, as in `definition`; the flex kernel takes the sum.
    let flat = gamma.clone();
    let gamma = gamma.cast(hidden.dtype()).unsqueeze::<3>();
    let sum = update + hidden;
    #[cfg(feature = "flex")]
    if let Some(normed) = super::flex::rms_norm(&sum, &flat, eps) {
        return (sum, normed);
    }
    (sum.clone(), normed(sum, gamma, eps))
}

pub(super) fn definition<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, eps: f64) -> Tensor<D> {
    // First, since on a GPU the rest is fused into one kernel only if nothing else stands in between.
    let gamma = gamma.cast(x.dtype()).unsqueeze::<D>();
    normed(x, gamma, eps)
}

fn normed<const D: usize>(x: Tensor<D>, gamma: Tensor<D>, eps: f64) -> Tensor<D> {
    let mean_square = x.clone().square().mean_dim(D - 1); // [.., 1]
    x / mean_square.add_scalar(eps).sqrt() * gamma
}
