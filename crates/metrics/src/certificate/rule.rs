//! Rules that test many candidates together.

use super::CertificateError;
use super::p_value::check_level;
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};

/// A rule that decides from the p-values of several candidates which ones are certified, so that with probability
/// `1 - delta` none of them has too high a risk (Learn then Test, Angelopoulos et al. 2021, arXiv 2110.01052).
///
/// The order of the candidates, and all weights and edges, must not depend on the data of the p-values.
///
/// ```
/// use dynlayer_metrics::certificate::Rule;
///
/// let p = [0.01, 0.09, 0.2, 0.03];
/// // One after the other, up to the first that fails: the last one is not tested.
/// assert_eq!(Rule::FixedSequence.certified(&p, 0.1)?, [true, true, false, false]);
/// assert_eq!(Rule::Bonferroni.certified(&p, 0.1)?, [true, false, false, false]);
/// assert_eq!(Rule::Holm.certified(&p, 0.1)?, [true, false, false, true]);
/// # Ok::<(), dynlayer_metrics::certificate::CertificateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// Each candidate at `delta`, in their order, from the most careful to the boldest, up to the first that fails.
    FixedSequence,
    /// Each candidate at `delta` divided by their number.
    Bonferroni,
    /// The test of [`Bonferroni`](Self::Bonferroni), step by step from the smallest p-value on: the part of `delta` of a certified
    /// candidate is shared among the rest (Holm 1979).
    Holm,
    /// Each candidate at a share of `delta`; the share of a certified one goes on along edges (Bretz et al. 2009, algorithm 1).
    Graph {
        /// The shares of the candidates, whose sum is at most 1.
        weights: Vec<f64>,
        /// `edges[i][j]` is the part of the share of `i` that goes to `j`. A row's sum is at most 1, and the diagonal is 0.
        edges: Vec<Vec<f64>>,
    },
}

impl Rule {
    /// Returns for each candidate if it is certified.
    ///
    /// # Errors
    /// If a p-value or `delta` is out of its range, or if the weights or edges of a graph are not as many as there are
    /// candidates, or not shares.
    pub fn certified(&self, p_values: &[f64], delta: f64) -> Result<Vec<bool>, CertificateError> {
        check_level("delta", delta)?;
        if let Some(index) = p_values.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return Err(CertificateError::PValue { index, found: p_values[index] });
        }
        let n = p_values.len();
        let mut certified = vec![false; n];
        match self {
            Self::FixedSequence => {
                let first = p_values.iter().position(|p| *p > delta).unwrap_or(n);
                certified[..first].fill(true);
            }
            Self::Bonferroni => {
                certified.iter_mut().zip(p_values).for_each(|(certified, p)| *certified = *p <= delta / n.to_f64());
            }
            Self::Holm => {
                let mut order: Vec<usize> = (0..n).collect();
                order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
                for (rank, candidate) in order.into_iter().enumerate() {
                    if p_values[candidate] > delta / (n - rank).to_f64() {
                        break;
                    }
                    certified[candidate] = true;
                }
            }
            Self::Graph { weights, edges } => {
                check_graph(weights, edges, n)?;
                let (mut weights, mut edges) = (weights.clone(), edges.clone());
                while let Some(found) = (0..n).find(|i| !certified[*i] && p_values[*i] <= weights[*i] * delta) {
                    certified[found] = true;
                    pass_on(found, &certified, &mut weights, &mut edges);
                }
            }
        }
        Ok(certified)
    }
}

/// Passes the share of a candidate on to those that are left.
fn pass_on(from: usize, certified: &[bool], weights: &mut [f64], edges: &mut [Vec<f64>]) {
    let before = edges.to_vec();
    let left: Vec<usize> = (0..weights.len()).filter(|i| !certified[*i]).collect();
    for &to in &left {
        weights[to] += weights[from] * before[from][to];
        for &next in &left {
            let back = before[to][from] * before[from][to];
            edges[to][next] = if next == to || back >= 1.0 {
                0.0
            } else {
                (before[to][next] + before[to][from] * before[from][next]) / (1.0 - back)
            };
        }
    }
    weights[from] = 0.0;
}

fn check_graph(weights: &[f64], edges: &[Vec<f64>], n: usize) -> Result<(), CertificateError> {
    let shares = |of: &[f64]| {
        of.len() == n && of.iter().all(|share| (0.0..=1.0).contains(share)) && of.iter().sum::<f64>() <= 1.0 + 1e-9
    };
    let loops = edges.iter().enumerate().any(|(i, row)| row.get(i).is_some_and(|own| *own > 0.0));
    if shares(weights) && edges.len() == n && edges.iter().all(|row| shares(row)) && !loops {
        Ok(())
    } else {
        Err(CertificateError::Graph { candidates: n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(n: usize) -> Rule {
        let weights = (0..n).map(|i| f64::from(u8::from(i == 0))).collect();
        let edges = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(j == i + 1))).collect()).collect();
        Rule::Graph { weights, edges }
    }

    fn complete(n: usize) -> Rule {
        let share = |i: usize, j: usize| if i == j { 0.0 } else { 1.0 / (n - 1).max(1) as f64 };
        let edges = (0..n).map(|i| (0..n).map(|j| share(i, j)).collect()).collect();
        Rule::Graph { weights: vec![1.0 / n as f64; n], edges }
    }

    proptest! {
        #[test]
        fn rules_agree_where_they_should(p in prop::collection::vec(0.0..0.3f64, 1..8), delta in 0.01..0.5f64) {
            let of = |rule: Rule| rule.certified(&p, delta).unwrap();
            let n = p.len();
            prop_assert_eq!(of(path(n)), of(Rule::FixedSequence));
            let (holm, bonferroni) = (of(Rule::Holm), of(Rule::Bonferroni));
            prop_assert!(holm.iter().zip(&bonferroni).all(|(holm, bonferroni)| *holm || !bonferroni));
            // Equal shares that go to all others are Holm's rule, but for rounding at the limits.
            let nudged = |by: f64| complete(n).certified(&p, delta * by).unwrap();
            let (less, more) = (nudged(1.0 - 1e-9), nudged(1.0 + 1e-9));
            prop_assert!((0..n).all(|i| (!less[i] || holm[i]) && (!holm[i] || more[i])), "{:?} {:?}", holm, more);
        }
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for p in [f64::NAN, -0.1, 1.5] {
            let refused = Rule::FixedSequence.certified(&[0.0, p], 0.1);
            assert!(matches!(refused, Err(CertificateError::PValue { index: 1, .. })));
        }
        assert!(matches!(Rule::Holm.certified(&[0.0], f64::NAN), Err(CertificateError::Level { .. })));
    }

    #[test]
    fn wrong_graphs_are_refused() {
        let graph = |weights: &[f64], edges: &[&[f64]]| {
            let edges = edges.iter().map(|row| row.to_vec()).collect();
            Rule::Graph { weights: weights.to_vec(), edges }.certified(&[0.1, 0.1], 0.1)
        };
        assert!(graph(&[0.5, 0.5], &[&[0.0, 1.0], &[1.0, 0.0]]).is_ok());
        for (weights, edges) in [
            (&[1.0][..], &[&[0.0, 1.0][..], &[1.0, 0.0]][..]),
            (&[0.7, 0.7], &[&[0.0, 1.0], &[1.0, 0.0]]),
            (&[0.5, 0.5], &[&[0.0, 1.0]]),
            (&[0.5, 0.5], &[&[0.5, 0.5], &[1.0, 0.0]]),
            (&[0.5, f64::NAN], &[&[0.0, 1.0], &[1.0, 0.0]]),
        ] {
            assert!(matches!(graph(weights, edges), Err(CertificateError::Graph { candidates: 2 })));
        }
    }
}
