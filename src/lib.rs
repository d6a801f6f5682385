//! Dynamic depth for Llama-style decoders on [burn](https://burn.dev).

#![forbid(unsafe_code)]

#[doc(inline)]
pub use dynlayer_inference as inference;
#[doc(inline)]
pub use dynlayer_metrics as metrics;
#[doc(inline)]
pub use dynlayer_model as model;

/// The README's code blocks, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
