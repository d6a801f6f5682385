//! The block types whose weights are chosen from a table: `IQ4_NL`, `IQ4_XS`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. The factor `d` is a
//! little-endian `f16`.
#![allow(clippy::inline_always, reason = "see `dequant`")]

use super::dequant_legacy::{nibbles, scale};

/// The weights that the sixteen nibbles stand for (`kvalues_iq4nl` in ggml).
const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Unpacks a `block_iq4_nl`: `d`, 16 bytes with the first half of the weights in the low nibbles and the second half
/// in the high nibbles.
#[inline(always)]
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [i8; 32], [d]: &mut [f32; 1], _: &mut [f32; 1]) {
    let [d0, d1, quants @ ..] = block;
    *d = scale([*d0, *d1]);
    run(quants, out);
}

/// Unpacks a `block_iq4_xs`: `d`, 16 bits with the upper two bits of the scales of eight runs of 32 weights, 4 bytes
/// with the lower four, 128 bytes of nibbles, ordered in each run as in a `block_iq4_nl`.
#[inline(always)]
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [i8; 256], scales: &mut [f32; 8], _: &mut [f32; 8]) {
    let [d0, d1, u0, u1, rest @ ..] = block;
    let (d, uppers) = (scale([*d0, *d1]), u16::from_le_bytes([*u0, *u1]));
    let (lows, quants) = rest.split_at(4);
    let (outs, _) = out.as_chunks_mut();
    let (quants, _) = quants.as_chunks();
    for (i, ((out, quants), scale)) in outs.iter_mut().zip(quants).zip(scales).enumerate() {
        let low = lows[i / 2] >> (4 * (i % 2)) & 0x0f;
        let upper = (uppers >> (2 * i) & 3) as u8;
        *scale = d * f32::from((low | upper << 4).cast_signed() - 32);
        run(quants, out);
    }
}

/// Unpacks 32 weights of one scale.
#[inline(always)]
fn run(quants: &[u8; 16], out: &mut [i8; 32]) {
    let chosen: [i8; 32] = nibbles(*quants);
    for (out, chosen) in out.iter_mut().zip(chosen) {
        *out = VALUES[usize::from(chosen.cast_unsigned())];
    }
}
