//! One lane: whose it is, what it does, and what came of it.

use super::measured::Output;

/// What a lane does after the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Generates greedily.
    Greedy,
    /// Generates by sampling, for the first half of the score or the second.
    Sampled(u64),
    /// Steps through the reference.
    Reference,
    /// Steps through what the full model generated.
    FullOutput,
}

impl Task {
    pub(super) fn generates(self) -> bool {
        matches!(self, Self::Greedy | Self::Sampled(_))
    }
}

/// Whose lane it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The candidate's of that index.
    Candidate(usize),
    /// The full model's own.
    Full,
    /// A random route's: its depth and its number.
    Route { depth: usize, number: usize },
}

/// A lane under way.
pub(super) struct Lane {
    pub(super) of: Of,
    pub(super) task: Task,
    pub(super) done: Option<Done>,
}

/// What came of a lane.
#[derive(Clone, Default)]
pub(super) struct Done {
    pub(super) output: Output,
    /// Of given tokens: their log-probabilities, and whether they were the likeliest.
    pub(super) scored: Vec<(f64, bool)>,
    pub(super) cost: f64,
}
