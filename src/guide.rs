//! The guides, as in the repository's `docs`. Every code block in them is compiled and run by the tests.

// A guide links to others as files. The definitions before each come first, so that here those links lead to its module.

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

#[cfg(feature = "training")]
#[doc = include_str!("../docs/training.md")]
pub mod training {}
