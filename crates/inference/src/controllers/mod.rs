//! The controllers that come with the crate.
//!
//! | layers are chosen | controllers |
//! |---|---|
//! | in advance, the same for all tokens | [`FullDepth`], [`SkipLayers`], [`UniformSkip`], [`ExitAfter`], [`InfluenceSkip`] |
//! | by position | [`Schedule`] |
//! | at random | [`RandomSkip`], [`BernoulliSkip`] |
//! | by how sure the model is | [`ConfidenceExit`], [`EntropyExit`], [`SaturationExit`] |
//! | by the state, with effects measured in advance | [`SimilaritySkip`] |
//! | by a learned module | [`Routed`] with a [`Router`] |
//! | by a wrapped controller | [`Budgeted`], [`WarmUp`], [`Recorded`] |
//! | by the recording of an earlier run | [`Replayed`] |
//! | by a controller of each sequence's own | [`PerSequence`] |
//!
//! [`ControllerSpec`] makes most of them from text or JSON; [`ControllerSpec::all`] lists the forms.

mod bernoulli_skip;
mod budgeted;
mod calibration;
mod ends;
mod exit_after;
mod exits;
mod full_depth;
mod influence_skip;
mod per_sequence;
mod random_skip;
mod recorded;
mod recording;
mod replayed;
mod routed;
mod schedule;
mod sequences;
mod similarity_skip;
mod skip_layers;
mod spec;
mod uniform_skip;
mod warm_up;

pub use bernoulli_skip::BernoulliSkip;
pub use budgeted::Budgeted;
pub use calibration::{CalibrationError, LayerInfluence, StateEffects};
pub use ends::Ends;
pub use exit_after::ExitAfter;
pub use exits::{ConfidenceExit, EntropyExit, ExitRule, SaturationExit};
pub use full_depth::FullDepth;
pub use influence_skip::{InfluenceSkip, InfluenceSpec};
pub use per_sequence::PerSequence;
pub use random_skip::RandomSkip;
pub use recorded::Recorded;
pub use recording::{Recording, RecordingError};
pub use replayed::{ReplaySpec, Replayed};
pub use routed::{
    AnyRouter, LinearRouter, MlpRouter, Routed, Router, RouterError, RouterInput, RouterOptions, RouterSpec,
};
pub use schedule::Schedule;
pub use sequences::{Passes, Rewind, Sequences};
pub use similarity_skip::{SimilaritySkip, SimilaritySpec};
pub use skip_layers::SkipLayers;
pub use spec::{BuildError, Needs, Resources, SpecError, SpecForm};
pub use uniform_skip::UniformSkip;
pub use warm_up::WarmUp;

// The controllers that can be named in text and JSON.
spec::registry! {
    Full(FullDepth),
    Skip(SkipLayers),
    Uniform(UniformSkip),
    Exit(ExitAfter),
    Influence(InfluenceSpec),
    Random(RandomSkip),
    Bernoulli(BernoulliSkip),
    Schedule(Schedule),
    Confidence(ConfidenceExit),
    Entropy(EntropyExit),
    Saturation(SaturationExit),
    Similarity(SimilaritySpec),
    Router(RouterSpec),
    Replay(ReplaySpec),
    Budgeted(Budgeted<Box<ControllerSpec>>),
    Warmup(WarmUp<Box<ControllerSpec>>),
}
