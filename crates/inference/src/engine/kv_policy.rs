//! What later tokens see at a layer that an earlier token skipped.

use crate::unknown_name::{self, UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What later tokens see at a layer whose attention an earlier token skipped. An option of the engine, whatever the
/// controller.
///
/// Once a sequence that has skipped a layer's attention never runs it again (any route fixed per sequence), all three
/// give the same results.
///
/// ```
/// use dynlayer_inference::KvPolicy;
///
/// assert_eq!("deferred".parse(), Ok(KvPolicy::Deferred));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KvPolicy {
    /// Keys and values projected from the residual state that entered the skipped layer (arXiv 2410.20022): two small
    /// products instead of a layer.
    #[default]
    Propagate,
    /// The same keys and values, projected only when that layer's attention next runs for the sequence, for all tokens
    /// that are owed at once. Until then their residual states are kept, `d_model` numbers per token, one for a run of
    /// skipped layers. A layer that a sequence never runs again costs nothing.
    Deferred,
    /// None: later tokens do not see the token at that layer. Costs nothing, and changes the results.
    Omit,
}

impl KvPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Propagate, Self::Deferred, Self::Omit];

    fn name(self) -> &'static str {
        match self {
            Self::Propagate => "propagate",
            Self::Deferred => "deferred",
            Self::Omit => "omit",
        }
    }
}

impl fmt::Display for KvPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KvPolicy {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        unknown_name::find("KV policy", &Self::ALL, Self::name, text)
    }
}
