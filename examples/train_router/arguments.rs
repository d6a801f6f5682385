//! The command line.

use dynlayer_examples::tiny_task::RouterKind;
use clap::Parser;
use dynlayer::inference::controllers::Ends;
use dynlayer::inference::training::DepthLoss;
use dynlayer::model::Backend;
use std::path::PathBuf;

/// Trains a router for the embedded model, from hidden states.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// The embedded model's folder.
    #[arg(long, value_name = "DIR", default_value_os_t = dynlayer_tiny::folder())]
    pub model: PathBuf,
    /// The file that the router goes to.
    #[arg(long, value_name = "FILE", default_value = "crates/tiny/assets/router.safetensors")]
    pub out: PathBuf,
    /// What depth costs: budget:LAYERS, or an alpha in nats.
    #[arg(long, default_value_t = DepthLoss::budget(7.5), value_parser = depth, value_name = "budget:LAYERS|ALPHA")]
    pub depth: DepthLoss,
    /// Steps.
    #[arg(long, default_value_t = 300)]
    pub steps: u64,
    /// The highest learning rate.
    #[arg(long, default_value_t = 1e-2)]
    pub rate: f64,
    /// Problems per step.
    #[arg(long, default_value_t = 48)]
    pub batch: usize,
    /// The router.
    #[arg(long, value_enum, default_value_t = RouterKind::Linear)]
    pub router: RouterKind,
    /// Whether the first and the last layer always run: kept or free.
    #[arg(long, default_value_t = Ends::Kept)]
    pub ends: Ends,
    /// The logit that a new router answers with.
    #[arg(long, default_value_t = 2.0)]
    pub bias: f32,
    /// The gates' temperature at the last step, from 1 at the first.
    #[arg(long, default_value_t = 1.0)]
    pub final_temperature: f64,
    /// The seed of weights, problems and noise.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Held-out problems of each task that the router is measured on.
    #[arg(long, default_value_t = 100)]
    pub problems: u64,
    /// A folder for checkpoints and the log of steps, so that a training that was stopped goes on.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// flex, ndarray, cuda or wgpu, as far as built in.
    #[arg(long, default_value_t = Backend::Flex)]
    pub device: Backend,
    /// No bar.
    #[arg(long)]
    pub quiet: bool,
}

/// As [`DepthLoss`] says, a default of its own included, which is shown as `budget 7.5`.
fn depth(text: &str) -> Result<DepthLoss, String> {
    text.replace(' ', ":").parse()
}
