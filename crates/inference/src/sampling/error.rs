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
    /// The logits, as the model gave them or as a hook left them, hold NaN or positive infinity.
    #[error("the logit of token {token} is {value}; expected a finite number or negative infinity")]
    NotFinite {
        /// The first token with such a logit.
        token: usize,
        /// Its logit.
        value: f32,
    },
    /// The repetition penalty makes a logit infinite.
    #[error(
        "the repetition penalty {penalty:?} makes the logit of token {token}, {logit:?}, infinite; expected a penalty \
         that keeps logits finite, such as 1.2"
    )]
    Penalty {
        /// The first token of the sequence with such a logit.
        token: u32,
        /// Its logit before the penalty.
        logit: f32,
        /// The penalty.
        penalty: f32,
    },
    /// No token has a probability above 0: there are no logits, or all are negative infinity.
    #[error("no token to choose from: there are no logits, or all are negative infinity")]
    Empty,
}
