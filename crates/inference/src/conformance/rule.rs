//! The rules that are checked.

use std::fmt;

/// A promise of every controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// It answers for every row, reads finite numbers, and does not give up, whatever part of the text it controls.
    Answers,
    /// The same batch with the same seed takes the same routes.
    Deterministic,
    /// `begin` resets it: a second run with the same controller repeats the first.
    BeginResets,
    /// It decides the same as a boxed trait object.
    BoxedEqualsUnboxed,
    /// Every row takes the same route as alone, wherever it stands in the batch and whenever others leave.
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
    /// The rule.
    pub rule: Rule,
    /// A description of the failure.
    pub found: String,
    /// The error that ended the run, if one did.
    pub source: Option<Box<crate::GenerateError>>,
}
