//! The error for baselines that cannot be computed.

use crate::allocation::AllocationError;
use crate::statistics::StatisticsError;

/// The error for baselines that cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ComparisonError {
    /// The evidence cannot be allocated within the budget.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// The bootstrap's settings are out of range.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    /// The sequences of a controller or of the random routes differ from those of the evidence.
    #[error("{name}: expected each of the evidence's {sequences} sequences once, {found}")]
    Sequences {
        /// The controller, or "random routes".
        name: String,
        /// Number of the evidence's sequences.
        sequences: usize,
        /// The first difference.
        found: String,
    },
    /// An outcome of a controller is not finite, or its cost is negative.
    #[error("{name}, sequence {sequence}, column {column}: expected {expected}, found {found}")]
    Value {
        /// The controller.
        name: String,
        /// The sequence's id.
        sequence: u64,
        /// Either "quality" or "cost".
        column: &'static str,
        /// The values that are allowed.
        expected: &'static str,
        /// The value.
        found: f64,
    },
    /// The random routes cannot serve as the null oracle: one lacks a sequence or varies in cost, or a depth has a
    /// different number of routes than there are candidates.
    #[error("random routes: expected {expected}, found {found}")]
    Null {
        /// The routes that are needed.
        expected: String,
        /// The routes that were found.
        found: String,
    },
}
