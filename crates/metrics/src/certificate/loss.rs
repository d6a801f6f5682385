//! Losses of sequences, from a table of evidence.

use super::CertificateError;
use crate::allocation::{Cell, Evidence};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The loss of a sequence under a candidate, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Loss {
    /// The share of the full model's tokens that the candidate would not choose: 1 less
    /// [`Record::label_free`](crate::allocation::Record::label_free). No reference is needed.
    #[default]
    Disagreement,
    /// 1 if the candidate would choose another token anywhere, and otherwise 0; also without a reference.
    Mismatch,
    /// The quality that is lost against full depth; 0 if none is.
    QualityGap,
    /// 1 less the quality, such as 1 - ROUGE.
    Quality,
}

impl Loss {
    /// Returns true if losses are 0 or 1.
    pub(super) fn is_binary(self) -> bool {
        self == Self::Mismatch
    }

    /// Returns the loss of each sequence under a candidate. `full` is the candidate at full depth; both are indices.
    ///
    /// # Errors
    /// If a sequence lacks what the loss needs, or a loss is not between 0 and 1.
    pub(super) fn of(self, evidence: &Evidence, candidate: usize, full: usize) -> Result<Vec<f64>, CertificateError> {
        let missing = |sequence: usize, candidate: usize, what| CertificateError::Missing {
            sequence: evidence.sequences()[sequence],
            candidate: evidence.candidates()[candidate].clone(),
            what,
        };
        let cell = |sequence, candidate| {
            evidence.cell(sequence, candidate).ok_or_else(|| missing(sequence, candidate, "quality"))
        };
        let agreement = |sequence, cell: Cell| {
            cell.label_free.ok_or_else(|| missing(sequence, candidate, "agreement with the full model"))
        };
        let loss = |sequence| {
            let found = cell(sequence, candidate)?;
            Ok(match self {
                Self::Disagreement => 1.0 - agreement(sequence, found)?,
                Self::Mismatch => f64::from(u8::from(agreement(sequence, found)? < 1.0)),
                Self::QualityGap => (cell(sequence, full)?.quality - found.quality).max(0.0),
                Self::Quality => 1.0 - found.quality,
            })
        };
        let losses = (0..evidence.sequences().len()).map(loss).collect::<Result<Vec<f64>, CertificateError>>()?;
        super::p_value::check(&losses)?;
        Ok(losses)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disagreement => "the share of tokens that differ from those of full depth",
            Self::Mismatch => "the share of sequences that differ from those of full depth",
            Self::QualityGap => "the quality lost against full depth",
            Self::Quality => "the quality missing to 1",
        })
    }
}
