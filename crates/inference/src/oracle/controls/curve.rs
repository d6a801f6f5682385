//! An allocation that is made anew for every resampling.

use crate::oracle::Column;
use crate::oracle::allocate::{Allocator, Upgrade};
use crate::oracle::numbers::count;

/// The steps of the linear relaxation, chosen by one column and scored by another.
pub(super) struct Curve {
    /// Cost and score of the cheapest item of every sequence.
    bases: Vec<(f64, f64)>,
    steps: Vec<Step>,
}

struct Step {
    sequence: usize,
    cost: f64,
    score: f64,
}

impl Curve {
    /// Goes by the allocator's column, scores by `score`.
    pub fn new(allocator: &Allocator<'_>, score: Column) -> Self {
        let evidence = allocator.evidence();
        let value = |sequence: usize, candidate: usize| {
            let cell = evidence.cell(sequence, candidate);
            cell.map_or((0.0, 0.0), |cell| (cell.cost, cell.value(score).unwrap_or_default()))
        };
        let (cheapest, upgrades) = allocator.relaxation();
        let bases = cheapest.into_iter().enumerate().map(|(sequence, candidate)| value(sequence, candidate));
        let steps = upgrades.into_iter().map(|Upgrade { sequence, from, to }| {
            let (before, after) = (value(sequence, from), value(sequence, to));
            Step { sequence, cost: after.0 - before.0, score: after.1 - before.1 }
        });
        Self { bases: bases.collect(), steps: steps.collect() }
    }

    /// The mean score within a mean budget where sequences count so often each: steps are taken as long as the budget
    /// lasts, of the last one a part. Where the budget does not even pay for the cheapest items, those are scored.
    pub fn score(&self, weights: &[f64], budget: f64) -> f64 {
        let n = count(self.bases.len());
        let bases = self.bases.iter().zip(weights);
        let (cost, mut score) = bases.fold((0.0, 0.0), |sum, (base, w)| (sum.0 + base.0 * w, sum.1 + base.1 * w));
        let mut room = (budget * n - cost).max(0.0);
        for step in &self.steps {
            let weight = weights[step.sequence];
            let cost = step.cost * weight;
            if cost > room {
                score += step.score * weight * (room / cost);
                break;
            }
            room -= cost;
            score += step.score * weight;
        }
        score / n
    }
}
