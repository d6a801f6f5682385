//! The controllers that come with the crate, each in a file of its own.

mod exit_after;
mod full_depth;
mod skip_layers;
mod spec;
mod uniform_skip;

pub use exit_after::ExitAfter;
pub use full_depth::FullDepth;
pub use skip_layers::SkipLayers;
pub use spec::{ControllerSpec, SpecError};
pub use uniform_skip::UniformSkip;
