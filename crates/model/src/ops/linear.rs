//! Matrix products with weights in the checkpoint's layout, `[out, in]`.

use burn::tensor::Tensor;

/// Computes `x Wᵀ` for each weight `W` of `weights`.
///
/// The input keeps its element type: weights of 16 bits are widened (CPU kernel) or the input is narrowed for the
/// product (other backends), and the result has the input's type.
///
/// # Shapes
/// - `x`: `[rows, tokens, in]`
/// - each weight: `[out, in]`
/// - each result: `[rows, tokens, out]`
pub(crate) fn linear<const N: usize>(x: &Tensor<3>, weights: [Tensor<2>; N]) -> [Tensor<3>; N] {
    #[cfg(feature = "flex")]
    if let Some(products) = super::flex::linear(x, &weights) {
        return products;
    }
    weights.map(|weight| definition(x.clone(), weight))
}

pub(super) fn definition(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let [rows, tokens, d_in] = x.dims();
    let [d_out, _] = weight.dims();
    let dtype = x.dtype();
    let x = x.reshape([rows * tokens, d_in]).cast(weight.dtype()); // [rows * tokens, in]
    let y = x.matmul(weight.transpose()).cast(dtype); // [rows * tokens, out]
    y.reshape([rows, tokens, d_out])
}
