//! The action for one row at one layer.

use serde::{Deserialize, Serialize};

/// The action for one row at one layer: run both sublayers, one of them or neither, or exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Run the attention and the MLP.
    Run,
    /// Run neither sublayer: the residual stream passes the layer unchanged.
    Skip,
    /// Run the MLP only.
    SkipAttention,
    /// Run the attention only.
    SkipMlp,
    /// Run the attention, and ask again before the MLP, at [`Place::Mlp`](super::Place::Mlp).
    AskBeforeMlp,
    /// Skip this layer and every later one of this pass. The final norm and the head are applied to the state entering
    /// this layer.
    Exit,
}

impl Action {
    /// Returns `true` if the attention sublayer runs.
    pub fn runs_attention(self) -> bool {
        matches!(self, Self::Run | Self::SkipMlp | Self::AskBeforeMlp)
    }

    /// Returns `true` if the MLP sublayer runs. For [`AskBeforeMlp`](Self::AskBeforeMlp), which leaves this open, it is
    /// `false`.
    pub fn runs_mlp(self) -> bool {
        matches!(self, Self::Run | Self::SkipAttention)
    }
}

/// Returns the actions if there is one per row, otherwise the expected form and the found form.
pub(crate) fn one_per_row(actions: Vec<Action>, rows: usize) -> Result<Vec<Action>, (String, String)> {
    let found = actions.len();
    if found == rows { Ok(actions) } else { Err((format!("one action per row, {rows}"), found.to_string())) }
}
