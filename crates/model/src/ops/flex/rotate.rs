//! Rotary embedding of strided heads, with contiguous results.

use super::{contiguous, floats, tensor};
use burn::tensor::Tensor;

/// The kernel for [`rotate`](super::super::rotate()).
pub(in crate::ops) fn rotate(x: &Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Option<Tensor<4>> {
    let shape @ [rows, heads, tokens, head_dim] = x.dims();
    let (x, cos, sin) = (floats(x)?, contiguous(cos)?, contiguous(sin)?);
    let (cos, sin) = (cos.as_slice::<f32>()?, sin.as_slice::<f32>()?);
    let start = x.layout().start_offset();
    let strides: Vec<usize> = x.layout().strides().iter().map(|s| usize::try_from(*s).ok()).collect::<Option<_>>()?;
    let &[per_row, per_head, per_token, 1] = strides.as_slice() else { return None };
    let (values, half) = (x.storage::<f32>(), head_dim / 2);

    let mut out = Vec::with_capacity(rows * heads * tokens * head_dim);
    for row in 0..rows {
        for head in 0..heads {
            for token in 0..tokens {
                let at = start + row * per_row + head * per_head + token * per_token;
                let (a, b) = values[at..at + head_dim].split_at(half);
                let angle = (row * tokens + token) * half;
                let (cos, sin) = (&cos[angle..angle + half], &sin[angle..angle + half]);
                let pairs = || a.iter().zip(b).zip(cos.iter().zip(sin));
                out.extend(pairs().map(|((a, b), (cos, sin))| a * cos - b * sin));
                out.extend(pairs().map(|((a, b), (cos, sin))| b * cos + a * sin));
            }
        }
    }
    Some(tensor(out, shape))
}
