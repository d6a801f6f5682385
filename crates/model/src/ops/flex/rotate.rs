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
                let angle = (row * tokens + token) * half;
                let end = out.len();
                out.extend_from_slice(&values[at..at + head_dim]);
                in_place(&mut out[end..], &cos[angle..angle + half], &sin[angle..angle + half]);
            }
        }
    }
    Some(tensor(out, shape))
}

/// Rotates one head.
pub(crate) fn in_place(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (a, b) = head.split_at_mut(cos.len());
    for ((a, b), (cos, sin)) in a.iter_mut().zip(b).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
