//! The command line.

use clap::Parser;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::{ControlFrom, KvPolicy};
use dynlayer::model::{Backend, WeightDtype};
use std::path::PathBuf;

/// Compares controllers with the full model on given text.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// A checkpoint's folder, or a GGUF file; by default the embedded model.
    #[arg(long, value_name = "DIR|FILE.gguf", default_value_os_t = dynlayer_tiny::folder(), hide_default_value = true)]
    pub model: PathBuf,
    /// Plain text to measure on; a short one is built in.
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Plain text to calibrate `influence` and `similarity` on; another short one is built in.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Budgets in layers; by default from seven eighths of the model's down to a quarter.
    #[arg(long, value_name = "K,K,..", value_delimiter = ',')]
    pub budgets: Vec<usize>,
    /// A further controller; may be given more than once.
    #[arg(long = "controller", value_name = "SPEC")]
    pub controllers: Vec<ControllerSpec>,
    /// Tokens of each prompt.
    #[arg(long, default_value_t = 32)]
    pub prompt_tokens: usize,
    /// Tokens of each continuation, which are compared.
    #[arg(long, default_value_t = 24)]
    pub tokens: usize,
    /// Items at most.
    #[arg(long, default_value_t = 8)]
    pub limit: usize,
    /// Items that run together.
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// From which token on the controller decides.
    #[arg(long, default_value_t = ControlFrom::LastPromptToken)]
    pub control_from: ControlFrom,
    /// What later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    pub kv_policy: KvPolicy,
    /// What random choices derive from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// flex, ndarray, cuda or wgpu, as far as built in.
    #[arg(long, default_value_t = Backend::Flex)]
    pub device: Backend,
    /// f32 or f16.
    #[arg(long, default_value_t = WeightDtype::F32)]
    pub dtype: WeightDtype,
    /// A folder for the table (CSV) and the plots (SVG, PNG).
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}
