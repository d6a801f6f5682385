//! The parts of the training: the hardest task comes last, when what it is made of is known.

use super::arguments::Arguments;
use dynlayer_tiny::Task;
use std::path::PathBuf;

/// A training of its own: a learning rate that rises and falls, and an optimizer that starts anew.
pub struct Stage {
    /// In turn, one to a problem.
    pub tasks: Vec<Task>,
    pub steps: u64,
    pub rate: f64,
    /// Where its checkpoint and its log are.
    pub folder: PathBuf,
    /// Steps of the stages before, whose problems do not come again.
    pub after: u64,
}

/// How often the last task comes in the second stage, for each time that another does.
const LAST: usize = 5;

/// First all tasks but the last, then all, the last one most often.
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
