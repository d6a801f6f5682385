//! Random numbers of routers.

use crate::control::Row;
use crate::random;
use burn::tensor::{Device, Tensor, TensorData};
use dynlayer_model::standard_normal;
use rand::Rng;

/// The number of bits of a generator's stream number that hold the layer; the others hold the training step.
const LAYER_BITS: u32 = 16;

/// Returns standard logistic noise, `ln u - ln(1 - u)`, as `[rows, tokens]`: the difference of two Gumbel variables
/// (Maddison et al. 2017, arXiv 1611.00712, appendix B). So adding it to the difference of two logits is adding Gumbel
/// noise to each of them.
///
/// The noise derives from the row's seed and stream, the training step, the token's position and the layer. The last
/// token of a row is at [`Row::position`], and positions count down from there.
pub(super) fn logistic(step: u64, rows: &[Row], tokens: usize, layer: usize, device: &Device) -> Tensor<2> {
    let place = (step << LAYER_BITS) | layer as u64;
    let noise = rows.iter().flat_map(|row| {
        (0..tokens).map(move |token| {
            let position = (row.position + 1 + token).saturating_sub(tokens) as u64;
            // From the open interval, so that both logarithms are finite.
            let u = random::at(random::GATES, row.seed, [row.stream, position, place])
                .random::<f64>()
                .clamp(1e-12, 1.0 - 1e-12);
            #[expect(clippy::cast_possible_truncation, reason = "noise of at most 28")]
            let noise = (u.ln() - (-u).ln_1p()) as f32;
            noise
        })
    });
    let noise: Vec<f32> = noise.collect();
    Tensor::from_data(TensorData::new(noise, [rows.len(), tokens]), device)
}

/// Standard normal numbers for the weights of a layer.
pub(super) fn normals(purpose: [u8; 8], seed: u64, layer: usize, n: usize) -> Vec<f32> {
    let mut rng = random::at(purpose, seed, [0, 0, layer as u64]);
    (0..n).map(|_| standard_normal(&mut rng)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::row;
    use super::*;

    fn noise(rows: &[Row], tokens: usize, step: u64, layer: usize) -> Vec<f32> {
        logistic(step, rows, tokens, layer, &Device::flex()).into_data().try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn the_noise_is_logistic_and_depends_on_its_place_alone() {
        let row = |id, position| Row { seed: 3, ..row(id, position) };
        let one = noise(&[row(4, 4999)], 5000, 0, 2);
        let n = one.len() as f64;
        let mean = one.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let variance = one.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
        // The standard logistic distribution has mean 0 and variance pi²/3; five standard errors each.
        let expected = std::f64::consts::PI.powi(2) / 3.0;
        assert!(mean.abs() < 5.0 * (expected / n).sqrt(), "{mean}");
        assert!((variance - expected).abs() < 5.0 * expected * (3.2 / n).sqrt(), "{variance}");

        // The noise is the same in a batch, and in a pass that starts elsewhere.
        let two = noise(&[row(9, 20), row(4, 30)], 10, 0, 2);
        assert_eq!(two[10..], one[21..31]);
        assert_ne!(noise(&[row(4, 30)], 10, 1, 2), two[10..], "another step");
        assert_ne!(noise(&[row(4, 30)], 10, 0, 3), two[10..], "another layer");
    }
}
