//! Quality, similarity and cost of dynamic-depth generation, from text, tensors and plain numbers.
//!
//! Part of dynlayer, and alone in it: nothing of the model or of the engine is in any signature.
//!
//! - [`cost`]: layers, floating-point operations and bytes moved, from counts of what ran.
#![forbid(unsafe_code)]

pub mod cost;
mod numbers;
