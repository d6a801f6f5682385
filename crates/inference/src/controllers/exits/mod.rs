//! Controllers that exit early, by a measure of the state.

mod confidence_exit;
mod entropy_exit;
mod rule;
mod saturation_exit;

pub use confidence_exit::ConfidenceExit;
pub use entropy_exit::EntropyExit;
pub use rule::ExitRule;
pub use saturation_exit::SaturationExit;
