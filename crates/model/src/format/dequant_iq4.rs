//! Conversion of the block types whose weights are chosen from a table: `IQ4_NL`, `IQ4_XS`.
//!
//! The layouts are those of `ggml-common.h`, and the operations are in the order
//! of the functions `dequantize_row_*` in `ggml-quants.c`. The factor `d` is a
//! little-endian `f16`.

use super::dequant_legacy::scale;

/// The weights that the sixteen nibbles stand for (`kvalues_iq4nl` in ggml).
const VALUES: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// Converts a `block_iq4_nl`: `d`, 16 bytes with the first half of the weights in the low nibbles and the second half
/// in the high nibbles.
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    let [d0, d1, quants @ ..] = block;
    run(scale([*d0, *d1]), quants, out);
}

/// Converts a `block_iq4_xs`: `d`, 16 bits with the upper two bits of the scales of eight runs of 32 weights, 4 bytes
/// with the lower four, 128 bytes of nibbles, ordered in each run as in a `block_iq4_nl`.
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let [d0, d1, u0, u1, rest @ ..] = block;
    let (d, uppers) = (scale([*d0, *d1]), [*u0, *u1]);
    let (lows, quants) = rest.split_at(4);
    let lows = lows.iter().flat_map(|byte| [byte & 0x0f, byte >> 4]);
    let uppers = uppers.into_iter().flat_map(|byte| [byte & 3, byte >> 2 & 3, byte >> 4 & 3, byte >> 6]);

    let (outs, _) = out.as_chunks_mut();
    let (quants, _) = quants.as_chunks();
    for (((out, quants), low), upper) in outs.iter_mut().zip(quants).zip(lows).zip(uppers) {
        run(d * f32::from((low | upper << 4).cast_signed() - 32), quants, out);
    }
}

/// Converts 32 weights of one scale.
fn run(scale: f32, quants: &[u8; 16], out: &mut [f32; 32]) {
    let (low, high) = out.split_at_mut(16);
    for ((low, high), quant) in low.iter_mut().zip(high).zip(quants) {
        *low = scale * VALUES[usize::from(quant & 0x0f)];
        *high = scale * VALUES[usize::from(quant >> 4)];
    }
}
