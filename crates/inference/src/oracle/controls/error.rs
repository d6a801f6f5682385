//! Why controls cannot be computed.

use crate::oracle::AllocationError;

/// Why controls cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlsError {
    /// The evidence cannot be allocated within the budget.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// An option is out of its range.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: f64,
    },
    /// The sequences are not those of the evidence.
    #[error("{of}: expected each of the evidence's {sequences} sequences once, {found}")]
    Sequences {
        /// Whose sequences.
        of: String,
        /// How many the evidence has.
        sequences: usize,
        /// The first difference.
        found: String,
    },
    /// A number is not finite, or a cost is negative.
    #[error("{of}, sequence {sequence}, column {column}: expected {expected}, found {found}")]
    Value {
        /// Whose number.
        of: String,
        /// The sequence's id.
        sequence: u64,
        /// Quality or cost.
        column: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was found.
        found: f64,
    },
    /// The random routes are not what the null oracle needs.
    #[error("random routes: expected {expected}, found {found}")]
    Null {
        /// What is needed.
        expected: String,
        /// What was found.
        found: String,
    },
}
