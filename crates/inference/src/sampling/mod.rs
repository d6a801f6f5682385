//! Sampling: the choice of a token from logits.

mod draw;
mod error;
mod filter;
mod options;

pub(crate) use draw::{Place, check_finite, largest, pick};
pub use error::SamplingError;
pub use options::Sampling;
