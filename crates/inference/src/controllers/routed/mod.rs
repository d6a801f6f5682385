//! Learned gates: a small module per model that decides from features of the token.

mod controller;
mod error;
mod features;
mod file;
mod noise;
mod options;
mod router;
mod shuffle;
#[cfg(all(test, feature = "training"))]
mod tests;

pub use controller::{Routed, RouterSpec};
pub use error::RouterError;
pub use options::{RouterInput, RouterOptions};
pub use router::{AnyRouter, LinearRouter, MlpRouter, Router};
