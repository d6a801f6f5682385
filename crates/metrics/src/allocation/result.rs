//! The result of an allocation.

use super::{Cell, Evidence};
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};

/// The proof that no other allocation is better, complete or up to a gap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Proof {
    /// No allocation has a better objective (quality or cost), and none with an equal objective is better in the other
    /// of the two.
    Optimal,
    /// The work limit was reached before the proof was complete.
    Gap {
        /// A mean quality that no allocation exceeds; where cost was minimised, a mean cost that none is below.
        bound: f64,
        /// Distance from the allocation to the bound, at least 0. At 0 the objective is optimal, and only the choice
        /// among allocations that tie is unproven.
        gap: f64,
    },
}

/// One candidate for every sequence.
///
/// ```
/// use dynlayer_metrics::allocation::{Allocator, Evidence, Proof, Record};
///
/// let evidence = Evidence::new([
///     Record::new(0, "exit:2", 0.9, 2.0),
///     Record::new(0, "full", 1.0, 8.0),
///     Record::new(1, "exit:2", 0.1, 2.0),
///     Record::new(1, "full", 0.8, 8.0),
/// ])?;
/// let allocation = Allocator::new(&evidence)?.most_quality(5.0)?;
/// assert_eq!(allocation.choices, [0, 1], "the second sequence gains more from depth");
/// assert_eq!((allocation.mean_cost, allocation.proof), (5.0, Proof::Optimal));
/// assert_eq!(allocation.named(&evidence).collect::<Vec<_>>(), [(0, "exit:2"), (1, "full")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Allocation {
    /// For each sequence, in the order of [`Evidence::sequences`], the index into [`Evidence::candidates`].
    pub choices: Vec<usize>,
    /// Mean cost per sequence, in the evidence's unit.
    pub mean_cost: f64,
    /// Mean quality per sequence, in the column that the allocator chose by.
    pub mean_quality: f64,
    /// The proof that this allocation is the best one.
    pub proof: Proof,
    /// Number of states that the solver examined after the linear relaxation; see
    /// [`Allocator::work_limit`](super::Allocator::work_limit).
    pub work: u64,
}

impl Allocation {
    /// Returns true if the proof is complete.
    pub fn is_optimal(&self) -> bool {
        self.proof == Proof::Optimal
    }

    /// Returns every sequence's id with the name of its candidate, in the order of [`Evidence::sequences`].
    pub fn named<'a>(&'a self, evidence: &'a Evidence) -> impl Iterator<Item = (u64, &'a str)> + 'a {
        let names = self.choices.iter().map(|choice| evidence.candidates()[*choice].as_str());
        evidence.sequences().iter().copied().zip(names)
    }

    /// Number of sequences that each candidate was chosen for, in the order of [`Evidence::candidates`].
    pub fn counts(&self, evidence: &Evidence) -> Vec<usize> {
        let mut counts = vec![0; evidence.candidates().len()];
        for choice in &self.choices {
            counts[*choice] += 1;
        }
        counts
    }

    /// The mean cost of the chosen cells over the sequences, and their mean `value`.
    pub(crate) fn means(evidence: &Evidence, choices: &[usize], value: impl Fn(&Cell) -> f64) -> (f64, f64) {
        let cells = choices.iter().enumerate().filter_map(|(sequence, choice)| evidence.cell(sequence, *choice));
        let (cost, sum) = cells.fold((0.0, 0.0), |(cost, sum), cell| (cost + cell.cost, sum + value(&cell)));
        let n = choices.len().to_f64();
        (cost / n, sum / n)
    }
}
