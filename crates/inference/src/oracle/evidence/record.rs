//! One cell of the table, as it is written and read.

use serde::{Deserialize, Serialize};

/// One cell of the table: what one candidate does for one sequence.
///
/// As a line of JSON:
/// `{"sequence":7,"candidate":"uniform:5","quality":0.31,"cost":5.0,"halves":[0.30,0.32],"label_free":0.55}`; the last
/// two are left out where they were not measured, in all cells or in none.
///
/// ```
/// use dynlayer_inference::oracle::Record;
///
/// let record: Record = serde_json::from_str(r#"{"sequence":7,"candidate":"exit:5","quality":0.31,"cost":5}"#)?;
/// assert_eq!(record, Record::new(7, "exit:5", 0.31, 5.0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The sequence's id, as in [`Row::id`](crate::Row::id).
    pub sequence: u64,
    /// The candidate's name, such as the text of a [`ControllerSpec`](crate::controllers::ControllerSpec).
    pub candidate: String,
    /// How good the output is, higher is better; finite.
    pub quality: f64,
    /// What it took, in layers, operations or seconds, the same in all cells; finite, at least 0.
    pub cost: f64,
    /// The same quality measured twice, independently: by two sampled outputs, or on odd and even tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halves: Option<[f64; 2]>,
    /// Quality against the full model's own output, for which no reference is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_free: Option<f64>,
}

impl Record {
    /// A cell with quality and cost alone.
    pub fn new(sequence: u64, candidate: impl Into<String>, quality: f64, cost: f64) -> Self {
        Self { sequence, candidate: candidate.into(), quality, cost, halves: None, label_free: None }
    }

    /// The first value that is not allowed: its column, what is expected, what is there.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str, f64)> {
        const FINITE: &str = "a finite number";
        let [first, second] = self.halves.unwrap_or_default();
        let checks = [
            ("quality", FINITE, self.quality, self.quality.is_finite()),
            ("cost", "a finite number of at least 0", self.cost, self.cost.is_finite() && self.cost >= 0.0),
            ("halves", "two finite numbers", first, first.is_finite()),
            ("halves", "two finite numbers", second, second.is_finite()),
            ("label_free", FINITE, self.label_free.unwrap_or(0.0), self.label_free.is_none_or(f64::is_finite)),
        ];
        checks.into_iter().find(|check| !check.3).map(|(column, expected, found, _)| (column, expected, found))
    }
}
