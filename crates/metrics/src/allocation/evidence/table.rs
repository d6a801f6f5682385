//! The table of sequences by candidates.

use super::{EvidenceError, Record};
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A column of qualities, by which an allocation chooses or is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Column {
    /// [`Record::quality`].
    #[default]
    Quality,
    /// The first of [`Record::halves`].
    FirstHalf,
    /// The second of [`Record::halves`].
    SecondHalf,
    /// [`Record::label_free`].
    LabelFree,
}

/// The measured quality and cost of every candidate for every sequence.
///
/// A sequence may lack candidates, but has at least one. Sequences are in the order in which they first appeared, and
/// candidates in the order in which they first appear when the table is read sequence by sequence, so a table that is
/// written and read again is the same table. Either all cells of a sequence have `halves` or none has; either all cells
/// of the table have `label_free` or none has.
///
/// ```
/// use dynlayer_metrics::allocation::{Evidence, Record};
///
/// let evidence = Evidence::new([
///     Record::new(0, "exit:2", 0.9, 2.0),
///     Record::new(0, "full", 1.0, 8.0),
///     Record::new(1, "exit:2", 0.1, 2.0),
///     Record::new(1, "full", 0.8, 8.0),
/// ])?;
/// assert_eq!(evidence.candidates(), ["exit:2", "full"]);
/// assert_eq!(evidence.sequences(), [0, 1]);
/// assert_eq!(evidence.cell(1, 0).map(|cell| cell.quality), Some(0.1));
/// # Ok::<(), dynlayer_metrics::allocation::EvidenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Record>", into = "Vec<Record>")]
pub struct Evidence {
    pub(super) candidates: Vec<String>,
    pub(super) sequences: Vec<u64>,
    /// Sequence `i` has the cells `starts[i]..starts[i + 1]`, ascending by candidate.
    pub(super) starts: Vec<usize>,
    // Each of these vectors is a column with one entry per cell.
    pub(super) candidate: Vec<u32>,
    pub(super) quality: Vec<f64>,
    pub(super) cost: Vec<f64>,
    /// `None` if no sequence has halves.
    pub(super) halves: Option<Vec<Option<[f64; 2]>>>,
    pub(super) label_free: Option<Vec<f64>>,
}

/// A view of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cell {
    /// Index into [`Evidence::candidates`].
    pub candidate: usize,
    /// [`Record::quality`].
    pub quality: f64,
    /// [`Record::cost`].
    pub cost: f64,
    /// [`Record::halves`].
    pub halves: Option<[f64; 2]>,
    /// [`Record::label_free`].
    pub label_free: Option<f64>,
}

impl Cell {
    /// The quality in a column, if it was measured.
    pub fn value(&self, column: Column) -> Option<f64> {
        match column {
            Column::Quality => Some(self.quality),
            Column::FirstHalf => self.halves.map(|halves| halves[0]),
            Column::SecondHalf => self.halves.map(|halves| halves[1]),
            Column::LabelFree => self.label_free,
        }
    }
}

impl Evidence {
    /// The candidates' names.
    pub fn candidates(&self) -> &[String] {
        &self.candidates
    }

    /// The sequences' ids.
    pub fn sequences(&self) -> &[u64] {
        &self.sequences
    }

    /// The number of cells.
    pub fn n_cells(&self) -> usize {
        self.candidate.len()
    }

    /// Returns true if the quality in a column was measured for every sequence.
    pub fn has(&self, column: Column) -> bool {
        match column {
            Column::Quality => true,
            Column::FirstHalf | Column::SecondHalf => {
                self.halves.as_ref().is_some_and(|halves| halves.iter().all(Option::is_some))
            }
            Column::LabelFree => self.label_free.is_some(),
        }
    }

    /// The table of those sequences that have halves, which is the whole table if all have them; `None` if none has.
    ///
    /// ```
    /// use dynlayer_metrics::allocation::{Evidence, Record};
    ///
    /// // The answer to the second prompt is a single token, so it has no halves.
    /// let evidence = Evidence::new([
    ///     Record { halves: Some([0.5, 0.7]), ..Record::new(0, "full", 0.6, 8.0) },
    ///     Record::new(1, "full", 1.0, 8.0),
    /// ])?;
    /// assert_eq!(evidence.with_halves().map(|halved| halved.sequences().to_vec()), Some(vec![0]));
    /// # Ok::<(), dynlayer_metrics::allocation::EvidenceError>(())
    /// ```
    pub fn with_halves(&self) -> Option<Cow<'_, Self>> {
        if self.has(Column::FirstHalf) {
            return Some(Cow::Borrowed(self));
        }
        Self::new(self.records().filter(|record| record.halves.is_some())).ok().map(Cow::Owned)
    }

    /// The cells of a sequence, given by index (not id), ascending by candidate.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn row(&self, sequence: usize) -> impl ExactSizeIterator<Item = Cell> + '_ {
        (self.starts[sequence]..self.starts[sequence + 1]).map(|at| self.cell_at(at))
    }

    /// The cell of a sequence and a candidate, both given by index; `None` if the sequence lacks the candidate.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn cell(&self, sequence: usize, candidate: usize) -> Option<Cell> {
        let row = self.starts[sequence]..self.starts[sequence + 1];
        let at = self.candidate[row.clone()].binary_search(&u32::try_from(candidate).ok()?).ok()?;
        Some(self.cell_at(row.start + at))
    }

    /// Mean quality and mean cost of one candidate over all sequences; `None` if a sequence lacks it.
    pub fn static_means(&self, candidate: usize) -> Option<(f64, f64)> {
        let mut cells = (0..self.sequences.len()).map(|sequence| self.cell(sequence, candidate));
        let (quality, cost) =
            cells.try_fold((0.0, 0.0), |sum, cell| cell.map(|c| (sum.0 + c.quality, sum.1 + c.cost)))?;
        let n = self.sequences.len().to_f64();
        Some((quality / n, cost / n))
    }

    /// All cells, sequence by sequence.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.sequences.iter().enumerate().flat_map(move |(index, sequence)| {
            self.row(index).map(move |cell| Record {
                sequence: *sequence,
                candidate: self.candidates[cell.candidate].clone(),
                quality: cell.quality,
                cost: cell.cost,
                halves: cell.halves,
                label_free: cell.label_free,
            })
        })
    }

    /// All costs, sequence by sequence.
    pub(crate) fn costs(&self) -> &[f64] {
        &self.cost
    }

    fn cell_at(&self, at: usize) -> Cell {
        Cell {
            candidate: self.candidate[at] as usize,
            quality: self.quality[at],
            cost: self.cost[at],
            halves: self.halves.as_ref().and_then(|halves| halves[at]),
            label_free: self.label_free.as_ref().map(|values| values[at]),
        }
    }
}

impl TryFrom<Vec<Record>> for Evidence {
    type Error = EvidenceError;

    fn try_from(records: Vec<Record>) -> Result<Self, EvidenceError> {
        Self::new(records)
    }
}

impl From<Evidence> for Vec<Record> {
    fn from(evidence: Evidence) -> Self {
        evidence.records().collect()
    }
}
