//! The residual stream of a pass.

use super::owed::State;
use burn::tensor::Tensor;
use std::sync::Arc;

/// The residual stream between two sublayers, with the copy of it, if any, that is kept to compute deferred keys and
/// values.
pub(super) struct Stream {
    hidden: Tensor<3>,
    kept: Option<Arc<State>>,
}

impl Stream {
    /// Makes a stream from `hidden: [rows, tokens, d_model]`.
    pub(super) fn new(hidden: Tensor<3>) -> Self {
        Self { hidden, kept: None }
    }

    pub(super) fn hidden(&self) -> &Tensor<3> {
        &self.hidden
    }

    /// Replaces the stream after a sublayer has run.
    pub(super) fn set(&mut self, hidden: Tensor<3>) {
        *self = Self::new(hidden);
    }

    /// Returns the current stream as a state that outlives the pass. `make` is called at most once until a sublayer
    /// runs; until then every call returns the same copy.
    pub(super) fn keep(&mut self, make: impl FnOnce(Tensor<3>) -> State) -> Arc<State> {
        self.kept.get_or_insert_with(|| Arc::new(make(self.hidden.clone()))).clone()
    }
}
