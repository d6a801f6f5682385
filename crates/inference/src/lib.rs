//! Dynamic depth: a [`Controller`] decides, while a model generates, which layers every token or sequence runs.
//!
//! Part of dynlayer, after "Dynamic layer selection in decoder-only transformers"
//! (Glavas et al. 2024, arXiv 2410.20022).
//!
//! - [`Controller`], [`Site`], [`Decision`], [`Action`]: what a controller is, sees and answers.
//! - [`controllers`]: those that come with the crate, and [`controllers::ControllerSpec`] to make one from text.
//! - [`generate`]: generation as an iterator of [`TokenEvent`]s.
//! - [`score`], [`score_batch`]: the log-probabilities of given text, pass by pass as decoding would run.
//! - [`sampling`]: how tokens are chosen.
//! - [`conformance`]: checks for controllers of your own.
//! - [`oracle`]: which candidate each sequence should have had, and what that is worth.
//! - [`report`]: routes, counts and times.
//! - `training` (feature `autodiff`): learned gates, and models that can leave early.
#![forbid(unsafe_code)]

pub mod conformance;
mod control;
pub mod controllers;
mod engine;
mod generation;
pub mod oracle;
mod random;
pub mod report;
pub mod sampling;
#[cfg(feature = "autodiff")]
pub mod training;
mod unknown_name;

pub use control::{
    Action, Batch, ControlFrom, Controller, ControllerError, ControllerFn, Decision, KvPolicy, PartialSkips, Phase,
    Row, RunSettings, Site, controller_fn,
};
pub use generation::{
    Completion, GenerateError, GenerateOptions, Generation, ScoreItem, ScoreOptions, ScoredSequence, ScoredToken,
    Scores, Stop, TokenEvent, generate, score, score_batch,
};
pub use unknown_name::UnknownName;
