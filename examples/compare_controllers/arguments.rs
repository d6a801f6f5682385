//! The command line.

use clap::Parser;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::{ControlFrom, KvPolicy};
use dynlayer::model::WeightDtype;
use dynlayer_examples::arguments::{ModelArguments, trimmed};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The default number of tokens of each prompt.
pub const PROMPT_TOKENS: usize = 32;
/// The default number of tokens of each continuation.
pub const TOKENS: usize = 24;

/// Compares controllers with the full model on given text.
#[derive(Parser, Debug)]
pub struct Arguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A text file to measure on; by default a short built-in text, or problems for the embedded model.
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// A text file to calibrate `influence` and `similarity` on, of which the first 4096 tokens are used; by default a
    /// built-in text, or problems for the embedded model.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// The budgets to compare, in layers; by default from seven eighths of the model's layers down to a quarter.
    #[arg(long, value_name = "K,K,..", value_delimiter = ',', value_parser = trimmed::<usize>)]
    pub budgets: Vec<usize>,
    /// A further controller, in the text form that `--help` of the `generate` example lists; may be given more than
    /// once.
    #[arg(long = "controller", value_name = "SPEC")]
    pub controllers: Vec<ControllerSpec>,
    /// The number of tokens of each prompt; the embedded model's problems have lengths of their own.
    #[arg(long, default_value_t = PROMPT_TOKENS)]
    pub prompt_tokens: usize,
    /// The number of tokens of each continuation, on which controllers are compared.
    #[arg(long, default_value_t = TOKENS)]
    pub tokens: usize,
    /// The largest number of items: prompts with their continuations.
    #[arg(long, default_value_t = 8)]
    pub limit: usize,
    /// The number of items that run together.
    #[arg(long, default_value = "8")]
    pub batch: NonZeroUsize,
    /// The first token that controllers decide about: first-generated, last-prompt-token or all (the prompt's first).
    #[arg(long, default_value_t = ControlFrom::LastPromptToken)]
    pub control_from: ControlFrom,
    /// The keys and values that later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    pub kv_policy: KvPolicy,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The type in which weights are kept: f32, f16, stored (as in the file) or q8 (8 bits); by default stored for a
    /// quantised GGUF file on flex, and f32 otherwise.
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<WeightDtype>,
    /// A folder to write the table (CSV) and the plots (SVG, PNG) to.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace the files of an earlier comparison in that folder.
    #[arg(long, requires = "out")]
    pub overwrite: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}
