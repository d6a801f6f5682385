//! Weights of 16 bits, widened a piece at a time on their way through the first-level cache.

use half::f16;

/// An element type that weights are stored in.
pub(super) trait Weight: Copy + Send + Sync + 'static {
    /// `weights` as `f32`, in `scratch` where they have to be converted; `scratch` is at least as long.
    fn widen<'a>(weights: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32];
}

impl Weight for f32 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], _scratch: &'a mut [f32]) -> &'a [f32] {
        weights
    }
}

impl Weight for f16 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32] {
        let wide = &mut scratch[..weights.len()];
        for (wide, weight) in wide.iter_mut().zip(weights) {
            *wide = widen(weight.to_bits());
        }
        wide
    }
}

/// `f16` to `f32` for finite values, without a branch, so that a loop over it becomes vector code.
///
/// `half`'s own conversion looks up the processor's features at each call. Subnormals go through a subtraction of
/// normal numbers, since arithmetic on subnormal operands is slow.
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
}
