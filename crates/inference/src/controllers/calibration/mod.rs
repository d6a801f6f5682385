//! Measurements on text, made once per model before a controller runs.

mod layer_influence;
mod error;
mod k_means;
mod state_effects;
mod states;

pub use layer_influence::LayerInfluence;
pub use error::CalibrationError;
pub use state_effects::StateEffects;
