//! Rotary position embedding, half-split form (Su et al. 2021, as in Hugging Face's `rotate_half`).

use burn::tensor::Tensor;

/// Rotates each pair `(x[i], x[i + head_dim / 2])` by the angle whose cosine and sine are given.
///
/// # Shapes
/// - `x`: `[rows, heads, tokens, head_dim]`
/// - `cos`, `sin`: `[rows, 1, tokens, head_dim / 2]`
/// - result: as `x`
pub(crate) fn rotate(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some(rotated) = super::flex::rotate(&x, cos, sin) {
        return rotated;
    }
    definition(x, cos, sin)
}

pub(super) fn definition(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half)); // [rows, heads, tokens, head_dim / 2]
    let left = a.clone() * cos.clone() - b.clone() * sin.clone();
    let right = b * cos.clone() + a * sin.clone();
    Tensor::cat(vec![left, right], 3)
}
