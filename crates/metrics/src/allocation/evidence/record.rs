//! One cell of the table, in the form that is written and read.

use serde::{Deserialize, Serialize};

/// One cell of the table: the quality and the cost of one candidate for one sequence.
///
/// As a line of JSON:
/// `{"sequence":7,"candidate":"uniform:5","quality":0.31,"cost":5.0,"halves":[0.30,0.32],"label_free":0.55}`. The last
/// two fields are optional. All cells of a sequence have `halves` or none has; all cells of a table have `label_free` or
/// none has.
///
/// ```
/// use dynlayer_metrics::allocation::Record;
///
/// let record: Record = serde_json::from_str(r#"{"sequence":7,"candidate":"exit:5","quality":0.31,"cost":5}"#)?;
/// assert_eq!(record, Record::new(7, "exit:5", 0.31, 5.0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The sequence's id.
    pub sequence: u64,
    /// The candidate's name, such as `exit:5`; not empty.
    pub candidate: String,
    /// Quality of the output, higher is better; finite.
    pub quality: f64,
    /// Cost of the output, in a unit that all cells share, such as layers, operations or seconds; finite, at least 0.
    pub cost: f64,
    /// The same quality measured twice, independently: from two sampled outputs, or from odd and even tokens. A single
    /// token has no halves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halves: Option<[f64; 2]>,
    /// Quality measured against the full model's own output, which needs no reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_free: Option<f64>,
}

impl Record {
    /// A cell with quality and cost only.
    pub fn new(sequence: u64, candidate: impl Into<String>, quality: f64, cost: f64) -> Self {
        Self { sequence, candidate: candidate.into(), quality, cost, halves: None, label_free: None }
    }

    /// Returns the first value that is not allowed: its column, the allowed values, and the value itself.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str, String)> {
        const FINITE: &str = "a finite number";
        if self.candidate.is_empty() {
            return Some(("candidate", "a name", "an empty text".to_owned()));
        }
        let [first, second] = self.halves.unwrap_or_default();
        let checks = [
            ("quality", FINITE, self.quality, self.quality.is_finite()),
            ("cost", "a finite number of at least 0", self.cost, self.cost.is_finite() && self.cost >= 0.0),
            ("halves", "two finite numbers", first, first.is_finite()),
            ("halves", "two finite numbers", second, second.is_finite()),
            ("label_free", FINITE, self.label_free.unwrap_or(0.0), self.label_free.is_none_or(f64::is_finite)),
        ];
        let fault = checks.into_iter().find(|(.., allowed)| !allowed);
        fault.map(|(column, expected, found, _)| (column, expected, found.to_string()))
    }
}
