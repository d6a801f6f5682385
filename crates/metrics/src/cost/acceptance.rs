//! Acceptance of drafted tokens in self-speculative decoding.

use crate::numbers::ToF64;
use crate::statistics::StatisticsError;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Counts of drafted tokens: a draft (a shallow pass) proposes several, and one full pass checks them.
///
/// ```
/// use dynlayer_metrics::cost::Acceptance;
///
/// let mut acceptance = Acceptance::default();
/// acceptance.add_round(4, 4)?;
/// acceptance.add_round(4, 1)?;
/// assert_eq!(acceptance.rate(), Some(0.625));
/// assert_eq!(acceptance.tokens_per_round(), Some(3.5)); // each round adds a token of the full pass
///
/// // Drafts of 4 tokens at a fifth of the full pass's cost, each token accepted with probability 0.8:
/// assert!((Acceptance::expected_tokens(0.8, 4)? - 3.3616).abs() < 1e-9);
/// assert!((Acceptance::expected_speed_up(0.8, 4, 0.2)? - 3.3616 / 1.8).abs() < 1e-9);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Acceptance {
    /// Number of checks by a full pass.
    pub rounds: u64,
    /// Number of tokens that were proposed.
    pub drafted: u64,
    /// Number of proposed tokens that were kept.
    pub accepted: u64,
}

impl Acceptance {
    /// Adds a round.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::Option`] if `accepted` exceeds `drafted`.
    pub fn add_round(&mut self, drafted: u64, accepted: u64) -> Result<(), StatisticsError> {
        if accepted > drafted {
            let expected = "at most the number of drafted tokens";
            return Err(StatisticsError::Option { option: "accepted", found: accepted.to_f64(), expected });
        }
        *self += Self { rounds: 1, drafted, accepted };
        Ok(())
    }

    /// Share of drafted tokens that were accepted; `None` if none were drafted.
    ///
    /// Tokens after a rejected one count as rejected, so the share is below the probability that one token is accepted.
    pub fn rate(&self) -> Option<f64> {
        (self.drafted > 0).then(|| self.accepted.to_f64() / self.drafted.to_f64())
    }

    /// Mean number of tokens per full pass: the accepted ones and the one that the full pass adds; `None` without a
    /// round.
    pub fn tokens_per_round(&self) -> Option<f64> {
        (self.rounds > 0).then(|| (self.accepted + self.rounds).to_f64() / self.rounds.to_f64())
    }

    /// The expected number of tokens per full pass if each of `drafted` tokens is accepted with probability `alpha`,
    /// independently: (1 - α^(γ+1)) / (1 - α) with α = `alpha` and γ = `drafted` (Leviathan et al. 2023, "Fast
    /// inference from transformers via speculative decoding", arXiv 2211.17192, equation 1).
    ///
    /// # Errors
    ///
    /// [`StatisticsError::Option`] unless `alpha` is from 0 to 1.
    pub fn expected_tokens(alpha: f64, drafted: u32) -> Result<f64, StatisticsError> {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(StatisticsError::Option { option: "alpha", found: alpha, expected: "a number from 0 to 1" });
        }
        // Computes the sum 1 + α + .. + α^γ instead, which is also defined at α = 1.
        Ok((0..drafted).fold(1.0, |sum, _| 1.0 + alpha * sum))
    }

    /// The expected speed-up if a drafted token takes the fraction `cost` of a full pass's time:
    /// [`Self::expected_tokens`] divided by γ·c + 1 with γ = `drafted` and c = `cost` (Leviathan et al. 2023, theorem
    /// 3.8).
    ///
    /// # Errors
    ///
    /// [`StatisticsError::Option`] unless `alpha` is from 0 to 1 and `cost` a finite number of at least 0.
    pub fn expected_speed_up(alpha: f64, drafted: u32, cost: f64) -> Result<f64, StatisticsError> {
        if !(cost >= 0.0 && cost.is_finite()) {
            let expected = "a finite number of at least 0";
            return Err(StatisticsError::Option { option: "cost", found: cost, expected });
        }
        Ok(Self::expected_tokens(alpha, drafted)? / (f64::from(drafted) * cost + 1.0))
    }
}

impl AddAssign for Acceptance {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
    }
}

#[cfg(test)]
mod tests {
    use super::Acceptance;
    use rand::{Rng, SeedableRng};

    /// The formula agrees with the mean over rounds that are drawn at random.
    #[test]
    fn expected_tokens_are_those_of_drawn_rounds() {
        let mut draw = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut acceptance = Acceptance::default();
        for _ in 0..100_000 {
            let accepted = (0..5).take_while(|_| draw.random_bool(0.7)).count() as u64;
            acceptance.add_round(5, accepted).unwrap();
        }
        let expected = Acceptance::expected_tokens(0.7, 5).unwrap();
        assert!((acceptance.tokens_per_round().unwrap() - expected).abs() < 0.02);
        assert!((expected - (1.0 - 0.7_f64.powi(6)) / 0.3).abs() < 1e-12);
    }

    #[test]
    fn edges() {
        assert_eq!(Acceptance::default().rate(), None);
        assert_eq!(Acceptance::default().tokens_per_round(), None);
        assert!(Acceptance::default().add_round(1, 2).is_err());
        assert_eq!(Acceptance::expected_tokens(1.0, 4).unwrap(), 5.0);
        assert_eq!(Acceptance::expected_tokens(0.0, 4).unwrap(), 1.0);
        assert!(Acceptance::expected_tokens(f64::NAN, 4).is_err());
        assert!(Acceptance::expected_speed_up(0.5, 4, -1.0).is_err());
    }
}
