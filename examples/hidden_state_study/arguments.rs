//! The command line.

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser};
use dynlayer::inference::ControlFrom;
use dynlayer::inference::controllers::RouterInput;
use dynlayer::inference::training::DepthLoss;
use dynlayer_examples::arguments::{ModelArguments, trimmed};
use dynlayer_examples::output::warn;
use dynlayer_examples::tiny_task::RouterKind;
use std::path::PathBuf;

/// Trains the same router with several inputs, and compares them at equal depth: do hidden states help? The weights of
/// the model are not trained.
#[derive(Parser, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line are bools")]
pub struct Arguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A file of prompts with references to learn from and to measure on, with one JSON object per line (`prompt`,
    /// `reference`), or `-` for standard input; by default the tasks of the embedded model. Blank lines are skipped.
    #[arg(long, value_name = "FILE.jsonl|-")]
    pub data: Option<PathBuf>,
    /// Leave out items of --data that do not fit the model's context, and say how many; without it they are an error.
    #[arg(long)]
    pub skip_long: bool,
    /// The costs of depth in training: prices of running all layers in nats per token, or budgets as budget:LAYERS.
    #[arg(long, value_delimiter = ',', default_value = "0.03,0.1,0.3,1,3", value_name = "ALPHA,..")]
    pub alphas: Vec<DepthLoss>,
    /// The seeds of weights, data and noise, one training each.
    #[arg(long, value_delimiter = ',', value_parser = trimmed::<u64>, default_value = "0,1,2", value_name = "N,..")]
    pub seeds: Vec<u64>,
    /// The inputs of the routers: hidden, constant, position, embedding, shuffled-hidden (hidden states of other
    /// tokens).
    #[arg(long, value_delimiter = ',', value_parser = input, value_name = "INPUT,..",
        default_value = "hidden,constant,position,embedding,shuffled-hidden")]
    pub inputs: Vec<RouterInput>,
    /// The number of steps of each training.
    #[arg(long, default_value_t = 150)]
    pub steps: u64,
    /// The highest learning rate.
    #[arg(long, default_value_t = 1e-2)]
    pub rate: f64,
    /// The number of items per training step.
    #[arg(long, default_value_t = 48)]
    pub batch: usize,
    /// The kind of router.
    #[arg(long, value_enum, default_value_t = RouterKind::Linear)]
    pub router: RouterKind,
    /// The logit of every layer in an untrained router; a positive logit runs the layer.
    #[arg(long, default_value_t = 2.0, allow_negative_numbers = true)]
    pub bias: f32,
    /// The temperature of the gates at the first training step.
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// The temperature of the gates at the last training step.
    #[arg(long, default_value_t = 1.0)]
    pub final_temperature: f64,
    /// The first token that routers decide about, in training and when measured: first-generated, last-prompt-token or
    /// all (the prompt's first).
    #[arg(long, default_value_t = ControlFrom::LastPromptToken)]
    pub control_from: ControlFrom,
    /// The number of held-out items to measure routers on; for the embedded model, of each task.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub items: u64,
    /// The largest number of tokens of a prompt and of a reference in --data; longer ones are cut, prompts at their
    /// beginning.
    #[arg(long, default_value_t = 48)]
    pub tokens: usize,
    /// A folder to write the table (CSV), the report (JSON) and the plots (SVG, PNG) to.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace the files that another study has left in the folder of --out; without it they are an error.
    #[arg(long, requires = "out")]
    pub overwrite: bool,
    /// A folder to store finished trainings in, so that a stopped study can continue. Studies with other inputs, alphas
    /// or seeds may use the same folder at the same time.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Print the report as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Print no progress.
    #[arg(long)]
    pub quiet: bool,
}

fn input(text: &str) -> Result<RouterInput, String> {
    serde_json::from_value(text.trim().into()).map_err(|error| error.to_string())
}

impl Arguments {
    /// Reads the command line, or ends the program with its error or its help. Warns about options that were given and
    /// change nothing.
    pub fn read() -> Self {
        let matches = Self::command().get_matches();
        let arguments = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        for (name, option) in [("tokens", "--tokens"), ("skip_long", "--skip-long")] {
            if arguments.data.is_none() && given(name) {
                warn(format_args!("{option} is only used with --data"));
            }
        }
        arguments
    }
}
