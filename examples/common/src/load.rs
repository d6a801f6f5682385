//! Getting a model.

use burn::tensor::Device;
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Checkpoint, Llama, WeightDtype};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::error::Error;
use std::path::Path;

/// A checkpoint with its tokenizer and its model.
pub struct Loaded {
    /// The files.
    pub checkpoint: Checkpoint,
    /// The checkpoint's tokenizer.
    pub tokenizer: Tokenizer,
    /// The weights, on the device.
    pub model: Llama,
}

impl Loaded {
    /// Loads a model, with a bar on standard error unless `quiet`.
    pub fn open(path: &Path, dtype: WeightDtype, device: &Device, quiet: bool) -> Result<Self, Box<dyn Error>> {
        let checkpoint = Checkpoint::open(path)?;
        let tokenizer = checkpoint.tokenizer()?;
        let bar = progress_bar(quiet, "loading {bar:40} {bytes} of {total_bytes}");
        let model = checkpoint.load(dtype, device, |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        })?;
        bar.finish_and_clear();
        Ok(Self { checkpoint, tokenizer, model })
    }
}

/// A bar on standard error.
pub fn progress_bar(quiet: bool, template: &str) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
