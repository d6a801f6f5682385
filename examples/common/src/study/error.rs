//! Errors of a study.

use dynlayer::inference::GenerateError;
use dynlayer::inference::training::TrainingError;
use dynlayer::metrics::statistics::StatisticsError;
use dynlayer::model::text::TextError;
use std::path::PathBuf;

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
    /// A file or folder cannot be used.
    #[error("{path}: {what}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failure.
        what: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A stored run is not the JSON of a run.
    #[error("{path}: the stored run cannot be read")]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// The tokenizer has no digest.
    #[error(transparent)]
    Tokenizer(#[from] TextError),
    /// A stored run belongs to another study.
    #[error(
        "{path}: a stored run that differs in {setting}: expected {expected}, found {found}; use another folder, or \
         remove this file"
    )]
    Stored {
        /// The file.
        path: PathBuf,
        /// The first setting that differs, such as `recipe` or `the model's weights`.
        setting: String,
        /// The setting's value in this study; of contents, the digest.
        expected: String,
        /// The setting's value in the stored run.
        found: String,
    },
}
