//! Quality, similarity and cost of dynamic-depth generation, from text, tensors and plain numbers.
//!
//! Part of dynlayer, and alone in it: nothing of the model or of the engine is in any signature.
//!
//! - [`text`]: ROUGE, exact match, token F1.
//! - [`distributions`]: divergence, agreement, entropy, likelihood and perplexity of next-token distributions.
//! - [`hidden`]: similarity of hidden states, and block influence.
//! - [`cost`]: layers, floating-point operations and bytes moved, from counts of what ran.
//! - [`frontier`]: Pareto fronts of quality against cost, the area under them, hypervolume.
//! - [`statistics`]: bootstrap intervals, a paired test, and corrections for choosing the best of several.
//! - [`output`]: CSV and JSON.
//! - `plot` (with the feature of that name): curves, heat maps and histograms as SVG and PNG.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "where tests compare exactly, the numbers are exact"))]

pub mod cost;
pub mod distributions;
pub mod frontier;
mod grid;
pub mod hidden;
mod numbers;
pub mod output;
#[cfg(feature = "plot")]
pub mod plot;
pub mod statistics;
mod tensors;
pub mod text;

pub use grid::Grid;
pub use tensors::TensorError;
