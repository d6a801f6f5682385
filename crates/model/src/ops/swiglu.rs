//! The gated activation of the MLP (SwiGLU, Shazeer 2020, equation 6).

use burn::tensor::{Tensor, activation::silu};

/// Computes `silu(gate) * up`, element by element; all three `[rows, tokens, d_ff]`.
pub(crate) fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(product) = super::flex::swiglu(&gate, &up) {
        return product;
    }
    definition(gate, up)
}

pub(super) fn definition(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    silu(gate) * up
}
