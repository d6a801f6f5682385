//! Products of a few tokens with weight matrices: every weight is read once, by all threads together.

use super::half_weights::Weight;
use super::{contiguous, tensor};
use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Tensor};
use half::f16;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Tokens up to which the kernel is faster than a blocked matrix product.
const MAX_TOKENS: usize = 16;
/// Multiply-adds below which waking another thread costs more than it saves.
const MIN_PARALLEL_WORK: usize = 1 << 16;
/// Weight rows that are worked on together.
const ROWS: usize = 4;
/// Columns that are worked on together: `ROWS` widened pieces and the inputs stay in the first-level cache.
const COLUMNS: usize = 512;

/// The kernel for [`linear`](super::super::linear()).
pub(in crate::ops) fn linear<const N: usize>(x: &Tensor<3>, weights: &[Tensor<2>; N]) -> Option<[Tensor<3>; N]> {
    let [rows, tokens, width] = x.dims();
    let n = rows * tokens;
    if n == 0 || n > MAX_TOKENS {
        return None;
    }
    let x = contiguous(x)?;
    let weights: Vec<FlexTensor> = weights
        .iter()
        .map(|weight| weight.clone().try_into_primitive::<Flex>().ok().filter(FlexTensor::is_contiguous))
        .collect::<Option<_>>()?;
    let products = product(x.as_slice::<f32>()?, n, width, &weights)?;
    let products: Vec<Tensor<3>> = products
        .into_iter()
        .map(|transposed| {
            let d_out = transposed.len() / n;
            tensor(transpose(transposed, d_out, n), [rows, tokens, d_out])
        })
        .collect();
    products.try_into().ok()
}

/// For each weight `[out, width]` its products with the `n` inputs of `x: [n, width]`, as `[out, n]`.
fn product(x: &[f32], n: usize, width: usize, weights: &[FlexTensor]) -> Option<Vec<Vec<f32>>> {
    let outputs: Vec<usize> = weights.iter().map(|weight| weight.layout().shape()[0]).collect();
    let work = n * width * outputs.iter().sum::<usize>();
    let threads = if work < MIN_PARALLEL_WORK { 1 } else { rayon::current_num_threads() };
    // Equal shares, so that no thread waits for another; a share is a whole number of row groups.
    let share = outputs.iter().sum::<usize>().div_ceil(threads).next_multiple_of(ROWS);

    let mut products: Vec<Vec<f32>> = outputs.iter().map(|d_out| vec![0.0; d_out * n]).collect();
    let mut jobs = Vec::new();
    for (weight, product) in weights.iter().zip(&mut products) {
        for (piece, out) in product.chunks_mut(share * n).enumerate() {
            let first = piece * share * width;
            let elements = first..first + out.len() / n * width;
            jobs.push(match weight.dtype() {
                DType::F32 => Job::F32(Share { weights: weight.as_slice::<f32>()?.get(elements)?, x, width, out }),
                DType::F16 => Job::F16(Share { weights: weight.as_slice::<f16>()?.get(elements)?, x, width, out }),
                _ => return None,
            });
        }
    }
    if threads == 1 {
        jobs.into_iter().for_each(Job::run);
    } else {
        jobs.into_par_iter().for_each(Job::run);
    }
    Some(products)
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(values: Vec<f32>, rows: usize, columns: usize) -> Vec<f32> {
    if columns == 1 {
        return values;
    }
    (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column))).map(|(r, c)| values[r * columns + c]).collect()
}

enum Job<'a> {
    F32(Share<'a, f32>),
    F16(Share<'a, f16>),
}

impl Job<'_> {
    fn run(self) {
        match self {
            Self::F32(share) => Arch::new().dispatch(share),
            Self::F16(share) => Arch::new().dispatch(share),
        }
    }
}

/// Some rows of a weight matrix, and where their products go.
struct Share<'a, W> {
    /// `[rows, width]`.
    weights: &'a [W],
    /// `[n, width]`.
    x: &'a [f32],
    width: usize,
    /// `[rows, n]`.
    out: &'a mut [f32],
}

impl<W: Weight> WithSimd for Share<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.x.len() / self.width;
        let mut first = 0;
        while first < n {
            // Inputs in groups of a size that is known when compiling, so that the sums stay in registers.
            match n - first {
                8.. => first += group::<S, W, 8, 2>(simd, &self.weights, self.x, self.width, self.out, first, n),
                4.. => first += group::<S, W, 4, ROWS>(simd, &self.weights, self.x, self.width, self.out, first, n),
                2.. => first += group::<S, W, 2, ROWS>(simd, &self.weights, self.x, self.width, self.out, first, n),
                _ => first += group::<S, W, 1, ROWS>(simd, &self.weights, self.x, self.width, self.out, first, n),
            }
        }
    }
}

/// The products of all rows with the inputs `first..first + INPUTS`, `R` rows at a time; returns `INPUTS`.
#[inline(always)]
fn group<S: Simd, W: Weight, const INPUTS: usize, const R: usize>(
    simd: S,
    weights: &[W],
    x: &[f32],
    width: usize,
    out: &mut [f32],
    first: usize,
    n: usize,
) -> usize {
    let x: [&[f32]; INPUTS] = std::array::from_fn(|i| &x[(first + i) * width..(first + i + 1) * width]);
    let mut groups = weights.chunks_exact(R * width);
    let mut outs = out.chunks_exact_mut(R * n);
    for (rows, out) in (&mut groups).zip(&mut outs) {
        let rows: [&[W]; R] = std::array::from_fn(|r| &rows[r * width..(r + 1) * width]);
        let sums = dot::<S, W, INPUTS, R>(simd, rows, x);
        for (out, sums) in out.chunks_exact_mut(n).zip(sums) {
            out[first..first + INPUTS].copy_from_slice(&sums);
        }
    }
    for (row, out) in groups.remainder().chunks_exact(width).zip(outs.into_remainder().chunks_exact_mut(n)) {
        let [sums] = dot::<S, W, INPUTS, 1>(simd, [row], x);
        out[first..first + INPUTS].copy_from_slice(&sums);
    }
    INPUTS
}

/// Dot products of each row with each input.
#[inline(always)]
fn dot<S: Simd, W: Weight, const INPUTS: usize, const R: usize>(
    simd: S,
    rows: [&[W]; R],
    x: [&[f32]; INPUTS],
) -> [[f32; INPUTS]; R] {
    let width = x[0].len();
    let mut scratch = [[0f32; COLUMNS]; R];
    let mut lanes = [[simd.splat_f32s(0.0); INPUTS]; R];
    let mut rest = [[0f32; INPUTS]; R];
    for start in (0..width).step_by(COLUMNS) {
        let end = (start + COLUMNS).min(width);
        let x = x.map(|x| S::as_simd_f32s(&x[start..end]));
        for ((row, scratch), (lanes, rest)) in rows.iter().zip(&mut scratch).zip(lanes.iter_mut().zip(&mut rest)) {
            let (head, tail) = S::as_simd_f32s(W::widen(&row[start..end], scratch));
            let x_head = x.map(|(x, _)| &x[..head.len()]);
            for (i, weights) in head.iter().enumerate() {
                for (sum, x) in lanes.iter_mut().zip(&x_head) {
                    *sum = simd.mul_add_e_f32s(*weights, x[i], *sum);
                }
            }
            for (i, weight) in tail.iter().enumerate() {
                for (sum, (_, x)) in rest.iter_mut().zip(&x) {
                    *sum += weight * x[i];
                }
            }
        }
    }
    std::array::from_fn(|r| std::array::from_fn(|i| simd.reduce_sum_f32s(lanes[r][i]) + rest[r][i]))
}
