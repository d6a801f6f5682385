//! From cells in any order to a table.

use super::{Evidence, EvidenceError, Place, Record};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Collects cells in any order, one at a time.
///
/// ```
/// use dynlayer_inference::oracle::{EvidenceBuilder, Record};
///
/// let mut builder = EvidenceBuilder::default();
/// builder.push(&Record::new(4, "full", 0.5, 30.0))?;
/// assert!(builder.push(&Record::new(4, "exit:9", f64::NAN, 9.0)).is_err());
/// assert_eq!(builder.finish()?.n_cells(), 1);
/// # Ok::<(), dynlayer_inference::oracle::EvidenceError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EvidenceBuilder {
    file: Option<PathBuf>,
    names: HashMap<String, u32>,
    ids: HashMap<u64, usize>,
    sequences: Vec<u64>,
    sequence: Vec<usize>,
    candidate: Vec<u32>,
    quality: Vec<f64>,
    cost: Vec<f64>,
    halves: Vec<[f64; 2]>,
    label_free: Vec<f64>,
    /// The lines that cells came from, where they came from a file.
    lines: Vec<u64>,
}

impl EvidenceBuilder {
    /// A builder whose errors name `file`.
    pub(super) fn reading(file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..Self::default() }
    }

    /// Adds a cell.
    ///
    /// # Errors
    /// [`EvidenceError::Value`] if a number is not finite, the cost is negative, or `halves` or `label_free` are there
    /// and were not in the cells before, or the other way round. The cell is then not taken.
    pub fn push(&mut self, record: &Record) -> Result<(), EvidenceError> {
        let place = || Place::Cell { sequence: record.sequence, candidate: record.candidate.clone() };
        self.check(record, place)?;
        self.take(record);
        Ok(())
    }

    /// Adds a cell that stands on that line of the file.
    pub(super) fn push_line(&mut self, line: u64, record: &Record) -> Result<(), EvidenceError> {
        self.check(record, || self.line(line))?;
        self.take(record);
        self.lines.push(line);
        Ok(())
    }

    /// A line of the file.
    pub(super) fn line(&self, line: u64) -> Place {
        Place::Line { file: self.file.clone().unwrap_or_default(), line }
    }

    fn check(&self, record: &Record, place: impl Fn() -> Place) -> Result<(), EvidenceError> {
        let refuse = |column: &str, expected: String, found: String| {
            Err(EvidenceError::Value { place: place(), column: column.to_owned(), expected, found })
        };
        if let Some((column, expected, found)) = record.fault() {
            return refuse(column, expected.to_owned(), found.to_string());
        }
        if record.candidate.is_empty() {
            return refuse("candidate", "a name".to_owned(), "an empty text".to_owned());
        }
        let cells = self.sequence.len();
        for (column, here, before) in [
            ("halves", record.halves.is_some(), self.halves.len()),
            ("label_free", record.label_free.is_some(), self.label_free.len()),
        ] {
            if cells > 0 && here != (before > 0) {
                let (all, this) = if here { ("nothing", "a value") } else { ("a value", "nothing") };
                return refuse(column, format!("{all}, as in the cells before"), this.to_owned());
            }
        }
        if self.names.len() >= u32::MAX as usize && !self.names.contains_key(&record.candidate) {
            return refuse("candidate", format!("at most {} candidates", u32::MAX), "another".to_owned());
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) {
        let sequence = *self.ids.entry(record.sequence).or_insert_with(|| {
            self.sequences.push(record.sequence);
            self.sequences.len() - 1
        });
        let candidate = match self.names.get(&record.candidate) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.names.len()).unwrap_or(u32::MAX); // `check` keeps the number below
                self.names.insert(record.candidate.clone(), index);
                index
            }
        };
        self.sequence.push(sequence);
        self.candidate.push(candidate);
        self.quality.push(record.quality);
        self.cost.push(record.cost);
        self.halves.extend(record.halves);
        self.label_free.extend(record.label_free);
    }

    /// The table.
    ///
    /// # Errors
    /// [`EvidenceError::Empty`] without a cell, [`EvidenceError::Duplicate`] if a sequence has a candidate twice.
    pub fn finish(self) -> Result<Evidence, EvidenceError> {
        let cells = self.sequence.len();
        if cells == 0 {
            return Err(EvidenceError::Empty { file: self.file });
        }
        let mut starts = vec![0usize; self.sequences.len() + 1];
        for sequence in &self.sequence {
            starts[sequence + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0usize; cells];
        for (at, sequence) in self.sequence.iter().enumerate() {
            order[next[*sequence]] = at;
            next[*sequence] += 1;
        }
        let candidates = canonical_names(&self.names, &self.candidate, &order);
        let index: HashMap<&str, u32> = candidates.iter().map(String::as_str).zip(0u32..).collect();
        let mut renamed = vec![0u32; candidates.len()];
        for (name, old) in &self.names {
            renamed[*old as usize] = index[name.as_str()];
        }
        for (sequence, bounds) in starts.windows(2).enumerate() {
            let row = &mut order[bounds[0]..bounds[1]];
            row.sort_by_key(|at| renamed[self.candidate[*at] as usize]);
            // The sort is stable: of two equal ones the second is the later one.
            if let Some(pair) = row.windows(2).find(|pair| self.candidate[pair[0]] == self.candidate[pair[1]]) {
                let (sequence, candidate) = (self.sequences[sequence], self.candidate[pair[1]]);
                let candidate = candidates[renamed[candidate as usize] as usize].clone();
                let place = match self.lines.get(pair[1]) {
                    Some(line) => self.line(*line),
                    None => Place::Cell { sequence, candidate: candidate.clone() },
                };
                return Err(EvidenceError::Duplicate { place, sequence, candidate });
            }
        }
        let gather = |values: &[f64]| order.iter().map(|at| values[*at]).collect::<Vec<f64>>();
        Ok(Evidence {
            candidate: order.iter().map(|at| renamed[self.candidate[*at] as usize]).collect(),
            quality: gather(&self.quality),
            cost: gather(&self.cost),
            halves: (!self.halves.is_empty()).then(|| order.iter().map(|at| self.halves[*at]).collect()),
            label_free: (!self.label_free.is_empty()).then(|| gather(&self.label_free)),
            candidates,
            sequences: self.sequences,
            starts,
        })
    }
}

/// The names in the order in which they appear sequence by sequence.
fn canonical_names(names: &HashMap<String, u32>, candidate: &[u32], order: &[usize]) -> Vec<String> {
    let mut by_index = vec![""; names.len()];
    for (name, index) in names {
        by_index[*index as usize] = name;
    }
    let mut seen = vec![false; names.len()];
    let mut canonical = Vec::with_capacity(names.len());
    for at in order {
        let index = candidate[*at] as usize;
        if !std::mem::replace(&mut seen[index], true) {
            canonical.push(by_index[index].to_owned());
            if canonical.len() == names.len() {
                break;
            }
        }
    }
    canonical
}
