//! RMS normalisation in two passes over each row.

use super::{contiguous, tensor};
use burn::tensor::Tensor;
use pulp::Arch;

const LANES: usize = 16;

/// The kernel for [`rms_norm`](super::super::rms_norm()).
pub(in crate::ops) fn rms_norm<const D: usize>(x: &Tensor<D>, gamma: &Tensor<1>, eps: f64) -> Option<Tensor<D>> {
    let shape = x.dims();
    let (x, gamma) = (contiguous(x)?, contiguous(gamma)?);
    let (values, gamma) = (x.as_slice::<f32>()?, gamma.as_slice::<f32>()?);
    if gamma.is_empty() || shape[D - 1] != gamma.len() {
        return None;
    }
    let mut out = values.to_vec();
    in_place(&mut out, gamma, eps);
    Some(tensor(out, shape))
}

/// Normalises rows of the width of `gamma`.
pub(crate) fn in_place(x: &mut [f32], gamma: &[f32], eps: f64) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for x in x.chunks_exact_mut(gamma.len()) {
                let scale = inverse_root(mean_square(x), eps);
                for (x, gamma) in x.iter_mut().zip(gamma) {
                    *x = *x * scale * gamma;
                }
            }
        },
    );
}

#[inline(always)]
fn mean_square(x: &[f32]) -> f64 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x * x;
        }
    }
    let sum: f64 =
        lanes.iter().map(|x| f64::from(*x)).sum::<f64>() + tail.iter().map(|x| f64::from(x * x)).sum::<f64>();
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^52")]
    let width = x.len() as f64;
    sum / width
}

#[expect(clippy::cast_possible_truncation, reason = "the result is a factor of f32 values")]
fn inverse_root(mean_square: f64, eps: f64) -> f32 {
    (1.0 / (mean_square + eps).sqrt()) as f32
}
