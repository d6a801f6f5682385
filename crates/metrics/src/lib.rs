//! Quality, similarity and cost of dynamic-depth generation, from text, tensors and plain numbers.
//!
//! Part of dynlayer, and usable without the rest of it: no signature mentions a model or an engine.
//!
//! - [`text`]: ROUGE, exact match, token F1.
//! - `distributions` (feature `tensors`): divergence, agreement, entropy, likelihood and perplexity of next-token
//!   distributions.
//! - `hidden` (feature `tensors`): similarity of hidden states, and block influence.
//! - [`cost`]: layers, floating-point operations and bytes moved, from counts of what ran.
//! - [`frontier`]: Pareto fronts of quality against cost, the area under them, hypervolume.
//! - [`statistics`]: bootstrap intervals, a paired test, and corrections for choosing the best of several.
//! - [`allocation`]: the best candidate for every sequence within a budget, exactly: the oracle.
//! - [`baselines`]: the results that an oracle has to be compared with.
//! - [`output`]: CSV and JSON.
//! - `plot` (feature `plot`): curves, heat maps and histograms as SVG and PNG.
//!
//! The feature `tensors` is on by default and needs burn; without it the crate has few dependencies.
//!
//! ```
//! use dynlayer_metrics::statistics::Bootstrap;
//! use dynlayer_metrics::text::Rouge;
//!
//! let pairs = [("the cat sat", "the cat sat"), ("a dog ran", "the dog ran"), ("it rains", "snow")];
//! let f1: Vec<f64> = pairs.iter().map(|(reference, text)| Rouge::plain().score(reference, text).rouge_l.f1).collect();
//! let mean = Bootstrap::new(7).mean(&f1)?;
//! println!("ROUGE-L {:.3} [{:.3}, {:.3}]", mean.estimate, mean.low, mean.high);
//! # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "where tests compare exactly, the numbers are exact"))]

pub mod allocation;
pub mod baselines;
pub mod cost;
#[cfg(feature = "tensors")]
pub mod distributions;
pub mod frontier;
mod grid;
#[cfg(feature = "tensors")]
pub mod hidden;
mod numbers;
pub mod output;
#[cfg(feature = "plot")]
pub mod plot;
pub mod statistics;
#[cfg(feature = "tensors")]
mod tensors;
pub mod text;

pub use grid::Grid;
#[cfg(feature = "tensors")]
pub use tensors::TensorError;
