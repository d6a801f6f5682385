//! The error for an allocation that does not exist, or cannot be computed.

use super::Column;

/// The error for an allocation that does not exist, or cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// Even the cheapest candidates cost more than the budget.
    #[error("a mean budget of {budget} is too small: the smallest feasible budget is {smallest}")]
    Budget {
        /// The mean budget per sequence.
        budget: f64,
        /// Mean cost of every sequence's cheapest candidate.
        smallest: f64,
    },
    /// Even the best candidates do not reach the wanted quality.
    #[error("a mean quality of {wanted} cannot be reached: the largest reachable quality is {largest}")]
    Quality {
        /// The mean quality that is wanted.
        wanted: f64,
        /// Mean quality of every sequence's best candidate.
        largest: f64,
    },
    /// A budget or a wanted quality is not finite, or a budget is negative.
    #[error("{name}: expected {expected}, found {found}")]
    Number {
        /// The number's name.
        name: &'static str,
        /// The values that are allowed.
        expected: &'static str,
        /// The value.
        found: f64,
    },
    /// The evidence lacks a column of qualities, for all or for some of its sequences.
    #[error("the evidence does not have column {column:?} for every sequence")]
    Column {
        /// The column that is missing.
        column: Column,
    },
    /// The numbers are too large to be added up exactly.
    #[error("the {what} add up to {found:e}; at most {limit:e} can be added exactly")]
    TooLarge {
        /// Either "qualities" or "costs".
        what: &'static str,
        /// Their sum.
        found: f64,
        /// The largest sum that is allowed.
        limit: f64,
    },
}
