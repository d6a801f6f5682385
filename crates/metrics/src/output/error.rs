//! The error for results that cannot be written.

/// The error for results that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A row is not a struct or map, whose fields name the columns.
    #[error("row {row} is {found}; a struct or a map with named fields is needed")]
    NotARecord {
        /// The row, from 0.
        row: usize,
        /// The kind of value that was found.
        found: &'static str,
    },
    /// The columns of a row differ from those of the first row.
    #[error("row {row} has the columns {found:?}; the first has {expected:?}")]
    Columns {
        /// The row, from 0.
        row: usize,
        /// Its columns.
        found: Vec<String>,
        /// The first row's columns.
        expected: Vec<String>,
    },
    /// A value cannot be serialised.
    #[error("a value cannot be serialised")]
    Serialize(#[from] serde_json::Error),
    /// Writing failed.
    #[error("writing failed")]
    Write(#[from] std::io::Error),
}
