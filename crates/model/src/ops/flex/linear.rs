//! Products of a few tokens with weight matrices. The weights are divided among the threads, so that each is read once.

#[cfg(target_arch = "x86_64")]
use super::load::Avx512;
use super::load::{Direct, Load, Portable};
use super::parallel::run_all;
use super::{contiguous, tensor};
use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use pulp::{Arch, Simd, WithSimd};

/// The largest number of tokens for which the kernel is faster than a blocked matrix product.
const MAX_TOKENS: usize = 64;
/// The number of multiply-adds below which waking another thread costs more than it saves.
const MIN_PARALLEL_WORK: usize = 1 << 17;
/// The size in bytes of a block of weights, which stays in the second-level cache while it is multiplied by all inputs.
const BLOCK_BYTES: usize = 1 << 17;
/// The number of independent partial sums of a dot product, which hide the latency of multiply-adds.
const SUMS: usize = 2;

/// The kernel for [`linear`](super::super::linear()).
pub(in crate::ops) fn linear<const N: usize>(x: &Tensor<3>, weights: &[Tensor<2>; N]) -> Option<[Tensor<3>; N]> {
    let [rows, tokens, width] = x.dims();
    let n = rows * tokens;
    let inputs = contiguous(x)?;
    if n == 0 {
        return None;
    }
    let weights: Vec<FlexTensor> = weights
        .iter()
        .map(|weight| weight.clone().try_into_primitive::<Flex>().ok().filter(FlexTensor::is_contiguous))
        .collect::<Option<_>>()?;
    if n > MAX_TOKENS {
        let products: Option<Vec<_>> = weights.iter().map(|weight| blocked(x, weight)).collect();
        return products?.try_into().ok();
    }
    let products = products(inputs.as_slice::<f32>()?, n, width, &weights)?;
    let products: Vec<Tensor<3>> = products
        .into_iter()
        .map(|product| {
            let d_out = product.len() / n;
            tensor(transpose(product, d_out, n), [rows, tokens, d_out])
        })
        .collect();
    products.try_into().ok()
}

/// Computes `x Wᵀ` with burn's blocked product, in `f32`: rounding the input to `f16` would cost accuracy without being
/// faster here.
fn blocked(x: &Tensor<3>, weight: &FlexTensor) -> Option<Tensor<3>> {
    let [rows, tokens, width] = x.dims();
    let d_out = weight.layout().shape()[0];
    let weight: Tensor<2> = match weight.dtype() {
        DType::F32 => Tensor::from_primitive::<Flex>(weight.clone()),
        DType::F16 => tensor(widened(weight.as_slice::<f16>()?), [d_out, width]),
        _ => return None,
    };
    let y = x.clone().reshape([rows * tokens, width]).matmul(weight.transpose()); // [rows * tokens, out]
    Some(y.reshape([rows, tokens, d_out]))
}

/// Converts all weights to `f32`, on all threads.
fn widened(weights: &[f16]) -> Vec<f32> {
    let mut wide = vec![0.0; weights.len()];
    let threads = if weights.len() < MIN_PARALLEL_WORK { 1 } else { rayon::current_num_threads() };
    let share = weights.len().div_ceil(threads).max(1);
    run_all(wide.chunks_mut(share).zip(weights.chunks(share)).collect(), |(wide, weights)| {
        weights.convert_to_f32_slice(wide);
    });
    wide
}

/// Computes the products of each weight `[out, width]` with the `n` inputs of `x: [n, width]`, as `[out, n]`.
fn products(x: &[f32], n: usize, width: usize, weights: &[FlexTensor]) -> Option<Vec<Vec<f32>>> {
    let outputs: usize = weights.iter().map(|weight| weight.layout().shape()[0]).sum();
    let threads = if n * width * outputs < MIN_PARALLEL_WORK { 1 } else { rayon::current_num_threads() };
    // The shares are equal, so that no thread waits for another.
    let share = outputs.div_ceil(threads);

    let mut products: Vec<Vec<f32>> = weights.iter().map(|weight| vec![0.0; weight.layout().shape()[0] * n]).collect();
    let mut jobs: Vec<Vec<Share<'_>>> = vec![Vec::new()];
    let mut room = share;
    for (weight, product) in weights.iter().zip(&mut products) {
        let (mut out, mut first) = (product.as_mut_slice(), 0);
        while !out.is_empty() {
            let rows = room.min(out.len() / n);
            let (mine, others) = out.split_at_mut(rows * n);
            let weights = Weights::new(weight, first * width..(first + rows) * width)?;
            if let Some(job) = jobs.last_mut() {
                job.push(Share { weights, x, width, out: mine });
            }
            (out, first, room) = (others, first + rows, room - rows);
            if room == 0 {
                jobs.push(Vec::new());
                room = share;
            }
        }
    }
    jobs.retain(|job| !job.is_empty());
    run_all(jobs, |job| job.into_iter().for_each(Share::run));
    Some(products)
}

/// Transposes `[rows, columns]` to `[columns, rows]`.
fn transpose(values: Vec<f32>, rows: usize, columns: usize) -> Vec<f32> {
    if columns == 1 {
        return values;
    }
    let mut out = vec![0.0; values.len()];
    for (r, row) in values.chunks_exact(columns).enumerate() {
        for (c, value) in row.iter().enumerate() {
            out[c * rows + r] = *value;
        }
    }
    out
}

/// Some rows of a weight matrix.
#[derive(Clone, Copy)]
enum Weights<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
}

impl<'a> Weights<'a> {
    fn new(weight: &'a FlexTensor, elements: std::ops::Range<usize>) -> Option<Self> {
        match weight.dtype() {
            DType::F32 => Some(Self::F32(weight.as_slice::<f32>()?.get(elements)?)),
            DType::F16 => Some(Self::F16(weight.as_slice::<f16>()?.get(elements)?)),
            _ => None,
        }
    }
}

/// Some rows of a weight matrix, with the inputs and the buffer for the products.
struct Share<'a> {
    weights: Weights<'a>,
    /// `[n, width]`.
    x: &'a [f32],
    width: usize,
    /// `[rows, n]`.
    out: &'a mut [f32],
}

impl Share<'_> {
    fn run(self) {
        let Self { weights, x, width, out } = self;
        match weights {
            Weights::F32(weights) => Arch::new().dispatch(Rows { weights, load: Direct, x, width, out }),
            Weights::F16(weights) => {
                #[cfg(target_arch = "x86_64")]
                if let Arch::V4(v4) = Arch::new() {
                    return Simd::vectorize(v4, Rows { weights, load: Avx512(v4), x, width, out });
                }
                Arch::new().dispatch(Rows { weights, load: Portable, x, width, out });
            }
        }
    }
}

struct Rows<'a, W, L> {
    weights: &'a [W],
    load: L,
    x: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl WithSimd for Rows<'_, f32, Direct> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        all(simd, self.load, self.weights, self.x, self.width, self.out);
    }
}

impl WithSimd for Rows<'_, f16, Portable> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        all(simd, self.load, self.weights, self.x, self.width, self.out);
    }
}

#[cfg(target_arch = "x86_64")]
impl WithSimd for Rows<'_, f16, Avx512> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        all(self.load.0, self.load, self.weights, self.x, self.width, self.out);
    }
}

/// Computes the products of all rows with all inputs.
///
/// Inputs are taken in groups of a size that is known at compile time, so that the sums stay in registers. Rows are
/// taken in blocks that stay in the cache until all inputs have used them, so that each weight is read from memory
/// once.
#[inline(always)]
fn all<S: Simd, W: Copy, L: Load<S, W>>(simd: S, load: L, w: &[W], x: &[f32], width: usize, out: &mut [f32]) {
    let n = x.len() / width;
    let rows = (BLOCK_BYTES / (width * size_of::<W>()).max(1)).max(1);
    for (w, out) in w.chunks(rows * width).zip(out.chunks_mut(rows * n)) {
        let mut first = 0;
        while first < n {
            first += match n - first {
                8.. => group::<S, W, L, 8>(simd, load, w, x, width, out, first),
                6.. => group::<S, W, L, 6>(simd, load, w, x, width, out, first),
                4.. => group::<S, W, L, 4>(simd, load, w, x, width, out, first),
                3 => group::<S, W, L, 3>(simd, load, w, x, width, out, first),
                2 => group::<S, W, L, 2>(simd, load, w, x, width, out, first),
                _ => group::<S, W, L, 1>(simd, load, w, x, width, out, first),
            };
        }
    }
}

/// Computes the products of all rows with the inputs `first..first + INPUTS`, and returns `INPUTS`.
///
/// Rows are taken one after the other, so that their weights are one sequential stream, which the processor prefetches.
/// Several rows at once would be several short streams, which it does not prefetch.
#[inline(always)]
fn group<S: Simd, W: Copy, L: Load<S, W>, const INPUTS: usize>(
    simd: S,
    load: L,
    weights: &[W],
    x: &[f32],
    width: usize,
    out: &mut [f32],
    first: usize,
) -> usize {
    let n = x.len() / width;
    let mut inputs: [&[f32]; INPUTS] = [&[]; INPUTS];
    for (i, input) in inputs.iter_mut().enumerate() {
        *input = &x[(first + i) * width..(first + i + 1) * width];
    }
    for (row, out) in weights.chunks_exact(width).zip(out.chunks_exact_mut(n)) {
        out[first..first + INPUTS].copy_from_slice(&dot::<S, W, L, INPUTS>(simd, load, row, inputs));
    }
    INPUTS
}

/// Computes the dot products of a row with each input.
///
/// Every product is accumulated in [`SUMS`] parts, whatever the number of inputs, so that the result for an input does
/// not depend on the number of other inputs.
#[inline(always)]
fn dot<S: Simd, W: Copy, L: Load<S, W>, const INPUTS: usize>(
    simd: S,
    load: L,
    row: &[W],
    x: [&[f32]; INPUTS],
) -> [f32; INPUTS] {
    let width = x[0].len();
    let vectors = width / S::F32_LANES;
    let inputs = x.map(|x| &S::as_simd_f32s(x).0[..vectors]);
    let mut sums = [[simd.splat_f32s(0.0); INPUTS]; SUMS];
    let mut at = 0;
    while at + SUMS <= vectors {
        for (u, sums) in sums.iter_mut().enumerate() {
            let weights = load.vector(row, at + u);
            for (sum, input) in sums.iter_mut().zip(&inputs) {
                *sum = simd.mul_add_e_f32s(weights, input[at + u], *sum);
            }
        }
        at += SUMS;
    }
    while at < vectors {
        let weights = load.vector(row, at);
        for (sum, input) in sums[0].iter_mut().zip(&inputs) {
            *sum = simd.mul_add_e_f32s(weights, input[at], *sum);
        }
        at += 1;
    }
    let mut products = [0f32; INPUTS];
    for (i, (product, x)) in products.iter_mut().zip(&x).enumerate() {
        let mut all = sums[0][i];
        for sums in &sums[1..] {
            all = simd.add_f32s(all, sums[i]);
        }
        *product = simd.reduce_sum_f32s(all);
        for at in vectors * S::F32_LANES..width {
            *product += load.scalar(row[at]) * x[at];
        }
    }
    products
}
