//! Loading weights into vector registers.

use half::f16;
use pulp::Simd;

/// A way to load weights of type `W` into vectors of `f32`.
pub(super) trait Load<S: Simd, W>: Copy {
    /// Loads the `i`-th vector of a row.
    fn vector(self, row: &[W], i: usize) -> S::f32s;

    /// Converts one weight to `f32`.
    fn scalar(self, weight: W) -> f32;
}

/// Loads `f32` unchanged.
#[derive(Clone, Copy)]
pub(super) struct Direct;

impl<S: Simd> Load<S, f32> for Direct {
    #[inline(always)]
    fn vector(self, row: &[f32], i: usize) -> S::f32s {
        S::as_simd_f32s(row).0[i]
    }

    #[inline(always)]
    fn scalar(self, weight: f32) -> f32 {
        weight
    }
}

/// Loads `f16`, widened by [`widen`], whose arithmetic every vector unit supports.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl<S: Simd> Load<S, f16> for Portable {
    #[inline(always)]
    fn vector(self, row: &[f16], i: usize) -> S::f32s {
        const WIDEST: usize = 16;
        let mut wide = [0f32; WIDEST];
        let lanes = S::F32_LANES.min(WIDEST);
        for (wide, weight) in wide.iter_mut().zip(&row[i * lanes..(i + 1) * lanes]) {
            *wide = widen(weight.to_bits());
        }
        S::as_simd_f32s(&wide).0[0]
    }

    #[inline(always)]
    fn scalar(self, weight: f16) -> f32 {
        widen(weight.to_bits())
    }
}

/// Loads `f16`, widened by the AVX-512 conversion instruction.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx512(pub(super) pulp::x86::V4);

#[cfg(target_arch = "x86_64")]
impl Load<pulp::x86::V4, f16> for Avx512 {
    #[inline(always)]
    fn vector(self, row: &[f16], i: usize) -> pulp::f32x16 {
        let mut bits = [0u16; 16];
        for (bits, weight) in bits.iter_mut().zip(&row[i * 16..(i + 1) * 16]) {
            *bits = weight.to_bits();
        }
        pulp::cast(self.0.avx512f._mm512_cvtph_ps(pulp::cast(bits)))
    }

    #[inline(always)]
    fn scalar(self, weight: f16) -> f32 {
        widen(weight.to_bits())
    }
}

/// Converts the bits of a finite `f16` to `f32`, without branches, so that the compiler vectorises a loop over it.
///
/// `half`'s own conversion looks up the processor's features at each call. Subnormals go through a subtraction of
/// normal numbers, since processors are slow at arithmetic on subnormal operands.
#[inline(always)]
fn widen(bits: u16) -> f32 {
    const REBIAS: u32 = (127 - 15) << 23;
    const LEAST_NORMAL: u32 = (127 - 14) << 23;
    let bits = u32::from(bits);
    let sign = (bits & 0x8000) << 16;
    let magnitude = (bits & 0x7fff) << 13;
    let normal = magnitude + REBIAS;
    let subnormal = (f32::from_bits(magnitude + LEAST_NORMAL) - f32::from_bits(LEAST_NORMAL)).to_bits();
    f32::from_bits(sign | if magnitude < 1 << 23 { subnormal } else { normal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact_for_every_finite_value() {
        for bits in 0..=u16::MAX {
            let value = f16::from_bits(bits);
            if value.is_finite() {
                assert_eq!(widen(bits).to_bits(), value.to_f32().to_bits(), "{bits:#06x}");
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_processors_instruction_agrees() {
        let Some(v4) = pulp::x86::V4::try_new() else { return };
        let row: Vec<f16> =
            (0..=u16::MAX).map(f16::from_bits).map(|x| if x.is_finite() { x } else { f16::ONE }).collect();
        for i in 0..row.len() / 16 {
            let found: [f32; 16] = pulp::cast(Avx512(v4).vector(&row, i));
            for (found, expected) in found.iter().zip(&row[i * 16..]) {
                assert_eq!(found.to_bits(), widen(expected.to_bits()).to_bits());
            }
        }
    }
}
