//! Quality, similarity and cost of dynamic-depth generation, from text, tensors and plain numbers.
//!
//! Part of dynlayer, and alone in it: nothing of the model or of the engine is in any signature.
//!
//! - [`text`]: ROUGE, exact match, token F1.
//! - [`cost`]: layers, floating-point operations and bytes moved, from counts of what ran.
//! - [`statistics`]: bootstrap intervals, a paired test, and corrections for choosing the best of several.
#![forbid(unsafe_code)]

pub mod cost;
mod numbers;
pub mod statistics;
pub mod text;
