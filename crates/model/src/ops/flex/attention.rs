//! Attention of a few queries, which reads the cache in place.

use super::parallel::run_all;
use super::{contiguous, floats, tensor};
use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{Bool, Tensor};
use pulp::{Arch, Simd, WithSimd};

/// The largest number of queries per row for which the kernel is faster than blocked products over repeated keys and
/// values.
const MAX_TOKENS: usize = 16;
/// The number of multiply-adds below which waking another thread costs more than it saves.
const MIN_PARALLEL_WORK: usize = 1 << 17;

/// The kernel for [`attention`](super::super::attention()).
pub(in crate::ops) fn attention(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    of: Option<&[usize]>,
    mask: Option<&Tensor<4, Bool>>,
) -> Option<Tensor<3>> {
    let [rows, heads, tokens, head_dim] = q.dims();
    let [_, kv_heads, slots, _] = k.dims();
    if tokens > MAX_TOKENS {
        return None;
    }
    let mask = match mask {
        Some(mask) => Some(mask.clone().try_into_primitive::<Flex>().ok()?.to_contiguous()),
        None => None,
    };
    let (q, k, v) = (contiguous(q)?, floats(k)?, floats(v)?);
    let (k, v) = (Heads::new(&k)?, Heads::new(&v)?);
    let queries = q.as_slice::<f32>()?;
    let hidden = mask.as_ref().map(FlexTensor::bytes);

    let mut out = vec![0f32; rows * tokens * heads * head_dim];
    let one = |i: usize, out: &mut [f32]| {
        let (row, token, head) = (i / heads / tokens, i / heads % tokens, i % heads);
        let at = ((row * heads + head) * tokens + token) * head_dim;
        let own = slots - tokens + token;
        let cached = of.map_or(row, |of| of[row]);
        let hidden = hidden.map(|h| &h[(row * tokens + token) * slots..][..=own]);
        Arch::new().dispatch(Query {
            q: &queries[at..at + head_dim],
            k: k.of(cached, head / (heads / kv_heads)),
            v: v.of(cached, head / (heads / kv_heads)),
            slots: own + 1,
            hidden,
            out,
        });
    };
    let threads = if out.len() * slots < MIN_PARALLEL_WORK { 1 } else { rayon::current_num_threads() };
    let share = (rows * tokens * heads).div_ceil(threads);
    run_all(out.chunks_mut(share * head_dim).enumerate().collect(), |(piece, out)| {
        for (i, out) in out.chunks_exact_mut(head_dim).enumerate() {
            one(piece * share + i, out);
        }
    });
    Some(tensor(out, [rows, tokens, heads * head_dim]))
}

/// Keys or values, `[rows, kv_heads, slots, head_dim]`, in which the slots of a head are contiguous.
struct Heads<'a> {
    values: &'a [f32],
    start: usize,
    per_row: usize,
    per_head: usize,
}

impl<'a> Heads<'a> {
    fn new(storage: &'a FlexTensor) -> Option<Self> {
        let layout = storage.layout();
        let strides: Vec<usize> = layout.strides().iter().map(|s| usize::try_from(*s).ok()).collect::<Option<_>>()?;
        let &[per_row, per_head, per_slot, 1] = strides.as_slice() else { return None };
        (per_slot == layout.shape()[3]).then(|| Self {
            values: storage.storage::<f32>(),
            start: layout.start_offset(),
            per_row,
            per_head,
        })
    }

    fn of(&self, row: usize, head: usize) -> &'a [f32] {
        &self.values[self.start + row * self.per_row + head * self.per_head..]
    }
}

/// One query of one head.
struct Query<'a> {
    q: &'a [f32],
    /// The slots of the head, from the first on.
    k: &'a [f32],
    v: &'a [f32],
    slots: usize,
    /// One byte per slot, nonzero where the query must not attend.
    hidden: Option<&'a [u8]>,
    out: &'a mut [f32],
}

impl WithSimd for Query<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let head_dim = self.q.len();
        #[expect(clippy::cast_precision_loss, reason = "head_dim is far below 2^24")]
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (q, q_tail) = S::as_simd_f32s(self.q);
        // These are plain loops because a closure may be compiled without the vector unit's instructions.
        let mut weights = vec![0f32; self.slots];
        for (weight, k) in weights.iter_mut().zip(self.k.chunks_exact(head_dim)) {
            let (k, k_tail) = S::as_simd_f32s(k);
            let mut sum = simd.splat_f32s(0.0);
            for (q, k) in q.iter().zip(k) {
                sum = simd.mul_add_e_f32s(*q, *k, sum);
            }
            let mut dot = simd.reduce_sum_f32s(sum);
            for (q, k) in q_tail.iter().zip(k_tail) {
                dot += q * k;
            }
            *weight = dot * scale;
        }
        if let Some(hidden) = self.hidden {
            for (weight, hidden) in weights.iter_mut().zip(hidden) {
                if *hidden != 0 {
                    *weight = f32::NEG_INFINITY;
                }
            }
        }
        let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0;
        for weight in &mut weights {
            *weight = (*weight - largest).exp();
            total += *weight;
        }
        for (weight, v) in weights.iter().zip(self.v.chunks_exact(head_dim)) {
            // A hidden slot may hold any value, even NaN.
            if *weight != 0.0 {
                let weight = *weight / total;
                for (out, v) in self.out.iter_mut().zip(v) {
                    *out += weight * v;
                }
            }
        }
    }
}
