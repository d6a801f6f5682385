//! Early exits.

mod confidence_exit;
mod entropy_exit;
mod rule;
mod saturation_exit;

pub use confidence_exit::ConfidenceExit;
pub use entropy_exit::EntropyExit;
pub use rule::ExitRule;
pub use saturation_exit::SaturationExit;
