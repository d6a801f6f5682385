//! Products of rows of quantised weights with inputs that are quantised to 8 bits, in integers.
//!
//! Inputs have one scale per 32 values, as in llama.cpp. The products of 32 weights and inputs are summed exactly; the
//! sums are scaled and added as `f32`, in the order of the row. As in [`tile`](super::tile), a product does not depend on
//! what else is computed beside it.

use super::load::AHEAD;
use crate::format::{GgmlType, Layout, WithLayout, dispatch};
use bytemuck::Zeroable;
use std::marker::PhantomData;

/// The number of inputs with one scale.
pub(super) const BLOCK: usize = 32;
/// The number of rows that are unpacked together, and of a tile.
const ROWS: usize = 4;
/// The largest number of inputs of a tile.
const INPUTS: usize = 2;

/// Quantised inputs, `[n, width]`, where `width` is a multiple of [`BLOCK`].
#[derive(Default)]
pub(super) struct Inputs {
    width: usize,
    quants: Vec<i8>,
    /// The scale of each block, `[n, width / 32]`.
    scales: Vec<f32>,
    /// The sum of each half of a block, scaled, `[n, width / 16]`.
    halves: Vec<f32>,
    /// The sum of each block, scaled, `[n, width / 32]`.
    sums: Vec<f32>,
}

impl Inputs {
    /// Quantises `x: [n, width]`: the largest of 32 values becomes 127 or -127.
    pub(super) fn fill(&mut self, x: &[f32], width: usize) {
        self.width = width;
        self.quants.resize(x.len(), 0);
        self.scales.resize(x.len() / BLOCK, 0.0);
        self.halves.resize(x.len() / (BLOCK / 2), 0.0);
        self.sums.resize(x.len() / BLOCK, 0.0);
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || self.quantise(x),
        );
    }

    #[inline(always)]
    fn quantise(&mut self, x: &[f32]) {
        /// Adding it rounds to an integer, which then stands in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        let (blocks, _) = x.as_chunks::<BLOCK>();
        let (quants, _) = self.quants.as_chunks_mut::<BLOCK>();
        let sums = self.halves.as_chunks_mut::<2>().0.iter_mut().zip(&mut self.sums);
        for (((x, quants), scale), (halves, total)) in blocks.iter().zip(quants).zip(&mut self.scales).zip(sums) {
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
            for (half, wide) in halves.iter_mut().zip(wide.as_chunks::<16>().0) {
                *half = wide.iter().fold(0i32, |sum, quant| sum.wrapping_add(*quant)) as f32 * *scale;
            }
            *total = halves[0] + halves[1];
        }
    }

    fn row(&self, i: usize) -> Input<'_> {
        let (width, blocks) = (self.width, self.width / BLOCK);
        Input {
            quants: &self.quants[i * width..(i + 1) * width],
            scales: &self.scales[i * blocks..(i + 1) * blocks],
            halves: &self.halves[i * 2 * blocks..(i + 1) * 2 * blocks],
            sums: &self.sums[i * blocks..(i + 1) * blocks],
        }
    }

    /// The number of inputs.
    fn n(&self) -> usize {
        self.scales.len() / (self.width / BLOCK)
    }
}

/// One of the [`Inputs`].
#[derive(Clone, Copy, Default)]
struct Input<'a> {
    quants: &'a [i8],
    scales: &'a [f32],
    halves: &'a [f32],
    sums: &'a [f32],
}

/// A row of weights, unpacked.
#[derive(Clone, Copy, Default)]
struct Row<'a> {
    quants: &'a [i8],
    scales: &'a [f32],
    minima: &'a [f32],
}

/// Buffers for [`ROWS`] unpacked rows.
#[derive(Default)]
pub(super) struct Panel {
    quants: Vec<i8>,
    scales: Vec<f32>,
    minima: Vec<f32>,
}

impl Panel {
    /// Unpacks the scales and minima of blocks.
    #[inline(always)]
    fn unpack_scales<L: Layout>(&mut self, blocks: &[L::Block]) {
        let runs = blocks.len() * L::TYPE.block_size() / L::TYPE.run();
        self.scales.resize(runs, 0.0);
        self.minima.resize(runs, 0.0);
        L::scales(blocks, &mut self.scales, &mut self.minima);
    }
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
        return dispatch(ty, Products { unit: Avx2(v3), weights, x, panel, put });
    }
    dispatch(ty, Products { unit: Portable, weights, x, panel, put });
}

struct Products<'a, U, F> {
    unit: U,
    weights: &'a [u8],
    x: &'a Inputs,
    panel: &'a mut Panel,
    put: F,
}

impl<U: Unit, F: FnMut(usize, usize, f32)> WithLayout for Products<'_, U, F> {
    fn call<L: Layout>(self) {
        let Self { unit, weights, x, panel, mut put } = self;
        if x.n() == 1 {
            return unit.vectorize(Single { unit, layout: PhantomData::<L>, weights, x: x.row(0), panel, put });
        }
        for (i, weights) in weights.chunks(ROWS * L::TYPE.row_bytes(x.width)).enumerate() {
            let put = |row: usize, input: usize, product: f32| put(i * ROWS + row, input, product);
            unit.vectorize(Unpack { layout: PhantomData::<L>, weights, panel });
            match (L::TYPE.run(), L::TYPE.is_symmetric()) {
                (16, true) => unit.vectorize(Tiles::<_, _, true, true> { unit, x, panel, put }),
                (16, false) => unit.vectorize(Tiles::<_, _, true, false> { unit, x, panel, put }),
                (_, true) => unit.vectorize(Tiles::<_, _, false, true> { unit, x, panel, put }),
                (_, false) => unit.vectorize(Tiles::<_, _, false, false> { unit, x, panel, put }),
            }
        }
    }
}

/// Computes the products of rows with one input, without writing the unpacked weights to memory.
struct Single<'a, U, L, F> {
    unit: U,
    layout: PhantomData<L>,
    weights: &'a [u8],
    x: Input<'a>,
    panel: &'a mut Panel,
    put: F,
}

impl<U: Unit, L: Layout, F: FnMut(usize, usize, f32)> pulp::NullaryFnOnce for Single<'_, U, L, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { unit, layout: _, weights, x, panel, mut put } = self;
        let (run, per_row) = (L::TYPE.run(), x.quants.len() / L::TYPE.block_size());
        let runs = x.quants.len() / run;
        let mut row = 0;
        for weights in weights.chunks(ROWS * per_row * L::TYPE.block_bytes()) {
            let blocks = L::blocks(weights);
            panel.unpack_scales::<L>(blocks);
            let (signed, ahead) = (L::TYPE.is_symmetric(), weights.len() + AHEAD);
            let factors = panel.scales.chunks_exact(runs).zip(panel.minima.chunks_exact(runs));
            for (blocks, (scales, minima)) in blocks.chunks_exact(per_row).zip(factors) {
                let lanes = lanes::<U, L>(unit, blocks, ahead, scales, x);
                put(row, 0, finish(lanes, run == 16, signed, minima, x));
                row += 1;
            }
        }
    }
}

/// Computes the products of a row with one input, without minima. What is `ahead` bytes from there is asked for.
#[inline(always)]
fn lanes<U: Unit, L: Layout>(unit: U, blocks: &[L::Block], ahead: usize, scales: &[f32], x: Input<'_>) -> Lanes {
    let (signed, in_halves) = (L::TYPE.is_symmetric(), L::TYPE.run() == 16);
    let ((halves, _), (quants, _)) = (scales.as_chunks::<2>(), x.quants.as_chunks::<BLOCK>());
    let mut lanes = Lanes::zeroed();
    for (block, packed) in blocks.iter().enumerate() {
        for line in (0..L::TYPE.block_bytes()).step_by(64) {
            dynlayer_cpu::prefetch(packed, ahead + line);
        }
        for (i, weights) in L::weights(packed).as_ref().iter().enumerate() {
            let at = block * (L::TYPE.block_size() / BLOCK) + i;
            let scales = unit.scales(if in_halves { halves[at] } else { [scales[at]; 2] }, in_halves);
            lanes = unit.add(lanes, unit.weights(weights, signed), scales, &quants[at], x.scales[at]);
        }
    }
    lanes
}

/// Unpacks at most [`ROWS`] rows.
struct Unpack<'a, L> {
    layout: PhantomData<L>,
    weights: &'a [u8],
    panel: &'a mut Panel,
}

impl<L: Layout> pulp::NullaryFnOnce for Unpack<'_, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { layout: _, weights, panel } = self;
        // The rows that come next are read while these are computed.
        for line in weights.chunks(64) {
            dynlayer_cpu::prefetch(&line[0], weights.len());
        }
        let blocks = L::blocks(weights);
        panel.unpack_scales::<L>(blocks);
        panel.quants.resize(blocks.len() * L::TYPE.block_size(), 0);
        for (quants, block) in panel.quants.chunks_exact_mut(L::TYPE.block_size()).zip(blocks) {
            quants.copy_from_slice(L::weights(block).as_ref().as_flattened());
        }
    }
}

/// Computes the products of the unpacked rows with all inputs. If `HALVES`, a row has a scale per 16 weights, otherwise per
/// 32. Only if `SIGNED` may weights be negative; otherwise they have minima.
struct Tiles<'a, U, F, const HALVES: bool, const SIGNED: bool> {
    unit: U,
    x: &'a Inputs,
    panel: &'a Panel,
    put: F,
}

impl<U: Unit, F: FnMut(usize, usize, f32), const HALVES: bool, const SIGNED: bool> pulp::NullaryFnOnce
    for Tiles<'_, U, F, HALVES, SIGNED>
{
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let width = self.x.width;
        let runs = if HALVES { width / 16 } else { width / 32 };
        let rows = self.panel.quants.len() / width;
        let mut parts = [Row::default(); ROWS];
        for (r, part) in parts[..rows].iter_mut().enumerate() {
            part.quants = &self.panel.quants[r * width..(r + 1) * width];
            part.scales = &self.panel.scales[r * runs..(r + 1) * runs];
            part.minima = &self.panel.minima[r * runs..(r + 1) * runs];
        }
        let mut input = 0;
        while input < self.x.n() {
            let inputs = (self.x.n() - input).min(INPUTS);
            match (rows, inputs) {
                (ROWS, INPUTS) => self.tile::<ROWS, INPUTS>(parts, 0, input),
                (ROWS, _) => self.tile::<ROWS, 1>(parts, 0, input),
                _ => {
                    for (r, part) in parts[..rows].iter().enumerate() {
                        for i in 0..inputs {
                            self.tile::<1, 1>([*part], r, input + i);
                        }
                    }
                }
            }
            input += inputs;
        }
    }
}

impl<U: Unit, F: FnMut(usize, usize, f32), const HALVES: bool, const SIGNED: bool> Tiles<'_, U, F, HALVES, SIGNED> {
    /// Computes the products of `R` rows, from the one of number `first` on, with `I` inputs from `input` on.
    #[inline(always)]
    fn tile<const R: usize, const I: usize>(&mut self, rows: [Row<'_>; R], first: usize, input: usize) {
        let unit = self.unit;
        let mut inputs = [Input::default(); I];
        for (i, row) in inputs.iter_mut().enumerate() {
            *row = self.x.row(input + i);
        }
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
        let mut sums = [[Lanes::zeroed(); I]; R];
        for at in 0..blocks {
            for r in 0..R {
                let pair = if HALVES {
                    [weight_scales[r][2 * at], weight_scales[r][2 * at + 1]]
                } else {
                    [weight_scales[r][at]; 2]
                };
                let (weights, pair) = (unit.weights(&weights[r][at], SIGNED), unit.scales(pair, HALVES));
                for i in 0..I {
                    sums[r][i] = unit.add(sums[r][i], weights, pair, &x[i][at], scales[i][at]);
                }
            }
        }
        for r in 0..R {
            for i in 0..I {
                let product = finish(sums[r][i], HALVES, SIGNED, rows[r].minima, inputs[i]);
                (self.put)(first + r, input + i, product);
            }
        }
    }
}

/// Subtracts the products of the minima, one per run, with the sums of the inputs, and adds the lanes.
#[inline(always)]
fn finish(lanes: Lanes, halves: bool, signed: bool, minima: &[f32], x: Input<'_>) -> f32 {
    let mut lanes: [f32; 8] = bytemuck::cast(lanes);
    if signed {
        return sum(lanes);
    }
    let sums = if halves { x.halves } else { x.sums };
    let ((minima, last_minima), (sums, last_sums)) = (minima.as_chunks::<8>(), sums.as_chunks::<8>());
    for (minima, sums) in minima.iter().zip(sums) {
        for i in 0..8 {
            lanes[i] -= minima[i] * sums[i];
        }
    }
    let mut total = sum(lanes);
    for (minimum, sum) in last_minima.iter().zip(last_sums) {
        total -= minimum * sum;
    }
    total
}

/// Adds eight lanes pairwise.
#[inline(always)]
fn sum(lanes: [f32; 8]) -> f32 {
    let pair = |i: usize| lanes[i] + lanes[i + 4];
    (pair(0) + pair(2)) + (pair(1) + pair(3))
}

/// Sums of products, one for each eighth of a block.
type Lanes = pulp::f32x8;

/// A vector unit.
trait Unit: Copy {
    /// 32 weights.
    type Weights: Copy;
    /// The scales of the halves of 32 weights.
    type Scales: Copy;

    /// Runs `operation`, compiled for the unit.
    fn vectorize(self, operation: impl pulp::NullaryFnOnce<Output = ()>);

    /// Loads weights, which may be negative only if they are `signed`.
    fn weights(self, weights: &[i8; BLOCK], signed: bool) -> Self::Weights;

    /// Loads the scales of the two halves, which are equal unless `halves`.
    fn scales(self, scales: [f32; 2], halves: bool) -> Self::Scales;

    /// Adds the products of 32 weights with 32 inputs.
    fn add(
        self,
        lanes: Lanes,
        weights: Self::Weights,
        weight_scales: Self::Scales,
        x: &[i8; BLOCK],
        scale: f32,
    ) -> Lanes;
}

/// Plain loops.
#[derive(Clone, Copy)]
struct Portable;

impl Unit for Portable {
    type Weights = [i8; BLOCK];
    type Scales = [f32; 2];

    fn vectorize(self, operation: impl pulp::NullaryFnOnce<Output = ()>) {
        operation.call();
    }

    #[inline(always)]
    fn weights(self, weights: &[i8; BLOCK], _: bool) -> [i8; BLOCK] {
        *weights
    }

    #[inline(always)]
    fn scales(self, scales: [f32; 2], _: bool) -> [f32; 2] {
        scales
    }

    #[inline(always)]
    fn add(self, lanes: Lanes, weights: [i8; BLOCK], weight_scales: [f32; 2], x: &[i8; BLOCK], scale: f32) -> Lanes {
        let mut lanes: [f32; 8] = bytemuck::cast(lanes);
        for (eighth, lane) in lanes.iter_mut().enumerate() {
            let mut products = 0;
            for i in eighth * 4..(eighth + 1) * 4 {
                products += i32::from(weights[i]) * i32::from(x[i]);
            }
            *lane += products as f32 * weight_scales[eighth / 4] * scale;
        }
        bytemuck::cast(lanes)
    }
}

/// AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(pulp::x86::V3);

#[cfg(target_arch = "x86_64")]
impl Unit for Avx2 {
    /// The weights without their signs, and, if there are any, with them.
    type Weights = (pulp::i8x32, Option<pulp::i8x32>);
    type Scales = pulp::f32x8;

    fn vectorize(self, operation: impl pulp::NullaryFnOnce<Output = ()>) {
        self.0.vectorize(operation);
    }

    #[inline(always)]
    fn weights(self, weights: &[i8; BLOCK], signed: bool) -> Self::Weights {
        let weights = pulp::cast(*weights);
        if signed {
            (pulp::cast(self.0.avx2._mm256_abs_epi8(pulp::cast(weights))), Some(weights))
        } else {
            (weights, None)
        }
    }

    #[inline(always)]
    fn scales(self, [low, high]: [f32; 2], halves: bool) -> pulp::f32x8 {
        if halves { pulp::f32x8(low, low, low, low, high, high, high, high) } else { self.0.splat_f32x8(low) }
    }

    #[inline(always)]
    fn add(
        self,
        lanes: Lanes,
        (magnitudes, signed): Self::Weights,
        weight_scales: pulp::f32x8,
        x: &[i8; BLOCK],
        scale: f32,
    ) -> Lanes {
        let simd = self.0;
        let mut x = pulp::cast(*x);
        if let Some(weights) = signed {
            x = simd.avx2._mm256_sign_epi8(x, pulp::cast(weights));
        }
        // Sums of two products, at most 2 x 128 x 127, fit in 16 bits.
        let pairs = simd.avx2._mm256_maddubs_epi16(pulp::cast(magnitudes), x);
        let fours = simd.avx2._mm256_madd_epi16(pairs, pulp::cast(simd.splat_i16x16(1)));
        let products: pulp::f32x8 = pulp::cast(simd.avx._mm256_cvtepi32_ps(fours));
        simd.mul_add_f32x8(simd.mul_f32x8(products, weight_scales), simd.splat_f32x8(scale), lanes)
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
                let mut inputs = Inputs::default();
                inputs.fill(&x, width);
                let (mut found, mut expected) = (vec![f32::NAN; rows * 3], vec![f32::NAN; rows * 3]);
                let mut panel = Panel::default();
                products(ty, &weights, &inputs, &mut panel, |row, i, product| found[row * 3 + i] = product);
                let put = |row: usize, i: usize, product: f32| expected[row * 3 + i] = product;
                dispatch(ty, Products { unit: Portable, weights: &weights, x: &inputs, panel: &mut panel, put });
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
