//! Turns the little-endian bytes of float tensors into numbers.
//!
//! The bytes need not be aligned. `f16` values go through a small buffer, so that
//! `half` can convert a slice at a time, in hardware where the processor supports
//! it.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// The number of values converted at a time.
const CHUNK: usize = 1024;

/// The float types that both checkpoint formats can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// IEEE binary32, 4 bytes.
    F32,
    /// IEEE binary16, 2 bytes.
    F16,
    /// The upper half of an IEEE binary32, 2 bytes.
    Bf16,
}

impl FloatType {
    /// The number of bytes of one value.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Values rounded to `f16` (to nearest, ties to even), and the number of finite ones that became infinite because they
/// round to more than 65504, the largest `f16`.
pub(crate) type Halves = (Vec<f16>, usize);

/// Converts bytes to `f32`; exact for every type.
///
/// Bytes after the last whole value are ignored. The result has
/// `bytes.len() / ty.bytes()` values.
pub(crate) fn to_f32(ty: FloatType, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / ty.bytes()];
    to_f32_into(ty, bytes, &mut values);
    values
}

/// Converts bytes to `f32` values in `out`; exact for every type.
///
/// Converts as many values as both `bytes` and `out` hold; the rest of `out` is unchanged.
pub(super) fn to_f32_into(ty: FloatType, bytes: &[u8], out: &mut [f32]) {
    match ty {
        FloatType::F32 => {
            let (values, _) = bytes.as_chunks();
            for (out, value) in out.iter_mut().zip(values) {
                *out = f32::from_le_bytes(*value);
            }
        }
        FloatType::Bf16 => {
            let (values, _) = bytes.as_chunks();
            for (out, value) in out.iter_mut().zip(values) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*value)) << 16);
            }
        }
        FloatType::F16 => {
            let mut buffer = [f16::ZERO; CHUNK];
            let (values, _) = bytes.as_chunks();
            for (out, values) in out.chunks_mut(CHUNK).zip(values.chunks(CHUNK)) {
                for (half, value) in buffer.iter_mut().zip(values) {
                    *half = f16::from_le_bytes(*value);
                }
                let count = out.len().min(values.len());
                let (out, _) = out.split_at_mut(count);
                let (halves, _) = buffer.split_at(count);
                halves.convert_to_f32_slice(out);
            }
        }
    }
}

/// Converts bytes to `f16`, rounding to nearest, ties to even.
///
/// Bytes after the last whole value are ignored. Finite values beyond the
/// range of `f16` become infinite and are counted, for the caller to handle. `F16`
/// bytes are copied unchanged.
pub(crate) fn to_f16(ty: FloatType, bytes: &[u8]) -> Halves {
    if ty == FloatType::F16 {
        let (values, _) = bytes.as_chunks();
        return (values.iter().map(|value| f16::from_le_bytes(*value)).collect(), 0);
    }
    let (mut halves, mut overflowed) = (vec![f16::ZERO; bytes.len() / ty.bytes()], 0);
    let mut buffer = [0.0; CHUNK];
    let pieces = bytes.chunks(CHUNK * ty.bytes());
    for (out, piece) in halves.chunks_mut(CHUNK).zip(pieces) {
        let (wide, _) = buffer.split_at_mut(out.len());
        to_f32_into(ty, piece, wide);
        overflowed += narrow(wide, out);
    }
    (halves, overflowed)
}

/// Converts `f32` values to `f16`, rounding to nearest, ties to even, and
/// counts the finite ones that become infinite.
pub(crate) fn f32_to_f16(values: &[f32]) -> Halves {
    let mut halves = vec![f16::ZERO; values.len()];
    let overflowed = halves.chunks_mut(CHUNK).zip(values.chunks(CHUNK)).map(|(out, wide)| narrow(wide, out)).sum();
    (halves, overflowed)
}

/// Rounds `wide` to `f16` in `out`, which has the same length, and returns the number of finite values that became
/// infinite.
fn narrow(wide: &[f32], out: &mut [f16]) -> usize {
    out.convert_from_f32_slice(wide);
    out.iter().zip(wide).filter(|(half, wide)| half.is_infinite() && wide.is_finite()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn every_f16_and_bf16_value_converts_exactly() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        // One byte off, so that the values are never aligned.
        let shifted = [&[0_u8], bytes.as_slice()].concat();
        let unaligned = &shifted[1..];
        for (bits, value) in (0..=u16::MAX).zip(to_f32(FloatType::F16, unaligned)) {
            let expected = f16::from_bits(bits).to_f32();
            let both_nan = value.is_nan() && expected.is_nan();
            assert!(both_nan || value.to_bits() == expected.to_bits());
        }
        for (bits, value) in (0..=u16::MAX).zip(to_f32(FloatType::Bf16, unaligned)) {
            assert_eq!(value.to_bits(), u32::from(bits) << 16);
        }
        let (halves, overflowed) = to_f16(FloatType::F16, unaligned);
        assert_eq!(overflowed, 0);
        assert!((0..=u16::MAX).eq(halves.iter().map(|half| half.to_bits())));
    }

    #[test]
    fn f16_rounds_ties_to_even_and_counts_overflow() {
        let values = [
            1.0 + f32::powi(2.0, -11),       // tie, down to 1
            1.0 + 3.0 * f32::powi(2.0, -11), // tie, up to 1 + 2^-9
            65504.0,
            65519.0, // rounds to 65504
            65520.0, // tie, rounds to infinity
            -1.0e9,
            f32::INFINITY,       // infinite already, not counted
            f32::powi(2.0, -25), // tie, down to zero
        ];
        let expected = [0x3c00, 0x3c02, 0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x7c00, 0x0000];
        for (halves, overflowed) in [f32_to_f16(&values), to_f16(FloatType::F32, &bytes_of(&values))] {
            let bits: Vec<u16> = halves.iter().map(|half| half.to_bits()).collect();
            assert_eq!(bits, expected);
            assert_eq!(overflowed, 2);
        }
    }

    #[test]
    fn lengths_that_do_not_match_stop_at_the_shorter_side() {
        for ty in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
            for count in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
                let bytes = vec![0_u8; count * ty.bytes() + 1];
                assert_eq!(to_f32(ty, &bytes).len(), count);
                assert_eq!(to_f16(ty, &bytes).0.len(), count);
                let mut longer = vec![7.0; count + 5];
                to_f32_into(ty, &bytes, &mut longer);
                assert_eq!(longer[count..], [7.0; 5]);
                to_f32_into(ty, &bytes, &mut longer[..count / 2]);
            }
        }
    }

    #[test]
    fn bf16_to_f16_counts_what_does_not_fit() {
        // 2^17 and 2^15 as bf16.
        let bytes = [0x00, 0x48, 0x00, 0x47];
        let (halves, overflowed) = to_f16(FloatType::Bf16, &bytes);
        assert_eq!(overflowed, 1);
        assert_eq!(halves[1], f16::from_f32(32768.0));
    }
}
