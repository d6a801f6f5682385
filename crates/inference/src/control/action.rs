//! What one row does at one layer.

use serde::{Deserialize, Serialize};

/// What one row does at one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Run the attention and the MLP.
    Run,
    /// Pass the layer by: the residual stream leaves it as it came.
    Skip,
    /// Run the MLP only.
    SkipAttention,
    /// Run the attention only.
    SkipMlp,
    /// Skip this layer and every later one of this pass; final norm and head apply to the state entering this layer.
    Exit,
}

impl Action {
    /// Whether the attention sublayer runs.
    pub fn runs_attention(self) -> bool {
        matches!(self, Self::Run | Self::SkipMlp)
    }

    /// Whether the MLP sublayer runs.
    pub fn runs_mlp(self) -> bool {
        matches!(self, Self::Run | Self::SkipAttention)
    }
}
