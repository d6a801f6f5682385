//! Ridge regression, with the strength chosen by leave-one-out cross-validation.

use super::cholesky::Cholesky;
use crate::oracle::as_f64;

/// The strengths to choose from: factors of the sum of squared weights, which is added to the mean squared error. The
/// last one is so large that the fit predicts the mean.
const STRENGTHS: [f64; 9] = [1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e9];

/// Linear functions of features, one per target: `intercept + Σ (x - mean) weight`.
pub(super) struct Ridge {
    /// The mean of each feature.
    pub(super) mean: Vec<f64>,
    /// The weights, `[target][feature]`.
    pub(super) weights: Vec<Vec<f64>>,
    /// The intercept of each target.
    pub(super) intercepts: Vec<f64>,
    pub(super) strength: f64,
    /// The predictions for each sample by a fit to all other samples, `[sample][target]`.
    pub(super) left_out: Vec<Vec<f64>>,
}

impl Ridge {
    /// Fits `targets` to `features`, which have a row for each sample; `None` without a sample.
    ///
    /// An empty row of features stands for the mean. Features are centred and scaled to equal variances with the sum 1.
    /// The dual form is solved (Saunders, Gammerman & Vovk 1998), since there are usually more features than samples.
    /// The time grows with the cube of the number of samples.
    pub(super) fn fit(features: &[&[f32]], targets: &[Vec<f64>]) -> Option<Self> {
        let n = features.len();
        let seen: Vec<&[f32]> = features.iter().copied().filter(|row| !row.is_empty()).collect();
        let width = seen.first().map_or(0, |row| row.len());
        let column = |j: usize| seen.iter().map(move |row| f64::from(row[j]));
        let mean: Vec<f64> = (0..width).map(|j| column(j).sum::<f64>() / as_f64(seen.len())).collect();
        let deviation = |(j, mean): (usize, &f64)| {
            let variance = column(j).map(|x| (x - mean) * (x - mean)).sum::<f64>() / as_f64(seen.len());
            // A constant feature has no influence.
            if variance > 0.0 { 1.0 / (variance * as_f64(width)).sqrt() } else { 0.0 }
        };
        let scale: Vec<f64> = mean.iter().enumerate().map(deviation).collect();
        let standard = |row: &&[f32]| -> Vec<f64> {
            if row.is_empty() {
                return vec![0.0; width];
            }
            row.iter().zip(mean.iter().zip(&scale)).map(|(x, (m, s))| (f64::from(*x) - m) * s).collect()
        };
        let standard: Vec<Vec<f64>> = features.iter().map(standard).collect();
        let gram: Vec<f64> = standard.iter().flat_map(|a| standard.iter().map(|b| dot(a, b))).collect();
        let intercepts: Vec<f64> =
            (0..targets.first()?.len()).map(|k| targets.iter().map(|row| row[k]).sum::<f64>() / as_f64(n)).collect();
        let fits = STRENGTHS.iter().filter_map(|strength| Fit::new(*strength * as_f64(n), &gram, targets, &intercepts));
        let best = fits.min_by(|a, b| a.error.total_cmp(&b.error))?;
        let weight = |alpha: &Vec<f64>| -> Vec<f64> {
            let sum = |j: usize| alpha.iter().zip(&standard).map(|(a, row)| a * row[j]).sum::<f64>();
            (0..width).map(|j| sum(j) * scale[j]).collect()
        };
        let weights = best.alphas.iter().map(weight).collect();
        let left_out = (0..n).map(|i| best.left_out.iter().map(|target| target[i]).collect()).collect();
        Some(Self { mean, weights, intercepts, strength: best.strength / as_f64(n), left_out })
    }
}

/// The fit of all targets with one strength.
struct Fit {
    strength: f64,
    /// The coefficients of the dual form, `[target][sample]`.
    alphas: Vec<Vec<f64>>,
    /// The predictions for each sample by a fit to all other samples, `[target][sample]`.
    left_out: Vec<Vec<f64>>,
    /// The sum of the squared residuals of `left_out`, over samples and targets.
    error: f64,
}

impl Fit {
    /// Fits all targets with one strength; `None` if the system is singular.
    fn new(strength: f64, gram: &[f64], targets: &[Vec<f64>], means: &[f64]) -> Option<Self> {
        let n = targets.len();
        let mut matrix = gram.to_vec();
        matrix.iter_mut().step_by(n + 1).for_each(|diagonal| *diagonal += strength);
        let factor = Cholesky::new(n, &matrix)?;
        let inverse = factor.inverse_diagonal();
        let (mut alphas, mut left_out, mut error) = (Vec::new(), Vec::new(), 0.0);
        for (k, mean) in means.iter().enumerate() {
            let centred: Vec<f64> = targets.iter().map(|row| row[k] - mean).collect();
            let alpha = factor.solve(&centred);
            // The residual is strength * alpha, and 1 minus the leverage is strength * inverse - 1 / n.
            let residuals = alpha
                .iter()
                .zip(&inverse)
                .map(|(alpha, inverse)| strength * alpha / (strength * inverse - 1.0 / as_f64(n)).max(1e-9));
            let residuals: Vec<f64> = residuals.collect();
            error += dot(&residuals, &residuals);
            left_out.push(targets.iter().zip(&residuals).map(|(row, residual)| row[k] - residual).collect());
            alphas.push(alpha);
        }
        Some(Self { strength, alphas, left_out, error })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Ridge {
        fn predict(&self, features: &[f32]) -> Vec<f64> {
            let centred: Vec<f64> = features.iter().zip(&self.mean).map(|(x, mean)| f64::from(*x) - mean).collect();
            self.intercepts.iter().zip(&self.weights).map(|(b, weights)| b + dot(weights, &centred)).collect()
        }
    }

    fn samples(n: u16) -> (Vec<Vec<f32>>, Vec<Vec<f64>>) {
        let feature = |i: u16, j: u16| (f32::from(i * 7 + j * 13) * 0.61).sin();
        let features: Vec<Vec<f32>> = (0..n).map(|i| (0..5).map(|j| feature(i, j)).collect()).collect();
        let targets = features.iter().map(|x| {
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            vec![1.0 + 2.0 * x[0] - x[3], 5.0, x[1] * x[2]]
        });
        let targets = targets.collect();
        (features, targets)
    }

    #[test]
    fn what_is_left_out_is_what_a_fit_without_it_predicts() {
        // Two fits of the same features and strength: one of all samples, and one without the last.
        let (features, targets) = samples(12);
        let rows: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        let n = rows.len();
        let mean: Vec<f64> = (0..5).map(|j| rows.iter().map(|r| f64::from(r[j])).sum::<f64>() / as_f64(n)).collect();
        let centred: Vec<Vec<f64>> =
            rows.iter().map(|r| r.iter().zip(&mean).map(|(x, m)| f64::from(*x) - m).collect()).collect();
        let gram: Vec<f64> = centred.iter().flat_map(|a| centred.iter().map(|b| dot(a, b))).collect();
        let means: Vec<f64> = (0..3).map(|k| targets.iter().map(|t| t[k]).sum::<f64>() / as_f64(n)).collect();
        let fit = Fit::new(0.7, &gram, &targets, &means).unwrap();

        let (last, others) = (n - 1, 0..n - 1);
        let mean_of = |value: &dyn Fn(usize) -> f64| others.clone().map(value).sum::<f64>() / as_f64(n - 1);
        let middle: Vec<f64> = (0..5).map(|j| mean_of(&|i| centred[i][j])).collect();
        let shifted = |i: usize| -> Vec<f64> { centred[i].iter().zip(&middle).map(|(x, m)| x - m).collect() };
        let gram: Vec<f64> = others
            .clone()
            .flat_map(|a| others.clone().map(move |b| (a, b)))
            .map(|(a, b)| dot(&shifted(a), &shifted(b)))
            .collect();
        for k in 0..3 {
            let mean = mean_of(&|i| targets[i][k]);
            let means: Vec<f64> = (0..3).map(|k| mean_of(&|i| targets[i][k])).collect();
            let without = Fit::new(0.7, &gram, &targets[..last], &means).unwrap();
            let cross: f64 = others.clone().map(|i| without.alphas[k][i] * dot(&shifted(i), &shifted(last))).sum();
            assert!((mean + cross - fit.left_out[k][last]).abs() < 1e-9, "target {k}");
        }
    }

    #[test]
    fn finds_what_is_linear_and_gives_up_on_what_is_not() {
        let (features, targets) = samples(40);
        let rows: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        let linear: Vec<Vec<f64>> = targets.iter().map(|t| t[..2].to_vec()).collect();
        let ridge = Ridge::fit(&rows, &linear).unwrap();
        for (row, expected) in rows.iter().zip(&linear) {
            let found = ridge.predict(row);
            assert!((found[0] - expected[0]).abs() < 0.05 && (found[1] - 5.0).abs() < 1e-9, "{found:?} {expected:?}");
        }
        // Targets that no feature explains: the mean is the best prediction.
        let noise: Vec<Vec<f64>> = (0..40u32).map(|i| vec![f64::from(i * 37 % 41)]).collect();
        let same: Vec<&[f32]> = rows.iter().map(|_| &[1.0f32; 5][..]).collect();
        let ridge = Ridge::fit(&same, &noise).unwrap();
        assert!((ridge.predict(same[0])[0] - ridge.intercepts[0]).abs() < 1e-9);
        assert!(Ridge::fit(&[], &[]).is_none());
        let unseen: Vec<&[f32]> = rows.iter().map(|_| &[][..]).collect();
        assert_eq!(Ridge::fit(&unseen, &noise).unwrap().predict(&[]), ridge.intercepts);
    }
}
