//! Quantised blocks without their weights: a check of their factors, and their making.

use super::ggml_type::GgmlType;
use half::f16;

/// The number of weights in a block of `Q8_0`.
const Q8_0_SIZE: usize = GgmlType::Q8_0.block_size();

/// The positions in a block of the `f16` numbers that its weights are multiplied by, or that are added to them.
pub(crate) const fn factors(ty: GgmlType) -> &'static [usize] {
    match ty {
        GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => &[],
        GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 | GgmlType::Iq4Nl | GgmlType::Iq4Xs => &[0],
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4K | GgmlType::Q5K => &[0, 2],
        GgmlType::Q2K => &[80, 82],
        GgmlType::Q3K => &[108],
        GgmlType::Q6K => &[208],
    }
}

/// Returns the number of weights that are not finite in whole blocks of a quantised type.
///
/// It looks only at the factors of each block: if they are finite, so are all of its weights, and if one is not, none
/// of the weights is.
pub(crate) fn not_finite(ty: GgmlType, bytes: &[u8]) -> usize {
    const EXPONENT: u8 = 0x7c; // in the upper byte of an f16; all ones in infinities and NaNs
    let factors = factors(ty);
    let broken = |block: &&[u8]| factors.iter().any(|at| block[at + 1] & EXPONENT == EXPONENT);
    bytes.chunks_exact(ty.block_bytes()).filter(broken).count() * ty.block_size()
}

/// Quantises finite values to blocks of `Q8_0`, as ggml's `quantize_row_q8_0_ref` does, and appends the blocks to `out`.
/// Values after the last whole block are left out.
///
/// Returns the number of values that are too large for a block.
pub(crate) fn quantize_q8_0(values: &[f32], out: &mut Vec<u8>) -> usize {
    let (blocks, _) = values.as_chunks::<Q8_0_SIZE>();
    out.reserve(blocks.len() * GgmlType::Q8_0.block_bytes());
    let mut overflows = 0;
    for block in blocks {
        let d = block.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let rounded = f16::from_f32(d);
        if rounded.is_infinite() {
            let too_large = |x: &&f32| x.is_finite() && f16::from_f32(x.abs() / 127.0).is_infinite();
            overflows += block.iter().filter(too_large).count();
        }
        out.extend(rounded.to_le_bytes());
        out.extend(block.iter().map(|x| quant(x * inverse)));
    }
    overflows
}

/// Rounds half away from zero, as C's `roundf`, to a signed byte.
#[expect(clippy::cast_possible_truncation, reason = "at most 127 in size, and a saturating cast")]
fn quant(x: f32) -> u8 {
    (x.round() as i8).cast_unsigned()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "bits of exact results")]
mod tests {
    use super::*;
    use crate::format::dequantize_into;

    fn types() -> impl Iterator<Item = GgmlType> {
        GgmlType::all().filter(|ty| ty.is_quantised())
    }

    fn widened(ty: GgmlType, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / ty.block_bytes() * ty.block_size()];
        dequantize_into(ty, bytes, &mut values).unwrap();
        values
    }

    #[test]
    fn factors_tell_what_is_not_finite() {
        for ty in types() {
            // Three blocks of bytes that occur, and nowhere the exponent of an infinity.
            let good: Vec<u8> = (0..3 * ty.block_bytes()).map(|i| u8::try_from(i * 37 % 0x7b).unwrap()).collect();
            assert_eq!(not_finite(ty, &good), 0, "{ty}");
            assert!(widened(ty, &good).iter().all(|x| x.is_finite()), "{ty}");
            for at in factors(ty) {
                for broken in [f16::INFINITY, f16::NEG_INFINITY, f16::NAN] {
                    let mut bytes = good.clone();
                    let at = ty.block_bytes() + at;
                    bytes[at..at + 2].copy_from_slice(&broken.to_le_bytes());
                    assert_eq!(not_finite(ty, &bytes), ty.block_size(), "{ty} at {at}");
                    let found = widened(ty, &bytes).iter().filter(|x| !x.is_finite()).count();
                    assert_eq!(found, ty.block_size(), "{ty} at {at}");
                }
            }
            // Every other byte may have any value.
            let all = vec![0xff; ty.block_bytes()];
            let mut but_factors = all.clone();
            for at in factors(ty) {
                but_factors[*at..at + 2].copy_from_slice(&f16::MAX.to_le_bytes());
            }
            assert_eq!((not_finite(ty, &all), not_finite(ty, &but_factors)), (ty.block_size(), 0), "{ty}");
            assert!(widened(ty, &but_factors).iter().all(|x| x.is_finite()), "{ty}");
        }
    }
    /// The blocks that the Python package `gguf` (0.17) makes of [`values`].
    const SCALES: [[u8; 2]; 2] = [[77, 42], [206, 46]];
    const QUANTS: [[i8; 32]; 2] = [
        [
            -127, -33, 61, -102, -8, 86, -76, 18, 112, -51, 43, -119, -25, 69, -94, 0, 94, -69, 25, 119, -43, 51, -112,
            -18, 76, -86, 8, 102, -61, 33, 127, -36,
        ],
        [
            -3, -127, 23, -102, 48, -76, 73, -51, 0, -25, 124, 0, -124, 25, -99, 51, -73, 76, -48, 102, -23, 127, 3,
            -121, 28, -96, 54, -71, 79, -45, 104, -20,
        ],
    ];

    fn values() -> Vec<f32> {
        let eighths = (0..32_u8).map(|i| (f32::from(u16::from(i) * 37 % 101) - 50.0) / 8.0);
        let thirds = (32..64_u8).map(|i| (f32::from(u16::from(i) * 53 % 97) - 48.0) * 0.3);
        eighths.chain(thirds).enumerate().map(|(i, x)| if i == 40 { 0.0 } else { x }).collect()
    }

    #[test]
    fn quantised_as_by_another_implementation() {
        let mut blocks = Vec::new();
        assert_eq!(quantize_q8_0(&values(), &mut blocks), 0);
        let expected = SCALES
            .iter()
            .zip(&QUANTS)
            .flat_map(|(scale, quants)| scale.iter().copied().chain(quants.iter().map(|quant| quant.cast_unsigned())));
        assert_eq!(blocks, expected.collect::<Vec<u8>>());
    }

    #[test]
    fn the_error_is_at_most_half_a_step() {
        let (values, mut blocks) = (values(), Vec::new());
        quantize_q8_0(&values, &mut blocks);
        for (values, widened) in values.chunks(32).zip(widened(GgmlType::Q8_0, &blocks).chunks(32)) {
            let most = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            for (x, y) in values.iter().zip(widened) {
                // Half a step, and the rounding of the step to f16 (at most 2^-11 of it, 127 times).
                assert!((x - y).abs() <= most / 127.0 * (0.5 + 127.0 / 2048.0), "{x} became {y}");
            }
        }
    }

    #[test]
    fn by_hand() {
        // The step is 1, and halves are rounded away from zero.
        let mut row = [0.0; 33];
        row[..6].copy_from_slice(&[127.0, -127.0, 0.5, -0.5, 1.5, 2.4]);
        let mut blocks = Vec::new();
        assert_eq!(quantize_q8_0(&row, &mut blocks), 0);
        assert_eq!(blocks.len(), 34, "a value after the last whole block is left out");
        assert_eq!(blocks[..2], f16::ONE.to_le_bytes());
        assert_eq!(blocks[2..9], [127, 129, 1, 255, 2, 2, 0]);

        blocks.clear();
        assert_eq!(quantize_q8_0(&[0.0; 32], &mut blocks), 0);
        assert_eq!(blocks, [0; 34]);

        // The largest f16 times 127 fits, and the next power of two does not.
        let mut large = [1.0; 32];
        large[3] = 65504.0 * 127.0;
        assert_eq!(quantize_q8_0(&large, &mut blocks), 0);
        (large[4], large[5]) = (-65536.0 * 127.0, 65536.0 * 127.0);
        assert_eq!(quantize_q8_0(&large, &mut blocks), 2);
    }
}
