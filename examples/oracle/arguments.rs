//! The command line.

use clap::{Parser, ValueEnum};
use dynlayer::inference::KvPolicy;
use dynlayer::model::{Backend, WeightDtype};
use serde::Serialize;
use std::path::PathBuf;

/// Measures what the best choice of layers per prompt would reach, and the baselines that such a number needs.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// A checkpoint's folder, or a GGUF file; by default the embedded model.
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub model: Option<PathBuf>,
    /// A file with one JSON object per line, with `prompt`, `reference` and optionally `id`. The embedded model has its
    /// own problems, which are the default.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: Option<PathBuf>,
    /// The candidates, controllers separated by commas; by default the full model and eleven budgets of `influence`
    /// down to a quarter of the layers. `full` is added if it is missing.
    #[arg(long, value_name = "SPEC,SPEC,..")]
    pub candidates: Option<String>,
    /// The measure of quality.
    #[arg(long, value_enum, default_value_t = Metric::RougeL)]
    pub metric: Metric,
    /// The unit of cost.
    #[arg(long, value_enum, default_value_t = Cost::Layers)]
    pub cost: Cost,
    /// Largest number of items, from the first line on.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Largest number of tokens to generate, and of the reference's tokens that `nll` scores.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// The folder for all files. An interrupted run continues from the file `run.jsonl` there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number of depths at which random routes are run, at each as many as there are candidates; 0 for none. Only with
    /// `--cost layers`.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub null: usize,
    /// Temperature of the two sampled outputs that the cross-fitted oracle needs (`rouge-l` only); 0 for none.
    #[arg(long, value_name = "T", default_value_t = 0.7)]
    pub halves: f32,
    /// The layer whose entering states the prompt predictor sees; by default after a sixth of the layers.
    #[arg(long, value_name = "LAYER")]
    pub predictor_layer: Option<usize>,
    /// Make each prompt a chat, with the model's template.
    #[arg(long)]
    pub chat: bool,
    /// A plain text to calibrate `influence` and `similarity` on; a short one is built in.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Keys and values that later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    pub kv_policy: KvPolicy,
    /// Largest number of continuations of one prompt that run together.
    #[arg(long, default_value_t = 16)]
    pub lanes: usize,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The backend: flex, ndarray, cuda or wgpu, as far as built in.
    #[arg(long, default_value_t = Backend::Flex)]
    pub device: Backend,
    /// The type of the weights: f32 or f16.
    #[arg(long, default_value_t = WeightDtype::F32)]
    pub dtype: WeightDtype,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub json: bool,
}

/// A measure of quality; higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// F1 of ROUGE-L of the greedy output and the reference.
    RougeL,
    /// Share of the full model's own tokens that the candidate would choose, too.
    Agreement,
    /// Mean log-probability of the reference's tokens (the negated NLL), in nats.
    Nll,
}

/// A unit of cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// Layers per token.
    Layers,
    /// 1e9 floating-point operations per token.
    Gigaflops,
    /// Milliseconds per token, each continuation alone.
    Milliseconds,
}

impl Metric {
    /// The measure in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::RougeL => "ROUGE-L F1 of the greedy output against the reference",
            Self::Agreement => "share of the full model's greedy tokens that are the likeliest ones here too",
            Self::Nll => "mean log-probability of the reference's tokens, nats",
        }
    }
}

impl Cost {
    /// The unit in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Layers => "layers per token",
            Self::Gigaflops => "GFLOP per token",
            Self::Milliseconds => "milliseconds per token",
        }
    }
}
