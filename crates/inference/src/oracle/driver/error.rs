//! Why a run cannot begin or go on.

use crate::controllers::BuildError;
use crate::generation::GenerateError;
use crate::oracle::EvidenceError;
use std::path::PathBuf;

/// Why a run over prompts and candidates cannot begin or go on. What was finished before stays in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// An option is out of its range, or does not go with another.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What is possible.
        expected: String,
        /// Its value.
        found: String,
    },
    /// Two items have the same id.
    #[error("item {id} comes twice; expected distinct ids")]
    DuplicateItem {
        /// The id.
        id: u64,
    },
    /// An item cannot be run, or failed.
    #[error("item {id}")]
    Item {
        /// Its id.
        id: u64,
        /// Why.
        source: GenerateError,
    },
    /// An item's reference cannot be scored.
    #[error("item {id}: expected a reference of at least {expected} tokens, found {found}")]
    Reference {
        /// Its id.
        id: u64,
        /// How many tokens are needed.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A candidate's controller cannot be made.
    #[error("candidate {candidate:?}")]
    Candidate {
        /// Its name.
        candidate: String,
        /// Why.
        source: Box<BuildError>,
    },
    /// A quality is not finite.
    #[error("item {id}, candidate {candidate:?}, {column}: expected a finite quality, found {found}")]
    Quality {
        /// The item's id.
        id: u64,
        /// The candidate's name.
        candidate: String,
        /// Which of its qualities.
        column: &'static str,
        /// What was found.
        found: f64,
    },
    /// The file cannot be read or written.
    #[error("{}: {action} failed", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another run is writing the file.
    #[error("{}: another run is writing it", file.display())]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// The file is not a run, or is damaged.
    #[error("{}, line {line}: expected {expected}, found {found}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The file is a run with other settings.
    #[error("{}: a run with another {setting}: expected {expected}, found {found}", file.display())]
    OtherRun {
        /// The file.
        file: PathBuf,
        /// The first setting that differs.
        setting: String,
        /// What it is now.
        expected: String,
        /// What it is in the file.
        found: String,
    },
    /// The file holds other items, or the same in another order.
    #[error("{}, line {line}: expected {expected}, found item {found}", file.display())]
    OtherItem {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: String,
        /// The id of what is.
        found: u64,
    },
    /// The results do not make a table.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}
