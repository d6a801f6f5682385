//! The command line.

use clap::Parser;
use dynlayer::inference::ControlFrom;
use dynlayer::inference::controllers::RouterInput;
use dynlayer::inference::training::DepthLoss;
use dynlayer::model::Backend;
use dynlayer_examples::tiny_task::RouterKind;
use std::path::PathBuf;

/// Trains the same router with several inputs, and compares them at equal depth: do hidden states help?
#[derive(Parser, Debug)]
pub struct Arguments {
    /// A Hugging Face folder or a GGUF file; by default the embedded model. Its weights are not trained.
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub model: Option<PathBuf>,
    /// A file of prompts with references to learn from and to measure on, with one JSON object per line (`prompt`,
    /// `reference`); by default the tasks of the embedded model.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: Option<PathBuf>,
    /// The costs of depth in training: prices of running all layers in nats per token, or budgets as budget:LAYERS.
    #[arg(long, value_delimiter = ',', default_value = "0.03,0.1,0.3,1,3", value_name = "ALPHA,..")]
    pub alphas: Vec<DepthLoss>,
    /// The seeds of weights, data and noise, one training each.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2", value_name = "N,..")]
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
    #[arg(long, default_value_t = 2.0)]
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
    #[arg(long, default_value_t = 50)]
    pub items: u64,
    /// The largest number of tokens of a prompt and of a reference in --data; longer ones are cut.
    #[arg(long, default_value_t = 48)]
    pub tokens: usize,
    /// A folder to write the table (CSV), the report (JSON) and the plots (SVG, PNG) to.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A folder to store finished trainings in, so that a stopped study can continue. Studies with other inputs, alphas
    /// or seeds may use the same folder at the same time.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// The backend to compute on: flex, ndarray, cuda or wgpu; all but flex need the Cargo feature of that name.
    #[arg(long, default_value_t = Backend::Flex)]
    pub device: Backend,
    /// Print the report as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Print no progress bar.
    #[arg(long)]
    pub quiet: bool,
}

fn input(text: &str) -> Result<RouterInput, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}
