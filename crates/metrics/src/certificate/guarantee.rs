//! Guarantees, and the tests of a table's candidates that they ask for.

use super::p_value::check_level;
use super::{CertificateError, Loss, PValue, Rule};
use crate::allocation::Evidence;
use crate::frontier::{Frontier, Point};
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};

/// The candidates that are tested, and their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Order {
    /// All candidates, from the highest to the lowest mean cost. The cost of a candidate must not depend on the losses.
    #[default]
    Cost,
    /// All candidates as the table has them.
    Table,
    /// The candidates that no other beats in both loss and cost on one half of the sequences (every second one), from the
    /// lowest to the highest loss there; they are tested on the other half (Pareto testing, Laufer-Goldshtein et al. 2022, arXiv 2210.07913). Also for
    /// candidates whose cost depends on the data.
    Pareto,
}

/// A guarantee to be issued: with probability `1 - delta`, the risk of every certified candidate is at most `alpha`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// The level of the risk.
    pub alpha: f64,
    /// The probability with which the promise may be broken, over the choice of the measured sequences.
    pub delta: f64,
    /// The loss.
    pub loss: Loss,
    /// The rule that tests the candidates together.
    pub rule: Rule,
    /// The candidates that are tested, and their order.
    pub order: Order,
    /// The p-values; by default exact ones for losses of 0 and 1, and bets otherwise.
    pub p_value: Option<PValue>,
}

impl Guarantee {
    /// Returns a guarantee about the [quality](Loss::Quality), by a fixed sequence in the order of cost.
    pub fn new(alpha: f64, delta: f64) -> Self {
        let (loss, rule, order) = (Loss::default(), Rule::FixedSequence, Order::default());
        Self { alpha, delta, loss, rule, order, p_value: None }
    }

    /// Sets the loss.
    #[must_use]
    pub fn loss(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    /// Sets the rule.
    #[must_use]
    pub fn rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    /// Sets the order.
    #[must_use]
    pub fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Sets the p-values.
    #[must_use]
    pub fn p_value(self, p_value: PValue) -> Self {
        Self { p_value: Some(p_value), ..self }
    }

    /// Tests the candidates, against the one named `full`.
    pub(super) fn test(&self, evidence: &Evidence, full: &str) -> Result<Tested, CertificateError> {
        check_level("alpha", self.alpha)?;
        check_level("delta", self.delta)?;
        let names = evidence.candidates();
        let full = names
            .iter()
            .position(|name| name == full)
            .ok_or_else(|| CertificateError::NoCandidate { name: full.to_owned(), candidates: names.to_vec() })?;
        let losses = (0..names.len()).map(|candidate| self.loss.of(evidence, candidate, full));
        let losses = losses.collect::<Result<Vec<_>, _>>()?;
        let n = evidence.sequences().len();
        let mut candidates: Vec<usize> = (0..names.len()).collect();
        let mut sequences: Vec<usize> = (0..n).collect();
        match self.order {
            Order::Cost => candidates.sort_by(|a, b| cost(evidence, *b).total_cmp(&cost(evidence, *a))),
            Order::Table => {}
            Order::Pareto => {
                if n < 2 {
                    return Err(CertificateError::TooFew { found: n });
                }
                let (first, second): (Vec<usize>, Vec<usize>) = sequences.iter().partition(|i| *i % 2 == 0);
                candidates = front(&losses, evidence, &first)?;
                sequences = second;
            }
        }
        let exact = self.loss.is_binary();
        let p_value = self.p_value.unwrap_or(if exact { PValue::Exact } else { PValue::Betting { seed: 0 } });
        let of = |candidate: &usize| -> Vec<f64> { sequences.iter().map(|i| losses[*candidate][*i]).collect() };
        let losses: Vec<Vec<f64>> = candidates.iter().map(of).collect();
        let p_values = losses.iter().map(|losses| p_value.of(losses, self.alpha, self.delta));
        let p_values = p_values.collect::<Result<Vec<_>, _>>()?;
        let certified = self.rule.certified(&p_values, self.delta)?;
        Ok(Tested { candidates, losses, p_value, p_values, certified })
    }
}

/// The tested candidates, by their indices, and what was found for each.
pub(super) struct Tested {
    pub(super) candidates: Vec<usize>,
    pub(super) losses: Vec<Vec<f64>>,
    pub(super) p_value: PValue,
    pub(super) p_values: Vec<f64>,
    pub(super) certified: Vec<bool>,
}

/// The mean cost of a candidate.
pub(super) fn cost(evidence: &Evidence, candidate: usize) -> f64 {
    evidence.static_means(candidate).map_or(f64::INFINITY, |(_, cost)| cost)
}

/// The candidates that no other beats in loss and cost on these sequences, from the lowest loss on.
fn front(losses: &[Vec<f64>], evidence: &Evidence, sequences: &[usize]) -> Result<Vec<usize>, CertificateError> {
    let n = sequences.len().to_f64();
    let mut points = Vec::with_capacity(losses.len());
    for (candidate, losses) in losses.iter().enumerate() {
        let cost = |i: &usize| evidence.cell(*i, candidate).map_or(f64::INFINITY, |cell| cell.cost);
        let (loss, cost) = sequences.iter().fold((0.0, 0.0), |sum, i| (sum.0 + losses[*i], sum.1 + cost(i)));
        points.push(Point::new(cost / n, 1.0 - loss / n));
    }
    // There is a point for each candidate, and all numbers are finite. The indices ascend by cost, and so does the quality.
    let front = Frontier::of(&points).map_err(|_| CertificateError::NoSequences)?;
    Ok(front.indices().iter().rev().copied().collect())
}

#[cfg(test)]
mod tests;
