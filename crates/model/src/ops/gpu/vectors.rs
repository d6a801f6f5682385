//! Sums over vectors, lanes and tokens, which all kernels need.

use cubecl::prelude::*;

/// The units that sum up one output together: neighbours, which read neighbouring numbers of its weights.
pub(super) const LANES: usize = 16;

/// Returns the sum of a vector's numbers.
#[cube]
pub(super) fn total<N: Size>(vector: Vector<f32, N>) -> f32 {
    let mut sum = f32::new(0.0);
    #[unroll]
    for i in 0..N::value() {
        sum += vector.extract(i);
    }
    sum
}

/// Returns the token at this place of a tile, or the last of all if the tile reaches beyond it.
#[cube]
pub(super) fn token(first: usize, at: usize, tokens: usize) -> usize {
    min(first + at, tokens - 1)
}

/// Computes the scale that norms each token of a tile, `1 / sqrt(mean(x²) + eps)`, in `scales: [tile]`.
///
/// `x` has `width` vectors per token, every `pitch` vectors. `partial: [tile * units]` is overwritten.
#[cube]
pub(super) fn norm_scales<N: Size>(
    x: &[Vector<f32, N>],
    pitch: usize,
    width: usize,
    first: usize,
    tokens: usize,
    eps: f32,
    partial: &mut Shared<[f32]>,
    scales: &mut Shared<[f32]>,
    #[comptime] tile: usize,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    #[unroll]
    for t in 0..tile {
        let start = token(first, t, tokens) * pitch;
        let mut squares = Vector::<f32, N>::new(f32::new(0.0));
        let mut i = unit;
        while i < width {
            let value = x[start + i];
            squares += value * value;
            i += units;
        }
        partial[t * units + unit] = total::<N>(squares);
    }
    sync_cube();
    // In two steps, since a barrier costs more than additions.
    if unit < comptime!(tile * LANES) {
        let start = unit / LANES * units + unit % LANES;
        let mut sum = f32::new(0.0);
        for i in 0..comptime!(units / LANES) {
            sum += partial[start + i * LANES];
        }
        partial[start] = sum;
    }
    sync_cube();
    if unit < tile {
        let mut sum = f32::new(0.0);
        for i in 0..LANES {
            sum += partial[unit * units + i];
        }
        scales[unit] = (sum / f32::cast_from(width * N::value()) + eps).inverse_sqrt();
    }
    sync_cube();
}
