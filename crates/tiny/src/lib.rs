//! The embedded model, a Llama of 12 layers that this project trained and that is compiled into the program, and the
//! tasks that it solves.
//!
//! Easy tasks need few of its layers and hard ones many, so a controller can save layers. The examples of dynlayer run
//! it unless they are given another model.
//!
//! ```
//! use dynlayer_inference::controllers::{ConfidenceExit, ExitRule};
//! use dynlayer_inference::generate;
//! use dynlayer_model::{Backend, WeightDtype};
//!
//! let checkpoint = dynlayer_tiny::checkpoint()?;
//! let tokenizer = checkpoint.tokenizer()?;
//! let model = checkpoint.load(WeightDtype::F32, &Backend::Flex.device()?, |_progress| {})?;
//!
//! let prompt = tokenizer.encode("sort 52938174=", true)?;
//! let controller = ConfidenceExit::new(ExitRule::new(0.9));
//! let (completions, report) = generate(&model, controller, &[prompt], dynlayer_tiny::options(&tokenizer))?.finish()?;
//! assert_eq!(completions[0].text, "12345789");
//! assert!(report.decode.layers_per_token() < Some(6.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod problem;
mod task;

pub use problem::{Problem, problems};
pub use task::Task;

use dynlayer_inference::controllers::Resources;
use dynlayer_inference::{ControlFrom, GenerateOptions, RunSettings};
use dynlayer_model::text::Tokenizer;
use dynlayer_model::{Checkpoint, LoadError};

/// The model's files, by their names in a Hugging Face folder.
const FILES: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../assets/config.json")),
    ("model.safetensors", include_bytes!("../assets/model.safetensors")),
    ("tokenizer.json", include_bytes!("../assets/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../assets/tokenizer_config.json")),
];

/// A router trained for the model, in the form that [`Routed::load`](dynlayer_inference::controllers::Routed::load)
/// reads.
const ROUTER: &[u8] = include_bytes!("../assets/router.safetensors");

/// Opens the embedded model.
///
/// # Errors
/// None in practice: the files are part of the program and were tested.
pub fn checkpoint() -> Result<Checkpoint, LoadError> {
    Checkpoint::from_files(FILES)
}

/// Returns resources for building controllers from text, with the model's learned router as
/// `router:router.safetensors`.
pub fn resources() -> Resources {
    Resources::new().router("router.safetensors", ROUTER)
}

/// Returns generation options for the model's tasks: greedy, up to the token that ends an answer, with every token from
/// a controlled pass.
pub fn options(tokenizer: &Tokenizer) -> GenerateOptions<'_> {
    GenerateOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
        max_new_tokens: 12,
        stop_tokens: tokenizer.eos_id().into_iter().collect(),
        tokenizer: Some(tokenizer),
        ..GenerateOptions::default()
    }
}
