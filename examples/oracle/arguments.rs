//! The command line.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use dynlayer::inference::KvPolicy;
use dynlayer::model::WeightDtype;
use dynlayer_examples::arguments::ModelArguments;
use serde::Serialize;
use std::path::PathBuf;

/// Measures quality and cost of the best choice of layers for each prompt, and of baselines to compare them with.
#[derive(Parser, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line are bools")]
pub struct Arguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A file of prompts with references, with one JSON object per line (`prompt`, `reference` and optionally `id`), or
    /// `-` for standard input; by default built-in problems for the embedded model. Blank lines are skipped.
    #[arg(long, value_name = "FILE.jsonl|-")]
    pub data: Option<PathBuf>,
    /// Leave out items of --data that do not fit the model's context, and say how many; without it they are an error.
    #[arg(long)]
    pub skip_long: bool,
    /// The candidates: controllers, separated by commas, in the text form that `--help` of the `generate` example
    /// lists. `full` is added if it is missing. By default the full model and eleven budgets of `influence`, down to a
    /// quarter of the layers.
    #[arg(long, value_name = "SPEC,SPEC,..")]
    pub candidates: Option<String>,
    /// The measure of quality.
    #[arg(long, value_enum, default_value_t = Metric::RougeL)]
    pub metric: Metric,
    /// The unit of cost.
    #[arg(long, value_enum, default_value_t = Cost::Layers)]
    pub cost: Cost,
    /// The largest number of items to read, beginning with the first line; by default all lines, or 140 built-in
    /// problems. Items that --skip-long leaves out count.
    #[arg(long)]
    pub limit: Option<usize>,
    /// The largest number of tokens to generate, and the largest number of the reference's tokens that `nll` scores.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// The folder to write all files to. An interrupted run continues from its file `run.jsonl` when it is started
    /// again with the same options.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace the files that another run has left in the folder of --out; without it they are an error. A run that can
    /// be continued is continued, not replaced.
    #[arg(long)]
    pub overwrite: bool,
    /// The number of depths at which random routes are run, each with as many routes as there are candidates; 0 for
    /// none. Only used with `--cost layers`.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub null: usize,
    /// The temperature of the two sampled outputs that the cross-fitted oracle needs; 0 for none. Only used with
    /// `--metric rouge-l`; the other metrics have halves without sampling.
    #[arg(long, value_name = "T", default_value_t = 0.7, value_parser = temperature)]
    pub halves: f32,
    /// The layer whose input states the prompt predictor reads; by default the layer after the first sixth of the
    /// layers.
    #[arg(long, value_name = "LAYER")]
    pub predictor_layer: Option<usize>,
    /// Make each prompt a message in the model's chat template.
    #[arg(long)]
    pub chat: bool,
    /// A text file to calibrate `influence` and `similarity` on, of which the first 4096 tokens are used; by default a
    /// built-in text, or built-in problems for the embedded model.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// The keys and values that later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    pub kv_policy: KvPolicy,
    /// The largest number of continuations of one prompt that run together.
    #[arg(long, default_value_t = 16)]
    pub lanes: usize,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The type in which weights are kept: f32, f16, stored (as in the file) or q8 (8 bits); by default stored for a
    /// quantised GGUF file on flex, and f32 otherwise.
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<WeightDtype>,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub json: bool,
}

fn temperature(text: &str) -> Result<f32, String> {
    let found: f32 = text.trim().parse().map_err(|error| format!("{error}"))?;
    if found.is_finite() && found >= 0.0 { Ok(found) } else { Err("expected a number of at least 0".to_owned()) }
}

impl Arguments {
    /// Reads the command line, or ends the program with its error or its help. Also returns what the options were read
    /// from, for [`without_effect`](Self::without_effect).
    pub fn read() -> (Self, ArgMatches) {
        let matches = Self::command().get_matches();
        let arguments = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        (arguments, matches)
    }

    /// Returns a sentence for each option that was given and changes nothing. `calibrated` is true if a candidate needs
    /// a calibration.
    pub fn without_effect(&self, matches: &ArgMatches, calibrated: bool) -> Vec<String> {
        let cases = [
            ("halves", self.metric != Metric::RougeL && self.halves > 0.0, "is only used with --metric rouge-l"),
            ("null", self.cost != Cost::Layers && self.null > 0, "is only used with --cost layers"),
            ("lanes", self.cost == Cost::Milliseconds, "is not used with --cost milliseconds: each lane runs alone"),
            ("calibration", !calibrated, "is not used: no candidate is calibrated"),
            ("skip_long", self.data.is_none(), "is only used with --data"),
        ];
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let unused = cases.into_iter().filter(|&(name, unused, _)| unused && given(name));
        unused.map(|(name, _, why)| format!("--{} {why}", name.replace('_', "-"))).collect()
    }
}

/// A measure of quality; higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The ROUGE-L F1 score of the greedy output against the reference.
    RougeL,
    /// Share of the full model's greedy tokens that the candidate would choose too.
    Agreement,
    /// Mean log-probability of the reference's tokens (the negated NLL), in nats.
    Nll,
}

/// A unit of cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// Mean number of layers per token.
    Layers,
    /// 10^9 floating-point operations per token.
    Gigaflops,
    /// Milliseconds per token. Each continuation then runs alone.
    Milliseconds,
}

impl Metric {
    /// Returns the measure in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::RougeL => "ROUGE-L F1 of the greedy output against the reference",
            Self::Agreement => "share of the full model's greedy tokens that the candidate would choose too",
            Self::Nll => "mean log-probability of the reference's tokens, nats",
        }
    }
}

impl Cost {
    /// Returns the unit in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Layers => "layers per token",
            Self::Gigaflops => "GFLOP per token",
            Self::Milliseconds => "milliseconds per token",
        }
    }
}
