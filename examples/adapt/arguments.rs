//! The command line.

use clap::Parser;
use dynlayer::inference::training::TunedDepth;
use dynlayer_examples::arguments::ModelArguments;
use std::error::Error;
use std::path::PathBuf;

/// The depths that steps take in turn by default, for a model of 30 layers.
const DEPTHS: &str = "exit:6+10,exit:6+10+30,exit:6+8+10,exit:6+10+30,exit:4+10,full";

/// Trains an adapter with which a model answers prompts of one kind with fewer layers, from the model's own answers.
#[derive(Parser, Debug)]
pub struct Arguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A file of prompts with a JSON object per line: {"prompt": ..., "reference": ...}. The model answers them.
    #[arg(long, value_name = "FILE")]
    pub prompts: PathBuf,
    /// A file of other prompts of the same kind, in the same form, to measure on. References are what answers are compared
    /// with.
    #[arg(long, value_name = "FILE")]
    pub held_out: PathBuf,
    /// A text file of another kind. Steps of the depth full learn from pieces of it, so that the model stays as it is there.
    #[arg(long, value_name = "FILE")]
    pub other: Option<PathBuf>,
    /// The folder to write the adapter to, in the format of PEFT.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A folder for the model's answers, checkpoints and the log. A stopped training continues from there.
    #[arg(long, value_name = "DIR")]
    pub work: PathBuf,
    /// A folder with an adapter of the same model to begin with, instead of one that changes nothing; --rank, --alpha and --seed
    /// are then its own.
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// The name of the model in the adapter's description.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub base: String,
    /// The number of prompts to use of the file; all by default.
    #[arg(long)]
    pub limit: Option<usize>,
    /// The controllers that are measured at the end, with all held-out prompts; by default exits, uniform, influence and
    /// confidence. A finished training is only measured.
    #[arg(long, value_name = "SPEC,SPEC,..")]
    pub controllers: Option<String>,
    /// The number of held-out prompts to measure on at each check.
    #[arg(long, default_value_t = 48)]
    pub check: usize,
    /// The number of steps between two checks.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub check_every: u64,
    /// Make each prompt a message in the model's chat template.
    #[arg(long)]
    pub chat: bool,
    /// A string that ends an answer, besides the model's own end; may be given more than once.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// The largest number of tokens of an answer.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// The number of training steps.
    #[arg(long, default_value_t = 1000)]
    pub steps: u64,
    /// Stop after so many steps, as if all were to follow; the checkpoint stays.
    #[arg(long, value_name = "STEPS")]
    pub stop_after: Option<u64>,
    /// The highest learning rate.
    #[arg(long, default_value_t = 2e-3)]
    pub rate: f64,
    /// The number of prompts per step.
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// The rank of the adapter.
    #[arg(long, default_value_t = 8)]
    pub rank: usize,
    /// The numerator of the adapter's scale, alpha / rank.
    #[arg(long, default_value_t = 16.0)]
    pub alpha: f32,
    /// The depths that steps take in turn: full, exit:N, exit:N+N+.. or random:N.
    #[arg(long, value_delimiter = ',', default_value = DEPTHS)]
    pub depths: Vec<TunedDepth>,
    /// The probability with which the last layer is dropped in steps that do not run at full depth; earlier ones less.
    #[arg(long, default_value_t = 0.0)]
    pub dropout: f64,
    /// The seed of the adapter, the order of the prompts, and the depths.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl Arguments {
    pub fn check(&self) -> Result<(), Box<dyn Error>> {
        for (name, number) in
            [("--batch", self.batch), ("--check", self.check), ("--max-new-tokens", self.max_new_tokens)]
        {
            if number == 0 {
                return Err(format!("{name} is 0; expected at least 1").into());
            }
        }
        if self.model.adapter_beside.is_some() {
            return Err(
                "--adapter-beside has no place here: the new adapter is trained for the model without one".into()
            );
        }
        Ok(())
    }
}
