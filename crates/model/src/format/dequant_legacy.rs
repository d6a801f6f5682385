//! The block types of 32 weights: `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q8_0`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. Scales and minima are
//! little-endian `f16`.
#![allow(clippy::inline_always, reason = "see `dequant`")]

/// Converts a scale or minimum from `f16`, in arithmetic that is inlined into the block loops and has no branches.
///
/// The bits are moved to their places in an `f32`, which has another bias of the exponent; a product with a power of two,
/// which is exact, makes up for it. Infinity and NaN become infinity.
#[inline(always)]
pub(crate) const fn scale(bytes: [u8; 2]) -> f32 {
    const FACTORS: [f32; 2] = [f32::from_bits((127 + 127 - 15) << 23), f32::INFINITY];
    let bits = i16::from_le_bytes(bytes);
    let places = ((bits as i32) << 13).cast_unsigned() & 0x8fff_e000; // with the sign at the top
    f32::from_bits(places) * FACTORS[(bits & 0x7c00 == 0x7c00) as usize]
}

/// Unpacks a `block_q4_0`: scale, 16 bytes with the first half of the weights in
/// the low nibbles and the second half in the high nibbles.
#[inline(always)]
pub(super) fn q4_0(block: &[u8; 18], out: &mut [i8; 32], [d]: &mut [f32; 1], _: &mut [f32; 1]) {
    let [d0, d1, quants @ ..] = block;
    *d = scale([*d0, *d1]);
    *out = nibbles(*quants);
    for out in out {
        *out -= 8;
    }
}

/// Unpacks a `block_q4_1`: scale, minimum, nibbles as in `block_q4_0`. The minimum is added.
#[inline(always)]
pub(super) fn q4_1(block: &[u8; 20], out: &mut [i8; 32], [d]: &mut [f32; 1], [m]: &mut [f32; 1]) {
    let [d0, d1, m0, m1, quants @ ..] = block;
    (*d, *m) = (scale([*d0, *d1]), -scale([*m0, *m1]));
    *out = nibbles(*quants);
}

/// Unpacks a `block_q5_0`: scale, 32 fifth bits, nibbles as in `block_q4_0`.
#[inline(always)]
pub(super) fn q5_0(block: &[u8; 22], out: &mut [i8; 32], [d]: &mut [f32; 1], _: &mut [f32; 1]) {
    let [d0, d1, h0, h1, h2, h3, quants @ ..] = block;
    *d = scale([*d0, *d1]);
    five_bits([*h0, *h1, *h2, *h3], quants, -16, out);
}

/// Unpacks a `block_q5_1`: scale, minimum, 32 fifth bits, nibbles as in `block_q4_0`. The minimum is added.
#[inline(always)]
pub(super) fn q5_1(block: &[u8; 24], out: &mut [i8; 32], [d]: &mut [f32; 1], [m]: &mut [f32; 1]) {
    let [d0, d1, m0, m1, h0, h1, h2, h3, quants @ ..] = block;
    (*d, *m) = (scale([*d0, *d1]), -scale([*m0, *m1]));
    five_bits([*h0, *h1, *h2, *h3], quants, 0, out);
}

/// Splits bytes into nibbles: first all low ones, then all high ones.
///
/// Here and below, results are made in arrays of their own, since the compiler does not vectorise loops over arguments
/// that it cannot tell apart.
#[inline(always)]
pub(super) fn nibbles<const N: usize, const TWICE: usize>(bytes: [u8; N]) -> [i8; TWICE] {
    let mut out = [0; TWICE];
    for i in 0..N {
        out[i] = (bytes[i] & 0x0f).cast_signed();
        out[i + N] = (bytes[i] >> 4).cast_signed();
    }
    out
}

/// Joins nibbles and fifth bits, and adds `offset`.
#[inline(always)]
fn five_bits(fifth: [u8; 4], quants: &[u8; 16], offset: i8, out: &mut [i8; 32]) {
    let mut joined: [i8; 32] = nibbles(*quants);
    for i in 0..32 {
        joined[i] = (joined[i] | ((fifth[i / 8] >> (i % 8) & 1) << 4).cast_signed()) + offset;
    }
    *out = joined;
}

/// Unpacks a `block_q8_0`: scale, 32 signed bytes.
#[inline(always)]
pub(super) fn q8_0(block: &[u8; 34], out: &mut [i8; 32], [d]: &mut [f32; 1], _: &mut [f32; 1]) {
    let [d0, d1, quants @ ..] = block;
    *d = scale([*d0, *d1]);
    *out = bytemuck::cast(*quants);
}
