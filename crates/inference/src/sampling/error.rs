//! Errors of sampling.

/// The reason why sampling options are refused, or why no token can be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// An option is out of its range.
    #[error("sampling option {field} is {value}; it must be {expected}")]
    Range {
        /// The option's name.
        field: &'static str,
        /// Its value.
        value: f32,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// The model's logits hold NaN or positive infinity.
    #[error("the logit of token {token} is {value}; expected a finite number or negative infinity")]
    NotFinite {
        /// The first token with such a logit.
        token: usize,
        /// Its logit.
        value: f32,
    },
    /// There are no logits.
    #[error("no logits to choose from")]
    Empty,
}
