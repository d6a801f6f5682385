//! Attention of a few queries, which reads the cache in place.

use super::parallel::run_all;
use super::{contiguous, floats, tensor};
use crate::ops::CachedRow;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

/// The largest number of queries per row for which the kernel is faster than blocked products over repeated keys and
/// values.
const MAX_TOKENS: usize = 16;
/// The number of multiply-adds below which waking another thread costs more than it saves.
const MIN_PARALLEL_WORK: usize = 1 << 17;

/// The kernel for [`cached_attention`](super::super::cached_attention).
pub(in crate::ops) fn attention(q: &Tensor<4>, rows: &[CachedRow<'_>]) -> Option<Tensor<3>> {
    let [_, heads, tokens, head_dim] = q.dims();
    if tokens > MAX_TOKENS {
        return None;
    }
    let storage = |row: &CachedRow<'_>| Some([floats(&row.k)?, floats(&row.v)?]);
    let storage: Vec<[FlexTensor; 2]> = rows.iter().map(storage).collect::<Option<_>>()?;
    let rows: Vec<Row<'_>> =
        rows.iter().zip(&storage).map(|(row, [k, v])| Row::new(row, k, v, heads)).collect::<Option<_>>()?;
    let q = contiguous(q)?;
    let queries = q.as_slice::<f32>()?;

    let mut out = vec![0f32; rows.len() * tokens * heads * head_dim];
    let one = |i: usize, out: &mut [f32]| {
        let (row, token, head) = (i / heads / tokens, i / heads % tokens, i % heads);
        let at = ((row * heads + head) * tokens + token) * head_dim;
        let row = &rows[row];
        let seen = row.slots - tokens + token + 1;
        Arch::new().dispatch(Query {
            q: &queries[at..at + head_dim],
            k: row.k.of(head / row.group),
            v: row.v.of(head / row.group),
            slots: seen,
            hidden: row.hidden.map(|hidden| &hidden[token * row.slots..][..seen]),
            out,
        });
    };
    let work: usize = rows.iter().map(|row| row.slots).sum::<usize>() * tokens * heads * head_dim;
    let threads = if work < MIN_PARALLEL_WORK { 1 } else { rayon::current_num_threads() };
    // Each thread gets consecutive queries with about the same number of slots in total.
    let mut jobs = Vec::new();
    let (mut rest, mut first, mut done, mut start) = (out.as_mut_slice(), 0, 0, 0);
    let queries_per_row = tokens * heads;
    for (i, row) in rows.iter().enumerate() {
        let slots = row.slots * head_dim;
        for query in i * queries_per_row..(i + 1) * queries_per_row {
            done += slots;
            let last = query + 1 == rows.len() * queries_per_row;
            if last || (done - start) * threads >= work {
                let (mine, others) = rest.split_at_mut((query + 1 - first) * head_dim);
                jobs.push((first, mine));
                (rest, first, start) = (others, query + 1, done);
            }
        }
    }
    run_all(jobs, |(first, out)| {
        for (i, out) in out.chunks_exact_mut(head_dim).enumerate() {
            one(first + i, out);
        }
    });
    Some(tensor(out, [rows.len(), tokens, heads * head_dim]))
}

/// The keys and values of one row.
struct Row<'a> {
    k: Heads<'a>,
    v: Heads<'a>,
    /// The number of query heads per key/value head.
    group: usize,
    slots: usize,
    /// One byte per query and slot, nonzero where the query must not attend.
    hidden: Option<&'a [u8]>,
}

impl<'a> Row<'a> {
    fn new(cached: &'a CachedRow<'_>, k: &'a FlexTensor, v: &'a FlexTensor, heads: usize) -> Option<Self> {
        let [_, kv_heads, slots, _] = cached.k.dims();
        let hidden = cached.hidden.as_deref();
        Some(Self { k: Heads::new(k)?, v: Heads::new(v)?, group: heads / kv_heads, slots, hidden })
    }
}

/// One row's keys or values, `[1, kv_heads, slots, head_dim]`, in which the slots of a head are contiguous.
struct Heads<'a> {
    values: &'a [f32],
    start: usize,
    per_head: usize,
}

impl<'a> Heads<'a> {
    fn new(storage: &'a FlexTensor) -> Option<Self> {
        let layout = storage.layout();
        let strides: Vec<usize> = layout.strides().iter().map(|s| usize::try_from(*s).ok()).collect::<Option<_>>()?;
        let &[_, per_head, per_slot, 1] = strides.as_slice() else { return None };
        (per_slot == layout.shape()[3]).then(|| Self {
            values: storage.storage::<f32>(),
            start: layout.start_offset(),
            per_head,
        })
    }

    fn of(&self, head: usize) -> &'a [f32] {
        &self.values[self.start + head * self.per_head..]
    }
}

/// One query of one head.
struct Query<'a> {
    q: &'a [f32],
    /// The slots of the head, from the first that is read on.
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
