//! Controls that need no allocation of their own: one candidate for all, and candidates at random.

use crate::oracle::numbers::count;
use crate::oracle::{Allocation, Column, Evidence};

/// A mean where sequences count so often each.
pub(super) fn mean(values: &[f64], weights: &[f64]) -> f64 {
    values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>() / count(values.len())
}

/// The candidates that every sequence has.
pub(super) struct Statics {
    columns: Vec<Static>,
}

struct Static {
    candidate: usize,
    /// What it is chosen by.
    quality: Vec<f64>,
    /// What it is judged by.
    score: Vec<f64>,
    cost: Vec<f64>,
}

/// One of them, or a lottery between two, where sequences count so often each.
#[derive(Clone, Copy)]
pub(super) struct Means {
    /// What it was chosen by.
    pub quality: f64,
    /// What it is judged by.
    pub score: f64,
    pub cost: f64,
}

impl Means {
    pub fn fits(&self, budget: f64) -> bool {
        self.cost <= budget * (1.0 + 1e-9)
    }
}

impl Statics {
    /// Candidates that are chosen by one column and judged by another, both of which the evidence has.
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

    /// The best within the budget where sequences count so often each, and which candidate that is; of equal ones the
    /// cheaper. Where none is within the budget, as may happen on a resampling, the cheapest.
    pub fn best(&self, weights: &[f64], budget: f64) -> Option<(usize, Means)> {
        let (at, best) = best_of(&self.means(weights), budget)?;
        Some((self.columns[at].candidate, best))
    }

    /// The best lottery between two of them whose expected cost is within the budget: the concave envelope of their means.
    /// Where none is within the budget, the cheapest.
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
            quality: mean(&column.quality, weights),
            score: mean(&column.score, weights),
            cost: mean(&column.cost, weights),
        };
        self.columns.iter().map(means).collect()
    }
}

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

/// Quality and cost that every sequence can expect if the allocation's mix of candidates is dealt out at random.
///
/// Exact for tables without gaps. A sequence that lacks some of the mix draws among what it has of it; one that has
/// none of it, among all of its own.
pub(super) fn dealt(evidence: &Evidence, allocation: &Allocation) -> (Vec<f64>, Vec<f64>) {
    let counts = allocation.counts(evidence);
    let row = |sequence| {
        let weigh = |weight: &dyn Fn(usize) -> f64| {
            evidence.row(sequence).fold([0.0; 3], |[all, quality, cost], cell| {
                let weight = weight(cell.candidate);
                [all + weight, quality + weight * cell.quality, cost + weight * cell.cost]
            })
        };
        let mixed = weigh(&|candidate| count(counts[candidate]));
        let [all, quality, cost] = if mixed[0] > 0.0 { mixed } else { weigh(&|_| 1.0) };
        (quality / all, cost / all)
    };
    (0..evidence.sequences().len()).map(row).unzip()
}
