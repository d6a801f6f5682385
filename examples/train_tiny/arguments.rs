//! The command line.

use clap::Parser;
use dynlayer::model::Backend;
use std::path::PathBuf;

/// Trains the embedded model, measures it and writes its card.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// The folder to write the model to.
    #[arg(long, value_name = "DIR", default_value = "crates/tiny/assets")]
    pub out: PathBuf,
    /// The folder to store checkpoints and the log of steps in, so that a stopped training can continue.
    #[arg(long, value_name = "DIR", default_value = "target/train_tiny")]
    pub work: PathBuf,
    /// The number of steps of the first stage, on all tasks but the last, `follow-3`.
    #[arg(long, default_value_t = 5500)]
    pub steps: u64,
    /// The number of steps of the second stage, on all tasks.
    #[arg(long, default_value_t = 1500)]
    pub more_steps: u64,
    /// The number of problems per step.
    #[arg(long, default_value_t = 84)]
    pub batch: usize,
    /// The highest learning rate of the first stage.
    #[arg(long, default_value_t = 1.5e-3)]
    pub rate: f64,
    /// The highest learning rate of the second stage.
    #[arg(long, default_value_t = 1e-3)]
    pub more_rate: f64,
    /// The probability that the last layer is dropped at the end of each stage.
    #[arg(long, default_value_t = 0.1)]
    pub dropout: f64,
    /// The weight of early exits in the loss.
    #[arg(long, default_value_t = 0.1)]
    pub exit_scale: f64,
    /// The seed of weights, problems and dropped layers.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The backend to compute on: flex, ndarray, cuda or wgpu; all but flex need the Cargo feature of that name.
    #[arg(long, default_value_t = Backend::Flex)]
    pub device: Backend,
    /// The number of held-out problems of each task to measure the model on.
    #[arg(long, default_value_t = 400)]
    pub problems: u64,
    /// Do not train; measure the model in the folder of --out and write its card.
    #[arg(long)]
    pub evaluate_only: bool,
    /// Print a line every hundred steps instead of a progress bar.
    #[arg(long)]
    pub quiet: bool,
}
