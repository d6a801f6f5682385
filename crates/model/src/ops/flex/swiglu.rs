//! The gated activation in one pass.

use super::{contiguous, tensor};
use burn::tensor::Tensor;

/// The kernel for [`swiglu`](super::super::swiglu()).
pub(in crate::ops) fn swiglu(gate: &Tensor<3>, up: &Tensor<3>) -> Option<Tensor<3>> {
    let shape = gate.dims();
    let (gate, up) = (contiguous(gate)?, contiguous(up)?);
    let pairs = gate.as_slice::<f32>()?.iter().zip(up.as_slice::<f32>()?);
    Some(tensor(pairs.map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect(), shape))
}
