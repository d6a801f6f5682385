//! What later tokens see at a layer that an earlier token skipped.

use serde::{Deserialize, Serialize};

/// What later tokens see at a layer whose attention an earlier token skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KvPolicy {
    /// Keys and values projected from the residual state that entered the skipped layer (arXiv 2410.20022): two small
    /// products instead of a layer.
    #[default]
    Propagate,
}
