//! Building a table from cells in any order.

use super::{Evidence, EvidenceError, Record};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Collects cells in any order, one at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Builder {
    /// The file that cells are read from, for errors.
    file: Option<PathBuf>,
    /// Index by candidate name, in the order of first appearance.
    candidate_index: HashMap<String, u32>,
    /// Index by sequence id, in the order of first appearance.
    sequence_index: HashMap<u64, usize>,
    sequences: Vec<u64>,
    /// True for each sequence whose cells have halves.
    halved: Vec<bool>,
    // Each of these vectors is a column with one entry per cell; the last of them may be empty.
    sequence: Vec<usize>,
    candidate: Vec<u32>,
    quality: Vec<f64>,
    cost: Vec<f64>,
    halves: Vec<Option<[f64; 2]>>,
    label_free: Vec<f64>,
    /// The line that each cell stands on; empty where cells do not come from a file.
    lines: Vec<u64>,
}

impl Evidence {
    /// Builds a table from cells in any order.
    ///
    /// # Errors
    /// [`EvidenceError`] if there are no cells, a candidate has no name, a number is not finite, a cost is negative, a
    /// cell occurs twice, or only some cells of a sequence have `halves`, or of the table `label_free`.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Result<Self, EvidenceError> {
        let mut builder = Builder::default();
        records.into_iter().try_for_each(|record| builder.push(&record))?;
        builder.finish()
    }
}

impl Builder {
    /// A builder whose errors name `file`.
    pub fn reading(file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..Self::default() }
    }

    /// Adds a cell. Nothing changes if an error is returned.
    pub fn push(&mut self, record: &Record) -> Result<(), EvidenceError> {
        self.check(record, || cell_place(record.sequence, &record.candidate))?;
        self.add(record);
        Ok(())
    }

    /// Adds a cell read from the given line of the file.
    pub fn push_line(&mut self, line: u64, record: &Record) -> Result<(), EvidenceError> {
        self.check(record, || self.line_place(line))?;
        self.add(record);
        self.lines.push(line);
        Ok(())
    }

    /// The name of a line of the file, for errors.
    pub fn line_place(&self, line: u64) -> String {
        format!("{}, line {line}", self.file.as_deref().unwrap_or(Path::new("")).display())
    }

    fn check(&self, record: &Record, place: impl Fn() -> String) -> Result<(), EvidenceError> {
        let refuse = |(column, expected, found)| Err(EvidenceError::Value { place: place(), column, expected, found });
        if let Some(fault) = record.fault() {
            return refuse(fault);
        }
        let sequence = record.sequence;
        let halved = self.sequence_index.get(&sequence).map(|index| self.halved[*index]);
        match (record.halves.is_some(), halved) {
            (true, Some(false)) => {
                let expected = "nothing, as in the sequence's cells before";
                return refuse(("halves", expected, format!("a value for sequence {sequence}")));
            }
            (false, Some(true)) => {
                let expected = "a value, as in the sequence's cells before";
                return refuse(("halves", expected, format!("nothing for sequence {sequence}")));
            }
            _ => {}
        }
        match (record.label_free.is_some(), !self.label_free.is_empty()) {
            (true, false) if !self.quality.is_empty() => {
                refuse(("label_free", "nothing, as in the cells before", "a value".to_owned()))
            }
            (false, true) => refuse(("label_free", "a value, as in the cells before", "nothing".to_owned())),
            _ => Ok(()),
        }
    }

    fn add(&mut self, record: &Record) {
        let (sequences, halved) = (&mut self.sequences, &mut self.halved);
        let sequence = *self.sequence_index.entry(record.sequence).or_insert_with(|| {
            sequences.push(record.sequence);
            halved.push(record.halves.is_some());
            sequences.len() - 1
        });
        let candidate = match self.candidate_index.get(&record.candidate) {
            Some(index) => *index,
            None => {
                // 2^32 names would take more than 100 GB.
                let index = u32::try_from(self.candidate_index.len()).unwrap_or(u32::MAX);
                self.candidate_index.insert(record.candidate.clone(), index);
                index
            }
        };
        self.sequence.push(sequence);
        self.candidate.push(candidate);
        self.quality.push(record.quality);
        self.cost.push(record.cost);
        self.halves.push(record.halves);
        self.label_free.extend(record.label_free);
    }

    /// Builds the table.
    pub fn finish(mut self) -> Result<Evidence, EvidenceError> {
        let cells = self.sequence.len();
        if cells == 0 {
            return Err(EvidenceError::Empty { file: self.file });
        }
        let mut order: Vec<usize> = (0..cells).collect();
        order.sort_by_key(|cell| self.sequence[*cell]);
        let candidates = self.rename_candidates(&order);
        // The sorts are stable: of two equal cells the second is the later one.
        let key = |cell: usize| (self.sequence[cell], self.candidate[cell]);
        order.sort_by_key(|cell| key(*cell));
        if let Some(pair) = order.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            let (sequence, candidate) = key(pair[1]);
            let (sequence, candidate) = (self.sequences[sequence], candidates[candidate as usize].clone());
            let line = self.lines.get(pair[1]).map(|line| self.line_place(*line));
            let place = line.unwrap_or_else(|| cell_place(sequence, &candidate));
            return Err(EvidenceError::Duplicate { place, sequence, candidate });
        }
        let mut starts = vec![0usize; self.sequences.len() + 1];
        for sequence in &self.sequence {
            starts[sequence + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let gather = |values: &[f64]| order.iter().map(|cell| values[*cell]).collect::<Vec<f64>>();
        Ok(Evidence {
            candidate: order.iter().map(|cell| self.candidate[*cell]).collect(),
            quality: gather(&self.quality),
            cost: gather(&self.cost),
            halves: self.halved.contains(&true).then(|| order.iter().map(|cell| self.halves[*cell]).collect()),
            label_free: (!self.label_free.is_empty()).then(|| gather(&self.label_free)),
            candidates,
            sequences: self.sequences,
            starts,
        })
    }

    /// Numbers the candidates anew in the order in which they first appear sequence by sequence, and returns their
    /// names in that order. `order` holds the cells sequence by sequence.
    fn rename_candidates(&mut self, order: &[usize]) -> Vec<String> {
        let mut names = vec![String::new(); self.candidate_index.len()];
        for (name, index) in self.candidate_index.drain() {
            names[index as usize] = name;
        }
        let mut renamed = vec![None; names.len()];
        let mut ordered = Vec::with_capacity(names.len());
        for cell in order {
            let before = self.candidate[*cell] as usize;
            self.candidate[*cell] = *renamed[before].get_or_insert_with(|| {
                ordered.push(std::mem::take(&mut names[before]));
                u32::try_from(ordered.len() - 1).unwrap_or(u32::MAX)
            });
        }
        ordered
    }
}

/// The name of a cell that does not come from a file, for errors.
fn cell_place(sequence: u64, candidate: &str) -> String {
    format!("sequence {sequence}, candidate {candidate:?}")
}
