//! The block types whose weights are chosen from a table: `IQ4_NL`, `IQ4_XS`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. The factor `d` is a
//! little-endian `f16`.
#![allow(clippy::inline_always, reason = "see `dequant`")]

use super::dequant_legacy::{nibbles, scale};

/// The weights that the sixteen nibbles stand for (`kvalues_iq4nl` in ggml).
const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Unpacks the weights of a `block_iq4_nl`: `d`, 16 bytes with the first half of the weights in the low nibbles and the
/// second half in the high nibbles.
#[inline(always)]
pub(super) fn iq4_nl([_, _, quants @ ..]: &[u8; 18]) -> [i8; 32] {
    chosen(quants)
}

/// Unpacks the scales of a `block_iq4_xs`: `d`, 16 bits with the upper two bits of the scales of eight runs of 32 weights,
/// 4 bytes with the lower four, 128 bytes of nibbles, ordered in each run as in a `block_iq4_nl`.
#[inline(always)]
pub(super) fn iq4_xs_scales(block: &[u8; 136], scales: &mut [f32; 8], _: &mut [f32; 8]) {
    let [d0, d1, u0, u1, lows @ ..] = block;
    let (d, uppers) = (scale([*d0, *d1]), u16::from_le_bytes([*u0, *u1]));
    for (i, scale) in scales.iter_mut().enumerate() {
        let low = lows[i / 2] >> (4 * (i % 2)) & 0x0f;
        let upper = (uppers >> (2 * i) & 3) as u8;
        *scale = d * f32::from((low | upper << 4).cast_signed() - 32);
    }
}

/// Unpacks the weights of a `block_iq4_xs`.
#[inline(always)]
pub(super) fn iq4_xs(block: &[u8; 136]) -> [i8; 256] {
    let mut out = [0; 256];
    for (out, quants) in out.as_chunks_mut().0.iter_mut().zip(block[8..].as_chunks().0) {
        *out = chosen(quants);
    }
    out
}

/// Returns the values of 32 nibbles. They are compared with each possible nibble, which takes fewer instructions than a look
/// at the table for each.
#[inline(always)]
fn chosen(quants: &[u8; 16]) -> [i8; 32] {
    let nibbles: [i8; 32] = nibbles(*quants);
    let mut chosen = [VALUES[0]; 32];
    for (nibble, value) in (0..16).zip(VALUES) {
        for i in 0..32 {
            chosen[i] = if nibbles[i] >= nibble { value } else { chosen[i] };
        }
    }
    chosen
}
