//! Dynamic depth for Llama-style decoders on [burn](https://burn.dev).

#![forbid(unsafe_code)]

/// The tensor library that all of it is built on, for crates that do not depend on it themselves.
#[doc(no_inline)]
pub use burn;
#[doc(inline)]
pub use dynlayer_inference as inference;
#[doc(inline)]
pub use dynlayer_metrics as metrics;
#[doc(inline)]
pub use dynlayer_model as model;

pub mod tiny;

/// The README's code blocks, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

/// The guides' code blocks, likewise.
#[cfg(doctest)]
#[doc = include_str!("../docs/controllers.md")]
struct ControllersDoctests;
#[cfg(doctest)]
#[doc = include_str!("../docs/kv-cache.md")]
struct KvCacheDoctests;
#[cfg(doctest)]
#[doc = include_str!("../docs/metrics.md")]
struct MetricsDoctests;
#[cfg(doctest)]
#[doc = include_str!("../docs/oracle.md")]
struct OracleDoctests;
#[cfg(all(doctest, feature = "training"))]
#[doc = include_str!("../docs/training.md")]
struct TrainingDoctests;
