//! Quality, similarity and cost of dynamic-depth generation, from text, tensors and plain numbers.
//!
//! Part of dynlayer, and alone in it: nothing of the model or of the engine is in any signature.
//!
//! - [`text`]: ROUGE, exact match, token F1.
//! - [`distributions`]: divergence, agreement, entropy, likelihood and perplexity of next-token distributions.
//! - [`hidden`]: similarity of hidden states, and block influence.
//! - [`cost`]: layers, floating-point operations and bytes moved, from counts of what ran.
//! - [`statistics`]: bootstrap intervals, a paired test, and corrections for choosing the best of several.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "where tests compare exactly, the numbers are exact"))]

pub mod cost;
pub mod distributions;
mod grid;
pub mod hidden;
mod numbers;
pub mod statistics;
mod tensors;
pub mod text;

pub use grid::Grid;
pub use tensors::TensorError;
