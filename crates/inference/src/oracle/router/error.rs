//! Why a predictor cannot be trained.

/// Why a prompt's predictor cannot be trained or tried.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RouterTrialError {
    /// There is too little to learn from.
    #[error("{what}: expected at least {expected}, found {found}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How much is needed.
        expected: usize,
        /// How much there is.
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
    /// A sequence's prompt was not looked at.
    #[error("no state of the prompt of sequence {sequence}; expected one for each of the evidence's sequences")]
    NoState {
        /// The sequence's id.
        sequence: u64,
    },
    /// The cheapest candidate costs more than may be spent.
    #[error("a mean budget of {budget} is too small: the cheapest candidate costs {smallest} in the mean")]
    Budget {
        /// What may be spent per sequence.
        budget: f64,
        /// What the cheapest candidate costs.
        smallest: f64,
    },
}
