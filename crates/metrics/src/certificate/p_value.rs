//! P-values of the hypothesis that a candidate's risk is too high.

use super::CertificateError;
use crate::numbers::ToF64;
use crate::random;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// A way to compute a p-value. The hypothesis is that the mean loss of all sequences of a kind (the *risk*) is above a level
/// `alpha`; a small p-value speaks for a risk of at most `alpha`. Losses are between 0 and 1.
///
/// ```
/// use dynlayer_metrics::certificate::PValue;
///
/// // Two losses of 1 among 100: with a risk of 0.1, so few have a probability of 0.0019.
/// let losses: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < 2))).collect();
/// let p = PValue::Exact.of(&losses, 0.1, 0.1)?;
/// assert!((p - 0.001_944_885).abs() < 1e-9);
/// # Ok::<(), dynlayer_metrics::certificate::CertificateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PValue {
    /// The probability of at most so many losses of 1 in the binomial distribution; for losses that are all 0 or 1.
    Exact,
    /// The smaller one of the bounds by Hoeffding and by Bentkus (Bates et al. 2021, arXiv 2101.02703, theorem 5; Angelopoulos
    /// et al. 2021, arXiv 2110.01052, proposition 1).
    HoeffdingBentkus,
    /// One over the largest wealth of a gambler who bets that the next loss is below `alpha` (Waudby-Smith and Ramdas 2023,
    /// arXiv 2010.09686, section 4.2). Often the smallest for losses of low variance. It depends on the order of the losses, which
    /// the seed shuffles.
    Betting {
        /// The seed of the order.
        seed: u64,
    },
}

impl PValue {
    /// The p-value for these losses. `delta`, the level at which it will be tested, only sets the size of bets.
    ///
    /// # Errors
    /// If there are no losses, one is not between 0 and 1 or for [`Exact`](Self::Exact) neither, or a level is not between 0 and 1.
    pub fn of(self, losses: &[f64], alpha: f64, delta: f64) -> Result<f64, CertificateError> {
        check_level("alpha", alpha)?;
        check_level("delta", delta)?;
        check(losses)?;
        let n = losses.len();
        let mean = losses.iter().sum::<f64>() / n.to_f64();
        Ok(match self {
            Self::Exact => {
                if let Some(index) = losses.iter().position(|loss| loss.fract() > 0.0) {
                    let expected = "0 or 1, or another p-value than the exact one";
                    return Err(CertificateError::Loss { index, found: losses[index], expected });
                }
                binomial(losses.iter().filter(|loss| **loss > 0.0).count(), n, alpha)
            }
            Self::HoeffdingBentkus => {
                let low = mean.min(alpha);
                let part = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
                let hoeffding = (-n.to_f64() * (part(low, alpha) + part(1.0 - low, 1.0 - alpha))).exp();
                // A sum of thirds may be 2.0000000000000004.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to n")]
                let ones = (mean * n.to_f64() - 1e-9).ceil().max(0.0) as usize;
                hoeffding.min(std::f64::consts::E * binomial(ones, n, alpha)).min(1.0)
            }
            Self::Betting { seed } => {
                let mut order = losses.to_vec();
                order.shuffle(&mut random::at(random::BETS, seed, [n as u64, 0, 0]));
                betting(&order, alpha, delta)
            }
        })
    }

    /// The lowest level for which the hypothesis of a higher risk is rejected at `delta`: an upper bound of the risk that holds
    /// with probability `1 - delta`, for one candidate.
    ///
    /// # Errors
    /// The same as for [`of`](Self::of).
    pub fn bound(self, losses: &[f64], delta: f64) -> Result<f64, CertificateError> {
        // P-values fall with the level.
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..50 {
            let middle = f64::midpoint(low, high);
            if self.of(losses, middle, delta)? <= delta {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(high)
    }
}

/// The probability of at most `k` successes in `n` trials of probability `p`.
fn binomial(k: usize, n: usize, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    let odds = p.ln() - (-p).ln_1p();
    let mut log_term = n.to_f64() * (-p).ln_1p();
    let mut logs = vec![log_term];
    for i in 0..k {
        log_term += ((n - i).to_f64() / (i + 1).to_f64()).ln() + odds;
        logs.push(log_term);
    }
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()).exp().min(1.0)
}

/// One over the largest wealth, with bets that depend only on the losses before.
fn betting(losses: &[f64], alpha: f64, delta: f64) -> f64 {
    let n = losses.len().to_f64();
    let (mut sum, mut squares) = (0.5, 0.25);
    let mut variance: f64 = 0.25;
    let (mut wealth, mut most) = (0.0_f64, 0.0_f64); // as logarithms
    for (i, loss) in losses.iter().enumerate() {
        let bet = (2.0 * (1.0 / delta).ln() / (n * variance)).sqrt().min(1.0);
        wealth += (-bet * (loss - alpha)).ln_1p();
        most = most.max(wealth);
        let seen = (i + 2).to_f64();
        sum += loss;
        squares += (loss - sum / seen).powi(2);
        variance = squares / seen;
    }
    (-most).exp()
}

/// Refuses a level that is not between 0 and 1.
pub(super) fn check_level(option: &'static str, found: f64) -> Result<(), CertificateError> {
    let ok = found > 0.0 && found < 1.0;
    if ok { Ok(()) } else { Err(CertificateError::Level { option, found }) }
}

/// Refuses losses that are not between 0 and 1.
pub(super) fn check(losses: &[f64]) -> Result<(), CertificateError> {
    if losses.is_empty() {
        return Err(CertificateError::NoSequences);
    }
    match losses.iter().position(|loss| !(0.0..=1.0).contains(loss)) {
        Some(index) => {
            let expected = "from 0 to 1; clip or rescale the losses, and say so";
            Err(CertificateError::Loss { index, found: losses[index], expected })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use rand::Rng;

    const ALL: [PValue; 3] = [PValue::Exact, PValue::HoeffdingBentkus, PValue::Betting { seed: 3 }];

    /// Values from whole fractions.
    #[test]
    fn binomial_probabilities() {
        for (k, n, p, expected) in [
            (0, 10, 0.1, 0.348_678_440_1),
            (3, 10, 0.25, 0.775_875_091_552_734_4),
            (50, 1000, 0.06, 0.100_567_591_711_685_79),
            (2, 100, 0.1, 0.001_944_884_651_880_016),
            (10, 10, 0.5, 1.0),
        ] {
            let found = binomial(k, n, p);
            assert!((found - expected).abs() < 1e-10 * expected, "{k} of {n} at {p}: {found}");
        }
        // From the definition, with whole coefficients.
        let choose = |n: u32, k: u32| (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product::<f64>();
        for k in 0..20 {
            let expected: f64 =
                (0..=k).map(|i| choose(20, i) * 0.3_f64.powf(f64::from(i)) * 0.7_f64.powf(f64::from(20 - i))).sum();
            assert!((binomial(k as usize, 20, 0.3) - expected).abs() < 1e-12);
        }
        assert!(binomial(90, 100_000, 0.01) > 0.0, "no underflow");
    }

    /// A p-value is at most `u` with a probability of at most `u` if the risk is just `alpha`.
    #[test]
    fn p_values_are_not_too_small() {
        let (alpha, n, repeats) = (0.1, 100, 4000_usize);
        for p_value in ALL {
            for kind in 0..3 {
                if p_value == PValue::Exact && kind != 0 {
                    continue;
                }
                let mut rng = random::at(*b"CertTest", 5, [kind, 0, 0]);
                let mut loss = || match kind {
                    0 => f64::from(u8::from(rng.random::<f64>() < alpha)),
                    // A mean of 0.1 and another spread.
                    1 => rng.random::<f64>().powi(9),
                    _ => {
                        if rng.random::<bool>() {
                            0.05
                        } else {
                            0.15
                        }
                    }
                };
                let p: Vec<f64> = (0..repeats)
                    .map(|_| p_value.of(&(0..n).map(|_| loss()).collect::<Vec<f64>>(), alpha, 0.1).unwrap())
                    .collect();
                for level in [0.01, 0.05, 0.1, 0.2, 0.5] {
                    let share = p.iter().filter(|p| **p <= level).count().to_f64() / repeats.to_f64();
                    let most = level + 4.0 * (level * (1.0 - level) / repeats.to_f64()).sqrt();
                    assert!(share <= most, "{p_value:?}, losses {kind}: {share} below {level}");
                }
            }
        }
    }

    #[test]
    fn bounds_are_where_the_hypothesis_is_just_rejected() {
        let losses: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 20 == 0))).collect();
        for p_value in ALL {
            let bound = p_value.bound(&losses, 0.1).unwrap();
            assert!(bound > 0.05 && bound < 0.12, "{p_value:?}: {bound}");
            assert!(p_value.of(&losses, bound + 1e-6, 0.1).unwrap() <= 0.1);
            assert!(p_value.of(&losses, bound - 1e-6, 0.1).unwrap() > 0.1);
        }
        // Clopper and Pearson's bound for 10 of 200 at 90 %, one-sided.
        assert!((PValue::Exact.bound(&losses, 0.1).unwrap() - 0.075_989_788_173).abs() < 1e-9);
    }

    #[test]
    fn unusable_losses_are_refused() {
        for (losses, part) in [
            (&[][..], "no sequences"),
            (&[0.5, 1.5], "loss 1 is 1.5"),
            (&[f64::NAN], "loss 0 is NaN"),
            (&[0.5], "expected 0 or 1"),
        ] {
            let error = PValue::Exact.of(losses, 0.1, 0.1).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(PValue::Exact.of(&[0.0], 0.0, 0.1).unwrap_err().to_string().contains("alpha is 0"));
    }
}
