//! Rotary position embedding, half-split form (Su et al. 2021, as in Hugging Face's `rotate_half`).

use super::row_index;
use burn::tensor::{Int, Tensor};

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

/// Cosines and sines for whole heads, with which a rotation is one kernel on GPUs: there, halves of a head are copied first.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    /// `[rows, 1, tokens, head_dim]`, the cosines twice.
    cos: Tensor<4>,
    /// `[rows, 1, tokens, head_dim]`, the sines negated and then as they are.
    sin: Tensor<4>,
    /// The dimension that each dimension is paired with, `[head_dim]`.
    pairs: Tensor<1, Int>,
}

impl Whole {
    /// Joins the halves, `[rows, 1, tokens, head_dim / 2]` each.
    pub(crate) fn new(cos: &Tensor<4>, sin: &Tensor<4>) -> Self {
        let half = cos.dims()[3];
        let pairs: Vec<usize> = (half..2 * half).chain(0..half).collect();
        Self {
            cos: Tensor::cat(vec![cos.clone(), cos.clone()], 3),
            sin: Tensor::cat(vec![sin.clone().neg(), sin.clone()], 3),
            pairs: row_index(&pairs, &cos.device()),
        }
    }

    /// Returns the rotations of some rows, `[rows]`.
    pub(crate) fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let some = |table: &Tensor<4>| table.clone().select(0, rows.clone());
        Self { cos: some(&self.cos), sin: some(&self.sin), pairs: self.pairs.clone() }
    }
}

/// Does what [`rotate`] does.
pub(crate) fn rotate_whole(x: Tensor<4>, by: &Whole) -> Tensor<4> {
    // First, so that the rest is fused into one kernel.
    let paired = x.clone().select(3, by.pairs.clone());
    x * by.cos.clone() + paired * by.sin.clone()
}
