//! Conversion of `f16` in registers, on x86-64 processors without AVX-512.

use std::arch::x86_64::{__m128i, _mm256_cvtph_ps};

/// The proof that the processor has F16C and what `pulp`'s `V3` stands for: AVX2, FMA and what came before.
#[derive(Clone, Copy, Debug)]
pub struct F16c(());

impl F16c {
    /// Returns the proof, if the processor has these instructions.
    pub fn try_new() -> Option<Self> {
        let has = is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }

    /// Runs an operation, compiled for a processor with these instructions.
    #[expect(unsafe_code, reason = "a function for some processors may only be called on them")]
    pub fn vectorize<R>(self, operation: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "f16c,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn run<R>(operation: impl FnOnce() -> R) -> R {
            operation()
        }
        // SAFETY: The processor has all of these instructions, or there would be no `self`.
        unsafe { run(operation) }
    }

    /// Converts the bits of eight `f16` to `f32`, in one instruction if it is called inside of
    /// [`vectorize`](Self::vectorize). It is exact.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is an instruction only where it is inlined")]
    #[expect(unsafe_code, reason = "an instruction of some processors may only be used on them")]
    pub fn widen(self, halves: [u16; 8]) -> [f32; 8] {
        // SAFETY: The processor has F16C, or there would be no `self`. The types have the sizes of the vectors, and any
        // bits are values of each.
        unsafe {
            let halves = std::mem::transmute::<[u16; 8], __m128i>(halves);
            std::mem::transmute::<std::arch::x86_64::__m256, [f32; 8]>(_mm256_cvtph_ps(halves))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_converted() {
        let Some(unit) = F16c::try_new() else { return println!("SKIPPED: the processor has no F16C") };
        // An exponent in bits 10 to 14, with a bias of 15.
        let halves = [15, 14, 16, 1, 30, 0, 31, 0x20 | 15].map(|exponent: u16| exponent << 10);
        let expected = [1.0, 0.5, 2.0, 2f32.powi(-14), 2f32.powi(15), 0.0, f32::INFINITY, -1.0];
        assert_eq!(unit.vectorize(|| unit.widen(halves)).map(f32::to_bits), expected.map(f32::to_bits));
        assert_eq!(unit.widen(halves).map(f32::to_bits), expected.map(f32::to_bits));
    }
}
