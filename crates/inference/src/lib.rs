//! Dynamic depth: a [`Controller`] decides, while a model generates, which layers each token or sequence runs.
//!
//! A Llama-style decoder usually runs all of its layers for every token. Here the engine asks a controller before each
//! layer, and does not compute the layers that the controller skips. The crate has the [`Controller`] trait, ready-made
//! controllers, generation, scoring and sessions of many sequences, reports of the layers that ran and their cost, and
//! training of learned controllers. Models and tokenizers are in [`dynlayer_model`].
//!
//! The crate is part of [dynlayer](https://crates.io/crates/dynlayer), which follows "Dynamic layer selection in
//! decoder-only transformers" (Glavas et al. 2024, arXiv 2410.20022).
//!
//! # Words
//!
//! - A *layer* has two *sublayers*: attention and MLP.
//! - A *pass* takes some tokens through the layers once: a prompt or a chunk of one, or the newest token of every
//!   sequence that is generating.
//! - A *row* is one sequence's part in a pass.
//! - A [*route*](report::Route) lists the sublayers that ran for one token. Its *depth* is the number of layers that
//!   ran, and each sublayer counts as half a layer.
//!
//! # Generate under a controller
//!
//! At each layer the controller answers for every row: run the layer, skip it, skip one of its two sublayers, or exit,
//! which skips all later layers too. A layer that all rows skip is not launched, which saves its time. The engine takes
//! care of the keys and values that later tokens read at skipped layers ([`KvPolicy`]).
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
//! // Run four of the six layers, evenly spread.
//! let (completions, report) = generate(&model, UniformSkip::new(4), &prompts, options)?.finish()?;
//! assert_eq!(completions[1].tokens.len(), 8);
//! assert_eq!(report.decode.layers_per_token(), Some(4.0));
//! println!("{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each event carries a token and its route. By default control begins with the first generated token: the prompt runs
//! all layers, so the first generated token, which the prompt's pass predicts, has the full depth. [`RunSettings`]
//! changes that, and holds the seed of all random draws.
//!
//! ```
//! # use burn::tensor::Device;
//! # use dynlayer_inference::controllers::UniformSkip;
//! # use dynlayer_inference::{GenerateOptions, conformance, generate};
//! # let model = conformance::small_model(&Device::flex())?;
//! let options = GenerateOptions { max_new_tokens: 3, ..GenerateOptions::default() };
//! let mut routes = Vec::new();
//! for event in generate(&model, UniformSkip::new(4), &[vec![1, 2, 3]], options)? {
//!     routes.push(event?.route.to_string()); // one character per layer
//! }
//! assert_eq!(routes, ["######", "#.##.#", "#.##.#"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Write a controller
//!
//! A controller is a type with one required method. It sees a [`Site`], which is one layer of one pass: the rows, their
//! hidden states on the device, and the logits that they would have if they exited here. It returns a [`Decision`]: one
//! [`Action`] for all rows, or one per row. An [`Event`] tells it what else happens: sequences join and leave, passes
//! begin and produce tokens. For short controllers a closure is enough ([`controller_fn`]).
//!
//! The module [`controllers`] has ready-made controllers, and makes them from text such as `confidence:0.9,min=8`
//! ([`ControllerSpec`](controllers::ControllerSpec)).
//!
//! ```
//! use burn::tensor::Device;
//! use dynlayer_inference::conformance::{self, Rule};
//! use dynlayer_inference::{Action, Controller, ControllerError, Decision, Row, Site};
//!
//! /// Runs all layers for a sequence's first ten tokens, and every other layer after that.
//! struct ThinLater;
//!
//! impl Controller for ThinLater {
//!     fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
//!         let odd = site.layer() % 2 == 1;
//!         let action = |row: &Row| if odd && row.generated >= 10 { Action::Skip } else { Action::Run };
//!         Ok(Decision::per_row(site.rows().iter().map(action)))
//!     }
//! }
//!
//! // Checks that any controller should pass: rows do not influence each other, runs repeat, and more.
//! conformance::check(&conformance::small_model(&Device::flex())?, Rule::ALL, || ThinLater)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Sequences that come and go
//!
//! [`generate`] runs its prompts to their ends. In a [`Session`], sequences join while others are generating, continue
//! in several turns from the cache, are copied, shortened and cancelled. [`PerSequence`](controllers::PerSequence)
//! gives each of them a controller of its own:
//!
//! ```
//! use burn::tensor::Device;
//! use dynlayer_inference::controllers::{ExitAfter, FullDepth, PerSequence};
//! use dynlayer_inference::{Controller, SequenceOptions, Session, SessionOptions, conformance};
//!
//! let model = conformance::small_model(&Device::flex())?;
//! let controllers: PerSequence<Box<dyn Controller + Send>> = PerSequence::new();
//! let mut session = Session::new(&model, controllers, SessionOptions::default())?;
//! let options = SequenceOptions { max_new_tokens: 4, ..SequenceOptions::default() };
//!
//! session.controller_mut().insert(1, Box::new(FullDepth));
//! session.push(1, &[1, 2, 3], options.clone())?;
//! session.step()?; // the prompt of sequence 1
//! session.controller_mut().insert(2, Box::new(ExitAfter(2)));
//! session.push(2, &[4, 5], options)?; // joins while sequence 1 is generating
//! while !session.is_idle() {
//!     for event in session.step()? {
//!         println!("sequence {}: token {}", event.sequence, event.token);
//!     }
//! }
//! let depths: Vec<_> = session.take_finished().iter().map(|taken| taken.report.depth()).collect();
//! assert_eq!(depths, [Some(6.0), Some(2.0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Score given text
//!
//! [`score`] steps through a given continuation as generation would, and returns the log-probability and the route of
//! every token. The difference from full depth shows how much a controller raises the loss:
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
//! # Learn a controller, and find the best possible one
//!
//! The module `training` (feature `training`, on by default) trains a [`Router`](controllers::Router), which computes
//! from hidden states which layers run; [`Routed`](controllers::Routed) is the controller that follows it.
//!
//! The module [`oracle`] runs several controllers for every prompt and finds the best one for each. The result is an
//! optimistic estimate of what a controller that knew the prompt could gain.
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | the root | [`Controller`] and the types it uses; [`generate`], [`Session`], [`score`], their options; [`embed`] |
//! | [`controllers`] | ready-made controllers, also from text; state per sequence: [`Sequences`](controllers::Sequences) |
//! | [`sampling`] | the choice of a token from logits |
//! | [`report`] | routes, counts of work, times, and depth maps |
//! | [`conformance`] | checks for controllers |
//! | [`oracle`] | the best controller for each sequence: search, comparison with baselines, and prediction |
//! | `training` | training of routers, and of models that can exit early (feature `training`, on by default) |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod conformance;
mod control;
pub mod controllers;
mod embedding;
mod engine;
mod files;
mod generation;
mod identity;
pub mod oracle;
mod parameters;
mod random;
pub mod report;
pub mod sampling;
mod shared;
mod tokens;
#[cfg(feature = "training")]
pub mod training;
mod unknown_name;

pub use control::{
    Action, Answer, ControlFrom, Controller, ControllerError, ControllerFn, Decision, Event, KvPolicy, Outcome,
    PartialSkips, Pass, Phase, Place, Row, RowOutcome, RunSettings, Sequence, Setup, Site, Verified, VerifiedRow,
    controller_fn,
};
pub use embedding::{EmbedError, Pooling, embed};
pub use files::FileError;
pub use generation::{
    Accept, Completion, DraftLength, GenerateError, GenerateOptions, Generation, LogitsHook, PassOrder, ScoreItem,
    ScoreOptions, ScoredSequence, ScoredToken, Scores, SequenceOptions, Session, SessionOptions, Speculation, Stop,
    Taken, TokenEvent, WarmUp, generate, score, score_batch, score_each, warm_up,
};
pub use parameters::DeviceReadError;
#[doc(hidden)]
pub use random::PURPOSES;
pub use shared::Shared;
pub use tokens::TokenProblem;
pub use unknown_name::UnknownName;
