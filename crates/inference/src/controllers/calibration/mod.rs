//! What is measured on text, once per model, before a controller runs.

mod block_influence;
mod error;
mod k_means;
mod state_effects;
mod states;

pub use block_influence::BlockInfluence;
pub use error::CalibrationError;
pub use state_effects::{StateCluster, StateEffects};
