//! The decision about a batch at one layer.

use super::Action;
use burn::tensor::Tensor;

/// A controller's answer for one layer and pass.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "made once per layer and pass; a box would cost more than it saves")]
pub enum Decision {
    /// The same action for every row.
    All(Action),
    /// One action per row, in the order of [`Site::rows`](super::Site::rows). An action applies to every token that the
    /// row has in this pass.
    PerRow(Vec<Action>),
    /// Weights in `[0, 1]`, `[rows, tokens]`, on the device: the layer runs for every row, and the state becomes
    /// `hidden + gate * (layer(hidden) - hidden)`. This form is differentiable, for training, and saves no work.
    Gate(Tensor<2>),
}

impl Decision {
    /// Makes a decision of one action per row, in the order of [`Site::rows`](super::Site::rows).
    ///
    /// ```
    /// use dynlayer_inference::{Action, Decision};
    ///
    /// let scores = [0.2, 0.9];
    /// let decision = Decision::per_row(scores.iter().map(|s| if *s > 0.5 { Action::Exit } else { Action::Run }));
    /// assert!(matches!(decision, Decision::PerRow(actions) if actions == [Action::Run, Action::Exit]));
    /// ```
    pub fn per_row(actions: impl IntoIterator<Item = Action>) -> Self {
        Self::PerRow(actions.into_iter().collect())
    }
}

impl From<Action> for Decision {
    fn from(action: Action) -> Self {
        Self::All(action)
    }
}
