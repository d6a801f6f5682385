//! The second half of a block: the gated MLP.

use super::Linear;
use crate::ops;
use burn::module::Module;
use burn::tensor::Tensor;

/// `down(silu(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[d_ff, d_model]`.
    pub gate_proj: Linear,
    /// `[d_ff, d_model]`.
    pub up_proj: Linear,
    /// `[d_model, d_ff]`.
    pub down_proj: Linear,
}

impl Mlp {
    /// The MLP of a normed state; input and result `[rows, tokens, d_model]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [gate, up] = Linear::forward_all([&self.gate_proj, &self.up_proj], &x); // [rows, tokens, d_ff] each
        self.down_proj.forward(ops::swiglu(gate, up)) // [rows, tokens, d_model]
    }
}
