//! Why evidence cannot be taken.

use std::fmt;
use std::path::PathBuf;

/// Where in the evidence something is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A line of a file.
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// A cell that did not come from a file.
    Cell {
        /// The sequence's id.
        sequence: u64,
        /// The candidate's name.
        candidate: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}, line {line}", file.display()),
            Self::Cell { sequence, candidate } => write!(f, "sequence {sequence}, candidate {candidate:?}"),
        }
    }
}

/// Why evidence cannot be taken, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
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
    /// A value is missing or not what its column holds.
    #[error("{place}, column {column}: expected {expected}, found {found}")]
    Value {
        /// Where.
        place: Place,
        /// The column's name.
        column: String,
        /// What the column holds.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A line is no record at all.
    #[error("{place}: expected {expected}, found {found}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the line should be.
        expected: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// A sequence has the same candidate twice.
    #[error("{place}: sequence {sequence} already has candidate {candidate:?}; expected each candidate once")]
    Duplicate {
        /// The second one's place.
        place: Place,
        /// The sequence's id.
        sequence: u64,
        /// The candidate's name.
        candidate: String,
    },
    /// There is no cell.
    #[error("{}no evidence: expected at least one cell, found none", file.as_ref().map(|f| format!("{}: ", f.display())).unwrap_or_default())]
    Empty {
        /// The file, if one was read.
        file: Option<PathBuf>,
    },
}
