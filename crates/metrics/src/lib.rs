//! Quality, similarity and cost of dynamic-depth generation, from text and plain numbers.
//!
//! Part of dynlayer. Nothing is here yet: the metrics come next.

#![forbid(unsafe_code)]
