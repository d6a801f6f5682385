//! Controls that need no allocation of their own: one candidate for all, and candidates at random.

use crate::oracle::numbers::count;
use crate::oracle::{Allocation, Evidence};

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
    quality: Vec<f64>,
    cost: Vec<f64>,
}

/// The best of them within a budget.
pub(super) struct BestStatic {
    pub candidate: usize,
    pub quality: f64,
    pub cost: f64,
}

impl Statics {
    pub fn new(evidence: &Evidence) -> Self {
        let sequences = 0..evidence.sequences().len();
        let columns = (0..evidence.candidates().len()).filter_map(|candidate| {
            let cells = sequences.clone().map(|sequence| evidence.cell(sequence, candidate));
            let (quality, cost) =
                cells.map(|cell| cell.map(|cell| (cell.quality, cell.cost))).collect::<Option<_>>()?;
            Some(Static { candidate, quality, cost })
        });
        Self { columns: columns.collect() }
    }

    /// The best within the budget where sequences count so often each; of equal ones the cheaper. Where none is within
    /// the budget, as may happen on a resampling, the cheapest.
    pub fn best(&self, weights: &[f64], budget: f64) -> Option<BestStatic> {
        let all = self.columns.iter().map(|column| BestStatic {
            candidate: column.candidate,
            quality: mean(&column.quality, weights),
            cost: mean(&column.cost, weights),
        });
        all.reduce(|best, other| {
            let fits = |one: &BestStatic| one.cost <= budget * (1.0 + 1e-9);
            let better = match (fits(&best), fits(&other)) {
                (true, true) => (other.quality, -other.cost) > (best.quality, -best.cost),
                (false, false) => other.cost < best.cost,
                (_, other) => other,
            };
            if better { other } else { best }
        })
    }
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
