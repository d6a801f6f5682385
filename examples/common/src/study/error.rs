//! Errors of a study.

use crate::stored::StoredError;
use dynlayer::inference::GenerateError;
use dynlayer::inference::training::TrainingError;
use dynlayer::metrics::statistics::StatisticsError;
use dynlayer::model::text::TextError;

/// The error of a study that cannot begin or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// A list is empty.
    #[error("no {what}; at least one is needed")]
    Empty {
        /// `inputs`, `prices of depth`, `seeds` or `items`.
        what: &'static str,
    },
    /// An item has no continuation to measure the likelihood of.
    #[error("item {item} has an empty continuation; at least one token is needed")]
    EmptyContinuation {
        /// The item.
        item: usize,
    },
    /// A quality is not finite.
    #[error("the quality of item {item} is {found}; expected a finite number")]
    Quality {
        /// The item.
        item: usize,
        /// The quality that the task returned.
        found: f64,
    },
    /// A router could not be trained.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A router could not be measured.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// An interval could not be computed.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    /// The tokenizer has no digest.
    #[error(transparent)]
    Tokenizer(#[from] TextError),
    /// A stored run cannot be used, or belongs to another study.
    #[error(transparent)]
    Stored(#[from] StoredError),
}
