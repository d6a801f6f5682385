//! Loading weights into vector registers.

use half::f16;
use pulp::Simd;

/// The distance in bytes at which weights are prefetched.
pub(super) const AHEAD: usize = 2048;

/// A way to load weights of type `W` into vectors of `f32`.
pub(super) trait Load<S: Simd, W>: Copy {
    /// A group of weights, one for each lane of a vector.
    type Vector: Copy;

    /// Divides a row into vectors, and leaves out what does not fill one.
    fn vectors(row: &[W]) -> &[Self::Vector];

    /// Loads a vector.
    fn vector(self, weights: &Self::Vector) -> S::f32s;

    /// Converts one weight to `f32`.
    fn scalar(weight: W) -> f32;

    /// Asks the processor for the weights that follow in memory. Only `f16` gains from it.
    fn prefetch(_: &Self::Vector) {}
}

/// Loads `f32` unchanged.
#[derive(Clone, Copy)]
pub(super) struct Direct;

impl<S: Simd> Load<S, f32> for Direct {
    type Vector = S::f32s;

    #[inline(always)]
    fn vectors(row: &[f32]) -> &[S::f32s] {
        S::as_simd_f32s(row).0
    }

    #[inline(always)]
    fn vector(self, weights: &S::f32s) -> S::f32s {
        *weights
    }

    #[inline(always)]
    fn scalar(weight: f32) -> f32 {
        weight
    }
}

/// Loads `f16`, widened by the AVX-512 conversion instruction.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx512(pub(super) pulp::x86::V4);

#[cfg(target_arch = "x86_64")]
impl Load<pulp::x86::V4, f16> for Avx512 {
    type Vector = [f16; 16];

    #[inline(always)]
    fn vectors(row: &[f16]) -> &[[f16; 16]] {
        row.as_chunks().0
    }

    #[inline(always)]
    fn vector(self, weights: &[f16; 16]) -> pulp::f32x16 {
        pulp::cast(self.0.avx512f._mm512_cvtph_ps(pulp::cast(weights.map(f16::to_bits))))
    }

    #[inline(always)]
    fn scalar(weight: f16) -> f32 {
        widen(weight)
    }

    #[inline(always)]
    fn prefetch(weights: &Self::Vector) {
        dynlayer_cpu::prefetch(weights, AHEAD);
    }
}

/// Loads `f16`, widened by the F16C conversion instruction.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx2(pub(super) pulp::x86::V3, pub(super) dynlayer_cpu::F16c);

#[cfg(target_arch = "x86_64")]
impl Load<pulp::x86::V3, f16> for Avx2 {
    type Vector = [f16; 8];

    #[inline(always)]
    fn vectors(row: &[f16]) -> &[[f16; 8]] {
        row.as_chunks().0
    }

    #[inline(always)]
    fn vector(self, weights: &[f16; 8]) -> pulp::f32x8 {
        pulp::cast(self.1.widen(pulp::cast(weights.map(f16::to_bits))))
    }

    #[inline(always)]
    fn scalar(weight: f16) -> f32 {
        widen(weight)
    }

    #[inline(always)]
    fn prefetch(weights: &Self::Vector) {
        dynlayer_cpu::prefetch(weights, AHEAD);
    }
}

/// The places that the sign, the exponent and the fraction of an `f16` take in an `f32`.
const PLACES: u32 = 0x8fff_e000;
/// The power of two by which the biases of the exponents differ, 2^(127 - 15).
const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);

/// Converts a finite `f16` to `f32`, without branches, so that the compiler vectorises a loop over it.
///
/// (`half`'s own conversion looks up the processor's features at each call.) The bits are moved to their places in an
/// `f32`, which has another bias; a product with a power of two, which is exact, makes up for it.
#[inline(always)]
pub(super) fn widen(value: f16) -> f32 {
    let bits = i32::from(value.to_bits().cast_signed()) << 13; // with the sign at the top
    f32::from_bits(bits.cast_unsigned() & PLACES) * REBIAS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All finite values.
    fn finite() -> Vec<f16> {
        let finite = |x: f16| if x.is_finite() { x } else { f16::ONE };
        (0..=u16::MAX).map(|bits| finite(f16::from_bits(bits))).collect()
    }

    #[test]
    fn widening_is_exact_for_every_finite_value() {
        for value in finite() {
            assert_eq!(widen(value).to_bits(), value.to_f32().to_bits(), "{value:?}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_vector_units_agree() {
        let all = finite();
        if let (Some(v3), Some(f16c)) = (pulp::x86::V3::try_new(), dynlayer_cpu::F16c::try_new()) {
            for weights in <Avx2 as Load<pulp::x86::V3, f16>>::vectors(&all) {
                let found: [f32; 8] = pulp::cast(Avx2(v3, f16c).vector(weights));
                assert_eq!(found.map(f32::to_bits), weights.map(|x| widen(x).to_bits()));
            }
        }
        if let Some(v4) = pulp::x86::V4::try_new() {
            for weights in <Avx512 as Load<pulp::x86::V4, f16>>::vectors(&all) {
                let found: [f32; 16] = pulp::cast(Avx512(v4).vector(weights));
                assert_eq!(found.map(f32::to_bits), weights.map(|x| widen(x).to_bits()));
            }
        }
    }
}
