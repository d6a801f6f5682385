//! Queries, keys and values of a few tokens, from the norm to the cache.

use super::tensors::{PLACE, Pool, Rows, VECTOR, empty, tile};
use super::vectors::{LANES, norm_scales, token, total};
use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

const UNITS: usize = 256;
/// The outputs that a cube computes at a time.
const OUTPUTS: usize = UNITS / LANES;

/// The steps of an attention beside its products.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The number that is added to mean squares.
    pub eps: f32,
    /// The heads of queries and keys are normed.
    pub normed: bool,
    /// Queries, keys and values have biases.
    pub biased: bool,
    /// Queries and keys are rotated.
    pub rotated: bool,
}

/// The projections of a normed state to heads. Keys and values go to the cache.
pub(super) struct Heads {
    /// The residual stream, `[.., d_model]`.
    pub(super) x: Rows,
    /// The scale of the norm, `[d_model]`.
    pub(super) gamma: CubeTensor,
    /// The projections of queries, keys and values, `[heads * head_dim, d_model]` each; no queries for propagation.
    pub(super) maps: (Option<Rows>, Rows, Rows),
    /// The scales of the norms of query heads and of key heads, `[head_dim]` each, if `form.normed`, and then the biases of
    /// queries, keys and values, if `form.biased`; without queries, theirs are absent.
    pub(super) extras: Option<CubeTensor>,
    /// The places of the tokens, `[tokens * (3 + head_dim)]`.
    pub(super) places: CubeTensor,
    pub(super) kv: Pool,
    pub(super) form: Form,
}

impl Heads {
    /// Launches the projections, and returns the queries, `[tokens, heads * head_dim]`, in memory that is contiguous.
    pub(super) fn launch(self) -> CubeTensor {
        let Self { x, gamma, maps: (q_map, k_map, v_map), extras, places, kv, form } = self;
        let (tokens, width, head_dim, kv_heads) = (x.rows(), x.width(), kv.head_dim(), kv.heads());
        let heads = q_map.as_ref().map_or(0, |map| map.rows() / head_dim);
        let client = x.tensor.client.clone();
        // A kernel cannot be without an output.
        let q = empty(&x.tensor, [tokens, (heads * head_dim).max(1)].into());
        let tile = tile(tokens);
        let count = CubeCount::Static((heads + 2 * kv_heads) as u32, tokens.div_ceil(tile) as u32, 1);
        let types = [dtype_to_storage_type(k_map.tensor.dtype), dtype_to_storage_type(kv.tensor.dtype)];
        // What is absent is not read; another tensor stands in its place.
        let q_map = q_map.unwrap_or_else(|| k_map.clone());
        let extras = extras.unwrap_or_else(|| gamma.clone());
        project_heads::launch(
            &client,
            count,
            CubeDim::new_1d(UNITS as u32),
            VECTOR,
            x.tensor.clone().into_buffer_arg(),
            gamma.into_buffer_arg(),
            q_map.tensor.clone().into_buffer_arg(),
            k_map.tensor.clone().into_buffer_arg(),
            v_map.tensor.clone().into_buffer_arg(),
            extras.into_buffer_arg(),
            places.into_buffer_arg(),
            q.clone().into_buffer_arg(),
            kv.tensor.clone().into_buffer_arg(),
            tokens,
            heads,
            kv_heads,
            width / VECTOR,
            x.pitch / VECTOR,
            q_map.pitch / VECTOR,
            k_map.pitch / VECTOR,
            v_map.pitch / VECTOR,
            kv.pitch,
            kv.head_pitch,
            form.eps,
            tile,
            head_dim,
            form.biased,
            form.normed,
            form.rotated,
            types,
        );
        q
    }
}

/// A cube computes one head of a tile of tokens: of the queries, then of the keys, then of the values.
#[cube(launch)]
fn project_heads<W: Float, K: Float, N: Size>(
    x: &[Vector<f32, N>],
    gamma: &[Vector<f32, N>],
    q_map: &[Vector<W, N>],
    k_map: &[Vector<W, N>],
    v_map: &[Vector<W, N>],
    extras: &[f32],
    places: &[f32],
    q: &mut [f32],
    kv: &mut [K],
    tokens: usize,
    heads: usize,
    kv_heads: usize,
    width: usize,
    x_pitch: usize,
    q_pitch: usize,
    k_pitch: usize,
    v_pitch: usize,
    slot_pitch: usize,
    head_pitch: usize,
    eps: f32,
    #[comptime] tile: usize,
    #[comptime] head_dim: usize,
    #[comptime] biased: bool,
    #[comptime] normed: bool,
    #[comptime] rotated: bool,
    #[define(W, K)] _types: [ElemType; 2],
) {
    let unit = UNIT_POS as usize;
    let (lane, group) = (unit % LANES, unit / LANES);
    let first = CUBE_POS_Y as usize * tile;
    let head = CUBE_POS_X as usize;
    let mut partial = Shared::<[f32]>::new_slice(comptime!(tile * UNITS));
    let mut scales = Shared::<[f32]>::new_slice(tile);
    let mut values = Shared::<[f32]>::new_slice(comptime!(tile * head_dim));
    norm_scales::<N>(x, x_pitch, width, first, tokens, eps, &mut partial, &mut scales, tile, UNITS);

    // The norms of query heads and of key heads stand before the biases.
    let mut biases = 0usize.runtime();
    if normed {
        biases += head_dim;
        if heads > 0 {
            biases += head_dim;
        }
    }
    let mut output = 0usize.runtime();
    while output < head_dim {
        let at = min(output + group, head_dim - 1);
        let mut sums = Array::<Vector<f32, N>>::new(tile);
        #[unroll]
        for t in 0..tile {
            sums[t] = Vector::<f32, N>::new(f32::new(0.0));
        }
        let mut i = lane;
        while i < width {
            #[allow(unused_assignments, reason = "the macro keeps the first value")]
            let mut w = Vector::<f32, N>::new(f32::new(0.0));
            if head < heads {
                w = Vector::<f32, N>::cast_from(q_map[(head * head_dim + at) * q_pitch + i]);
            } else if head < heads + kv_heads {
                w = Vector::<f32, N>::cast_from(k_map[((head - heads) * head_dim + at) * k_pitch + i]);
            } else {
                w = Vector::<f32, N>::cast_from(v_map[((head - heads - kv_heads) * head_dim + at) * v_pitch + i]);
            }
            w *= gamma[i];
            #[unroll]
            for t in 0..tile {
                sums[t] += w * x[token(first, t, tokens) * x_pitch + i];
            }
            i += LANES;
        }
        #[unroll]
        for t in 0..tile {
            partial[t * UNITS + lane * OUTPUTS + group] = total::<N>(sums[t]);
        }
        sync_cube();
        if unit < comptime!(tile * OUTPUTS) {
            let (t, of) = (unit / OUTPUTS, unit % OUTPUTS);
            let mut sum = f32::new(0.0);
            for l in 0..LANES {
                sum += partial[t * UNITS + l * OUTPUTS + of];
            }
            let at = output + of;
            if at < head_dim {
                sum *= scales[t];
                if biased {
                    sum += extras[biases + head * head_dim + at];
                }
                values[t * head_dim + at] = sum;
            }
        }
        sync_cube();
        output += OUTPUTS;
    }

    if normed && head < heads + kv_heads {
        if unit < tile {
            let mut squares = f32::new(0.0);
            for i in 0..head_dim {
                let value = values[unit * head_dim + i];
                squares += value * value;
            }
            scales[unit] = (squares / f32::cast_from(head_dim) + eps).inverse_sqrt();
        }
        sync_cube();
        let mut i = unit;
        while i < comptime!(tile * head_dim) {
            let mut norm = i % head_dim;
            if heads > 0 && head >= heads {
                norm += head_dim;
            }
            values[i] *= scales[i / head_dim] * extras[norm];
            i += UNITS;
        }
        sync_cube();
    }

    let half = comptime!(head_dim / 2);
    let mut i = unit;
    while i < comptime!(tile * head_dim) {
        let (t, at) = (i / head_dim, i % head_dim);
        let token = first + t;
        if token < tokens {
            let mut value = values[i];
            let place = token * comptime!(PLACE + head_dim);
            if rotated && head < heads + kv_heads {
                let cos = places[place + PLACE + at % half];
                let sin = places[place + PLACE + half + at % half];
                if at < half {
                    value = value * cos - values[i + half] * sin;
                } else {
                    value = value * cos + values[i - half] * sin;
                }
            }
            let slot = usize::cast_from(places[place]) + usize::cast_from(places[place + 2]);
            if head < heads {
                q[(token * heads + head) * head_dim + at] = value;
            } else {
                kv[(head - heads) * head_pitch + slot * slot_pitch + at] = K::cast_from(value);
            }
        }
        i += UNITS;
    }
}
