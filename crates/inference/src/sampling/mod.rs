//! From logits to a token.

mod draw;
mod error;
mod filter;
mod options;

pub use error::SamplingError;
pub use options::Sampling;
pub(crate) use draw::pick;
