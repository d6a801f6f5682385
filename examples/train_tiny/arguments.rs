//! The command line.

use clap::Parser;
use dynlayer::model::Backend;
use std::path::PathBuf;

/// Trains the embedded model.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// Where the model goes.
    #[arg(long, value_name = "DIR", default_value = "crates/tiny/assets")]
    pub out: PathBuf,
    /// Where checkpoints and the log of steps are kept.
    #[arg(long, value_name = "DIR", default_value = "target/train_tiny")]
    pub work: PathBuf,
    /// Steps on all tasks but the last, `follow-3`.
    #[arg(long, default_value_t = 5500)]
    pub steps: u64,
    /// Steps on all tasks after that.
    #[arg(long, default_value_t = 1500)]
    pub more_steps: u64,
    /// Problems per step.
    #[arg(long, default_value_t = 84)]
    pub batch: usize,
    /// The highest learning rate.
    #[arg(long, default_value_t = 1.5e-3)]
    pub rate: f64,
    /// The highest learning rate of the further steps.
    #[arg(long, default_value_t = 1e-3)]
    pub more_rate: f64,
    /// The probability that the last layer is dropped, at the end of the training.
    #[arg(long, default_value_t = 0.1)]
    pub dropout: f64,
    /// How much early exits weigh in the loss.
    #[arg(long, default_value_t = 0.1)]
    pub exit_scale: f64,
    /// What weights, problems and dropped layers derive from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// flex, ndarray, cuda or wgpu, as far as built in.
    #[arg(long, default_value_t = Backend::Flex)]
    pub device: Backend,
    /// Held-out problems of each task that the model is measured on.
    #[arg(long, default_value_t = 400)]
    pub problems: u64,
    /// Do not train: measure the model that is there, and write its card.
    #[arg(long)]
    pub evaluate_only: bool,
    /// A line per hundred steps instead of a bar.
    #[arg(long)]
    pub quiet: bool,
}
