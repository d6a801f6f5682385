//! A linear map with its weight as the checkpoint stores it.

use crate::ops;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// `y = x Wᵀ + b`.
///
/// The weight keeps the checkpoint's layout, `[out, in]`: a row is one output's weights, contiguous, which is what a
/// product with few tokens streams through, and what quantised formats pack along.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Applies the map.
    ///
    /// # Shapes
    /// - `x`: `[rows, tokens, in]`
    /// - result: `[rows, tokens, out]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [y] = Self::forward_all([self], &x);
        y
    }

    /// Applies several maps to the same input, at once where the backend can.
    pub(crate) fn forward_all<const N: usize>(maps: [&Self; N], x: &Tensor<3>) -> [Tensor<3>; N] {
        let mut products = ops::linear(x, maps.map(|map| map.weight.val()));
        for (map, y) in maps.iter().zip(&mut products) {
            if let Some(bias) = &map.bias {
                let bias = bias.val().cast(y.dtype()).unsqueeze::<3>(); // [1, 1, out]
                y.inplace(|y| y + bias);
            }
        }
        products
    }

    /// Outputs and inputs, `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        self.weight.val().dims()
    }
}
