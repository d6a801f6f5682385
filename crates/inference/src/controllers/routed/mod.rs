//! Learned gates: a small module per model that decides from features of the token.

mod error;
mod features;
mod file;
mod linear_router;
mod mlp_router;
mod noise;
mod options;
mod routed_controller;
mod router;
mod shuffle;
#[cfg(all(test, feature = "training"))]
mod train_tests;

pub use error::RouterError;
pub use linear_router::LinearRouter;
pub use mlp_router::MlpRouter;
pub use options::{RouterInput, RouterOptions};
pub use routed_controller::Routed;
pub use router::{AnyRouter, Router};
