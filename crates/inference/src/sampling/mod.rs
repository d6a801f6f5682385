//! Sampling: the choice of a token from logits.

mod distribution;
mod draw;
mod error;
mod filter;
mod options;
mod rejection;

pub(crate) use distribution::Distribution;
pub(crate) use draw::{Place, check_finite, pick, probabilities};
pub use error::SamplingError;
pub use options::Sampling;
pub(crate) use rejection::{accepted, drafted};
