//! Queries, keys and values of a few tokens, from the norm to the cache.

use super::tensors::{PLACE, Pool, Rows, VECTOR, empty, tile};
use super::vectors::{
    AHEAD, LANES, OUTPUTS, STEP, UNITS, add_products, norm_scales, read_ahead, share_sums, stage, sum_of_lanes,
};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

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

/// The projections of one layer from the norm to heads of keys and values, which go to the cache.
pub(super) struct Heads {
    /// The scale of the norm, `[d_model]`.
    pub(super) gamma: CubeTensor,
    /// The projections of keys and values, `[kv_heads * head_dim, d_model]` each.
    pub(super) maps: [Rows; 2],
    /// The scales of the norms of query heads and of key heads, `[head_dim]` each, if `form.normed`, and then the biases of
    /// queries, keys and values, if `form.biased`; without queries, theirs are absent.
    pub(super) extras: Option<CubeTensor>,
    pub(super) kv: Pool,
    pub(super) form: Form,
}

impl Heads {
    /// All that layers must have in common for one launch.
    fn common(&self) -> ([usize; 6], [DType; 2], u32, [bool; 3]) {
        let Self { maps: [k, v], kv, form, .. } = self;
        let pitches = [k.pitch, v.pitch, kv.pitch, kv.head_pitch, kv.heads(), kv.head_dim()];
        (pitches, [k.tensor.dtype, kv.tensor.dtype], form.eps.to_bits(), [form.normed, form.biased, form.rotated])
    }
}

/// Projects the residual stream `x: [.., d_model]` for several layers, which may share a launch. `places` is `[tokens * (3 + head_dim)]`.
pub(super) fn project(x: &Rows, places: &CubeTensor, layers: &[Heads]) {
    // Every tensor is a binding: two, and four or five of each layer.
    let room = ((x.tensor.client.properties().hardware.max_bindings as usize).saturating_sub(2) / 5).max(1);
    let mut left: Vec<&Heads> = layers.iter().collect();
    while let Some(first) = left.first().copied() {
        let (mut alike, others) = left.into_iter().partition::<Vec<_>, _>(|layer| layer.common() == first.common());
        while !alike.is_empty() {
            // Powers of two, since a kernel is compiled for a number of layers.
            let now = alike.split_off(alike.len() - (1 << alike.len().min(room).ilog2()));
            launch(x, places, &now, None);
        }
        left = others;
    }
}

/// Projects the residual stream for one layer with queries, and returns these, `[tokens, heads * head_dim]`, in memory that is
/// contiguous. Their projection is `q_map: [heads * head_dim, d_model]`.
pub(super) fn project_with_queries(x: &Rows, places: &CubeTensor, layer: Heads, q_map: Rows) -> CubeTensor {
    let q = empty(&x.tensor, [x.rows(), q_map.rows()].into());
    launch(x, places, &[&layer], Some((q_map, q.clone())));
    q
}

/// Launches the projections for layers that `common` does not tell apart. With queries, which come with the tensor to put them
/// into, it is one layer.
fn launch(x: &Rows, places: &CubeTensor, layers: &[&Heads], queries: Option<(Rows, CubeTensor)>) {
    let Heads { maps: [k_map, v_map], kv, form, .. } = layers[0];
    let (tokens, head_dim, kv_heads) = (x.rows(), kv.head_dim(), kv.heads());
    let heads = queries.as_ref().map_or(0, |(map, _)| map.rows() / head_dim);
    let tile = tile(tokens);
    // More cubes share the work where a head can be divided: a norm needs a whole one, a rotation only pairs of numbers.
    let apart = !form.normed && (head_dim / 2).is_multiple_of(OUTPUTS / 2);
    let span = if apart { OUTPUTS } else { head_dim };
    let cubes = [(heads + 2 * kv_heads) * (head_dim / span), tokens.div_ceil(tile), layers.len()].map(|n| n as u32);
    let buffer = |tensor: &CubeTensor| tensor.clone().into_buffer_arg();
    project_heads::launch(
        &x.tensor.client,
        CubeCount::Static(cubes[0], cubes[1], cubes[2]),
        CubeDim::new_1d(UNITS as u32),
        VECTOR,
        buffer(&x.tensor),
        layers.iter().map(|layer| buffer(&layer.gamma)).collect(),
        queries.iter().map(|(map, _)| buffer(&map.tensor)).collect(),
        layers.iter().map(|layer| buffer(&layer.maps[0].tensor)).collect(),
        layers.iter().map(|layer| buffer(&layer.maps[1].tensor)).collect(),
        layers.iter().filter_map(|layer| layer.extras.as_ref()).map(buffer).collect(),
        buffer(places),
        queries.iter().map(|(_, q)| buffer(q)).collect(),
        layers.iter().map(|layer| buffer(&layer.kv.tensor)).collect(),
        tokens,
        heads,
        kv_heads,
        x.width() / VECTOR,
        x.pitch / VECTOR,
        queries.as_ref().map_or(0, |(map, _)| map.pitch / VECTOR),
        k_map.pitch / VECTOR,
        v_map.pitch / VECTOR,
        kv.pitch,
        kv.head_pitch,
        form.eps,
        layers.len(),
        queries.is_some(),
        tile,
        head_dim,
        span,
        form.biased,
        form.normed,
        form.rotated,
        [dtype_to_storage_type(k_map.tensor.dtype), dtype_to_storage_type(kv.tensor.dtype)],
    );
}

/// A cube computes a head, or a part of one, of a tile of tokens for one layer: of the queries, then of the keys, then of the values.
/// A part is `span` numbers: some neighbours of the head's first half, and those that are rotated with them, of its second half.
#[cube(launch)]
fn project_heads<W: Float, K: Float, N: Size>(
    x: &[Vector<f32, N>],
    gammas: &Sequence<Box<[Vector<f32, N>]>>,
    q_maps: &Sequence<Box<[Vector<W, N>]>>,
    k_maps: &Sequence<Box<[Vector<W, N>]>>,
    v_maps: &Sequence<Box<[Vector<W, N>]>>,
    extras: &Sequence<Box<[f32]>>,
    places: &[f32],
    q: &mut Sequence<Box<[f32]>>,
    pools: &mut Sequence<Box<[K]>>,
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
    #[comptime] layers: usize,
    #[comptime] queries: bool,
    #[comptime] tile: usize,
    #[comptime] head_dim: usize,
    #[comptime] span: usize,
    #[comptime] biased: bool,
    #[comptime] normed: bool,
    #[comptime] rotated: bool,
    #[define(W, K)] _types: [ElemType; 2],
) {
    let unit = UNIT_POS as usize;
    let first = CUBE_POS_Y as usize * tile;
    let parts = comptime!(head_dim / span);
    let (head, part) = (CUBE_POS_X as usize / parts, CUBE_POS_X as usize % parts);
    let mut partial = Shared::<[f32]>::new_slice(comptime!(tile * UNITS));
    let mut scales = Shared::<[f32]>::new_slice(tile);
    let mut values = Shared::<[f32]>::new_slice(comptime!(tile * span));
    let mut staged = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tile * STEP));
    norm_scales::<N>(x, x_pitch, width, first, tokens, eps, &mut partial, &mut scales, tile);

    #[unroll]
    for layer in 0..layers {
        if CUBE_POS_Z as usize == layer {
            let (k_map, v_map) = (&k_maps[layer], &v_maps[layer]);
            let pool = &mut pools[layer];
            // The norms of query heads and of key heads stand before the biases.
            let mut first_bias = 0usize.runtime();
            if normed {
                first_bias += head_dim;
                if queries {
                    first_bias += head_dim;
                }
            }
            let mut output = 0usize.runtime();
            while output < span {
                let at = place_in_head(min(output + unit / LANES, span - 1), part, head_dim, span);
                let mut sums = Array::<Vector<f32, N>>::new(tile);
                #[unroll]
                for t in 0..tile {
                    sums[t] = Vector::<f32, N>::new(f32::new(0.0));
                }
                // One for all steps, as in `product`.
                let mut w = Array::<Vector<f32, N>>::new(AHEAD);
                let mut start = 0usize.runtime();
                while start < width {
                    if head >= heads + kv_heads {
                        let row = (head - heads - kv_heads) * head_dim + at;
                        read_ahead::<W, N>(v_map, row * v_pitch, start, width, &mut w, 0usize);
                    } else if head >= heads {
                        let row = (head - heads) * head_dim + at;
                        read_ahead::<W, N>(k_map, row * k_pitch, start, width, &mut w, 0usize);
                    } else if queries {
                        let q_map = &q_maps[0];
                        read_ahead::<W, N>(q_map, (head * head_dim + at) * q_pitch, start, width, &mut w, 0usize);
                    }
                    if start > 0 {
                        sync_cube();
                    }
                    stage::<N>(x, gammas, x_pitch, width, start, first, tokens, &mut staged, layer, true, tile);
                    sync_cube();
                    add_products::<N>(&w, &staged, &mut sums, 0usize, tile);
                    start += STEP;
                }
                share_sums::<N>(&sums, &mut partial, tile);
                if unit < comptime!(tile * OUTPUTS) {
                    let (t, of) = (unit / OUTPUTS, unit % OUTPUTS);
                    let mut sum = sum_of_lanes(&partial, t, of);
                    let of = output + of;
                    if of < span {
                        sum *= scales[t];
                        if biased {
                            let extra = &extras[layer];
                            sum += extra[first_bias + head * head_dim + place_in_head(of, part, head_dim, span)];
                        }
                        values[t * span + of] = sum;
                    }
                }
                sync_cube();
                output += OUTPUTS;
            }

            // Two conditions, since only the first is known when the kernel is compiled.
            if normed {
                if head < heads + kv_heads {
                    if unit < tile {
                        let mut squares = f32::new(0.0);
                        for i in 0..head_dim {
                            let value = values[unit * head_dim + i];
                            squares += value * value;
                        }
                        scales[unit] = (squares / f32::cast_from(head_dim) + eps).inverse_sqrt();
                    }
                    sync_cube();
                    let extra = &extras[layer];
                    let mut i = unit;
                    while i < comptime!(tile * head_dim) {
                        let mut norm = i % head_dim;
                        if queries && head >= heads {
                            norm += head_dim;
                        }
                        values[i] *= scales[i / head_dim] * extra[norm];
                        i += UNITS;
                    }
                    sync_cube();
                }
            }

            let (half, pairs) = comptime!((head_dim / 2, span / 2));
            let mut i = unit;
            while i < comptime!(tile * span) {
                let (t, of) = (i / span, i % span);
                let at = place_in_head(of, part, head_dim, span);
                let token = first + t;
                if token < tokens {
                    let mut value = values[i];
                    let place = token * comptime!(PLACE + head_dim);
                    if rotated && head < heads + kv_heads {
                        let cos = places[place + PLACE + at % half];
                        let sin = places[place + PLACE + half + at % half];
                        if of < pairs {
                            value = value * cos - values[i + pairs] * sin;
                        } else {
                            value = value * cos + values[i - pairs] * sin;
                        }
                    }
                    let slot = usize::cast_from(places[place]) + usize::cast_from(places[place + 2]);
                    if head >= heads {
                        pool[(head - heads) * head_pitch + slot * slot_pitch + at] = K::cast_from(value);
                    } else if queries {
                        let q = &mut q[0];
                        q[(token * heads + head) * head_dim + at] = value;
                    }
                }
                i += UNITS;
            }
        }
    }
}

/// Returns the place in its head of a number of a cube's part.
#[cube]
fn place_in_head(of: usize, part: usize, #[comptime] head_dim: usize, #[comptime] span: usize) -> usize {
    let (half, pairs) = comptime!((head_dim / 2, span / 2));
    part * pairs + of + of / pairs * (half - pairs)
}
