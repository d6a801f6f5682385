//! The guides, as in the repository's `docs`. Every code block in them is compiled and run by the tests.

// A guide links to other guides by labels, such as `[guide to the oracle][oracle-guide]`, and defines the labels as files
// at its end. In Markdown the first definition of a label counts, so those here make the links lead to modules.

#[cfg_attr(feature = "training", doc = "[training-guide]: crate::guide::training\n")]
#[doc = "[kv-cache-guide]: crate::guide::kv_cache\n[sessions-guide]: crate::guide::sessions\n"]
#[doc = "[speculation-guide]: crate::guide::speculation\n"]
#[doc = include_str!("../docs/controllers.md")]
pub mod controllers {}

#[doc = "[controllers-guide]: crate::guide::controllers\n[kv-cache-guide]: crate::guide::kv_cache\n"]
#[doc = "[loading-guide]: crate::guide::loading\n[sessions-guide]: crate::guide::sessions\n"]
#[doc = "[speculation-guide]: crate::guide::speculation\n"]
#[doc = include_str!("../docs/generate.md")]
pub mod generate {}

#[doc = include_str!("../docs/kv-cache.md")]
pub mod kv_cache {}

#[doc = "[sessions-guide]: crate::guide::sessions\n"]
#[doc = include_str!("../docs/loading.md")]
pub mod loading {}

#[doc = "[oracle-guide]: crate::guide::oracle\n"]
#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}

#[doc = "[controllers-guide]: crate::guide::controllers\n[generate-guide]: crate::guide::generate\n"]
#[doc = include_str!("../docs/oracle.md")]
pub mod oracle {}

#[doc = "[controllers-guide]: crate::guide::controllers\n[kv-cache-guide]: crate::guide::kv_cache\n"]
#[doc = "[speculation-guide]: crate::guide::speculation\n"]
#[doc = include_str!("../docs/sessions.md")]
pub mod sessions {}

#[doc = "[controllers-guide]: crate::guide::controllers\n[kv-cache-guide]: crate::guide::kv_cache\n"]
#[doc = include_str!("../docs/speculation.md")]
pub mod speculation {}

#[cfg(feature = "training")]
#[doc = include_str!("../docs/training.md")]
pub mod training {}
