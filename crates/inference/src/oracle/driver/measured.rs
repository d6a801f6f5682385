//! What came of an item, as a line of the run's file.

use super::{DriveError, Header, journal};
use crate::oracle::{Evidence, EvidenceBuilder, Record};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A finished item: what every candidate did for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Measured {
    /// The item's id.
    pub sequence: u64,
    /// Of its prompt and reference.
    pub(super) digest: String,
    /// The full model's own output, where it was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Output>,
    /// One per candidate.
    pub cells: Vec<MeasuredCell>,
    /// The random routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null: Vec<MeasuredCell>,
    /// Wall time of everything, in seconds: the one part of a line that differs from run to run.
    pub seconds: f64,
}

/// What one candidate did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MeasuredCell {
    /// Its name; `random:DEPTH#NUMBER` for a random route.
    pub candidate: String,
    /// [`Record::quality`].
    pub quality: f64,
    /// [`Record::cost`].
    pub cost: f64,
    /// [`Record::halves`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halves: Option<[f64; 2]>,
    /// [`Record::label_free`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_free: Option<f64>,
    /// What it generated, if it generated anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

/// What was generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Output {
    /// A stop token included.
    pub tokens: Vec<u32>,
    /// Without special tokens; empty without a tokenizer.
    pub text: String,
}

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Driven {
    /// The items, in their order.
    pub items: Vec<Measured>,
}

impl Driven {
    /// Reads a run's file, finished or not.
    ///
    /// # Errors
    /// [`DriveError::Io`], or [`DriveError::Syntax`] for what is not a run. A last line that is cut off is left out.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, DriveError> {
        let (_, items): (Header, _) = journal::read(file.as_ref())?;
        Ok(Self { items })
    }

    /// The candidates' table.
    ///
    /// # Errors
    /// [`DriveError::Evidence`] if there is no item, or the file was changed by other hands.
    pub fn evidence(&self) -> Result<Evidence, DriveError> {
        table(&self.items, |item| &item.cells)
    }

    /// The random routes' table, for [`ControlsRun::null`](crate::oracle::ControlsRun::null); `None` if none were run.
    ///
    /// # Errors
    /// As [`evidence`](Self::evidence).
    pub fn null(&self) -> Result<Option<Evidence>, DriveError> {
        if self.items.iter().all(|item| item.null.is_empty()) {
            return Ok(None);
        }
        table(&self.items, |item| &item.null).map(Some)
    }
}

fn table(items: &[Measured], cells: impl Fn(&Measured) -> &Vec<MeasuredCell>) -> Result<Evidence, DriveError> {
    let mut builder = EvidenceBuilder::default();
    for item in items {
        for cell in cells(item) {
            builder.push(&Record {
                halves: cell.halves,
                label_free: cell.label_free,
                ..Record::new(item.sequence, cell.candidate.clone(), cell.quality, cell.cost)
            })?;
        }
    }
    Ok(builder.finish()?)
}
