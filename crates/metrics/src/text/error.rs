//! Why a text has no score.

/// Why a text has no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is nothing to compare with.
    #[error("no reference; at least one is needed")]
    NoReference,
}
