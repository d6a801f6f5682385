//! Allocations of resamples, by the linear relaxation.

use crate::allocation::{Allocator, Column, Upgrade};
use crate::numbers::ToF64;

/// The steps of the linear relaxation, chosen by one column and scored by another.
pub(super) struct Curve {
    /// Cost and score of the cheapest candidate of every sequence.
    bases: Vec<(f64, f64)>,
    /// The steps in order of falling quality per cost.
    steps: Vec<Step>,
}

/// A change of one sequence's candidate, with the differences in cost and score.
struct Step {
    sequence: usize,
    cost: f64,
    score: f64,
}

impl Curve {
    /// The steps of an allocator, scored by another column.
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

    /// Mean score within a mean budget, where `weights` are the numbers of times that each sequence was drawn.
    ///
    /// Steps are taken as long as the budget lasts, the last one in part. A budget below the cheapest candidates gives
    /// their score.
    pub fn score(&self, weights: &[f64], budget: f64) -> f64 {
        let n = self.bases.len().to_f64();
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
