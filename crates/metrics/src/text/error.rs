//! Why a text has no score.

/// Why a text has no score.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is nothing to compare with.
    #[error("no reference; at least one is needed")]
    NoReference,
    /// A precision or recall is none.
    #[error("{what} is {found}; a number from 0 to 1 is needed")]
    Share {
        /// Which of the two.
        what: &'static str,
        /// Its value.
        found: f64,
    },
}
