//! The command line.

use clap::{Parser, ValueEnum};
use dynlayer::inference::KvPolicy;
use dynlayer::model::{Backend, WeightDtype};
use serde::Serialize;
use std::path::PathBuf;

/// Measures what the best choice of layers per prompt would reach, with the controls that such a number needs.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// A checkpoint's folder, or a GGUF file; by default the embedded model.
    #[arg(long, value_name = "DIR|FILE.gguf", default_value_os_t = dynlayer_tiny::folder(), hide_default_value = true)]
    pub model: PathBuf,
    /// One JSON object per line, with `prompt` and `reference`, and an `id` if you like. For the embedded model by default
    /// problems of its own.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: Option<PathBuf>,
    /// Controllers that a prompt may be given, separated by commas; by default the full model and eleven budgets of
    /// `influence` down to a quarter of the layers. `full` is added where it is missing.
    #[arg(long, value_name = "SPEC,SPEC,..")]
    pub candidates: Option<String>,
    /// What quality is.
    #[arg(long, value_enum, default_value_t = Metric::RougeL)]
    pub metric: Metric,
    /// What cost is.
    #[arg(long, value_enum, default_value_t = Cost::Layers)]
    pub cost: Cost,
    /// Items at most, from the first line on.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Tokens to generate at most, and of the reference that `nll` scores.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// A folder for everything that is written. A run that was interrupted goes on from the file `run.jsonl` there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Depths at which random routes are run, as many per depth as there are candidates; 0 for none. Only with
    /// `--cost layers`.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub null: usize,
    /// The temperature of the two sampled outputs that the cross-fitted oracle needs (`rouge-l` only); 0 for none.
    #[arg(long, value_name = "T", default_value_t = 0.7)]
    pub halves: f32,
    /// The layer whose entering states the prompt router sees; by default after a sixth of the layers.
    #[arg(long, value_name = "LAYER")]
    pub router_layer: Option<usize>,
    /// Make a chat of each prompt, through the model's template.
    #[arg(long)]
    pub chat: bool,
    /// Plain text to calibrate `influence` and `similarity` on; a short one is built in.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// What later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    pub kv_policy: KvPolicy,
    /// Lanes of one prompt that run together at most.
    #[arg(long, default_value_t = 16)]
    pub lanes: usize,
    /// What random choices derive from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// flex, ndarray, cuda or wgpu, as far as built in.
    #[arg(long, default_value_t = Backend::Flex)]
    pub device: Backend,
    /// f32 or f16.
    #[arg(long, default_value_t = WeightDtype::F32)]
    pub dtype: WeightDtype,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub json: bool,
}

/// What quality is; higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// F1 of ROUGE-L of the greedy output and the reference.
    RougeL,
    /// The part of the full model's own tokens that the candidate would have chosen too.
    Agreement,
    /// The mean log-probability of the reference's tokens (the negated NLL), in nats.
    Nll,
}

/// What cost is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// Layers per token.
    Layers,
    /// 1e9 floating-point operations per token.
    Gigaflops,
    /// Milliseconds per token, each lane alone.
    Milliseconds,
}

impl Metric {
    pub fn words(self) -> &'static str {
        match self {
            Self::RougeL => "ROUGE-L F1 of the greedy output against the reference",
            Self::Agreement => "share of the full model's greedy tokens that are the likeliest ones here too",
            Self::Nll => "mean log-probability of the reference's tokens, nats",
        }
    }
}

impl Cost {
    pub fn words(self) -> &'static str {
        match self {
            Self::Layers => "layers per token",
            Self::Gigaflops => "GFLOP per token",
            Self::Milliseconds => "milliseconds per token",
        }
    }
}
