//! Why no token can be chosen.

/// Why sampling options are refused, or no token can be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// An option is out of its range.
    #[error("sampling option {field} is {value}; it must be {expected}")]
    Range {
        /// The option.
        field: &'static str,
        /// What it was.
        value: f32,
        /// What it may be.
        expected: &'static str,
    },
    /// The model's logits hold NaN or positive infinity.
    #[error("the logit of token {token} is {value}, no finite number")]
    NotFinite {
        /// The first such token.
        token: usize,
        /// Its logit.
        value: f32,
    },
    /// There are no logits.
    #[error("no logits to choose from")]
    Empty,
}
