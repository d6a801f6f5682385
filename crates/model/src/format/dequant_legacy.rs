//! Conversion of the block types of 32 weights: `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`,
//! `Q8_0`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. Scales and minima are
//! little-endian `f16`.

use half::f16;

/// Converts a scale or minimum from `f16`, in software, so that the conversion is
/// inlined into the block loops.
pub(super) const fn scale(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32_const()
}

/// Converts a `block_q4_0`: scale, 16 bytes with the first half of the weights in
/// the low nibbles and the second half in the high nibbles.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let [d0, d1, quants @ ..] = block;
    let d = scale([*d0, *d1]);
    let (low, high) = out.split_at_mut(16);
    for ((low, high), quant) in low.iter_mut().zip(high).zip(quants) {
        *low = f32::from((quant & 0x0f).cast_signed() - 8) * d;
        *high = f32::from((quant >> 4).cast_signed() - 8) * d;
    }
}

/// Converts a `block_q4_1`: scale, minimum, nibbles as in `block_q4_0`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let [d0, d1, m0, m1, quants @ ..] = block;
    let (d, m) = (scale([*d0, *d1]), scale([*m0, *m1]));
    let (low, high) = out.split_at_mut(16);
    for ((low, high), quant) in low.iter_mut().zip(high).zip(quants) {
        *low = f32::from(quant & 0x0f) * d + m;
        *high = f32::from(quant >> 4) * d + m;
    }
}

/// Converts a `block_q5_0`: scale, 32 fifth bits, nibbles as in `block_q4_0`.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let [d0, d1, h0, h1, h2, h3, quants @ ..] = block;
    let d = scale([*d0, *d1]);
    let fifth = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
    let (low, high) = out.split_at_mut(16);
    for (((low, high), quant), j) in low.iter_mut().zip(high).zip(quants).zip(0..16) {
        *low = f32::from((quant & 0x0f | fifth_bit(fifth, j)).cast_signed() - 16) * d;
        *high = f32::from((quant >> 4 | fifth_bit(fifth, j + 16)).cast_signed() - 16) * d;
    }
}

/// Converts a `block_q5_1`: scale, minimum, 32 fifth bits, nibbles as in `block_q4_0`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let [d0, d1, m0, m1, h0, h1, h2, h3, quants @ ..] = block;
    let (d, m) = (scale([*d0, *d1]), scale([*m0, *m1]));
    let fifth = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
    let (low, high) = out.split_at_mut(16);
    for (((low, high), quant), j) in low.iter_mut().zip(high).zip(quants).zip(0..16) {
        *low = f32::from(quant & 0x0f | fifth_bit(fifth, j)) * d + m;
        *high = f32::from(quant >> 4 | fifth_bit(fifth, j + 16)) * d + m;
    }
}

/// Converts a `block_q8_0`: scale, 32 signed bytes.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let [d0, d1, quants @ ..] = block;
    let d = scale([*d0, *d1]);
    for (out, quant) in out.iter_mut().zip(quants) {
        *out = f32::from(quant.cast_signed()) * d;
    }
}

/// Returns bit `index` of `bits`, moved to the place of the fifth bit of a weight.
const fn fifth_bit(bits: u32, index: u32) -> u8 {
    if bits >> index & 1 == 1 { 0x10 } else { 0 }
}
