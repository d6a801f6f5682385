//! Sampling: the choice of a token from logits.

mod distribution;
mod draw;
mod error;
mod filter;
mod options;

pub(crate) use distribution::Distribution;
pub(crate) use draw::{Place, check_finite, pick};
pub use error::SamplingError;
pub use options::Sampling;
