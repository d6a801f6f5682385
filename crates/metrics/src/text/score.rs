//! Precision, recall and F1.

use super::TextError;
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};

/// Precision, recall and their harmonic mean, each from 0 to 1.
///
/// ```
/// use dynlayer_metrics::text::Score;
///
/// let score = Score::new(0.5, 1.0)?;
/// assert!((score.f1 - 2.0 / 3.0).abs() < 1e-12);
/// assert_eq!(Score::new(0.0, 0.0)?.f1, 0.0);
/// assert!(Score::new(0.5, f64::NAN).is_err());
/// # Ok::<(), dynlayer_metrics::text::TextError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Score {
    /// Share of the prediction that is in the reference.
    pub precision: f64,
    /// Share of the reference that is in the prediction.
    pub recall: f64,
    /// Harmonic mean, 2·precision·recall / (precision + recall); 0 if both are 0.
    pub f1: f64,
}

impl Score {
    /// A score from precision and recall.
    ///
    /// # Errors
    ///
    /// [`TextError::Share`] if one of them is not from 0 to 1.
    pub fn new(precision: f64, recall: f64) -> Result<Self, TextError> {
        for (what, found) in [("precision", precision), ("recall", recall)] {
            if !(0.0..=1.0).contains(&found) {
                return Err(TextError::Share { what, found });
            }
        }
        Ok(Self::of(precision, recall))
    }

    /// A score from precision and recall, both from 0 to 1.
    pub(super) fn of(precision: f64, recall: f64) -> Self {
        let sum = precision + recall;
        Self { precision, recall, f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 } }
    }

    /// The score of texts of `predicted` and `reference` units that share `hits`; 0 if a text is empty.
    pub(super) fn from_counts(hits: usize, predicted: usize, reference: usize) -> Self {
        let share = |of: usize| hits.to_f64() / of.max(1).to_f64();
        Self::of(share(predicted), share(reference))
    }
}
