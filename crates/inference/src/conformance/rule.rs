//! The rules that the checks apply to a controller.

use std::fmt;

/// A rule that every controller must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The controller answers for every row, reads finite numbers, and reports no error, whatever part of the text it
    /// controls.
    Answers,
    /// The same batch with the same seed takes the same routes.
    Deterministic,
    /// A new run starts afresh: a second run with the same controller repeats the first.
    StartResets,
    /// The controller as a boxed trait object makes the same decisions.
    BoxedEqualsUnboxed,
    /// Every row takes the same route in a batch as alone, wherever it stands in the batch and whenever other rows
    /// leave.
    BatchEqualsSolo,
    /// A sequence takes the same routes when others join later, as copies too, and leave early.
    JoiningKeepsOthers,
    /// A sequence that was shortened takes the same routes as one that never had the dropped tokens.
    RewindForgets,
    /// A copy of a sequence goes on as the original would.
    CopyContinues,
}

impl Rule {
    /// All rules, in the order in which they are checked.
    pub const ALL: &'static [Self] = &[
        Self::Answers,
        Self::Deterministic,
        Self::StartResets,
        Self::BoxedEqualsUnboxed,
        Self::BatchEqualsSolo,
        Self::JoiningKeepsOthers,
        Self::RewindForgets,
        Self::CopyContinues,
    ];

    /// The rules for a controller that learns from all sequences while it runs, so that what one sequence does depends on
    /// the others.
    pub const LEARNING: &'static [Self] =
        &[Self::Answers, Self::Deterministic, Self::StartResets, Self::BoxedEqualsUnboxed];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answers => "it answers for every row",
            Self::Deterministic => "it is deterministic under a seed",
            Self::StartResets => "a new run starts afresh",
            Self::BoxedEqualsUnboxed => "boxed equals unboxed",
            Self::BatchEqualsSolo => "a batch equals its rows alone",
            Self::JoiningKeepsOthers => "sequences that join or leave change no other",
            Self::RewindForgets => "dropped tokens are forgotten",
            Self::CopyContinues => "a copy goes on as the original would",
        })
    }
}

/// The error for a controller that breaks a rule.
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
