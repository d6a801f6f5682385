//! Products of rows of weights with inputs, in tiles whose sums stay in registers.
//!
//! Every product consists of [`SUMS`] sums per vector lane, in the order of the row, which are added at the end. It does
//! not depend on the tile: a token's product has the same bits whatever else is computed beside it.

use super::load::Load;
use pulp::Simd;

/// The number of rows of a tile, if there are several inputs. A single input has tiles of one row, whose weights are one
/// sequential stream: the processor does not prefetch several short ones.
pub(super) const ROWS: usize = 2;
/// The number of independent sums of a product, which hide the latency of multiply-adds.
const SUMS: usize = 2;
/// The largest number of inputs of a tile, where there are at least 32 vector registers.
const MANY: usize = 6;
/// The largest number of inputs of a tile elsewhere, where 12 of 16 registers then hold sums.
const FEW: usize = 3;

/// Returns the largest number of inputs of a tile.
#[inline(always)]
pub(super) fn inputs<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MANY } else { FEW }
}

/// Computes the products of `weights: [rows, width]` with `x: [n, width]`, and gives each to `put` with its row and input.
#[inline(always)]
pub(super) fn products<S: Simd, W: Copy, L: Load<S, W>>(
    simd: S,
    load: L,
    weights: &[W],
    x: &[f32],
    width: usize,
    mut put: impl FnMut(usize, usize, f32),
) {
    let n = x.len() / width;
    let mut input = 0;
    while input < n {
        let most = (n - input).min(inputs::<S>());
        let x = &x[input * width..(input + most) * width];
        match most {
            1 => group::<S, W, L, 1, 1>(simd, load, weights, x, width, input, &mut put),
            2 => group::<S, W, L, ROWS, 2>(simd, load, weights, x, width, input, &mut put),
            3 => group::<S, W, L, ROWS, 3>(simd, load, weights, x, width, input, &mut put),
            4 => group::<S, W, L, ROWS, 4>(simd, load, weights, x, width, input, &mut put),
            5 => group::<S, W, L, ROWS, 5>(simd, load, weights, x, width, input, &mut put),
            _ => group::<S, W, L, ROWS, MANY>(simd, load, weights, x, width, input, &mut put),
        }
        input += most;
    }
}

/// Computes the products of all rows with `INPUTS` inputs, of which the first is number `first`, in tiles of `ROWS` rows.
#[inline(always)]
fn group<S: Simd, W: Copy, L: Load<S, W>, const ROWS: usize, const INPUTS: usize>(
    simd: S,
    load: L,
    weights: &[W],
    x: &[f32],
    width: usize,
    first: usize,
    put: &mut impl FnMut(usize, usize, f32),
) {
    let mut inputs: [&[f32]; INPUTS] = [&[]; INPUTS];
    for (input, x) in inputs.iter_mut().zip(x.chunks_exact(width)) {
        *input = x;
    }
    let panels = weights.chunks_exact(ROWS * width);
    let rest = panels.remainder();
    let mut row = 0;
    for panel in panels {
        let mut rows: [&[W]; ROWS] = [&[]; ROWS];
        for (row, weights) in rows.iter_mut().zip(panel.chunks_exact(width)) {
            *row = weights;
        }
        for (r, products) in tile(simd, load, rows, inputs).into_iter().enumerate() {
            for (i, product) in products.into_iter().enumerate() {
                put(row + r, first + i, product);
            }
        }
        row += ROWS;
    }
    for weights in rest.chunks_exact(width) {
        let [products] = tile(simd, load, [weights], inputs);
        for (i, product) in products.into_iter().enumerate() {
            put(row, first + i, product);
        }
        row += 1;
    }
}

/// Computes the products of each row with each input.
#[inline(always)]
fn tile<S: Simd, W: Copy, L: Load<S, W>, const ROWS: usize, const INPUTS: usize>(
    simd: S,
    load: L,
    rows: [&[W]; ROWS],
    x: [&[f32]; INPUTS],
) -> [[f32; INPUTS]; ROWS] {
    let width = x[0].len();
    let vectors = width / S::F32_LANES;
    // These are plain loops because a closure may be compiled without the vector unit's instructions.
    let mut inputs: [&[S::f32s]; INPUTS] = [&[]; INPUTS];
    for (input, x) in inputs.iter_mut().zip(x) {
        *input = &S::as_simd_f32s(x).0[..vectors];
    }
    let mut weights: [&[L::Vector]; ROWS] = [&[]; ROWS];
    for (weights, row) in weights.iter_mut().zip(rows) {
        *weights = &L::vectors(row)[..vectors];
    }
    let mut sums = [[[simd.splat_f32s(0.0); INPUTS]; ROWS]; SUMS];
    let mut at = 0;
    while at + SUMS <= vectors {
        if INPUTS == 1 {
            L::prefetch(&weights[0][at]);
        }
        for (u, sums) in sums.iter_mut().enumerate() {
            step(simd, load, &weights, &inputs, at + u, sums);
        }
        at += SUMS;
    }
    while at < vectors {
        step(simd, load, &weights, &inputs, at, &mut sums[0]);
        at += 1;
    }
    let mut products = [[0.0; INPUTS]; ROWS];
    for (r, products) in products.iter_mut().enumerate() {
        for (i, product) in products.iter_mut().enumerate() {
            let mut all = sums[0][r][i];
            for sums in &sums[1..] {
                all = simd.add_f32s(all, sums[r][i]);
            }
            *product = simd.reduce_sum_f32s(all);
            for at in vectors * S::F32_LANES..width {
                *product += L::scalar(rows[r][at]) * x[i][at];
            }
        }
    }
    products
}

/// Adds the products of one vector of each row with that of each input.
#[inline(always)]
fn step<S: Simd, W: Copy, L: Load<S, W>, const ROWS: usize, const INPUTS: usize>(
    simd: S,
    load: L,
    weights: &[&[L::Vector]; ROWS],
    inputs: &[&[S::f32s]; INPUTS],
    at: usize,
    sums: &mut [[S::f32s; INPUTS]; ROWS],
) {
    for (sums, weights) in sums.iter_mut().zip(weights) {
        let weight = load.vector(&weights[at]);
        for (sum, input) in sums.iter_mut().zip(inputs) {
            *sum = simd.mul_add_e_f32s(weight, input[at], *sum);
        }
    }
}
