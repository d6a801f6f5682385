//! Reads and sums over vectors, lanes and tokens, which several kernels need.

use cubecl::prelude::*;

/// The units of a cube.
pub(super) const UNITS: usize = 256;
/// The units that sum up one output together: neighbours, which read neighbouring numbers of its weights.
pub(super) const LANES: usize = 16;
/// The outputs that a cube computes at a time.
pub(super) const OUTPUTS: usize = UNITS / LANES;

/// The vectors of a matrix that a unit reads before it uses the first: it waits for memory where it uses a number, so all of them
/// take the time of one.
pub(super) const AHEAD: usize = 4;
/// The vectors of a row that [`LANES`] units read ahead.
pub(super) const STEP: usize = AHEAD * LANES;

/// Reads a unit's [`AHEAD`] vectors of the [`STEP`] that begin at `start`, in the row that begins at the vector `row` of `map` and has
/// `width`. Past the row's end it reads the last one again. They go to `w[matrix * AHEAD..]`, after those of earlier matrices.
#[cube]
pub(super) fn read_ahead<W: Float, N: Size>(
    map: &[Vector<W, N>],
    row: usize,
    start: usize,
    width: usize,
    w: &mut Array<Vector<f32, N>>,
    #[comptime] matrix: usize,
) {
    #[unroll]
    for ahead in 0..AHEAD {
        let i = start + ahead * LANES + UNIT_POS as usize % LANES;
        w[matrix * AHEAD + ahead] = Vector::<f32, N>::cast_from(map[row + min(i, width - 1)]);
    }
}

/// Copies the [`STEP`] vectors that begin at `start`, of each token of a tile, to `staged: [tile * STEP]`: zeros past the last of
/// `width`, and all multiplied by `gammas[layer]` if there is a norm.
///
/// From there all units read them, which leaves registers for [`read_ahead`]: an assembler would rather read late than use more of
/// them. Barriers must stand before and after it.
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
) {
    let unit = UNIT_POS as usize;
    let i = start + unit % STEP;
    let at = min(i, width - 1);
    let mut scale = Vector::<f32, N>::new(f32::new(1.0));
    if normed {
        let gamma = &gammas[layer];
        scale = gamma[at];
    }
    let mut t = unit / STEP;
    while t < tile {
        let value = x[token(first, t, tokens) * pitch + at] * scale;
        staged[t * STEP + unit % STEP] = select(i < width, value, Vector::<f32, N>::new(f32::new(0.0)));
        t += comptime!(UNITS / STEP);
    }
}

/// Adds the products of what was read ahead from the matrix with the index `matrix`, and of what was staged, to a unit's sums: one
/// for each token of a tile.
#[cube]
pub(super) fn add_products<N: Size>(
    w: &Array<Vector<f32, N>>,
    staged: &Shared<[Vector<f32, N>]>,
    sums: &mut Array<Vector<f32, N>>,
    #[comptime] matrix: usize,
    #[comptime] tile: usize,
) {
    let lane = UNIT_POS as usize % LANES;
    #[unroll]
    for ahead in 0..AHEAD {
        #[unroll]
        for t in 0..tile {
            sums[matrix * tile + t] += w[matrix * AHEAD + ahead] * staged[t * STEP + ahead * LANES + lane];
        }
    }
}

/// Puts `n` sums of each unit into `partial: [n * UNITS]`, for [`sum_of_lanes`].
#[cube]
pub(super) fn share_sums<N: Size>(sums: &Array<Vector<f32, N>>, partial: &mut Shared<[f32]>, #[comptime] n: usize) {
    let unit = UNIT_POS as usize;
    // The sums of one output lie apart, so that the units which add them up read from different banks.
    #[unroll]
    for t in 0..n {
        partial[t * UNITS + unit % LANES * OUTPUTS + unit / LANES] = total::<N>(sums[t]);
    }
    sync_cube();
}

/// Returns the sum with the index `at` of an output, from all units that share it. A barrier must follow before `partial` is written
/// again.
#[cube]
pub(super) fn sum_of_lanes(partial: &Shared<[f32]>, at: usize, output: usize) -> f32 {
    let mut sum = f32::new(0.0);
    for lane in 0..LANES {
        sum += partial[at * UNITS + lane * OUTPUTS + output];
    }
    sum
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
/// `x` has `width` vectors per token, every `pitch` vectors. `partial: [tile * UNITS]` is overwritten. A barrier
/// must follow before anything reads `scales`, or writes `partial`.
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
        i += UNITS;
    }
    #[unroll]
    for t in 0..tile {
        partial[t * UNITS + unit] = total::<N>(squares[t]);
    }
    sync_cube();
    // In two steps, since a barrier costs more than additions.
    if unit < comptime!(tile * LANES) {
        let start = unit / LANES * UNITS + unit % LANES;
        let mut sum = f32::new(0.0);
        for i in 0..comptime!(UNITS / LANES) {
            sum += partial[start + i * LANES];
        }
        partial[start] = sum;
    }
    sync_cube();
    if unit < tile {
        let mut sum = f32::new(0.0);
        for i in 0..LANES {
            sum += partial[unit * UNITS + i];
        }
        scales[unit] = (sum / f32::cast_from(width * N::value()) + eps).inverse_sqrt();
    }
}
