//! Conformal risk control.

use super::CertificateError;
use super::p_value::{check, check_level};
use crate::numbers::ToF64;

/// Returns the boldest candidate whose expected loss on a new sequence is at most `alpha`, if there is one (conformal risk
/// control, Angelopoulos et al. 2022, arXiv 2208.02814, theorem 1).
///
/// `losses` has for each candidate, from the most careful to the boldest, the loss of each sequence, from 0 to 1. The theorem is
/// about losses that rise from candidate to candidate, so each sequence's losses are first raised to the largest one so far. The
/// expectation is over the measured sequences and the new one together; for one set of measured sequences the mean loss may be
/// above `alpha`.
///
/// ```
/// use dynlayer_metrics::certificate::risk_control;
///
/// let careful: Vec<f64> = (0..99).map(|i| f64::from(u8::from(i < 2))).collect();
/// let bold: Vec<f64> = (0..99).map(|i| f64::from(u8::from(i < 9))).collect();
/// assert_eq!(risk_control(&[careful.clone(), bold.clone()], 0.05)?, Some(0)); // (2 + 1) / 100
/// assert_eq!(risk_control(&[careful, bold], 0.1)?, Some(1)); // (9 + 1) / 100
/// # Ok::<(), dynlayer_metrics::certificate::CertificateError>(())
/// ```
///
/// # Errors
/// If there are no sequences, candidates have different numbers of them, or a loss or `alpha` is out of its range.
pub fn risk_control(losses: &[Vec<f64>], alpha: f64) -> Result<Option<usize>, CertificateError> {
    check_level("alpha", alpha)?;
    let n = losses.first().map_or(0, Vec::len);
    for (candidate, losses) in losses.iter().enumerate() {
        check(losses)?;
        if losses.len() != n {
            return Err(CertificateError::Lengths { candidate, found: losses.len(), expected: n });
        }
    }
    let mut highest = vec![0.0_f64; n];
    let mut boldest = None;
    for (candidate, losses) in losses.iter().enumerate() {
        highest.iter_mut().zip(losses).for_each(|(highest, loss)| *highest = highest.max(*loss));
        if (highest.iter().sum::<f64>() + 1.0) / (n + 1).to_f64() > alpha {
            break;
        }
        boldest = Some(candidate);
    }
    Ok(boldest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use rand::Rng;

    /// Candidates whose true mean losses are the levels of a grid, on the same draws, so that losses are monotone.
    #[test]
    fn the_expected_loss_is_at_most_alpha() {
        let (alpha, n, repeats) = (0.1, 60, 4000);
        let risks: Vec<f64> = (0..40).map(|i| f64::from(i) * 0.01).collect();
        let mut mean = 0.0;
        for repeat in 0..repeats {
            let mut rng = random::at(*b"CertTest", 9, [repeat, 0, 0]);
            let draws: Vec<f64> = (0..n).map(|_| rng.random()).collect();
            let losses: Vec<Vec<f64>> =
                risks.iter().map(|risk| draws.iter().map(|u| f64::from(u8::from(u < risk))).collect()).collect();
            let chosen = risk_control(&losses, alpha).unwrap();
            mean += chosen.map_or(0.0, |chosen| risks[chosen]) / repeats as f64;
        }
        // The theorem's lower bound is alpha - 2 / (n + 1), and one step of the grid is lost.
        assert!(mean <= alpha + 0.003 && mean > alpha - 2.0 / 61.0 - 0.012, "{mean}");
    }

    #[test]
    fn losses_are_made_monotone() {
        let (low, high) = (vec![0.0; 50], vec![1.0; 50]);
        assert_eq!(risk_control(&[low.clone(), high, low.clone()], 0.1).unwrap(), Some(0));
        assert_eq!(risk_control(&[], 0.1).unwrap(), None);
        assert!(risk_control(&[low, vec![0.0; 3]], 0.1).is_err());
    }
}
