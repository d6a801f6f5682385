//! Results of a run.

use super::OracleError;
use dynlayer_metrics::allocation::{Evidence, Record};
use serde::{Deserialize, Serialize};

/// The results of one item, a line of the run's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MeasuredItem {
    /// The item's id.
    pub sequence: u64,
    /// The digest of the item's prompt and reference.
    pub(super) digest: dynlayer_model::Digest,
    /// The full model's own output, if it was generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Output>,
    /// The results of the candidates.
    pub cells: Vec<MeasuredCell>,
    /// The results of the random routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null: Vec<MeasuredCell>,
    /// Wall time of the item, in seconds. All other fields are the same in every run, except for costs in
    /// [`Cost::Milliseconds`](super::Cost::Milliseconds).
    pub seconds: f64,
}

/// The result of one candidate for an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MeasuredCell {
    /// The candidate's name; `random:DEPTH#NUMBER` for a random route.
    pub candidate: String,
    /// The quality, as [`Record::quality`].
    pub quality: f64,
    /// The cost, as [`Record::cost`].
    pub cost: f64,
    /// The halves of the quality, as [`Record::halves`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halves: Option<[f64; 2]>,
    /// The label-free quality, as [`Record::label_free`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_free: Option<f64>,
    /// The output, if one was generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

/// A generated output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Output {
    /// The generated tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// The generated text, without special tokens; empty without a tokenizer.
    pub text: String,
}

/// The results of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OracleResults {
    /// The items, in the order of the run.
    pub items: Vec<MeasuredItem>,
}

impl OracleResults {
    /// The table of the candidates.
    ///
    /// # Errors
    /// [`OracleError::Evidence`] if there is no item, or another program has changed the file.
    pub fn evidence(&self) -> Result<Evidence, OracleError> {
        table(&self.items, |item| &item.cells)
    }

    /// The table of the random routes, for [`Comparison::null`](dynlayer_metrics::baselines::Comparison::null); `None`
    /// if none were run.
    ///
    /// # Errors
    /// Fails as [`evidence`](Self::evidence) does.
    pub fn null(&self) -> Result<Option<Evidence>, OracleError> {
        if self.items.iter().all(|item| item.null.is_empty()) {
            return Ok(None);
        }
        table(&self.items, |item| &item.null).map(Some)
    }
}

fn table(items: &[MeasuredItem], cells: impl Fn(&MeasuredItem) -> &Vec<MeasuredCell>) -> Result<Evidence, OracleError> {
    let record = |sequence, cell: &MeasuredCell| Record {
        halves: cell.halves,
        label_free: cell.label_free,
        ..Record::new(sequence, cell.candidate.clone(), cell.quality, cell.cost)
    };
    let records = items.iter().flat_map(|item| cells(item).iter().map(|cell| record(item.sequence, cell)));
    Ok(Evidence::new(records)?)
}
