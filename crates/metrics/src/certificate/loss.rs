//! Losses of sequences, from a table of evidence.

use super::CertificateError;
use crate::allocation::Evidence;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The loss of a sequence under a candidate, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Loss {
    /// 1 less the quality, such as 1 - ROUGE; where the quality is the agreement with the full model, the disagreement.
    #[default]
    Quality,
    /// 1 if the quality is below 1, and otherwise 0; where the quality is the agreement with the full model, 1 for a sequence
    /// with any other token.
    Mismatch,
    /// The quality that is lost against full depth; 0 if none is.
    QualityGap,
}

impl Loss {
    /// Returns true if losses are 0 or 1.
    pub(super) fn is_binary(self) -> bool {
        self == Self::Mismatch
    }

    /// Returns the loss of each sequence under a candidate. `full` is the candidate at full depth; both are indices.
    ///
    /// # Errors
    /// If a sequence lacks a candidate, or a quality is not between 0 and 1.
    pub(super) fn of(self, evidence: &Evidence, candidate: usize, full: usize) -> Result<Vec<f64>, CertificateError> {
        let quality = |sequence: usize, candidate: usize| {
            let (id, name) = (evidence.sequences()[sequence], &evidence.candidates()[candidate]);
            let missing = || CertificateError::Missing { sequence: id, candidate: name.clone() };
            let quality = evidence.cell(sequence, candidate).ok_or_else(missing)?.quality;
            if (0.0..=1.0).contains(&quality) {
                Ok(quality)
            } else {
                Err(CertificateError::Quality { sequence: id, candidate: name.clone(), found: quality })
            }
        };
        let loss = |sequence| {
            let found = quality(sequence, candidate)?;
            Ok(match self {
                Self::Quality => 1.0 - found,
                Self::Mismatch => f64::from(u8::from(found < 1.0)),
                Self::QualityGap => (quality(sequence, full)? - found).max(0.0),
            })
        };
        (0..evidence.sequences().len()).map(loss).collect()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quality => "1 less the quality",
            Self::Mismatch => "a loss that is 1 where the quality is below 1",
            Self::QualityGap => "the quality lost against full depth",
        })
    }
}
