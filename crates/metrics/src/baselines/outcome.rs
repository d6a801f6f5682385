//! Results of a real controller.

use super::ComparisonError;
use crate::allocation::Evidence;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Quality and cost that a controller reached for one sequence, in the evidence's units.
///
/// ```
/// # use dynlayer_metrics::baselines::Outcome;
/// let outcome = Outcome { sequence: 7, quality: 0.31, cost: 5.2 };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The sequence's id.
    pub sequence: u64,
    /// Quality of its output; finite.
    pub quality: f64,
    /// Cost of its output; finite, at least 0.
    pub cost: f64,
}

/// Returns a controller's qualities and costs, in the order of the evidence's sequences.
pub(super) fn in_order(
    name: &str,
    outcomes: &[Outcome],
    evidence: &Evidence,
) -> Result<(Vec<f64>, Vec<f64>), ComparisonError> {
    let name = || format!("controller {name:?}");
    for Outcome { sequence, quality, cost } in outcomes.iter().copied() {
        let refuse =
            |column, expected, found| Err(ComparisonError::Value { name: name(), sequence, column, expected, found });
        if !quality.is_finite() {
            return refuse("quality", "a finite number", quality);
        }
        if !(cost.is_finite() && cost >= 0.0) {
            return refuse("cost", "a finite number of at least 0", cost);
        }
    }
    let sequences = evidence.sequences();
    let refuse = |found| ComparisonError::Sequences { name: name(), sequences: sequences.len(), found };
    let mut by_id = HashMap::with_capacity(outcomes.len());
    for outcome in outcomes {
        if by_id.insert(outcome.sequence, outcome).is_some() {
            return Err(refuse(format!("found {} twice", outcome.sequence)));
        }
    }
    let found = sequences.iter().map(|id| by_id.remove(id).ok_or_else(|| refuse(format!("found none with id {id}"))));
    let pairs = found.map(|outcome| outcome.map(|outcome| (outcome.quality, outcome.cost)));
    let ordered = pairs.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    match by_id.keys().min() {
        Some(other) => Err(refuse(format!("found {other} besides"))),
        None => Ok(ordered),
    }
}
