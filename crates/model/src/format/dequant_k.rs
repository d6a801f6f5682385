//! The block types of 256 weights: `Q2_K`, `Q3_K`, `Q4_K`, `Q5_K`, `Q6_K`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. The factors `d` and
//! `dmin`, by which the scales and minima in a block are multiplied, are
//! little-endian `f16`.
#![allow(clippy::inline_always, reason = "see `dequant`")]

use super::dequant_legacy::{nibbles, scale};

/// Unpacks the scales of a `block_q2_K`: 16 bytes with the scales (low nibbles) and minima (high nibbles) of runs of 16
/// weights, 64 bytes of weights, `d`, `dmin`.
#[inline(always)]
pub(super) fn q2_k_scales(block: &[u8; 84], scales: &mut [f32; 16], minima: &mut [f32; 16]) {
    let [packed @ .., d0, d1, m0, m1] = block;
    let (d, dmin) = (scale([*d0, *d1]), scale([*m0, *m1]));
    let (mut low, mut high) = ([0.0; 16], [0.0; 16]);
    for ((low, high), packed) in low.iter_mut().zip(&mut high).zip(packed) {
        (*low, *high) = (d * f32::from(packed & 0x0f), dmin * f32::from(packed >> 4));
    }
    (*scales, *minima) = (low, high);
}

/// Unpacks the weights of a `block_q2_K`.
#[inline(always)]
pub(super) fn q2_k(block: &[u8; 84]) -> [i8; 256] {
    pairs(&block[16..])
}

/// Unpacks the scales of a `block_q3_K`: 32 bytes of third bits, 64 bytes of the lower two bits of the weights, 12 bytes of
/// 6-bit scales of runs of 16 weights, `d`.
#[inline(always)]
pub(super) fn q3_k_scales(block: &[u8; 110], scales: &mut [f32; 16], _: &mut [f32; 16]) {
    let d = scale([block[108], block[109]]);
    for (scale, packed) in scales.iter_mut().zip(six_bits(&block[96..])) {
        *scale = d * f32::from(packed);
    }
}

/// Unpacks the weights of a `block_q3_K`. Bit `i` of a byte of third bits belongs to the `i`-th 32 weights; where it is
/// clear, 4 is subtracted.
#[inline(always)]
pub(super) fn q3_k(block: &[u8; 110]) -> [i8; 256] {
    let (thirds, rest) = block.split_at(32);
    let mut out = pairs(rest);
    for (i, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (out, thirds) in out.iter_mut().zip(thirds) {
            *out += if thirds & 1 << i == 0 { -4 } else { 0 };
        }
    }
    out
}

/// Unpacks weights of two bits: two halves, in which each of 32 bytes holds a pair of bits for each of four quarters.
#[inline(always)]
fn pairs(quants: &[u8]) -> [i8; 256] {
    let mut out = [0; 256];
    for (out, quants) in out.as_chunks_mut::<128>().0.iter_mut().zip(quants.as_chunks::<32>().0) {
        for i in 0..32 {
            out[i] = (quants[i] & 3).cast_signed();
            out[i + 32] = (quants[i] >> 2 & 3).cast_signed();
            out[i + 64] = (quants[i] >> 4 & 3).cast_signed();
            out[i + 96] = (quants[i] >> 6).cast_signed();
        }
    }
    out
}

/// Unpacks the 16 scales of a `block_q3_K` from its 12 bytes; they are signed.
///
/// The first eight have their lower four bits in the low nibbles of bytes 0 to 7, the last eight in the high nibbles.
/// The upper two bits of scale `i` are the `i / 4`-th pair of byte `8 + i % 4`.
#[inline(always)]
fn six_bits(packed: &[u8]) -> [i8; 16] {
    let (nibbles, pairs) = packed.split_at(8);
    let mut scales = [0; 16];
    for (i, scale) in scales.iter_mut().enumerate() {
        let low = nibbles[i % 8] >> (4 * (i / 8)) & 0x0f;
        let upper = pairs[i % 4] >> (2 * (i / 4)) & 3;
        *scale = (low | upper << 4).cast_signed() - 32;
    }
    scales
}

/// Unpacks the weights of a `block_q4_K`: `d`, `dmin`, 12 bytes of 6-bit scales and minima of eight runs of 32 weights,
/// 128 bytes of nibbles.
#[inline(always)]
pub(super) fn q4_k(block: &[u8; 144]) -> [i8; 256] {
    let mut out = [0; 256];
    for (out, quants) in out.as_chunks_mut::<64>().0.iter_mut().zip(block[16..].as_chunks::<32>().0) {
        *out = nibbles(*quants);
    }
    out
}

/// Unpacks the weights of a `block_q5_K`, which is a `block_q4_K` with 32 bytes of fifth bits before the nibbles. Bit `i` of a byte of fifth bits belongs to run `i`.
#[inline(always)]
pub(super) fn q5_k(block: &[u8; 176]) -> [i8; 256] {
    let (chunks, _) = block[16..].as_chunks::<32>();
    let (fifths, mut out) = (chunks[0], [0; 256]);
    /// Shifts by constants, which vector units can do with bytes.
    macro_rules! pairs_of_runs {
        ($($pair:literal)*) => {$(
            let mut weights: [i8; 64] = nibbles(chunks[1 + $pair]);
            for i in 0..32 {
                weights[i] |= if fifths[i] & 1 << (2 * $pair) == 0 { 0 } else { 16 };
                weights[i + 32] |= if fifths[i] & 2 << (2 * $pair) == 0 { 0 } else { 16 };
            }
            out[64 * $pair..64 * ($pair + 1)].copy_from_slice(&weights);
        )*};
    }
    pairs_of_runs!(0 1 2 3);
    out
}

/// Unpacks the scales of a `block_q6_K`: 128 bytes of low nibbles, 64 bytes of upper bit pairs,
/// 16 signed scales of runs of 16 weights, `d`.
#[inline(always)]
pub(super) fn q6_k_scales(block: &[u8; 210], scales: &mut [f32; 16], _: &mut [f32; 16]) {
    let d = scale([block[208], block[209]]);
    let mut unpacked = [0.0; 16];
    for (scale, packed) in unpacked.iter_mut().zip(&block[192..]) {
        *scale = d * f32::from(packed.cast_signed());
    }
    *scales = unpacked;
}

/// Unpacks the weights of a `block_q6_K`, two halves of four quarters of 32 weights.
///
/// Each byte of upper bits holds two bits for each quarter. The first two quarters use the low nibbles of the two halves of
/// their 64 bytes, the last two the high nibbles.
#[inline(always)]
pub(super) fn q6_k(block: &[u8; 210]) -> [i8; 256] {
    let (lows, uppers) = block.split_at(128);
    let mut out = [0; 256];
    let halves = lows.as_chunks::<64>().0.iter().zip(uppers.as_chunks::<32>().0);
    for (out, (lows, uppers)) in out.as_chunks_mut::<128>().0.iter_mut().zip(halves) {
        let mut weights = [0; 128];
        for i in 0..32 {
            weights[i] = (lows[i] & 0x0f | (uppers[i] & 3) << 4).cast_signed() - 32;
            weights[i + 32] = (lows[i + 32] & 0x0f | (uppers[i] << 2 & 0x30)).cast_signed() - 32;
            weights[i + 64] = (lows[i] >> 4 | (uppers[i] & 0x30)).cast_signed() - 32;
            weights[i + 96] = (lows[i + 32] >> 4 | (uppers[i] >> 2 & 0x30)).cast_signed() - 32;
        }
        *out = weights;
    }
    out
}

/// Unpacks the scales and minima of a `block_q4_K` or `block_q5_K` from its first 16 bytes: `d`, `dmin`, 12 bytes with 6 bits each.
///
/// The layout is that of `get_scale_min_k4` in `ggml-quants.c`. The low six bits
/// of bytes 0 to 3 are the scales of the first four runs, those of bytes 4 to 7
/// their minima. Bytes 8 to 11 hold the lower four bits for the last four runs:
/// the scale in the low nibble, the minimum in the high nibble. Their upper two
/// bits are the top two bits of bytes 0 to 3 (scales) and 4 to 7 (minima).
#[inline(always)]
pub(super) fn scales_and_minima<const BYTES: usize>(block: &[u8; BYTES], scales: &mut [f32; 8], minima: &mut [f32; 8]) {
    let (d, dmin, packed) = (scale([block[0], block[1]]), scale([block[2], block[3]]), &block[4..16]);
    let (mut units, mut least) = ([0; 8], [0; 8]);
    for i in 0..4 {
        let (scale, minimum, nibbles) = (packed[i], packed[i + 4], packed[i + 8]);
        (units[i], units[i + 4]) = (scale & 63, nibbles & 0x0f | scale >> 6 << 4);
        (least[i], least[i + 4]) = (minimum & 63, nibbles >> 4 | minimum >> 6 << 4);
    }
    for i in 0..8 {
        (scales[i], minima[i]) = (d * f32::from(units[i]), dmin * f32::from(least[i]));
    }
}
