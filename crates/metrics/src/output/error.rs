//! Why results were not written.

/// Why results were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A row is not a struct or map, which gives columns their names.
    #[error("row {row} is {found}; a struct or a map with named fields is needed")]
    NotARecord {
        /// The row.
        row: usize,
        /// What it is.
        found: &'static str,
    },
    /// A row has other columns than the first.
    #[error("row {row} has the columns {found:?}; the first has {expected:?}")]
    Columns {
        /// The row.
        row: usize,
        /// Its columns.
        found: Vec<String>,
        /// The first row's columns.
        expected: Vec<String>,
    },
    /// A value cannot be written.
    #[error("a value cannot be serialised")]
    Serialize(#[from] serde_json::Error),
    /// Writing failed.
    #[error("writing failed")]
    Write(#[from] std::io::Error),
}
