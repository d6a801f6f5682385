//! The error for scores of texts that cannot be computed.

/// The error for scores of texts that cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is no reference to compare with.
    #[error("no reference; at least one is needed")]
    NoReference,
    /// A precision or a recall is not from 0 to 1.
    #[error("{what} is {found}; a number from 0 to 1 is needed")]
    Share {
        /// Either "precision" or "recall".
        what: &'static str,
        /// Its value.
        found: f64,
    },
}
