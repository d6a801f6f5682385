//! The error for a predictor that cannot be trained or tested.

/// The error for a predictor that cannot be trained or tested.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictorError {
    /// There is too little to learn from.
    #[error("{what}: expected at least {expected}, found {found}")]
    TooFew {
        /// The things that were counted, such as "sequences".
        what: &'static str,
        /// The number that is needed.
        expected: usize,
        /// The number that was found.
        found: usize,
    },
    /// A sequence lacks a candidate that others have.
    #[error("sequence {sequence} lacks candidate {candidate:?}; expected every candidate for every sequence")]
    Gap {
        /// The sequence's id.
        sequence: u64,
        /// The candidate's name.
        candidate: String,
    },
    /// A sequence has no prompt state.
    #[error("sequence {sequence} has no prompt state; expected one for every sequence of the evidence")]
    NoState {
        /// The sequence's id.
        sequence: u64,
    },
    /// The cheapest candidate costs more than the budget.
    #[error("a mean budget of {budget} is too small: the cheapest candidate costs {smallest} on average")]
    Budget {
        /// The mean budget of a sequence.
        budget: f64,
        /// Mean cost of the cheapest candidate.
        smallest: f64,
    },
}
