//! Matrix products with weights in the checkpoint's layout, `[out, in]`.

use crate::matrix::Matrix;
use burn::tensor::Tensor;

/// Computes `x Wᵀ` for each weight `W` of `weights`.
///
/// The input keeps its element type: weights of 16 bits are widened (kernels) or the input is narrowed for the
/// product (elsewhere), and the result has the input's type. The CPU kernel rounds inputs of quantised weights to 8
/// bits; the definition multiplies with the dequantised weights.
///
/// # Shapes
/// - `x`: `[rows, tokens, in]`
/// - each weight: `[out, in]`
/// - each result: `[rows, tokens, out]`
pub(crate) fn linear<const N: usize>(x: &Tensor<3>, weights: [&Matrix; N]) -> [Tensor<3>; N] {
    #[cfg(feature = "flex")]
    if let Some(products) = super::flex::linear(x, weights) {
        return products;
    }
    #[cfg(feature = "gpu")]
    if let Some(products) = super::gpu::linear(x, weights) {
        return products;
    }
    definition(x, weights.map(Matrix::tensor))
}

pub(super) fn definition<const N: usize>(x: &Tensor<3>, weights: [Tensor<2>; N]) -> [Tensor<3>; N] {
    let [rows, tokens, d_in] = x.dims();
    let flat = x.clone().reshape([rows * tokens, d_in]);
    // Cast once for all weights of a type: a GPU does it where it computes `x`.
    let mut narrowed: Option<Tensor<2>> = None;
    weights.map(|weight| {
        let [d_out, _] = weight.dims();
        let input = narrowed.take().filter(|narrowed| narrowed.dtype() == weight.dtype());
        let input = input.unwrap_or_else(|| flat.clone().cast(weight.dtype())); // [rows * tokens, in]
        let y = input.clone().matmul(weight.transpose()).cast(x.dtype()); // [rows * tokens, out]
        narrowed = Some(input);
        y.reshape([rows, tokens, d_out])
    })
}
