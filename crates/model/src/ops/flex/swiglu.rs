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
    let up = up.as_slice::<f32>()?;
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (out, up) in out.iter_mut().zip(up) {
                *out = *out / (1.0 + exp(-*out)) * up;
            }
        },
    );
    Some(tensor(out, shape))
}
