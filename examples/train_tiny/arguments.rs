//! The command line.

use clap::Parser;
use dynlayer::model::{Backend, DeviceSpec};
use dynlayer_examples::output;
use std::error::Error;
use std::path::PathBuf;

/// Trains the embedded model, measures it and writes its card.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// The folder to write the model to.
    #[arg(long, value_name = "DIR", default_value = "crates/tiny/assets")]
    pub out: PathBuf,
    /// Replace the model in the folder of --out if there is one; without it that is an error.
    #[arg(long)]
    pub overwrite: bool,
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
    /// The device to compute on: flex, ndarray, cuda or wgpu, or cuda:1 for the second GPU; all but flex need the Cargo feature
    /// of that name.
    #[arg(long, default_value_t = Backend::Flex.into())]
    pub device: DeviceSpec,
    /// The number of held-out problems of each task to measure the model on.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    pub problems: u64,
    /// Do not train; measure the model in the folder of --out and write its card.
    #[arg(long)]
    pub evaluate_only: bool,
    /// Print a line every hundred steps instead of a progress bar.
    #[arg(long)]
    pub quiet: bool,
}

/// The files that are written to the folder of `--out`: the tokenizer, the model and its card.
const FILES: [&str; 6] =
    ["tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors", "README.md", "loss.svg"];

impl Arguments {
    /// Checks before the work that all files can be written, and that no model is replaced unasked. Creates the folders
    /// if they do not exist.
    pub fn check(&self) -> Result<(), Box<dyn Error>> {
        output::check_folder(&self.out)?;
        for file in FILES.map(|name| self.out.join(name)) {
            output::check(&file)?;
        }
        if self.evaluate_only {
            return Ok(());
        }
        output::check_folder(&self.work)?;
        let model = self.out.join("model.safetensors");
        if model.is_file() && !self.overwrite {
            return Err(format!(
                "{}: exists; name another folder for --out, or add --overwrite to replace the model",
                model.display()
            )
            .into());
        }
        Ok(())
    }
}
