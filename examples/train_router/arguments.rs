//! The command line.

use clap::Parser;
use dynlayer::inference::controllers::Ends;
use dynlayer::inference::training::DepthLoss;
use dynlayer_examples::arguments::ModelArguments;
use dynlayer_examples::output;
use dynlayer_examples::tiny_task::RouterKind;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Trains a router for the embedded model, or for another version of it that `train_tiny` has written, from hidden
/// states.
#[derive(Parser, Debug)]
pub struct Arguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// The file to write the router to.
    #[arg(long, value_name = "FILE", default_value = "crates/tiny/assets/router.safetensors")]
    pub out: PathBuf,
    /// Replace the file of --out if there is one; without it that is an error.
    #[arg(long)]
    pub overwrite: bool,
    /// The cost of depth in training: a budget as budget:LAYERS, or a price of running all layers in nats per token.
    #[arg(long, default_value_t = DepthLoss::budget(7.5), value_name = "budget:LAYERS|ALPHA")]
    pub depth: DepthLoss,
    /// The number of training steps.
    #[arg(long, default_value_t = 300)]
    pub steps: u64,
    /// The highest learning rate.
    #[arg(long, default_value_t = 1e-2)]
    pub rate: f64,
    /// The number of problems per step.
    #[arg(long, default_value_t = 48)]
    pub batch: usize,
    /// The kind of router.
    #[arg(long, value_enum, default_value_t = RouterKind::Linear)]
    pub router: RouterKind,
    /// The first and the last layer: kept, they always run, or free, they may be skipped.
    #[arg(long, default_value_t = Ends::Kept)]
    pub ends: Ends,
    /// The logit of every layer in an untrained router; a positive logit runs the layer.
    #[arg(long, default_value_t = 2.0, allow_negative_numbers = true)]
    pub bias: f32,
    /// The temperature of the gates at the last step; it is 1 at the first.
    #[arg(long, default_value_t = 1.0)]
    pub final_temperature: f64,
    /// The seed of weights, problems and noise.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The number of held-out problems of each task to measure the router on.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub problems: u64,
    /// A folder to store checkpoints and the log of steps in, so that a stopped training can continue.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Print no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl Arguments {
    /// Checks before the work that the router can be written and does not replace another one unasked. Creates the
    /// file's folder if it does not exist.
    pub fn check(&self) -> Result<(), Box<dyn Error>> {
        let folder = self.out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        output::check_folder(folder)?;
        output::check(&self.out)?;
        if self.out.is_file() && !self.overwrite {
            let file = self.out.display();
            return Err(format!("{file}: exists; name another file for --out, or add --overwrite to replace it").into());
        }
        Ok(())
    }
}
