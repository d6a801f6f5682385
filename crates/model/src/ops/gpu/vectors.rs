//! Reads and sums over vectors, lanes and tokens, which several kernels need.

use cubecl::prelude::*;

/// The units that sum up one output together: neighbours, which read neighbouring numbers of its weights.
pub(super) const LANES: usize = 16;

/// The vectors of a matrix that a unit reads before it uses the first: it waits for memory where it uses a number, so all of them
/// take the time of one.
pub(super) const AHEAD: usize = 4;
/// The vectors of a row that [`LANES`] units read ahead.
pub(super) const STEP: usize = AHEAD * LANES;

/// Reads a unit's [`AHEAD`] vectors of the [`STEP`] that begin at `start`, of the matrix's row that begins at the vector `row` and
/// has `width`, into `into[first..first + AHEAD]`. Behind the row's end it reads the last one again.
#[cube]
pub(super) fn read_ahead<W: Float, N: Size>(
    matrix: &[Vector<W, N>],
    row: usize,
    start: usize,
    width: usize,
    into: &mut Array<Vector<f32, N>>,
    #[comptime] first: usize,
) {
    #[unroll]
    for ahead in 0..AHEAD {
        let i = start + ahead * LANES + UNIT_POS as usize % LANES;
        into[first + ahead] = Vector::<f32, N>::cast_from(matrix[row + min(i, width - 1)]);
    }
}

/// Copies the [`STEP`] vectors that begin at `start`, of each token of a tile, to `staged: [tile * STEP]`: zeros behind the last of
/// `width`, and all multiplied by `gammas[layer]` if there is a norm.
///
/// From there all units read them, which leaves registers for [`read_ahead`]: with more than some forty, a compiler does not read
/// ahead. `units` is a multiple of [`STEP`].
#[cube]
pub(super) fn stage<N: Size>(
    x: &[Vector<f32, N>],
    gammas: &Sequence<Box<[Vector<f32, N>]>>,
    pitch: usize,
    width: usize,
    start: usize,
    first: usize,
    tokens: usize,
    staged: &mut Shared<[Vector<f32, N>]>,
    #[comptime] layer: usize,
    #[comptime] normed: bool,
    #[comptime] tile: usize,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    let i = start + unit % STEP;
    let mut scale = Vector::<f32, N>::new(f32::new(0.0));
    if i < width {
        scale = Vector::<f32, N>::new(f32::new(1.0));
        if normed {
            let gamma = &gammas[layer];
            scale = gamma[i];
        }
    }
    let mut t = unit / STEP;
    while t < tile {
        staged[t * STEP + unit % STEP] = x[token(first, t, tokens) * pitch + min(i, width - 1)] * scale;
        t += comptime!(units / STEP);
    }
}

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
fn token(first: usize, at: usize, tokens: usize) -> usize {
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
    let mut squares = Array::<Vector<f32, N>>::new(tile);
    #[unroll]
    for t in 0..tile {
        squares[t] = Vector::<f32, N>::new(f32::new(0.0));
    }
    let mut i = unit;
    while i < width {
        #[unroll]
        for t in 0..tile {
            let value = x[token(first, t, tokens) * pitch + i];
            squares[t] += value * value;
        }
        i += units;
    }
    #[unroll]
    for t in 0..tile {
        partial[t * units + unit] = total::<N>(squares[t]);
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
