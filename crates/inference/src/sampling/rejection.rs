//! Speculative sampling: a token drawn from the drafter's distribution becomes one of the full model's distribution
//! (Leviathan, Kalman and Matias 2023, algorithm 1; Chen et al. 2023, algorithm 2).
//!
//! `p` are the full model's probabilities and `q` the drafter's, both after all penalties and filters. Draft, acceptance
//! and the token instead use random numbers of different purposes: with a shared one the result has another distribution.
//! For the same reason they depend on where the round began (`from`), so that a rejected draft's numbers do not come again.

use super::Place;
use crate::random;

/// Draws a token from the drafter's distribution.
pub(crate) fn drafted(q: &[f64], place: Place, from: usize) -> Option<usize> {
    invert(q, place.draw(random::DRAFT, from))
}

/// Returns the drafted token if it is accepted, which happens with probability `min(1, p / q)`. Otherwise draws another
/// one from the rest of the full model's distribution, `max(0, p - q)`.
pub(crate) fn accepted(token: usize, p: &[f64], q: &[f64], place: Place, from: usize) -> Option<usize> {
    if place.draw(random::ACCEPT, from) < acceptance(token, p, q) {
        return Some(token);
    }
    invert(&instead(p, q), place.draw(random::INSTEAD, from))
}

fn acceptance(token: usize, p: &[f64], q: &[f64]) -> f64 {
    match (p.get(token), q.get(token)) {
        (Some(p), Some(q)) if p < q => p / q,
        (Some(_), Some(_)) => 1.0,
        _ => 0.0,
    }
}

/// The distribution of the token instead of one that was not accepted, up to a factor.
fn instead(p: &[f64], q: &[f64]) -> Vec<f64> {
    let rest: Vec<f64> = p.iter().zip(q).map(|(p, q)| (p - q).max(0.0)).collect();
    // Only rounding leaves nothing: if `p` and `q` are equal, every token is accepted.
    if rest.iter().any(|p| *p > 0.0) { rest } else { p.to_vec() }
}

/// Draws an index with a probability in proportion to its weight, by inversion of `u`, which is uniform from 0 to 1.
fn invert(weights: &[f64], u: f64) -> Option<usize> {
    let mut left = u * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return Some(index);
        }
    }
    // Reached only if rounding leaves a remainder.
    weights.iter().rposition(|weight| *weight > 0.0)
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss, reason = "small numbers in tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distribution() -> impl Strategy<Value = Vec<f64>> {
        let weight = prop_oneof![3 => 0.001f64..1.0, 1 => Just(0.0)];
        prop::collection::vec(weight, 5).prop_filter_map("a weight", |weights| {
            let sum: f64 = weights.iter().sum();
            (sum > 0.0).then(|| weights.iter().map(|weight| weight / sum).collect())
        })
    }

    proptest! {
        #[test]
        fn what_comes_out_has_the_full_models_distribution(p in distribution(), q in distribution()) {
            let accepts: f64 = q.iter().enumerate().map(|(token, q_of)| q_of * acceptance(token, &p, &q)).sum();
            let overlap: f64 = p.iter().zip(&q).map(|(p, q)| p.min(*q)).sum();
            prop_assert!((accepts - overlap).abs() < 1e-15, "one less the total variation");
            let rest = instead(&p, &q);
            let sum: f64 = rest.iter().sum();
            for token in 0..p.len() {
                let found = q[token] * acceptance(token, &p, &q) + (1.0 - accepts) * rest[token] / sum;
                prop_assert!((found - p[token]).abs() < 1e-15, "token {token}: {found} for {}", p[token]);
            }
        }
    }

    /// The chi-square statistic of tokens drawn with this rule at many places, with 4 degrees of freedom.
    fn chi_square(rule: impl Fn(&[f64], &[f64], Place) -> usize) -> f64 {
        let (p, q) = ([0.4, 0.1, 0.3, 0.05, 0.15], [0.1, 0.5, 0.1, 0.2, 0.1]);
        let n = 100_000;
        let mut counts = [0.0; 5];
        for position in 0..n {
            counts[rule(&p, &q, Place { seed: 3, sequence: 1, position })] += 1.0;
        }
        let terms = counts.iter().zip(p).map(|(count, p)| (count - n as f64 * p).powi(2) / (n as f64 * p));
        terms.sum()
    }

    #[test]
    fn draws_have_the_full_models_distribution_only_with_random_numbers_of_their_own() {
        // With 4 degrees of freedom, a statistic above 23.5 has a probability of 0.0001.
        let right = chi_square(|p, q, place| accepted(drafted(q, place, 7).unwrap(), p, q, place, 7).unwrap());
        assert!(right < 23.5, "{right}");
        let tied = chi_square(|p, q, place| {
            let u = place.draw(random::DRAFT, 7);
            let token = invert(q, u).unwrap();
            if u < acceptance(token, p, q) { token } else { invert(&instead(p, q), u).unwrap() }
        });
        assert!(tied > 1000.0, "{tied}");
    }
}
