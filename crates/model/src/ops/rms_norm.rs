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

pub(super) fn definition<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, eps: f64) -> Tensor<D> {
    let gamma = gamma.cast(x.dtype()).unsqueeze::<D>();
    let mean_square = x.clone().square().mean_dim(D - 1); // [.., 1]
    x / mean_square.add_scalar(eps).sqrt() * gamma
}
