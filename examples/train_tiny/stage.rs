//! The stages of the training: the hardest task comes last, when the model has learned the tasks that it consists of.

use super::arguments::Arguments;
use dynlayer_tiny::Task;
use std::path::PathBuf;

/// A part of the training with a new optimizer, and a learning rate that rises and falls.
pub struct Stage {
    /// The tasks of the problems, in turn.
    pub tasks: Vec<Task>,
    pub steps: u64,
    pub rate: f64,
    /// The folder of its checkpoint and its log.
    pub folder: PathBuf,
    /// The number of steps of earlier stages, whose problems are not repeated.
    pub after: u64,
}

/// The number of problems of the last task in the second stage for each problem of another task.
const LAST: usize = 5;

/// Returns the two stages: all tasks but the last, then all tasks, the last one most often.
pub fn stages(arguments: &Arguments) -> [Stage; 2] {
    let Arguments { work, steps, more_steps, rate, more_rate, .. } = arguments;
    let (last, others) =
        Task::ALL.split_last().map_or((Task::Sort, Vec::new()), |(last, others)| (*last, others.to_vec()));
    let all = others.iter().copied().chain(std::iter::repeat_n(last, LAST)).collect();
    [
        Stage { tasks: others, steps: *steps, rate: *rate, folder: work.join("stage-1"), after: 0 },
        Stage { tasks: all, steps: *more_steps, rate: *more_rate, folder: work.join("stage-2"), after: *steps },
    ]
}
