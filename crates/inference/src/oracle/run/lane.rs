//! Lanes: the continuations of one prompt, each under a separate controller.

use super::results::Output;

/// One continuation of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) owner: Owner,
    pub(super) task: Task,
}

/// The subject that a lane runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// The candidate of that index.
    Candidate(usize),
    /// The full model, where it is not among the candidates.
    Full,
    /// A random route, by its depth and its number among those of that depth.
    Route { depth: usize, number: usize },
}

/// The kind of a continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Task {
    /// Generates greedily.
    Greedy,
    /// Generates by sampling, for the first half of the score (0) or the second (1).
    Sampled(u64),
    /// Scores the reference.
    Reference,
    /// Scores the full model's output.
    FullOutput,
}

impl Task {
    pub(super) fn generates(self) -> bool {
        matches!(self, Self::Greedy | Self::Sampled(_))
    }
}

/// The result of a lane.
#[derive(Clone, Default)]
pub(super) struct LaneResult {
    /// The generated tokens; empty for a lane that scores.
    pub(super) output: Output,
    /// The log-probability of each scored token, and true if the token was the most probable one.
    pub(super) scored: Vec<(f64, bool)>,
    pub(super) cost: f64,
}
