//! Early exit where a state looks finished.

mod confidence_exit;
mod entropy_exit;
mod rule;
mod saturation_exit;
mod streaks;

pub use confidence_exit::ConfidenceExit;
pub use entropy_exit::EntropyExit;
pub use rule::ExitRule;
pub use saturation_exit::SaturationExit;
