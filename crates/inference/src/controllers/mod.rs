//! Controllers that come with the crate, each in a file of its own.
//!
//! | layers are chosen | controllers |
//! |---|---|
//! | once and for all | [`FullDepth`], [`SkipLayers`], [`UniformSkip`], [`ExitAfter`], [`InfluenceSkip`] |
//! | by position | [`Schedule`] |
//! | at random | [`RandomSkip`], [`BernoulliSkip`] |
//! | by how sure the model is | [`ConfidenceExit`], [`EntropyExit`], [`SaturationExit`] |
//! | by the state, as measured before | [`SimilaritySkip`] |
//! | by a learned module | [`Routed`] with a [`Router`] |
//! | by another controller | [`Budgeted`], [`WarmUp`], [`Recorded`] and [`Replayed`] |
//!
//! [`ControllerSpec`] makes most of them from text or JSON.

mod bernoulli_skip;
mod budgeted;
mod calibration;
mod ends;
mod exit_after;
mod exits;
mod full_depth;
mod influence_skip;
mod random_skip;
mod recorded;
mod recording;
mod replayed;
mod routed;
mod schedule;
mod similarity_skip;
mod skip_layers;
mod spec;
mod uniform_skip;
mod warm_up;

pub use bernoulli_skip::BernoulliSkip;
pub use budgeted::Budgeted;
pub use calibration::{BlockInfluence, CalibrationError, StateCluster, StateEffects};
pub use ends::Ends;
pub use exit_after::ExitAfter;
pub use exits::{ConfidenceExit, EntropyExit, ExitRule, SaturationExit};
pub use full_depth::FullDepth;
pub use influence_skip::InfluenceSkip;
pub use random_skip::RandomSkip;
pub use recorded::Recorded;
pub use recording::{Recording, RecordingError};
pub use replayed::Replayed;
pub use routed::{AnyRouter, LinearRouter, MlpRouter, Routed, Router, RouterError, RouterInput, RouterOptions};
pub use schedule::Schedule;
pub use similarity_skip::SimilaritySkip;
pub use skip_layers::SkipLayers;
pub use spec::{BuildError, ControllerSpec, Resources, SpecError};
pub use uniform_skip::UniformSkip;
pub use warm_up::WarmUp;
