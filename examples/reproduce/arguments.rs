//! The command line.

use clap::Parser;
use dynlayer::inference::KvPolicy;
use dynlayer::model::WeightDtype;
use dynlayer_examples::arguments::{ModelArguments, trimmed};
use dynlayer_examples::evidence::{EvidenceArguments, Metric};
use dynlayer_examples::shards::ShardArguments;
use std::path::PathBuf;

/// Repeats the three experiments of arXiv 2410.20022 on one model and one set of prompts, and writes one page.
#[derive(Parser, Debug)]
pub struct Arguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A file of prompts with references, with one JSON object per line (`prompt`, `reference`); by default built-in problems
    /// for the embedded model. The study of hidden states learns from the lines after the measured ones.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: Option<PathBuf>,
    /// The folder for the page and for the files that an interrupted run continues from.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub shards: ShardArguments,
    /// The number of prompts to measure on.
    #[arg(long, default_value_t = 40)]
    pub limit: usize,
    /// The budgets, in layers; by default ten from all layers down to one.
    #[arg(long, value_name = "K,K,..", value_delimiter = ',', value_parser = trimmed::<usize>)]
    pub budgets: Vec<usize>,
    /// A string that ends an output and is left out of it, besides the model's own end; may be given more than once.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Make each prompt a message in the model's chat template.
    #[arg(long)]
    pub chat: bool,
    /// The largest number of tokens to generate.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// Study hidden states at five prices and with three seeds, instead of one seed and three prices (the embedded model) or two
    /// (others).
    #[arg(long)]
    pub thorough: bool,
    /// The number of steps of each training of the study; by default 100 for the embedded model and with --thorough, and
    /// otherwise 50.
    #[arg(long)]
    steps: Option<u64>,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The type in which weights are kept: f32, f16, stored (as in the file) or q8 (8 bits); by default f32. The study of
    /// hidden states needs f32.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub dtype: WeightDtype,
    /// Print no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl Arguments {
    pub fn steps(&self) -> u64 {
        self.steps.unwrap_or(if self.thorough || self.data.is_none() { 100 } else { 50 })
    }

    /// The options of the oracle's part.
    pub fn evidence(&self) -> EvidenceArguments {
        EvidenceArguments {
            model: self.model.clone(),
            data: self.data.clone(),
            skip_long: true,
            candidates: None,
            metric: if self.data.is_none() { Metric::Exact } else { Metric::RougeL },
            limit: Some(self.limit),
            max_new_tokens: self.max_new_tokens,
            stop: self.stop.clone(),
            chat: self.chat,
            calibration: None,
            kv_policy: KvPolicy::Propagate,
            lanes: 16,
            seed: self.seed,
            dtype: Some(self.dtype),
        }
    }
}
