//! When a sign of confidence is enough to exit.

use crate::control::{Batch, ControllerError};
use serde::{Deserialize, Serialize};

/// When a sign of confidence is enough to exit.
///
/// Layers `min_layers`, `min_layers + every`, `min_layers + 2 every`, .. are checked, before they run. A row exits once
/// the controller's measure has passed the threshold at `patience` checks in a row (Zhou et al. 2020, arXiv 2006.04152,
/// with the threshold in place of equal predictions). Counts belong to one sequence and one pass.
///
/// ```
/// use dynlayer_inference::controllers::ExitRule;
///
/// let rule = ExitRule { patience: 2, min_layers: 8, every: 4, ..ExitRule::new(0.9) };
/// assert!(rule.checks(8) && !rule.checks(9) && rule.checks(12) && !rule.checks(4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitRule {
    /// What the measure must reach.
    pub threshold: f32,
    /// Checks in a row that must pass; at least 1.
    #[serde(default = "one")]
    pub patience: usize,
    /// Layers that always run; at least 1, since an embedding alone predicts nothing.
    #[serde(default = "one")]
    pub min_layers: usize,
    /// Layers from one check to the next; at least 1.
    #[serde(default = "one")]
    pub every: usize,
}

fn one() -> usize {
    1
}

impl ExitRule {
    /// Exits at the first layer but the embedding whose measure passes the threshold.
    pub fn new(threshold: f32) -> Self {
        Self { threshold, patience: 1, min_layers: 1, every: 1 }
    }

    /// Whether rows are checked before this layer.
    pub fn checks(&self, layer: usize) -> bool {
        layer.checked_sub(self.min_layers).is_some_and(|after| after.checked_rem(self.every) == Some(0))
    }

    /// Refuses what makes no sense for a model.
    pub(super) fn check(&self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let (n, min) = (batch.n_layers(), self.min_layers);
        ControllerError::check(self.threshold.is_finite(), "the threshold", self.threshold, "a finite number")?;
        ControllerError::check(self.patience > 0, "patience", self.patience, "at least 1")?;
        ControllerError::check(self.every > 0, "every", self.every, "at least 1")?;
        ControllerError::check((1..=n).contains(&min), "the least number of layers", min, format!("1 to {n}"))
    }
}
