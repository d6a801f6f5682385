//! Attention of a few tokens to the cache.

use super::tensors::{PLACE, Pool, Rows, VECTOR, empty};
use super::vectors::{AHEAD, LANES, UNITS, total};
use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// The slots whose scores are kept at a time.
const CHUNK: usize = 1024;
/// A score below all others.
const LOWEST: f32 = -3.0e38;

/// The attention of queries to the slots that they see.
pub(super) struct Attend {
    /// The queries, `[tokens, heads * head_dim]`, contiguous.
    pub(super) q: CubeTensor,
    pub(super) kv: Pool,
    /// The places of the tokens, `[tokens * (3 + head_dim)]`.
    pub(super) places: CubeTensor,
    /// For each token and slot of its row 0, or a negative number where the token must not attend, `[tokens, slots]`.
    pub(super) bias: Option<Rows>,
}

impl Attend {
    /// Launches the attention, and returns the mixed values, `[tokens, heads * head_dim]`.
    pub(super) fn launch(self) -> CubeTensor {
        let Self { q, kv, places, bias } = self;
        let [tokens, width] = [q.meta.shape()[0], q.meta.shape()[1]];
        let head_dim = kv.head_dim();
        let heads = width / head_dim;
        let client = q.client.clone();
        let mixed = empty(&q, [tokens, width].into());
        let dtype = dtype_to_storage_type(kv.tensor.dtype);
        let (masked, bias_pitch) = (bias.is_some(), bias.as_ref().map_or(0, |bias| bias.pitch));
        let (kv_heads, slot_pitch, head_pitch) = (kv.heads(), kv.pitch, kv.head_pitch);
        attend::launch(
            &client,
            CubeCount::Static(heads as u32, tokens as u32, 1),
            CubeDim::new_1d(UNITS as u32),
            VECTOR,
            q.into_buffer_arg(),
            kv.tensor.into_buffer_arg(),
            places.into_buffer_arg(),
            bias.into_iter().map(|bias| bias.tensor.into_buffer_arg()).collect(),
            mixed.clone().into_buffer_arg(),
            heads,
            kv_heads,
            heads / kv_heads,
            slot_pitch / VECTOR,
            head_pitch / VECTOR,
            bias_pitch,
            1.0 / (head_dim as f32).sqrt(),
            head_dim / VECTOR,
            masked,
            dtype,
        );
        mixed
    }
}

/// A cube computes one head of one token: the softmax of the scores, chunk by chunk of slots (Milakov and Gimelshein 2018).
#[cube(launch)]
fn attend<K: Float, N: Size>(
    q: &[Vector<f32, N>],
    kv: &[Vector<K, N>],
    places: &[f32],
    bias: &Sequence<Box<[f32]>>,
    mixed: &mut [Vector<f32, N>],
    heads: usize,
    kv_heads: usize,
    group: usize,
    slot_pitch: usize,
    head_pitch: usize,
    bias_pitch: usize,
    scale: f32,
    #[comptime] width: usize,
    #[comptime] masked: bool,
    #[define(K)] _dtype: ElemType,
) {
    let unit = UNIT_POS as usize;
    let (head, token) = (CUBE_POS_X as usize, CUBE_POS_Y as usize);
    let kv_head = head / group;
    let place = token * (PLACE + width * N::value());
    let row = usize::cast_from(places[place]);
    let first = usize::cast_from(places[place + 1]);
    let end = usize::cast_from(places[place + 2]) + 1;
    let own = (token * heads + head) * width;

    let mut query = Shared::<[Vector<f32, N>]>::new_slice(width);
    let mut weights = Shared::<[f32]>::new_slice(CHUNK);
    let mut reduced = Shared::<[f32]>::new_slice(UNITS);
    let mut partial = Shared::<[Vector<f32, N>]>::new_slice(UNITS);
    if unit < width {
        query[unit] = q[own + unit] * Vector::<f32, N>::new(scale);
    }
    sync_cube();

    // A unit mixes one vector of a head, over every `parts`-th slot.
    let parts = comptime!(UNITS / width);
    let (lane, part) = (unit % width, unit / width);
    let mut mix = Vector::<f32, N>::new(f32::new(0.0));
    let mut sum = f32::new(0.0);
    let mut highest = f32::new(LOWEST);
    let mut start = first;
    while start < end {
        let mut peak = f32::new(LOWEST);
        #[unroll]
        for j in 0..comptime!(CHUNK / UNITS) {
            let at = j * UNITS + unit;
            let slot = start + at;
            let mut score = f32::new(LOWEST);
            let mut sees = slot < end;
            if masked {
                let bias = &bias[0];
                // Nothing may have been written where a token must not attend: not even a number.
                if sees {
                    sees = bias[token * bias_pitch + slot] >= f32::new(0.0);
                }
            }
            if sees {
                let from = kv_head * head_pitch + (row + slot) * slot_pitch;
                let mut product = Vector::<f32, N>::new(f32::new(0.0));
                #[unroll]
                for i in 0..width {
                    product += query[i] * Vector::<f32, N>::cast_from(kv[from + i]);
                }
                score = total::<N>(product);
            }
            weights[at] = score;
            peak = max(peak, score);
        }
        reduced[unit] = peak;
        sync_cube();
        if unit < LANES {
            for i in 0..comptime!(UNITS / LANES) {
                peak = max(peak, reduced[i * LANES + unit]);
            }
            reduced[unit] = peak;
        }
        sync_cube();
        let mut higher = highest;
        for i in 0..LANES {
            higher = max(higher, reduced[i]);
        }
        let fade = (highest - higher).exp();
        highest = higher;
        sum *= fade;
        #[unroll]
        for j in 0..comptime!(CHUNK / UNITS) {
            let at = j * UNITS + unit;
            let mut weight = f32::new(0.0);
            if weights[at] > f32::new(LOWEST) {
                weight = (weights[at] - higher).exp();
            }
            weights[at] = weight;
            sum += weight;
        }
        sync_cube();
        mix *= Vector::<f32, N>::new(fade);
        let count = min(comptime!(CHUNK).runtime(), end - start);
        if part < parts {
            let mut at = part;
            while at < count {
                let mut values = Array::<Vector<f32, N>>::new(AHEAD);
                let mut shares = Array::<f32>::new(AHEAD);
                #[unroll]
                for ahead in 0..AHEAD {
                    let of = at + ahead * parts;
                    let share = select(of < count, weights[min(of, count - 1)], f32::new(0.0));
                    // What a token must not see need not be a number: its own slot is read instead.
                    let slot = select(share != f32::new(0.0), start + of, end - 1);
                    let from = (kv_heads + kv_head) * head_pitch + (row + slot) * slot_pitch;
                    values[ahead] = Vector::<f32, N>::cast_from(kv[from + lane]);
                    shares[ahead] = share;
                }
                #[unroll]
                for ahead in 0..AHEAD {
                    mix += values[ahead] * Vector::<f32, N>::new(shares[ahead]);
                }
                at += AHEAD * parts;
            }
        }
        sync_cube();
        start += CHUNK;
    }

    reduced[unit] = sum;
    partial[unit] = mix;
    sync_cube();
    if unit < LANES {
        sum = f32::new(0.0);
        for i in 0..comptime!(UNITS / LANES) {
            sum += reduced[i * LANES + unit];
        }
        reduced[unit] = sum;
    }
    sync_cube();
    if unit < width {
        sum = f32::new(0.0);
        for i in 0..LANES {
            sum += reduced[i];
        }
        let mut all = Vector::<f32, N>::new(f32::new(0.0));
        for part in 0..parts {
            all += partial[part * width + unit];
        }
        mixed[own + unit] = all / Vector::<f32, N>::new(sum);
    }
}
