//! Baselines that ignore the sequence: one candidate for all, a mix, and the oracle's choices at random.
//!
//! Weights are the numbers of times that each sequence was drawn in a resample; they add up to the number of sequences.

use crate::allocation::{Allocation, Column, Evidence};
use crate::numbers::ToF64;

/// Mean of `values`, weighted by how often each sequence was drawn.
pub(super) fn weighted_mean(values: &[f64], weights: &[f64]) -> f64 {
    values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>() / values.len().to_f64()
}

/// The candidates that every sequence has.
pub(super) struct Statics {
    columns: Vec<Static>,
}

/// One candidate's values, by sequence.
struct Static {
    candidate: usize,
    /// The values that the candidate is chosen by.
    quality: Vec<f64>,
    /// The values that the candidate is judged by.
    score: Vec<f64>,
    cost: Vec<f64>,
}

/// Weighted means of one candidate, or of a mix of two.
#[derive(Clone, Copy)]
pub(super) struct Means {
    /// Mean of the values that candidates are chosen by.
    pub quality: f64,
    /// Mean of the values that candidates are judged by.
    pub score: f64,
    pub cost: f64,
}

impl Means {
    /// Returns true if the cost is within a budget, up to rounding.
    pub fn fits(&self, budget: f64) -> bool {
        self.cost <= budget * (1.0 + 1e-9)
    }
}

impl Statics {
    /// Collects the candidates that every sequence has, with the values of two columns of the evidence: candidates are
    /// chosen by the column `choose` and judged by the column `score`.
    pub fn new(evidence: &Evidence, choose: Column, score: Column) -> Self {
        let sequences = 0..evidence.sequences().len();
        let columns = (0..evidence.candidates().len()).filter_map(|candidate| {
            let cells = sequences.clone().map(|sequence| evidence.cell(sequence, candidate));
            let cells = cells.collect::<Option<Vec<_>>>()?;
            let column = |column| cells.iter().map(|cell| cell.value(column)).collect::<Option<Vec<_>>>();
            let cost = cells.iter().map(|cell| cell.cost).collect();
            Some(Static { candidate, quality: column(choose)?, score: column(score)?, cost })
        });
        Self { columns: columns.collect() }
    }

    /// Returns the index and the means of the best candidate within the budget; among equals, the cheaper. If none is
    /// within the budget, which may happen on a resample, returns the cheapest.
    pub fn best(&self, weights: &[f64], budget: f64) -> Option<(usize, Means)> {
        let (at, best) = best_of(&self.means(weights), budget)?;
        Some((self.columns[at].candidate, best))
    }

    /// Returns the best mix of two candidates whose expected cost is within the budget, a point of the concave envelope
    /// of their means. If none is within the budget, returns the cheapest candidate.
    pub fn best_mix(&self, weights: &[f64], budget: f64) -> Option<Means> {
        let all = self.means(weights);
        let (_, mut best) = best_of(&all, budget)?;
        for below in all.iter().filter(|one| one.cost <= budget) {
            for above in all.iter().filter(|one| one.cost > budget) {
                let share = (budget - below.cost) / (above.cost - below.cost);
                let between = |a: f64, b: f64| a + share * (b - a);
                let quality = between(below.quality, above.quality);
                if quality > best.quality {
                    best = Means { quality, score: between(below.score, above.score), cost: budget };
                }
            }
        }
        Some(best)
    }

    fn means(&self, weights: &[f64]) -> Vec<Means> {
        let means = |column: &Static| Means {
            quality: weighted_mean(&column.quality, weights),
            score: weighted_mean(&column.score, weights),
            cost: weighted_mean(&column.cost, weights),
        };
        self.columns.iter().map(means).collect()
    }
}

/// Returns the index and the means of the best one within the budget, or of the cheapest if none is.
fn best_of(all: &[Means], budget: f64) -> Option<(usize, Means)> {
    all.iter().copied().enumerate().reduce(|best, other| {
        let better = match (best.1.fits(budget), other.1.fits(budget)) {
            (true, true) => (other.1.quality, -other.1.cost) > (best.1.quality, -best.1.cost),
            (false, false) => other.1.cost < best.1.cost,
            (_, other) => other,
        };
        if better { other } else { best }
    })
}

/// Expected quality and cost of every sequence if the allocation's choices are dealt to the sequences at random.
///
/// The expectation is exact if every sequence has all candidates. A sequence that lacks some of the chosen candidates
/// draws among those that it has, and one that has none of them draws among all of its candidates.
pub(super) fn dealt(evidence: &Evidence, allocation: &Allocation) -> (Vec<f64>, Vec<f64>) {
    let counts = allocation.counts(evidence);
    let row = |sequence| {
        let weigh = |weight: &dyn Fn(usize) -> f64| {
            evidence.row(sequence).fold([0.0; 3], |[all, quality, cost], cell| {
                let weight = weight(cell.candidate);
                [all + weight, quality + weight * cell.quality, cost + weight * cell.cost]
            })
        };
        let mixed = weigh(&|candidate| counts[candidate].to_f64());
        let [all, quality, cost] = if mixed[0] > 0.0 { mixed } else { weigh(&|_| 1.0) };
        (quality / all, cost / all)
    };
    (0..evidence.sequences().len()).map(row).unzip()
}
