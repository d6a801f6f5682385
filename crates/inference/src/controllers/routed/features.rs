//! Features of routers.

use burn::tensor::{Device, Tensor, TensorData};

/// Shifts and scales each token's features to mean 0 and variance 1. Input and output are `[rows, tokens, d_model]`.
pub(super) fn standardise(x: Tensor<3>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    // A constant row stays zero instead of becoming NaN.
    centred / variance.sqrt().clamp_min(f32::MIN_POSITIVE)
}

/// The sinusoidal encoding of each token's position, `[rows, tokens, d_model]`; `positions` are those of the rows' last
/// tokens.
pub(super) fn sinusoids(positions: &[usize], tokens: usize, d_model: usize, device: &Device) -> Tensor<3> {
    let places =
        positions.iter().flat_map(|last| (0..tokens).map(move |token| (last + 1 + token).saturating_sub(tokens)));
    #[expect(clippy::cast_possible_truncation, reason = "sines and cosines need no more precision")]
    let values: Vec<f32> = places
        .flat_map(|position| {
            (0..d_model).map(move |i| {
                let angle = position as f64 / 10_000f64.powf((i - i % 2) as f64 / d_model as f64);
                (if i % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
            })
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [positions.len(), tokens, d_model]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(x: Tensor<3>) -> Vec<f32> {
        x.into_data().try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn standardised_rows_have_mean_0_and_variance_1() {
        let x = Tensor::<1>::from_floats(
            [1.0, 2.0, 3.0, 4.0, 5e-4, -5e-4, 5e-4, -5e-4, 7.0, 7.0, 7.0, 7.0],
            &Device::flex(),
        );
        let x = values(standardise(x.reshape([1, 3, 4])));
        let s = 1.25f32.sqrt();
        for (found, expected) in
            x.iter().zip([-1.5 / s, -0.5 / s, 0.5 / s, 1.5 / s, 1.0, -1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0])
        {
            assert!((found - expected).abs() < 1e-5, "{x:?}");
        }
    }

    #[test]
    fn sinusoids_by_the_formula() {
        let x = sinusoids(&[3, 0], 2, 6, &Device::flex());
        assert_eq!(x.dims(), [2, 2, 6]);
        let x = values(x);
        // Row 0 ends at position 3, so its first token stands at 2; padding counts as position 0.
        for (token, p) in [2.0f64, 3.0, 0.0, 0.0].into_iter().enumerate() {
            for (i, power) in [0.0, 2.0 / 6.0, 4.0 / 6.0].into_iter().enumerate() {
                let angle = p / 10_000f64.powf(power);
                let at = token * 6 + 2 * i;
                assert!((f64::from(x[at]) - angle.sin()).abs() < 1e-6);
                assert!((f64::from(x[at + 1]) - angle.cos()).abs() < 1e-6);
            }
        }
    }
}
