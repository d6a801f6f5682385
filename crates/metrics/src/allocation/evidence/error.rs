//! The error for evidence that cannot be read, written or made into a table.

use std::path::PathBuf;

/// The error for evidence that cannot be read, written or made into a table.
///
/// A `place` is a file and a line, or a sequence and a candidate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The file cannot be read or written.
    #[error("{}: {action} failed", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The action that failed, such as "reading".
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A line of a file is not a record.
    #[error("{place}: {found}; expected {expected}")]
    Syntax {
        /// The file and the line.
        place: String,
        /// The problem with the line.
        found: String,
        /// The form that a line needs.
        expected: &'static str,
    },
    /// A value is out of the range of its column, or is missing.
    #[error("{place}, column {column}: expected {expected}, found {found}")]
    Value {
        /// The place of the cell.
        place: String,
        /// The column's name.
        column: &'static str,
        /// The values that are allowed.
        expected: &'static str,
        /// The value.
        found: String,
    },
    /// A sequence has the same candidate twice.
    #[error("{place}: sequence {sequence} already has candidate {candidate:?}; expected each candidate once")]
    Duplicate {
        /// The place of the second cell.
        place: String,
        /// The sequence's id.
        sequence: u64,
        /// The candidate's name.
        candidate: String,
    },
    /// The evidence has no cells.
    #[error("{}no evidence: expected at least one cell, found none", file.as_ref().map(|f| format!("{}: ", f.display())).unwrap_or_default())]
    Empty {
        /// The file, if one was read.
        file: Option<PathBuf>,
    },
}
