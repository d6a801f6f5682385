//! Measurements of a model on text, made once before a controller runs.

mod error;
mod k_means;
mod layer_influence;
mod state_effects;
mod states;

pub use error::CalibrationError;
pub use layer_influence::LayerInfluence;
pub use state_effects::StateEffects;
