//! What can go wrong in a study.

use crate::generation::GenerateError;
use crate::training::TrainingError;
use dynlayer_metrics::statistics::StatisticsError;
use std::path::PathBuf;

/// Why a study cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// A list has nothing in it.
    #[error("no {what}; at least one is needed")]
    Empty {
        /// `inputs`, `prices of depth`, `seeds` or `items`.
        what: &'static str,
    },
    /// An item has nothing whose likelihood could be measured.
    #[error("item {item} has an empty continuation; at least one token is needed")]
    EmptyContinuation {
        /// The item.
        item: usize,
    },
    /// A quality is not a number.
    #[error("the quality of item {item} is {found}; expected a finite number")]
    Quality {
        /// The item.
        item: usize,
        /// What the task said.
        found: f64,
    },
    /// A router could not be trained.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A router could not be measured.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The numbers have no statistic.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    /// A file or folder cannot be used.
    #[error("{path}: {what}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A stored run is not the JSON it should be.
    #[error("{path}: the stored run cannot be read")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        source: serde_json::Error,
    },
    /// A stored run belongs to another study.
    #[error("{path}: a run of {found}; expected {expected}")]
    Stored {
        /// The file.
        path: PathBuf,
        /// What it was made with.
        found: String,
        /// What this study would make it with.
        expected: String,
    },
}
