//! The residual stream of a pass.

use super::owed::State;
use burn::tensor::Tensor;
use std::sync::Arc;

/// The residual stream between two sublayers, and the copy of it that is kept for layers that owe keys and values.
pub(super) struct Stream {
    hidden: Tensor<3>,
    kept: Option<Arc<State>>,
}

impl Stream {
    /// `hidden`: `[rows, tokens, d_model]`.
    pub(super) fn new(hidden: Tensor<3>) -> Self {
        Self { hidden, kept: None }
    }

    pub(super) fn hidden(&self) -> &Tensor<3> {
        &self.hidden
    }

    /// Replaces the stream after a sublayer ran.
    pub(super) fn set(&mut self, hidden: Tensor<3>) {
        *self = Self::new(hidden);
    }

    /// The current stream as a state to be kept beyond the pass: the same copy until a sublayer runs.
    pub(super) fn keep(&mut self, make: impl FnOnce(Tensor<3>) -> State) -> Arc<State> {
        self.kept.get_or_insert_with(|| Arc::new(make(self.hidden.clone()))).clone()
    }
}
