//! Loading of a model: the embedded one or the user's.

use crate::output::escape_codes;
use burn::tensor::Device;
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Checkpoint, Llama, WeightDtype};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::error::Error;
use std::path::Path;

/// A checkpoint with its tokenizer and its loaded model.
pub struct Loaded {
    /// The opened checkpoint.
    pub checkpoint: Checkpoint,
    /// The checkpoint's tokenizer.
    pub tokenizer: Tokenizer,
    /// The model, with its weights on the device.
    pub model: Llama,
}

impl Loaded {
    /// Loads the model at `path`, or the embedded one without a path. Shows a progress bar on standard error unless
    /// `quiet`.
    pub fn open(path: Option<&Path>, dtype: WeightDtype, device: &Device, quiet: bool) -> Result<Self, Box<dyn Error>> {
        let checkpoint = path.map_or_else(dynlayer_tiny::checkpoint, Checkpoint::open)?;
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

/// Returns a progress bar on standard error in `indicatif`'s template syntax. It is hidden if `quiet`, if standard
/// error is no terminal, and where escape codes are not wanted.
pub fn progress_bar(quiet: bool, template: &str) -> ProgressBar {
    let target = if quiet || !escape_codes() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
