//! The guides, as in the repository's `docs`. Every code block in them is compiled and run by the tests.

#[doc = include_str!("../docs/controllers.md")]
pub mod controllers {}

#[doc = include_str!("../docs/generate.md")]
pub mod generate {}

#[doc = include_str!("../docs/kv-cache.md")]
pub mod kv_cache {}

#[doc = include_str!("../docs/loading.md")]
pub mod loading {}

#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}

#[doc = include_str!("../docs/oracle.md")]
pub mod oracle {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/results.md")]
pub mod results {}

#[cfg(feature = "training")]
#[doc = include_str!("../docs/training.md")]
pub mod training {}
