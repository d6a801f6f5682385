//! Conversion of the block types of 256 weights: `Q2_K`, `Q3_K`, `Q4_K`, `Q5_K`, `Q6_K`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. The factors `d` and
//! `dmin`, by which the scales and minima in a block are multiplied, are
//! little-endian `f16`.

use super::dequant_legacy::scale;

/// Converts a `block_q2_K`: 16 bytes with the scales (low nibbles) and minima (high nibbles) of runs of 16 weights,
/// 64 bytes of weights, `d`, `dmin`.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let [rest @ .., d0, d1, m0, m1] = block;
    let (d, dmin) = (scale([*d0, *d1]), scale([*m0, *m1]));
    let (packed, quants) = rest.split_at(16);

    let (outs, _) = out.as_chunks_mut::<128>();
    let (packed, _) = packed.as_chunks::<8>();
    let (quants, _) = quants.as_chunks::<32>();
    for ((out, packed), quants) in outs.iter_mut().zip(packed).zip(quants) {
        let (outs, _) = out.as_chunks_mut::<16>();
        for ((out, packed), (quants, shift)) in outs.iter_mut().zip(packed).zip(runs(quants)) {
            let (scale, minimum) = (d * f32::from(packed & 0x0f), dmin * f32::from(packed >> 4));
            for (out, quant) in out.iter_mut().zip(quants) {
                *out = scale * f32::from(quant >> shift & 3) - minimum;
            }
        }
    }
}

/// Converts a `block_q3_K`: 32 bytes of third bits, 64 bytes of the lower two bits of the weights, 12 bytes of 6-bit
/// scales of runs of 16 weights, `d`. Bit `i` of a byte of third bits belongs to the `i`-th 32 weights; where it is
/// clear, 4 is subtracted.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let [rest @ .., d0, d1] = block;
    let d = scale([*d0, *d1]);
    let (thirds, rest) = rest.split_at(32);
    let (quants, packed) = rest.split_at(64);

    let (outs, _) = out.as_chunks_mut::<128>();
    let scales = q3_k_scales(packed);
    let (scales, _) = scales.as_chunks::<8>();
    let (quants, _) = quants.as_chunks::<32>();
    let (thirds, _) = thirds.as_chunks::<16>();
    for (((out, scales), quants), first_bit) in outs.iter_mut().zip(scales).zip(quants).zip([0, 4]) {
        let sources = runs(quants).zip(thirds.iter().cycle());
        let (outs, _) = out.as_chunks_mut::<16>();
        for ((out, scale), ((quants, shift), thirds)) in outs.iter_mut().zip(scales).zip(sources) {
            let scale = d * f32::from(*scale);
            let bit = first_bit + shift / 2;
            for ((out, quant), third) in out.iter_mut().zip(quants).zip(thirds) {
                let quant = quant >> shift & 3 | (third >> bit & 1) << 2;
                *out = scale * f32::from(quant.cast_signed() - 4);
            }
        }
    }
}

/// Unpacks the 16 scales of a `block_q3_K`, which are signed.
///
/// The first eight have their lower four bits in the low nibbles of bytes 0 to 7, the last eight in the high nibbles.
/// The upper two bits of scale `i` are the `i / 4`-th pair of byte `8 + i % 4`.
fn q3_k_scales(packed: &[u8]) -> [i8; 16] {
    let (nibbles, pairs) = packed.split_at(8);
    let lows = nibbles.iter().map(|byte| byte & 0x0f).chain(nibbles.iter().map(|byte| byte >> 4));
    let uppers = [0_u8, 2, 4, 6].into_iter().flat_map(|shift| pairs.iter().map(move |pair| pair >> shift & 3));
    let mut scales = [0; 16];
    for ((scale, low), upper) in scales.iter_mut().zip(lows).zip(uppers) {
        *scale = (low | upper << 4).cast_signed() - 32;
    }
    scales
}

/// Iterates over the eight runs of 16 weights of half a `block_q2_K` or `block_q3_K`: the bytes of a run, and the
/// place in them of its pair of bits. Each byte holds a pair of bits for every second run.
fn runs(quants: &[u8; 32]) -> impl Iterator<Item = (&[u8; 16], u8)> {
    let (halves, _) = quants.as_chunks::<16>();
    [0, 2, 4, 6].into_iter().flat_map(move |shift| halves.iter().map(move |half| (half, shift)))
}

/// Converts a `block_q4_K`: `d`, `dmin`, 12 bytes of 6-bit scales and minima of
/// eight runs of 32 weights, 128 bytes of nibbles.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let [d0, d1, m0, m1, rest @ ..] = block;
    let (d, dmin) = (scale([*d0, *d1]), scale([*m0, *m1]));
    let (packed, quants) = rest.split_at(12);
    let runs = scales_and_minima(packed, d, dmin);

    let (pairs, _) = runs.as_chunks::<2>();
    let (outs, _) = out.as_chunks_mut::<64>();
    let (quants, _) = quants.as_chunks::<32>();
    for ((out, [first, second]), quants) in outs.iter_mut().zip(pairs).zip(quants) {
        let (low, high) = out.split_at_mut(32);
        for ((low, high), quant) in low.iter_mut().zip(high).zip(quants) {
            *low = first.scale * f32::from(quant & 0x0f) - first.minimum;
            *high = second.scale * f32::from(quant >> 4) - second.minimum;
        }
    }
}

/// Converts a `block_q5_K`, which is a `block_q4_K` with 32 bytes of fifth bits
/// before the nibbles. Bit `i` of such a byte belongs to run `i`.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let [d0, d1, m0, m1, rest @ ..] = block;
    let (d, dmin) = (scale([*d0, *d1]), scale([*m0, *m1]));
    let (packed, rest) = rest.split_at(12);
    let (fifths, quants) = rest.split_at(32);
    let runs = scales_and_minima(packed, d, dmin);

    let (pairs, _) = runs.as_chunks::<2>();
    let (outs, _) = out.as_chunks_mut::<64>();
    let (quants, _) = quants.as_chunks::<32>();
    for (((out, [first, second]), quants), pair) in outs.iter_mut().zip(pairs).zip(quants).zip(0_u8..) {
        let (low, high) = out.split_at_mut(32);
        for (((low, high), quant), fifth) in low.iter_mut().zip(high).zip(quants).zip(fifths) {
            let bits = fifth >> (2 * pair);
            let first_quant = quant & 0x0f | (bits & 1) << 4;
            let second_quant = quant >> 4 | (bits & 2) << 3;
            *low = first.scale * f32::from(first_quant) - first.minimum;
            *high = second.scale * f32::from(second_quant) - second.minimum;
        }
    }
}

/// Converts a `block_q6_K`: 128 bytes of low nibbles, 64 bytes of upper bit pairs,
/// 16 signed scales of runs of 16 weights, `d`.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let [rest @ .., d0, d1] = block;
    let d = scale([*d0, *d1]);
    let (lows, rest) = rest.split_at(128);
    let (uppers, scales) = rest.split_at(64);

    let (outs, _) = out.as_chunks_mut::<128>();
    let (lows, _) = lows.as_chunks::<64>();
    let (uppers, _) = uppers.as_chunks::<32>();
    let (scales, _) = scales.as_chunks::<8>();
    for (((out, lows), uppers), scales) in outs.iter_mut().zip(lows).zip(uppers).zip(scales) {
        q6_k_half(lows, uppers, *scales, d, out);
    }
}

/// Converts half a `block_q6_K`, that is, four quarters of 32 weights.
/// Each byte of `uppers` holds two bits for each quarter. The first two quarters
/// use the low nibbles of the two halves of `lows`, the last two the high nibbles.
fn q6_k_half(lows: &[u8; 64], uppers: &[u8; 32], scales: [u8; 8], d: f32, out: &mut [f32; 128]) {
    let (first, second) = lows.split_at(32);
    let [s0, s1, s2, s3, s4, s5, s6, s7] = scales;
    let (quarters, _) = out.as_chunks_mut::<32>();
    let sources =
        [(first, 0, 0, [s0, s1]), (second, 0, 2, [s2, s3]), (first, 4, 4, [s4, s5]), (second, 4, 6, [s6, s7])];
    for (out, (lows, low_shift, upper_shift, scales)) in quarters.iter_mut().zip(sources) {
        let (outs, _) = out.as_chunks_mut::<16>();
        let (lows, _) = lows.as_chunks::<16>();
        let (uppers, _) = uppers.as_chunks::<16>();
        for (((out, lows), uppers), scale) in outs.iter_mut().zip(lows).zip(uppers).zip(scales) {
            let scale = d * f32::from(scale.cast_signed());
            for ((out, low), upper) in out.iter_mut().zip(lows).zip(uppers) {
                let quant = low >> low_shift & 0x0f | (upper >> upper_shift & 3) << 4;
                *out = scale * f32::from(quant.cast_signed() - 32);
            }
        }
    }
}

/// The scale and the minimum of a run of 32 weights.
#[derive(Clone, Copy)]
struct Run {
    scale: f32,
    minimum: f32,
}

/// Unpacks the 6-bit scales and minima of eight runs from the 12 bytes of
/// `packed`, and multiplies them by `d` and `dmin`.
///
/// The layout is that of `get_scale_min_k4` in `ggml-quants.c`. The low six bits
/// of bytes 0 to 3 are the scales of the first four runs, those of bytes 4 to 7
/// their minima. Bytes 8 to 11 hold the lower four bits for the last four runs:
/// the scale in the low nibble, the minimum in the high nibble. Their upper two
/// bits are the top two bits of bytes 0 to 3 (scales) and 4 to 7 (minima).
fn scales_and_minima(packed: &[u8], d: f32, dmin: f32) -> [Run; 8] {
    let run = |scale: u8, minimum: u8| Run { scale: d * f32::from(scale), minimum: dmin * f32::from(minimum) };
    let (scales, rest) = packed.split_at(4);
    let (minima, nibbles) = rest.split_at(4);
    let mut runs = [run(0, 0); 8];
    let (first, second) = runs.split_at_mut(4);
    for ((((first, second), scale), minimum), nibble) in
        first.iter_mut().zip(second).zip(scales).zip(minima).zip(nibbles)
    {
        *first = run(scale & 63, minimum & 63);
        *second = run(nibble & 0x0f | scale >> 6 << 4, nibble >> 4 | minimum >> 6 << 4);
    }
    runs
}
