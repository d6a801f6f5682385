//! Products of rows of quantised weights with inputs that are quantised to 8 bits, in integers.
//!
//! Inputs have one scale per 32 values, as in llama.cpp. The products of 32 weights and inputs are summed exactly; the
//! sums are scaled and added as `f32`, in the order of the row. As in [`tile`](super::tile), a product does not depend on
//! what else is computed beside it.

use super::load::AHEAD;
use crate::format::{GgmlType, scale, unpack};

/// The number of inputs with one scale.
pub(super) const BLOCK: usize = 32;
/// The number of rows that are unpacked together, and of a tile.
const ROWS: usize = 4;
/// The largest number of inputs of a tile.
const INPUTS: usize = 2;

/// Quantised inputs, `[n, width]`, where `width` is a multiple of [`BLOCK`].
pub(super) struct Inputs {
    width: usize,
    quants: Vec<i8>,
    /// The scale of each block, `[n, width / 32]`.
    scales: Vec<f32>,
    /// The sum of each half of a block, `[n, width / 16]`, scaled.
    sums: Vec<f32>,
}

impl Inputs {
    /// Quantises `x: [n, width]`: the largest of 32 values becomes 127 or -127.
    pub(super) fn new(x: &[f32], width: usize) -> Self {
        let mut inputs = Self {
            width,
            quants: vec![0; x.len()],
            scales: vec![0.0; x.len() / BLOCK],
            sums: vec![0.0; x.len() / (BLOCK / 2)],
        };
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || inputs.quantise(x),
        );
        inputs
    }

    #[inline(always)]
    fn quantise(&mut self, x: &[f32]) {
        /// Adding it rounds to an integer, which then stands in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        let (blocks, _) = x.as_chunks::<BLOCK>();
        let (quants, _) = self.quants.as_chunks_mut::<BLOCK>();
        let (sums, _) = self.sums.as_chunks_mut::<2>();
        for (((x, quants), scale), sums) in blocks.iter().zip(quants).zip(&mut self.scales).zip(sums) {
            let (mut largest, mut zeros) = ([0f32; 8], [0f32; 8]);
            for x in x.as_chunks::<8>().0 {
                for ((largest, zero), x) in largest.iter_mut().zip(&mut zeros).zip(x) {
                    *largest = largest.max(x.abs());
                    *zero += x * 0.0;
                }
            }
            let largest = largest.iter().fold(0f32, |m, x| m.max(*x));
            // The sum is 0, or NaN if an input is not finite; then all products must be NaN.
            *scale = largest / 127.0 + sum(zeros);
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let mut wide = [0i32; BLOCK];
            for (wide, x) in wide.iter_mut().zip(x) {
                *wide = (x * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
            }
            for (quant, wide) in quants.iter_mut().zip(&wide) {
                *quant = wide.to_le_bytes()[0].cast_signed();
            }
            for (sum, wide) in sums.iter_mut().zip(wide.as_chunks::<16>().0) {
                *sum = wide.iter().fold(0i32, |sum, quant| sum.wrapping_add(*quant)) as f32 * *scale;
            }
        }
    }

    fn row(&self, i: usize) -> Row<'_> {
        let (width, blocks) = (self.width, self.width / BLOCK);
        Row {
            quants: &self.quants[i * width..(i + 1) * width],
            scales: &self.scales[i * blocks..(i + 1) * blocks],
            offsets: &self.sums[i * 2 * blocks..(i + 1) * 2 * blocks],
        }
    }

    /// The number of inputs.
    fn n(&self) -> usize {
        self.scales.len() / (self.width / BLOCK)
    }
}

/// Some unpacked rows, or some inputs, of one width.
#[derive(Clone, Copy)]
struct Row<'a> {
    quants: &'a [i8],
    scales: &'a [f32],
    /// For a weight the minima, for an input the sums.
    offsets: &'a [f32],
}

/// Buffers for [`ROWS`] unpacked rows.
#[derive(Default)]
pub(super) struct Panel {
    quants: Vec<i8>,
    scales: Vec<f32>,
    minima: Vec<f32>,
}

/// Computes the products of rows of `weights`, whole blocks of type `ty`, with all inputs, and gives each to `put` with its
/// row and input.
pub(super) fn products(
    ty: GgmlType,
    weights: &[u8],
    x: &Inputs,
    panel: &mut Panel,
    put: impl FnMut(usize, usize, f32),
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(v3) = pulp::x86::V3::try_new() {
        return v3.vectorize(All { unit: Avx2(v3), ty, weights, x, panel, put });
    }
    pulp::NullaryFnOnce::call(All { unit: Portable, ty, weights, x, panel, put });
}

struct All<'a, U, F> {
    unit: U,
    ty: GgmlType,
    weights: &'a [u8],
    x: &'a Inputs,
    panel: &'a mut Panel,
    put: F,
}

impl<U: Unit, F: FnMut(usize, usize, f32)> pulp::NullaryFnOnce for All<'_, U, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { unit, ty, weights, x, panel, mut put } = self;
        let width = x.width;
        let (run, row_bytes) = (ty.run(), ty.row_bytes(width));
        let runs = width / run;
        if ty == GgmlType::Q8_0 && x.n() == 1 {
            // These bytes need no unpacking, so that reading from memory and computing go on at the same time.
            let x = x.row(0);
            for (row, weights) in weights.chunks_exact(row_bytes).enumerate() {
                put(row, 0, unit.bytes(weights.as_chunks().0, x));
            }
            return;
        }
        panel.quants.resize(ROWS * width, 0);
        panel.scales.resize(ROWS * runs, 0.0);
        panel.minima.resize(ROWS * runs, 0.0);
        let mut first = 0;
        for weights in weights.chunks(ROWS * row_bytes) {
            if x.n() <= INPUTS {
                // The rows that come next are read while these are computed.
                for line in weights.chunks(64) {
                    dynlayer_cpu::prefetch(&line[0], weights.len());
                }
            }
            unpack(ty, weights, &mut panel.quants, &mut panel.scales, &mut panel.minima);
            let rows = weights.len() / row_bytes;
            let mut parts = [Row { quants: &[], scales: &[], offsets: &[] }; ROWS];
            for (r, part) in parts[..rows].iter_mut().enumerate() {
                part.quants = &panel.quants[r * width..(r + 1) * width];
                part.scales = &panel.scales[r * runs..(r + 1) * runs];
                part.offsets = &panel.minima[r * runs..(r + 1) * runs];
            }
            let mut input = 0;
            while input < x.n() {
                let inputs = (x.n() - input).min(INPUTS);
                let mut put = |r: usize, i: usize, product: f32| put(first + r, input + i, product);
                match (rows, inputs) {
                    (ROWS, INPUTS) => tile::<U, ROWS, INPUTS>(unit, ty, parts, x, input, &mut put),
                    (ROWS, _) => tile::<U, ROWS, 1>(unit, ty, parts, x, input, &mut put),
                    _ => {
                        for (r, part) in parts[..rows].iter().enumerate() {
                            for i in 0..inputs {
                                let mut put = |_: usize, _: usize, product: f32| put(r, i, product);
                                tile::<U, 1, 1>(unit, ty, [*part], x, input + i, &mut put);
                            }
                        }
                    }
                }
                input += inputs;
            }
            first += rows;
        }
    }
}

/// Computes the products of `R` rows with the inputs from `input` on.
#[inline(always)]
fn tile<U: Unit, const R: usize, const I: usize>(
    unit: U,
    ty: GgmlType,
    rows: [Row<'_>; R],
    x: &Inputs,
    input: usize,
    put: &mut impl FnMut(usize, usize, f32),
) {
    let mut inputs = [Row { quants: &[], scales: &[], offsets: &[] }; I];
    for (i, row) in inputs.iter_mut().enumerate() {
        *row = x.row(input + i);
    }
    let products = match (ty.run(), ty.is_symmetric()) {
        (16, true) => unit.products::<R, I, true, true>(rows, inputs),
        (16, false) => unit.products::<R, I, true, false>(rows, inputs),
        (_, true) => unit.products::<R, I, false, true>(rows, inputs),
        (_, false) => unit.products::<R, I, false, false>(rows, inputs),
    };
    for r in 0..R {
        for i in 0..I {
            let mut product = products[r][i];
            if !ty.is_symmetric() {
                product -= minima(rows[r].offsets, inputs[i].offsets);
            }
            put(r, i, product);
        }
    }
}

/// Computes the sum of the products of minima, one per run, with the sums of the inputs of each run, of which there are
/// two numbers per 32 inputs.
#[inline(always)]
fn minima(minima: &[f32], sums: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    if minima.len() == sums.len() {
        for (minima, sums) in minima.chunks(8).zip(sums.chunks(8)) {
            for ((lane, minimum), sum) in lanes.iter_mut().zip(minima).zip(sums) {
                *lane += minimum * sum;
            }
        }
    } else {
        for (minima, sums) in minima.chunks(8).zip(sums.as_chunks::<2>().0.chunks(8)) {
            for ((lane, minimum), [first, second]) in lanes.iter_mut().zip(minima).zip(sums) {
                *lane += minimum * (first + second);
            }
        }
    }
    sum(lanes)
}

/// Adds eight lanes pairwise.
#[inline(always)]
fn sum(lanes: [f32; 8]) -> f32 {
    let pair = |i: usize| lanes[i] + lanes[i + 4];
    (pair(0) + pair(2)) + (pair(1) + pair(3))
}

/// A vector unit.
trait Unit: Copy {
    /// Computes the scaled products of each row with each input, without minima. If `HALVES`, a row has a scale per 16
    /// weights, otherwise per 32. Only if `SIGNED` may weights be negative.
    fn products<const R: usize, const I: usize, const HALVES: bool, const SIGNED: bool>(
        self,
        rows: [Row<'_>; R],
        inputs: [Row<'_>; I],
    ) -> [[f32; I]; R];

    /// Computes the product of a row of `Q8_0` with one input, with the same bits as [`products`](Self::products).
    fn bytes(self, row: &[[u8; 34]], input: Row<'_>) -> f32;
}

/// Plain loops.
#[derive(Clone, Copy)]
struct Portable;

impl Unit for Portable {
    #[inline(always)]
    fn products<const R: usize, const I: usize, const HALVES: bool, const SIGNED: bool>(
        self,
        rows: [Row<'_>; R],
        inputs: [Row<'_>; I],
    ) -> [[f32; I]; R] {
        let mut products = [[0.0; I]; R];
        for (products, row) in products.iter_mut().zip(&rows) {
            for (product, input) in products.iter_mut().zip(&inputs) {
                let blocks = row.quants.as_chunks::<BLOCK>().0.iter().zip(input.quants.as_chunks::<BLOCK>().0);
                for (at, ((weights, x), scale)) in blocks.zip(input.scales).enumerate() {
                    let weight_scales =
                        if HALVES { [row.scales[2 * at], row.scales[2 * at + 1]] } else { [row.scales[at]; 2] };
                    *product = Self::add(*product, weights, weight_scales, x, *scale);
                }
            }
        }
        products
    }

    #[inline(always)]
    fn bytes(self, row: &[[u8; 34]], input: Row<'_>) -> f32 {
        let mut product = 0.0;
        for ((block, x), scale) in row.iter().zip(input.quants.as_chunks::<BLOCK>().0).zip(input.scales) {
            let (weight_scale, weights) = q8_0(block);
            product = Self::add(product, &weights, [weight_scale; 2], x, *scale);
        }
        product
    }
}

impl Portable {
    /// Adds the products of 32 weights, which have a scale per half, with 32 inputs.
    #[inline(always)]
    fn add(mut sum: f32, weights: &[i8; BLOCK], weight_scales: [f32; 2], x: &[i8; BLOCK], scale: f32) -> f32 {
        for (half, weight_scale) in weight_scales.into_iter().enumerate() {
            let mut products = 0;
            for i in half * 16..(half + 1) * 16 {
                products += i32::from(weights[i]) * i32::from(x[i]);
            }
            sum += products as f32 * weight_scale * scale;
        }
        sum
    }
}

/// Returns the scale and the weights of a block of `Q8_0`.
#[inline(always)]
fn q8_0(block: &[u8; 34]) -> (f32, [i8; BLOCK]) {
    let [d0, d1, quants @ ..] = block;
    (scale([*d0, *d1]), bytemuck::cast(*quants))
}

/// AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(pulp::x86::V3);

#[cfg(target_arch = "x86_64")]
impl Unit for Avx2 {
    #[inline(always)]
    fn products<const R: usize, const I: usize, const HALVES: bool, const SIGNED: bool>(
        self,
        rows: [Row<'_>; R],
        inputs: [Row<'_>; I],
    ) -> [[f32; I]; R] {
        let simd = self.0;
        let blocks = inputs[0].scales.len();
        let mut weights: [&[[i8; BLOCK]]; R] = [&[]; R];
        let mut weight_scales: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            weights[r] = &rows[r].quants.as_chunks().0[..blocks];
            weight_scales[r] = &rows[r].scales[..if HALVES { 2 * blocks } else { blocks }];
        }
        let mut x: [&[[i8; BLOCK]]; I] = [&[]; I];
        let mut scales: [&[f32]; I] = [&[]; I];
        for i in 0..I {
            x[i] = &inputs[i].quants.as_chunks().0[..blocks];
            scales[i] = &inputs[i].scales[..blocks];
        }
        let mut sums = [[simd.splat_f32x8(0.0); I]; R];
        for at in 0..blocks {
            for r in 0..R {
                let scale = if HALVES {
                    let (low, high) = (weight_scales[r][2 * at], weight_scales[r][2 * at + 1]);
                    pulp::f32x8(low, low, low, low, high, high, high, high)
                } else {
                    simd.splat_f32x8(weight_scales[r][at])
                };
                let weights = pulp::cast(weights[r][at]);
                let magnitudes = if SIGNED { self.magnitudes(weights) } else { weights };
                for i in 0..I {
                    let weights = (magnitudes, SIGNED.then_some(weights));
                    sums[r][i] = self.add(sums[r][i], weights, scale, &x[i][at], scales[i][at]);
                }
            }
        }
        let mut products = [[0.0; I]; R];
        for r in 0..R {
            for i in 0..I {
                products[r][i] = sum(pulp::cast(sums[r][i]));
            }
        }
        products
    }

    #[inline(always)]
    fn bytes(self, row: &[[u8; 34]], input: Row<'_>) -> f32 {
        let simd = self.0;
        let mut total = simd.splat_f32x8(0.0);
        for ((block, x), scale) in row.iter().zip(input.quants.as_chunks::<BLOCK>().0).zip(input.scales) {
            dynlayer_cpu::prefetch(block, AHEAD);
            let (weight_scale, weights) = q8_0(block);
            let weights = pulp::cast(weights);
            let weights = (self.magnitudes(weights), Some(weights));
            total = self.add(total, weights, simd.splat_f32x8(weight_scale), x, *scale);
        }
        sum(pulp::cast(total))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// Returns the weights without their signs.
    #[inline(always)]
    fn magnitudes(self, weights: pulp::i8x32) -> pulp::i8x32 {
        pulp::cast(self.0.avx2._mm256_abs_epi8(pulp::cast(weights)))
    }

    /// Adds the products of 32 weights with 32 inputs, four by four. Weights are given by their magnitudes, and by
    /// themselves if they have signs.
    #[inline(always)]
    fn add(
        self,
        sum: pulp::f32x8,
        (magnitudes, signed): (pulp::i8x32, Option<pulp::i8x32>),
        weight_scales: pulp::f32x8,
        x: &[i8; BLOCK],
        scale: f32,
    ) -> pulp::f32x8 {
        let simd = self.0;
        let mut x = pulp::cast(*x);
        if let Some(weights) = signed {
            x = simd.avx2._mm256_sign_epi8(x, pulp::cast(weights));
        }
        // Sums of two products, at most 2 x 128 x 127, fit in 16 bits.
        let pairs = simd.avx2._mm256_maddubs_epi16(pulp::cast(magnitudes), x);
        let fours = simd.avx2._mm256_madd_epi16(pairs, pulp::cast(simd.splat_i16x16(1)));
        let products: pulp::f32x8 = pulp::cast(simd.avx._mm256_cvtepi32_ps(fours));
        simd.mul_add_f32x8(simd.mul_f32x8(products, weight_scales), simd.splat_f32x8(scale), sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums are rounded in another order.
    #[test]
    fn plain_loops_agree_with_the_vector_unit() {
        let (width, rows) = (512, 7);
        for ty in (0..30).filter_map(GgmlType::from_id).filter(|ty| ty.is_quantised()) {
            // Bytes below 60 make scales that are finite, wherever they stand.
            let bytes = rows * width / ty.block_size() * ty.block_bytes();
            let weights: Vec<u8> = (0..bytes).map(|i| u8::try_from(i * 37 % 59).unwrap()).collect();
            for n in 1..4u16 {
                let x: Vec<f32> = (0..n * 512).map(|i| (f32::from(i) * 0.7).sin()).collect();
                let inputs = Inputs::new(&x, width);
                let (mut found, mut expected) = (vec![f32::NAN; rows * 3], vec![f32::NAN; rows * 3]);
                let mut panel = Panel::default();
                products(ty, &weights, &inputs, &mut panel, |row, i, product| found[row * 3 + i] = product);
                let put = |row: usize, i: usize, product: f32| expected[row * 3 + i] = product;
                let all = All { unit: Portable, ty, weights: &weights, x: &inputs, panel: &mut Panel::default(), put };
                pulp::NullaryFnOnce::call(all);
                let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    let same = found.is_nan() && expected.is_nan();
                    assert!(same || (found - expected).abs() <= 1e-5 * largest, "{ty}: {found} and {expected}");
                }
                assert_eq!(found.iter().filter(|x| !x.is_nan()).count(), rows * usize::from(n));
            }
        }
    }
}
