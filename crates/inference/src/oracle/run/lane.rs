//! Lanes: the continuations of one prompt, each under a separate controller.

use super::results::Output;

/// One continuation of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) owner: Owner,
    pub(super) task: Task,
}

/// The controller that a lane belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// The candidate with this index.
    Candidate(usize),
    /// The full model, for its output if that is needed and no candidate generates it.
    Full,
    /// A random route, by its depth and its number among the routes of that depth.
    Route { depth: usize, number: usize },
}

/// The task of a lane.
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
    /// The generated output; empty for a lane that scores.
    pub(super) output: Output,
    /// For each scored token, its log-probability, and true if it was the most probable one. Empty for a lane that
    /// generates.
    pub(super) scored: Vec<(f64, bool)>,
    pub(super) cost: f64,
}
