//! Why there is no allocation.

use crate::oracle::Column;

/// Why there is no allocation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// Even the cheapest candidates cost more.
    #[error("a mean budget of {budget} is too small: the smallest feasible budget is {smallest}")]
    Budget {
        /// What may be spent per sequence.
        budget: f64,
        /// What the cheapest candidate of every sequence costs in the mean.
        smallest: f64,
    },
    /// Even the best candidates do not reach it.
    #[error("a mean quality of {wanted} cannot be reached: the largest reachable quality is {largest}")]
    Quality {
        /// The mean quality that is wanted.
        wanted: f64,
        /// The mean quality of every sequence's best candidate.
        largest: f64,
    },
    /// The wanted number is not finite, or a budget is negative.
    #[error("{name}: expected {expected}, found {found}")]
    Number {
        /// What the number is.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: f64,
    },
    /// The evidence lacks the quality that is to be gone by.
    #[error("the evidence has no column {column:?}")]
    Column {
        /// The column that is missing.
        column: Column,
    },
    /// The numbers are too large to be added up exactly.
    #[error("the {what} add up to {found:e}; at most {limit:e} can be added exactly")]
    TooLarge {
        /// Qualities or costs.
        what: &'static str,
        /// Their sum.
        found: f64,
        /// The largest sum.
        limit: f64,
    },
}
