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
pub(super) const fn scale(bytes: [u8; 2]) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let bits = i16::from_le_bytes(bytes) as i32;
    let places = (bits << 13).cast_unsigned() & 0x8fff_e000; // with the sign at the top
    f32::from_bits(places) * if bits & 0x7c00 == 0x7c00 { f32::INFINITY } else { REBIAS }
}

/// Converts the number at position `at` of each block. First they are only collected, so that the arithmetic is done for
/// many at a time.
#[inline(always)]
pub(super) fn numbers<const BYTES: usize>(blocks: &[[u8; BYTES]], at: usize, out: &mut [f32]) {
    for (out, block) in out.iter_mut().zip(blocks) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes([block[at], block[at + 1]])));
    }
    for out in out {
        let [low, high, ..] = out.to_bits().to_le_bytes();
        *out = scale([low, high]);
    }
}

/// Unpacks the weights of a `block_q4_0`: scale, 16 bytes with the first half of the weights in
/// the low nibbles and the second half in the high nibbles.
#[inline(always)]
pub(super) fn q4_0([_, _, quants @ ..]: &[u8; 18]) -> [i8; 32] {
    let mut out = nibbles(*quants);
    for out in &mut out {
        *out -= 8;
    }
    out
}

/// Unpacks the weights of a `block_q4_1`: scale, minimum, nibbles as in `block_q4_0`. The minimum is added.
#[inline(always)]
pub(super) fn q4_1([_, _, _, _, quants @ ..]: &[u8; 20]) -> [i8; 32] {
    nibbles(*quants)
}

/// Unpacks the weights of a `block_q5_0`: scale, 32 fifth bits, nibbles as in `block_q4_0`.
#[inline(always)]
pub(super) fn q5_0([_, _, h0, h1, h2, h3, quants @ ..]: &[u8; 22]) -> [i8; 32] {
    five_bits([*h0, *h1, *h2, *h3], quants, -16)
}

/// Unpacks the weights of a `block_q5_1`: scale, minimum, 32 fifth bits, nibbles as in `block_q4_0`. The minimum is added.
#[inline(always)]
pub(super) fn q5_1([_, _, _, _, h0, h1, h2, h3, quants @ ..]: &[u8; 24]) -> [i8; 32] {
    five_bits([*h0, *h1, *h2, *h3], quants, 0)
}

/// Returns the weights of a `block_q8_0`: scale, 32 signed bytes.
#[inline(always)]
pub(super) fn q8_0([_, _, quants @ ..]: &[u8; 34]) -> [i8; 32] {
    bytemuck::cast(*quants)
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
fn five_bits(fifth: [u8; 4], quants: &[u8; 16], offset: i8) -> [i8; 32] {
    let mut joined: [i8; 32] = nibbles(*quants);
    let mut bytes = [0; 32];
    for i in 0..32 {
        bytes[i] = fifth[i / 8];
    }
    for i in 0..32 {
        let fifth = if bytes[i] & 1 << (i % 8) == 0 { 0 } else { 16 };
        joined[i] = (joined[i] | fifth) + offset;
    }
    joined
}
