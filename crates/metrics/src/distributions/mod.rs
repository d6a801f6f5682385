//! Next-token distributions: divergence, agreement, entropy, likelihood, perplexity.
//!
//! Everything is computed on the device for all tokens at once; a call reads one number per token.

mod log_probs;
mod perplexity;

pub use log_probs::LogProbs;
pub use perplexity::{Perplexity, PerplexityError, Window, Windows, WindowsError, perplexity};
