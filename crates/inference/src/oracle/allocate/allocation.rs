//! What came of an allocation.

use crate::oracle::Evidence;
use crate::oracle::numbers::count;
use serde::{Deserialize, Serialize};

/// How sure it is that no allocation is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Proof {
    /// It is proven that none is better, and that none as good in what was asked for is better in the other respect.
    Optimal,
    /// The work limit was reached before the proof was complete.
    Gap {
        /// No allocation is better than this: a mean quality where quality was asked for, else a mean cost.
        bound: f64,
        /// How far the bound is from what was reached, at least 0. At 0 only ties may be left open.
        gap: f64,
    },
}

/// One candidate for every sequence.
///
/// ```
/// use dynlayer_inference::oracle::{Allocator, Evidence, Proof, Record};
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
    /// Per sequence, in the order of [`Evidence::sequences`], the index into [`Evidence::candidates`].
    pub choices: Vec<usize>,
    /// Mean cost of a sequence, in the evidence's measure.
    pub mean_cost: f64,
    /// Mean quality of a sequence, in the column that the allocation went by.
    pub mean_quality: f64,
    /// Whether it is the best one.
    pub proof: Proof,
    /// States that were looked at for the proof, beyond the linear relaxation.
    pub work: u64,
}

impl Allocation {
    /// Whether the proof is complete.
    pub fn is_optimal(&self) -> bool {
        self.proof == Proof::Optimal
    }

    /// Every sequence's id with the name of its candidate, in the order of [`Evidence::sequences`].
    pub fn named<'a>(&'a self, evidence: &'a Evidence) -> impl Iterator<Item = (u64, &'a str)> + 'a {
        let names = self.choices.iter().map(|choice| evidence.candidates()[*choice].as_str());
        evidence.sequences().iter().copied().zip(names)
    }

    /// How many sequences each candidate was chosen for, in the order of [`Evidence::candidates`].
    pub fn counts(&self, evidence: &Evidence) -> Vec<usize> {
        let mut counts = vec![0; evidence.candidates().len()];
        for choice in &self.choices {
            counts[*choice] += 1;
        }
        counts
    }

    /// Means over the sequences of what their choices cost and of another of their values.
    pub(crate) fn means(
        evidence: &Evidence,
        choices: &[usize],
        value: impl Fn(&super::super::Cell) -> f64,
    ) -> (f64, f64) {
        let cells = choices.iter().enumerate().filter_map(|(sequence, choice)| evidence.cell(sequence, *choice));
        let (cost, sum) = cells.fold((0.0, 0.0), |(cost, sum), cell| (cost + cell.cost, sum + value(&cell)));
        let n = count(choices.len());
        (cost / n, sum / n)
    }
}
