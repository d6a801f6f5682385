//! The gated activation in one pass.

use super::exp::exp;
use super::{contiguous, tensor};
use burn::tensor::Tensor;
use pulp::Arch;

/// The kernel for [`swiglu`](super::super::swiglu()).
pub(in crate::ops) fn swiglu(gate: &Tensor<3>, up: &Tensor<3>) -> Option<Tensor<3>> {
    let shape = gate.dims();
    let (gate, up) = (contiguous(gate)?, contiguous(up)?);
    let mut out = gate.as_slice::<f32>()?.to_vec();
    in_place(&mut out, up.as_slice()?);
    Some(tensor(out, shape))
}

/// Replaces the values of the gate by those of the activation.
pub(super) fn in_place(gate: &mut [f32], up: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (gate, up) in gate.iter_mut().zip(up) {
                *gate = *gate / (1.0 + exp(-*gate)) * up;
            }
        },
    );
}
