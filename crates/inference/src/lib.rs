//! Dynamic depth: a [`Controller`] decides, while a model generates, which layers each token or sequence runs.
//!
//! Part of dynlayer, after "Dynamic layer selection in decoder-only transformers" (Glavas et al. 2024, arXiv
//! 2410.20022).
//!
//! # Generate under a controller
//!
//! A decoder usually runs all of its layers for every token. Here the engine asks a controller before each layer. The
//! controller answers for every *row*, which is one live sequence of the batch: run the layer, skip it, skip one of its
//! two sublayers (attention and MLP), or exit and skip all later layers too. A skipped layer is not launched, so it
//! costs no time. The engine takes care of the cache that later tokens read ([`KvPolicy`]).
//!
//! [`generate`] returns an iterator over [`TokenEvent`]s, and [`Generation::finish`] collects them:
//!
//! ```
//! use burn::tensor::Device;
//! use dynlayer_inference::controllers::UniformSkip;
//! use dynlayer_inference::{GenerateOptions, conformance, generate};
//!
//! // A random model of six layers; dynlayer_model::Checkpoint loads real ones.
//! let model = conformance::small_model(&Device::flex())?;
//! let prompts = [vec![1, 2, 3], vec![4, 5]]; // token ids
//! let options = GenerateOptions { max_new_tokens: 8, ..GenerateOptions::default() };
//!
//! // Four of the six layers, evenly spread.
//! let (completions, report) = generate(&model, UniformSkip::new(4), &prompts, options)?.finish()?;
//! assert_eq!(completions[1].tokens.len(), 8);
//! assert_eq!(report.decode.layers_per_token(), Some(4.0));
//! println!("{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! By default control begins with the first generated token, and the prompt runs all layers. [`RunSettings`] changes
//! that, and holds the seed of all random draws.
//!
//! # Write a controller
//!
//! A controller is a type with one method. It sees a [`Site`], which is one layer of one pass: the rows, their hidden
//! states on the device, the logits that they would have if they exited here. [`controllers`] has ready-made ones.
//!
//! ```
//! use burn::tensor::Device;
//! use dynlayer_inference::{Action, Controller, Decision, Row, Site, conformance};
//!
//! /// Runs all layers for a sequence's first ten tokens, and every other layer after that.
//! struct ThinLater;
//!
//! impl Controller for ThinLater {
//!     fn decide(&mut self, site: &Site<'_>) -> Decision {
//!         let odd = site.layer() % 2 == 1;
//!         let action = |row: &Row| if odd && row.generated >= 10 { Action::Skip } else { Action::Run };
//!         Decision::per_row(site.rows().iter().map(action))
//!     }
//! }
//!
//! // Checks that any controller should pass: rows do not influence each other, runs repeat, and more.
//! conformance::check(&conformance::small_model(&Device::flex())?, || ThinLater)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Score given text
//!
//! [`score`] steps through a given continuation as generation would, and returns the log-probability and the [route] of
//! every token. It measures the loss that a controller costs:
//!
//! ```
//! use burn::tensor::Device;
//! use dynlayer_inference::controllers::{ExitAfter, FullDepth};
//! use dynlayer_inference::{ControlFrom, ScoreOptions, conformance, score};
//!
//! let model = conformance::small_model(&Device::flex())?;
//! let mut options = ScoreOptions::default();
//! options.run.control_from = ControlFrom::LastPromptToken; // decide about every scored token
//! let (prompt, continuation) = ([1, 2, 3], [4, 5, 6, 7]);
//!
//! let (full, _) = score(&model, FullDepth, &prompt, &continuation, &options)?;
//! let (early, report) = score(&model, ExitAfter(2), &prompt, &continuation, &options)?;
//! assert_eq!(report.decode.layers_per_token(), Some(2.0));
//! println!("{:?} nats per token at full depth, {:?} with two layers", full.mean_nll(), early.mean_nll());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [route]: report::Route
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | the root | [`Controller`] and its vocabulary; [`generate`], [`score`], [`score_batch`] and their options |
//! | [`controllers`] | controllers that come with the crate, and [`controllers::ControllerSpec`] to make one from text |
//! | [`sampling`] | the choice of a token from logits |
//! | [`report`] | routes, counts of work, times, and pictures of them |
//! | [`conformance`] | checks for controllers |
//! | [`oracle`] | the best candidate for each sequence, and its worth beside honest baselines |
//! | `training` | learned gates, and models that can exit early (feature `training`, on by default) |
#![forbid(unsafe_code)]

pub mod conformance;
mod control;
pub mod controllers;
mod engine;
mod files;
mod generation;
pub mod oracle;
mod parameters;
mod random;
pub mod report;
pub mod sampling;
mod tokens;
#[cfg(feature = "training")]
pub mod training;
mod unknown_name;

pub use control::{
    Action, Batch, ControlFrom, Controller, ControllerError, ControllerFn, Decision, KvPolicy, PartialSkips, Phase,
    Row, RunSettings, Site, controller_fn,
};
pub use files::FileError;
pub use generation::{
    Completion, GenerateError, GenerateOptions, Generation, ScoreItem, ScoreOptions, ScoredSequence, ScoredToken,
    Scores, Stop, TokenEvent, generate, score, score_batch,
};
pub use parameters::DeviceReadError;
pub use tokens::TokenProblem;
pub use unknown_name::UnknownName;
