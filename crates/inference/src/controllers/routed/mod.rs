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

/// The row of a sequence whose last token in the pass is at this position.
#[cfg(test)]
fn row(id: u64, position: usize) -> crate::control::Row {
    crate::control::Row::text(id, position + 1)
}
