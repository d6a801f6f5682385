//! The exponential function, in arithmetic that compilers vectorise.

/// Computes `e^x` to a relative error of 2e-7; 0 below -87.3, where the result would not be a normal number.
///
/// `x = n ln 2 + r` with an integer `n` and `|r| <= ln 2 / 2`; `e^r` is a polynomial (the Taylor series, whose next term is
/// below 2e-8), and `2^n` is made of bits. `ln 2` is subtracted in two parts (Cody and Waite 1980).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.3;
    /// Adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let clamped = if x < LOWEST { LOWEST } else { x };
    let clamped = if clamped > HIGHEST { HIGHEST } else { clamped };
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN_2[0] - n * LN_2[1];
    let mut power = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * r + factor;
    }
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let result = power * f32::from_bits(exponent);
    if x < LOWEST { 0.0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn it_agrees_with_f64() {
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2e-7, "e^{x}: {} instead of {expected}", exp(x));
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        let bits = |x: f32| exp(x).to_bits();
        assert_eq!(bits(0.0), 1f32.to_bits());
        assert_eq!([f32::NEG_INFINITY, -1e30, -88.0].map(bits), [0; 3]);
        assert!(exp(1e30) > 1e38);
        assert!(exp(f32::NAN).is_nan());
    }
}
