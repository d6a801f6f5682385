//! The command line.

use crate::Loaded;
use crate::arguments::ModelArguments;
use clap::ValueEnum;
use dynlayer::inference::oracle::{self, Measure, OracleOptions};
use dynlayer::inference::{ControlFrom, KvPolicy, RunSettings};
use dynlayer::metrics::text::{Rouge, RougeVariant, normalize_answer};
use dynlayer::model::WeightDtype;
use serde::Serialize;
use std::error::Error;
use std::path::PathBuf;

/// The options that say what is measured: a model, prompts, candidates and a measure of quality.
#[derive(clap::Args, Clone, Debug)]
pub struct EvidenceArguments {
    /// The model.
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
    /// The largest number of items to read, beginning with the first line; by default all lines, or 140 built-in
    /// problems. Items that --skip-long leaves out count.
    #[arg(long)]
    pub limit: Option<usize>,
    /// The largest number of tokens to generate, and the largest number of the reference's tokens that `nll` scores.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// A string that ends an output and is left out of it, besides the model's own end; may be given more than once.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
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
}

impl EvidenceArguments {
    /// Returns the options of the oracle's run that follow from these: greedy outputs, controlled from the last token of
    /// the prompt, with their cost in layers.
    pub fn options<'a>(&self, loaded: &'a Loaded) -> Result<OracleOptions<'a>, Box<dyn Error>> {
        let Loaded { checkpoint, tokenizer, .. } = loaded;
        Ok(OracleOptions {
            max_new_tokens: self.max_new_tokens,
            stop_tokens: checkpoint.stop_tokens(tokenizer)?,
            stop_strings: self.stop.clone(),
            tokenizer: Some(tokenizer),
            run: RunSettings {
                control_from: ControlFrom::LastPromptToken,
                kv_policy: self.kv_policy,
                seed: self.seed,
                ..RunSettings::default()
            },
            lanes: self.lanes,
            labels: [("chat".to_owned(), self.chat.to_string())].into(),
            ..OracleOptions::default()
        })
    }
}

/// A measure of quality; higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The ROUGE-L F1 score of the greedy output against the reference.
    RougeL,
    /// Share of greedy outputs that are the reference, but for case, articles and punctuation.
    Exact,
    /// Share of the full model's greedy tokens that the candidate would choose too.
    Agreement,
    /// Mean log-probability of the reference's tokens (the negated NLL), in nats.
    Nll,
}

impl Metric {
    /// Returns true if it scores texts that candidates generate, and false if it scores given tokens.
    pub fn reads_outputs(self) -> bool {
        matches!(self, Self::RougeL | Self::Exact)
    }

    /// Returns the measure for a run of the oracle.
    pub fn measure(self) -> Measure<'static> {
        match self {
            Self::RougeL => Measure::output("rouge-l", |output| {
                Rouge::plain().score_variant(RougeVariant::RougeL, output.reference, output.text).f1
            }),
            Self::Exact => Measure::output("exact", |output| {
                let (reference, text) = (normalize_answer(output.reference), normalize_answer(output.text));
                f64::from(u8::from(reference == text))
            }),
            Self::Agreement => Measure::Agreement,
            Self::Nll => Measure::Likelihood,
        }
    }

    /// Returns the measure in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::RougeL => "ROUGE-L F1 of the greedy output against the reference",
            Self::Exact => "share of greedy outputs that are the reference",
            Self::Agreement => "share of the full model's greedy tokens that the candidate would choose too",
            Self::Nll => "mean log-probability of the reference's tokens, nats",
        }
    }
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

impl Cost {
    /// Returns the unit as the oracle's run has it.
    pub fn unit(self) -> oracle::Cost {
        match self {
            Self::Layers => oracle::Cost::Layers,
            Self::Gigaflops => oracle::Cost::Gigaflops,
            Self::Milliseconds => oracle::Cost::Milliseconds,
        }
    }

    /// Returns the unit in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Layers => "layers per token",
            Self::Gigaflops => "GFLOP per token",
            Self::Milliseconds => "milliseconds per token",
        }
    }
}
