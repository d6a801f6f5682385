//! Dynamic depth for Llama-style decoders on [burn](https://burn.dev): a *controller* decides, while the model generates,
//! which layers each token or sequence runs. A skipped layer is not launched, so skipping saves time.
//!
//! The library follows "Dynamic layer selection in decoder-only transformers" (Glavas et al. 2024, arXiv 2410.20022).
//! It loads real checkpoints, generates and scores batches under any controller, reports what every token ran and what it
//! cost, and measures what a choice of depth is worth.
//!
//! # A first generation
//!
//! ```
//! use dynlayer::inference::controllers::UniformSkip;
//! use dynlayer::inference::{GenerateOptions, generate};
//! use dynlayer::model::{Backend, WeightDtype};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The embedded model, with the feature `tiny`. For others there is
//! // `Checkpoint::open`, which takes a folder or a GGUF file.
//! # #[cfg(feature = "tiny")] {
//! let checkpoint = dynlayer::tiny::checkpoint()?;
//! let tokenizer = checkpoint.tokenizer()?;
//! let model = checkpoint.load(WeightDtype::F32, &Backend::Flex.device()?, |_progress| {})?;
//!
//! // Ten of its twelve layers, evenly spread.
//! let prompt = tokenizer.encode("sort 52938174=", true)?;
//! let options = GenerateOptions {
//!     max_new_tokens: 8,
//!     tokenizer: Some(&tokenizer),
//!     ..GenerateOptions::default()
//! };
//! let controller = UniformSkip::new(10);
//! let (completions, report) = generate(&model, controller, &[prompt], options)?.finish()?;
//! assert_eq!(completions[0].text.len(), 8);
//! assert_eq!(report.decode.layers_per_token(), Some(10.0));
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # A controller
//!
//! [`Controller`](inference::Controller) has one required method. The engine calls it once per layer and pass, for all
//! sequences of the pass, with a [`Site`](inference::Site) and gets a [`Decision`](inference::Decision). A closure is
//! enough:
//!
//! ```
//! use dynlayer::inference::{Action, GenerateOptions, conformance, controller_fn, generate};
//! use dynlayer::model::Backend;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A small model with random weights, for trying controllers.
//! let model = conformance::small_model(&Backend::Flex.device()?)?;
//! let every_other = controller_fn(|site| if site.layer() % 2 == 1 { Action::Skip } else { Action::Run });
//! let options = GenerateOptions::default();
//! let (_, report) = generate(&model, every_other, &[vec![1, 2, 3]], options)?.finish()?;
//! let n_layers = model.layers().len() as f64;
//! assert_eq!(report.decode.layers_per_token(), Some(n_layers / 2.0));
//! # Ok(())
//! # }
//! ```
//!
//! # Sequences that come and go
//!
//! [`generate`](inference::generate) runs a list of prompts to their ends. A [`Session`](inference::Session) is for
//! servers and chats: sequences join while others are generating, continue from their cached keys and values in several
//! turns, are copied, shortened and cancelled. The [guide to sessions](guide::sessions) shows how.
//!
//! # The parts
//!
//! | module | contents |
//! |---|---|
//! | [`inference`] | the `Controller` trait, built-in controllers, generation, sessions, reports, the oracle, training |
//! | [`model`] | checkpoints, tokenizers, chat templates, and the decoder in pieces |
//! | [`metrics`] | ROUGE, perplexity, divergences, similarity, cost, frontiers, allocation; stands alone |
//! | `tiny` | the embedded model (feature `tiny`) |
//! | [`guide`] | the guides, from a first controller to the oracle |
//! | [`burn`](https://docs.rs/burn) | the tensor library, for crates that do not depend on it themselves |
//!
//! # Cargo features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `flex` | yes | processors, with kernels for decoding |
//! | `training` | yes | gradients: learned controllers, models that can leave early |
//! | `ndarray` | | burn-ndarray |
//! | `cuda`, `wgpu` | | GPUs |
//! | `fusion` | | GPUs in programs that have burn's feature of this name on |
//! | `plot` | | plots as SVG and PNG |
//! | `tiny` | | the embedded model, 4.6 MB in the program |
//! | `hub` | | checkpoints from the Hugging Face hub: `Checkpoint::from_hub` |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(no_inline)]
pub use burn;
#[doc(inline)]
pub use dynlayer_inference as inference;
#[doc(inline)]
pub use dynlayer_metrics as metrics;
#[doc(inline)]
pub use dynlayer_model as model;
#[cfg(feature = "tiny")]
#[doc(inline)]
pub use dynlayer_tiny as tiny;

#[cfg(any(doc, doctest))]
pub mod guide;

/// The README's code blocks, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
