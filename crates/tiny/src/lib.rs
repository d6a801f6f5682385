//! The embedded model: a Llama of 12 layers that this project trained itself, and the tasks that it was trained on.
//!
//! It is small enough to come with the sources (`assets/tiny`), and it has depth to save: easy tasks need few of its
//! layers and hard ones many. The examples run it unless they are given another model.

mod problem;
mod task;

pub use problem::{Problem, problems};
pub use task::Task;

use dynlayer_inference::{ControlFrom, GenerateOptions, RunSettings};
use dynlayer_model::text::Tokenizer;
use std::path::{Path, PathBuf};

/// The folder of the embedded model: `config.json`, `model.safetensors`, `tokenizer.json`, as Hugging Face names them.
///
/// ```no_run
/// use dynlayer_model::Checkpoint;
///
/// let checkpoint = Checkpoint::open(dynlayer_tiny::folder())?;
/// assert_eq!(checkpoint.config().n_layers, 12);
/// # Ok::<(), dynlayer_model::LoadError>(())
/// ```
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")
}

/// How answers are generated: greedily, to the token that ends a text, every token by a controlled pass.
pub fn options(tokenizer: &Tokenizer) -> GenerateOptions<'_> {
    GenerateOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
        max_new_tokens: 12,
        stop_tokens: tokenizer.eos_id().into_iter().collect(),
        tokenizer: Some(tokenizer),
        ..GenerateOptions::default()
    }
}
