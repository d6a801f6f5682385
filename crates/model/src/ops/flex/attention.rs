//! Attention that reads the cache in place.

use super::exp::exp;
use super::load::Load;
use super::parallel::for_each;
use super::row_kv::{RowKv, Slots};
use super::tile;
use super::unit::{Operation, on_floats, on_halves, widen_all};
use crate::ops::SLOTS_ABREAST;
use pulp::Simd;
use std::borrow::Cow;
use std::cell::RefCell;

/// The largest number of slots times queries of a share.
const SHARE: usize = 1 << 13;

/// The slots of one row that a pass attends to.
pub(crate) struct Seen<'a> {
    pub(crate) kv: &'a RowKv,
    /// The first slot.
    pub(crate) first: usize,
    /// The number of slots from the first on, of which the last are those of the pass's tokens.
    pub(crate) slots: usize,
    /// One byte per token and slot, `[tokens, slots]`, nonzero where the token must not attend.
    pub(crate) hidden: Option<Cow<'a, [u8]>>,
}

/// The queries of a pass, of which those of one token stand together: token `i` has `heads * head_dim` values from
/// `i * stride` on.
pub(crate) struct Queries<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

/// Computes what [`cached_attention`](super::super::cached_attention) defines, for as many tokens of each row as `out`
/// has room for, `[rows, tokens, heads * head_dim]`.
///
/// A query's result does not depend on its company: its bits are the same for a token alone and among any number of
/// tokens and rows, on any number of threads.
pub(crate) fn attention(queries: &Queries<'_>, rows: &[Seen<'_>], out: &mut [f32]) {
    let &Queries { values, stride, heads, kv_heads, head_dim } = queries;
    let tokens = out.len() / (rows.len() * heads * head_dim);
    // The queries of one token that read the same keys and values are computed together.
    let group = heads / kv_heads;
    let slots = rows.iter().map(|row| row.slots).max().unwrap_or(1);
    let groups = out.len() / (group * head_dim);
    let per_share = (SHARE / (slots * group)).min(groups / (2 * dynlayer_cpu::threads())).max(1);
    let multiply_adds = 2 * out.len() * slots;
    let shares = out.chunks_mut(per_share * group * head_dim).enumerate();
    let work = |(share, out): (usize, &mut [f32])| {
        for (i, out) in out.chunks_exact_mut(group * head_dim).enumerate() {
            let at = share * per_share + i;
            let (of_pass, kv_head) = (at / kv_heads, at % kv_heads);
            let (Seen { kv, first, slots, hidden }, token) = (&rows[of_pass / tokens], of_pass % tokens);
            let seen = slots - tokens + token + 1;
            let query = of_pass * stride + kv_head * group * head_dim;
            BUFFERS.with_borrow_mut(|Buffers { scores, wide: [wide_k, wide_v] }| {
                let q = &values[query..query + group * head_dim];
                let hidden = hidden.as_deref().map(|hidden| &hidden[token * slots..][..seen]);
                match kv.slots(kv_head, *first, seen) {
                    Slots::F32(k, v) => on_floats(Group { q, k, v, head_dim, hidden, scores, out }),
                    Slots::F16(k, v) => {
                        let some = Group { q, k, v, head_dim, hidden, scores, out };
                        if let Err(Group { scores, out, .. }) = on_halves(group, some) {
                            widen_all(k, wide_k);
                            widen_all(v, wide_v);
                            on_floats(Group { q, k: wide_k, v: wide_v, head_dim, hidden, scores, out });
                        }
                    }
                }
            });
        }
    };
    for_each(multiply_adds, shares, work);
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// A thread's buffers.
#[derive(Default)]
struct Buffers {
    scores: Vec<f32>,
    /// Keys and values, widened.
    wide: [Vec<f32>; 2],
}

/// The queries of one token that read the same keys and values.
struct Group<'a, W> {
    /// `[queries, head_dim]`.
    q: &'a [f32],
    /// The keys that the token sees, `[slots, head_dim]`.
    k: &'a [W],
    v: &'a [W],
    head_dim: usize,
    /// One byte per slot, nonzero where the token must not attend.
    hidden: Option<&'a [u8]>,
    /// A buffer.
    scores: &'a mut Vec<f32>,
    /// `[queries, head_dim]`.
    out: &'a mut [f32],
}

impl<W: Copy> Operation<W> for Group<'_, W> {
    #[inline(always)]
    fn run<S: Simd, L: Load<S, W>>(self, simd: S, load: L) {
        let Self { q, k, v, head_dim, hidden, scores, out } = self;
        #[expect(clippy::cast_precision_loss, reason = "head_dim is far below 2^24")]
        let scale = 1.0 / (head_dim as f32).sqrt();
        let slots = k.len() / head_dim;
        scores.resize(q.len() / head_dim * slots, 0.0);
        tile::products(simd, load, k, q, head_dim, |slot, query, dot| scores[query * slots + slot] = dot * scale);
        for scores in scores.chunks_exact_mut(slots) {
            if let Some(hidden) = hidden {
                for (score, hidden) in scores.iter_mut().zip(hidden) {
                    if *hidden != 0 {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
            softmax(scores);
        }
        let mut rest = (scores.as_slice(), out);
        while !rest.0.is_empty() {
            // Three queries at a time: the sums of four vectors of each stay in registers.
            let queries = (rest.0.len() / slots).min(3);
            let (scores, others) = rest.0.split_at(queries * slots);
            let (out, others_out) = rest.1.split_at_mut(queries * head_dim);
            match queries {
                1 => weighted_sums::<S, W, L, 1>(simd, load, scores, v, head_dim, out),
                2 => weighted_sums::<S, W, L, 2>(simd, load, scores, v, head_dim, out),
                _ => weighted_sums::<S, W, L, 3>(simd, load, scores, v, head_dim, out),
            }
            rest = (others, others_out);
        }
    }
}

/// Replaces scores by their softmax.
#[inline(always)]
fn softmax(scores: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; SLOTS_ABREAST];
    for scores in scores.chunks(SLOTS_ABREAST) {
        for (lane, score) in lanes.iter_mut().zip(scores) {
            *lane = lane.max(*score);
        }
    }
    let largest = lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut lanes = [0f32; SLOTS_ABREAST];
    let mut chunks = scores.chunks_exact_mut(SLOTS_ABREAST);
    for scores in &mut chunks {
        for (lane, score) in lanes.iter_mut().zip(scores) {
            *score = exp(*score - largest);
            *lane += *score;
        }
    }
    for (lane, score) in lanes.iter_mut().zip(chunks.into_remainder()) {
        *score = exp(*score - largest);
        *lane += *score;
    }
    let total: f32 = lanes.iter().sum();
    for score in scores {
        *score /= total;
    }
}

/// Computes the sum of the values, weighted by the scores of each query.
///
/// # Shapes
/// - `scores`: `[QUERIES, slots]`
/// - `v`: `[slots, head_dim]`
/// - `out`: `[QUERIES, head_dim]`
#[inline(always)]
fn weighted_sums<S: Simd, W: Copy, L: Load<S, W>, const QUERIES: usize>(
    simd: S,
    load: L,
    scores: &[f32],
    v: &[W],
    head_dim: usize,
    out: &mut [f32],
) {
    const VECTORS: usize = 4;
    let slots = scores.len() / QUERIES;
    let vectors = head_dim / S::F32_LANES;
    let mut at = 0;
    while at < vectors {
        let some = (vectors - at).min(VECTORS);
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; QUERIES];
        for (slot, v) in v.chunks_exact(head_dim).enumerate() {
            let mut weights = [0f32; QUERIES];
            let mut seen = false;
            for (query, weight) in weights.iter_mut().enumerate() {
                *weight = scores[query * slots + slot];
                seen |= *weight != 0.0;
            }
            // A hidden slot may hold any value, even NaN.
            if seen {
                let v = &L::vectors(v)[at..at + some];
                let mut wide = [simd.splat_f32s(0.0); VECTORS];
                if let Ok(v) = <&[L::Vector; VECTORS]>::try_from(v) {
                    for (wide, v) in wide.iter_mut().zip(v) {
                        *wide = load.vector(v);
                    }
                } else {
                    for (wide, v) in wide.iter_mut().zip(v) {
                        *wide = load.vector(v);
                    }
                }
                for (sums, weight) in sums.iter_mut().zip(&weights) {
                    let weight = simd.splat_f32s(*weight);
                    for (sum, v) in sums.iter_mut().zip(&wide) {
                        *sum = simd.mul_add_e_f32s(weight, *v, *sum);
                    }
                }
            }
        }
        for (sums, out) in sums.iter().zip(out.chunks_exact_mut(head_dim)) {
            S::as_mut_simd_f32s(out).0[at..at + some].copy_from_slice(&sums[..some]);
        }
        at += some;
    }
    for dim in vectors * S::F32_LANES..head_dim {
        for query in 0..QUERIES {
            let mut sum = 0.0;
            for (weight, v) in scores[query * slots..].iter().zip(v.chunks_exact(head_dim)) {
                if *weight != 0.0 {
                    sum += weight * L::scalar(v[dim]);
                }
            }
            out[query * head_dim + dim] = sum;
        }
    }
}
