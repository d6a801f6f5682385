//! What is checked.

use std::fmt;

/// What a controller promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// It answers for every row, reads what can be read, and does not give up: whatever part of the text it controls.
    Answers,
    /// The same batch with the same seed takes the same routes.
    Deterministic,
    /// `begin` resets it: a second run with the same controller is the first again.
    BeginResets,
    /// In a box, where it is called through a table of functions, it does the same.
    BoxedEqualsUnboxed,
    /// Every row takes the route that it takes alone, wherever it stands in the batch and whenever others leave.
    BatchEqualsSolo,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answers => "it answers for every row",
            Self::Deterministic => "it is deterministic under a seed",
            Self::BeginResets => "begin resets it",
            Self::BoxedEqualsUnboxed => "boxed equals unboxed",
            Self::BatchEqualsSolo => "a batch equals its rows alone",
        })
    }
}

/// A promise that a controller does not keep.
#[derive(Debug, thiserror::Error)]
#[error("the controller breaks the rule \"{rule}\": {found}")]
#[non_exhaustive]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// What was seen.
    pub found: String,
    /// The error that the run ended with, if it did.
    pub source: Option<Box<crate::GenerateError>>,
}
