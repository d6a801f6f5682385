//! The block types of 256 weights: `Q2_K`, `Q3_K`, `Q4_K`, `Q5_K`, `Q6_K`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. The factors `d` and
//! `dmin`, by which the scales and minima in a block are multiplied, are
//! little-endian `f16`.
#![allow(clippy::inline_always, reason = "see `dequant`")]

use super::dequant_legacy::{nibbles, scale};

/// Unpacks a `block_q2_K`: 16 bytes with the scales (low nibbles) and minima (high nibbles) of runs of 16 weights,
/// 64 bytes of weights, `d`, `dmin`.
#[inline(always)]
pub(super) fn q2_k(block: &[u8; 84], out: &mut [i8; 256], scales: &mut [f32; 16], minima: &mut [f32; 16]) {
    let [rest @ .., d0, d1, m0, m1] = block;
    let (d, dmin) = (scale([*d0, *d1]), scale([*m0, *m1]));
    let (packed, quants) = rest.split_at(16);
    for ((scale, minimum), packed) in scales.iter_mut().zip(minima).zip(packed) {
        (*scale, *minimum) = (d * f32::from(packed & 0x0f), dmin * f32::from(packed >> 4));
    }
    for_quarters(out, quants, |_, _, pair| pair);
}

/// Unpacks a `block_q3_K`: 32 bytes of third bits, 64 bytes of the lower two bits of the weights, 12 bytes of 6-bit
/// scales of runs of 16 weights, `d`. Bit `i` of a byte of third bits belongs to the `i`-th 32 weights; where it is
/// clear, 4 is subtracted.
#[inline(always)]
pub(super) fn q3_k(block: &[u8; 110], out: &mut [i8; 256], scales: &mut [f32; 16], _: &mut [f32; 16]) {
    let [rest @ .., d0, d1] = block;
    let d = scale([*d0, *d1]);
    let (thirds, rest) = rest.split_at(32);
    let (quants, packed) = rest.split_at(64);
    for (scale, packed) in scales.iter_mut().zip(q3_k_scales(packed)) {
        *scale = d * f32::from(packed);
    }
    for_quarters(out, quants, |quarter, i, pair| pair + ((thirds[i] >> quarter & 1) << 2).cast_signed() - 4);
}

/// Writes the eight quarters of 32 weights of two halves: the value of `weight`, which gets a quarter's number, the place
/// in it, and the pair of bits there. Each byte of a half holds a pair for each of four quarters.
#[inline(always)]
fn for_quarters(out: &mut [i8; 256], quants: &[u8], weight: impl Fn(usize, usize, i8) -> i8) {
    let (outs, _) = out.as_chunks_mut::<32>();
    let (halves, _) = quants.as_chunks::<32>();
    for (quarter, out) in outs.iter_mut().enumerate() {
        let (half, shift) = (&halves[quarter / 4], 2 * (quarter % 4));
        let mut weights = [0; 32];
        for i in 0..32 {
            weights[i] = weight(quarter, i, (half[i] >> shift & 3).cast_signed());
        }
        *out = weights;
    }
}

/// Unpacks the 16 scales of a `block_q3_K`, which are signed.
///
/// The first eight have their lower four bits in the low nibbles of bytes 0 to 7, the last eight in the high nibbles.
/// The upper two bits of scale `i` are the `i / 4`-th pair of byte `8 + i % 4`.
#[inline(always)]
fn q3_k_scales(packed: &[u8]) -> [i8; 16] {
    let (nibbles, pairs) = packed.split_at(8);
    let mut scales = [0; 16];
    for (i, scale) in scales.iter_mut().enumerate() {
        let low = nibbles[i % 8] >> (4 * (i / 8)) & 0x0f;
        let upper = pairs[i % 4] >> (2 * (i / 4)) & 3;
        *scale = (low | upper << 4).cast_signed() - 32;
    }
    scales
}

/// Unpacks a `block_q4_K`: `d`, `dmin`, 12 bytes of 6-bit scales and minima of
/// eight runs of 32 weights, 128 bytes of nibbles.
#[inline(always)]
pub(super) fn q4_k(block: &[u8; 144], out: &mut [i8; 256], scales: &mut [f32; 8], minima: &mut [f32; 8]) {
    let [d0, d1, m0, m1, rest @ ..] = block;
    let (packed, quants) = rest.split_at(12);
    scales_and_minima(packed, scale([*d0, *d1]), scale([*m0, *m1]), scales, minima);
    let (outs, _) = out.as_chunks_mut::<64>();
    let (quants, _) = quants.as_chunks::<32>();
    for (out, quants) in outs.iter_mut().zip(quants) {
        *out = nibbles(*quants);
    }
}

/// Unpacks a `block_q5_K`, which is a `block_q4_K` with 32 bytes of fifth bits
/// before the nibbles. Bit `i` of such a byte belongs to run `i`.
#[inline(always)]
pub(super) fn q5_k(block: &[u8; 176], out: &mut [i8; 256], scales: &mut [f32; 8], minima: &mut [f32; 8]) {
    let [d0, d1, m0, m1, rest @ ..] = block;
    let (packed, rest) = rest.split_at(12);
    let (fifths, quants) = rest.split_at(32);
    scales_and_minima(packed, scale([*d0, *d1]), scale([*m0, *m1]), scales, minima);
    let (outs, _) = out.as_chunks_mut::<64>();
    let (quants, _) = quants.as_chunks::<32>();
    for (pair, (out, quants)) in outs.iter_mut().zip(quants).enumerate() {
        let mut weights: [i8; 64] = nibbles(*quants);
        for i in 0..32 {
            let bits = (fifths[i] >> (2 * pair)).cast_signed();
            weights[i] |= (bits & 1) << 4;
            weights[i + 32] |= (bits & 2) << 3;
        }
        *out = weights;
    }
}

/// Unpacks a `block_q6_K`: 128 bytes of low nibbles, 64 bytes of upper bit pairs,
/// 16 signed scales of runs of 16 weights, `d`.
///
/// The block consists of two halves of four quarters of 32 weights. Each byte of upper bits holds two bits for each
/// quarter. The first two quarters use the low nibbles of the two halves of their 64 bytes, the last two the high
/// nibbles.
#[inline(always)]
pub(super) fn q6_k(block: &[u8; 210], out: &mut [i8; 256], scales: &mut [f32; 16], _: &mut [f32; 16]) {
    let [rest @ .., d0, d1] = block;
    let d = scale([*d0, *d1]);
    let (lows, rest) = rest.split_at(128);
    let (uppers, packed) = rest.split_at(64);
    for (scale, packed) in scales.iter_mut().zip(packed) {
        *scale = d * f32::from(packed.cast_signed());
    }
    let (outs, _) = out.as_chunks_mut::<32>();
    let (lows, _) = lows.as_chunks::<32>();
    let (uppers, _) = uppers.as_chunks::<32>();
    for (i, out) in outs.iter_mut().enumerate() {
        let (half, quarter) = (i / 4, i % 4);
        let (lows, uppers) = (&lows[2 * half + quarter % 2], &uppers[half]);
        let (low_shift, upper_shift) = (4 * (quarter / 2), 2 * quarter);
        let mut weights = [0; 32];
        for j in 0..32 {
            let quant = lows[j] >> low_shift & 0x0f | (uppers[j] >> upper_shift & 3) << 4;
            weights[j] = quant.cast_signed() - 32;
        }
        *out = weights;
    }
}

/// Unpacks the 6-bit scales and minima of eight runs from the 12 bytes of
/// `packed`, and multiplies them by `d` and `dmin`.
///
/// The layout is that of `get_scale_min_k4` in `ggml-quants.c`. The low six bits
/// of bytes 0 to 3 are the scales of the first four runs, those of bytes 4 to 7
/// their minima. Bytes 8 to 11 hold the lower four bits for the last four runs:
/// the scale in the low nibble, the minimum in the high nibble. Their upper two
/// bits are the top two bits of bytes 0 to 3 (scales) and 4 to 7 (minima).
#[inline(always)]
fn scales_and_minima(packed: &[u8], d: f32, dmin: f32, scales: &mut [f32; 8], minima: &mut [f32; 8]) {
    for i in 0..4 {
        let (scale, minimum, nibbles) = (packed[i], packed[i + 4], packed[i + 8]);
        scales[i] = d * f32::from(scale & 63);
        minima[i] = dmin * f32::from(minimum & 63);
        scales[i + 4] = d * f32::from(nibbles & 0x0f | scale >> 6 << 4);
        minima[i + 4] = dmin * f32::from(nibbles >> 4 | minimum >> 6 << 4);
    }
}
