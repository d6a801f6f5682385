//! The residual stream of a pass.

use super::owed::State;
use burn::tensor::Tensor;
use std::sync::Arc;

/// The residual stream between two sublayers, with what is still to be computed from it.
pub(super) struct Stream {
    hidden: Tensor<3>,
    /// The layers that all rows have skipped since the stream changed, and whose keys and values are to be computed before it
    /// changes again.
    skipped: Vec<usize>,
    /// The copies of rows that are kept to compute deferred keys and values.
    kept: Vec<Option<Arc<State>>>,
}

impl Stream {
    /// Makes a stream from `hidden: [rows, tokens, d_model]`.
    pub(super) fn new(hidden: Tensor<3>) -> Self {
        let kept = vec![None; hidden.dims()[0]];
        Self { hidden, skipped: Vec::new(), kept }
    }

    pub(super) fn hidden(&self) -> &Tensor<3> {
        &self.hidden
    }

    /// Notes that all rows skip the attention of a layer.
    pub(super) fn skip(&mut self, layer: usize) {
        self.skipped.push(layer);
    }

    /// Takes the layers that were noted.
    pub(super) fn take_skipped(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.skipped)
    }

    /// Replaces the stream after a sublayer has run for the given rows.
    pub(super) fn set(&mut self, hidden: Tensor<3>, ran: &[usize]) {
        debug_assert!(self.skipped.is_empty(), "keys and values of skipped layers are missing");
        self.hidden = hidden;
        for row in ran {
            self.kept[*row] = None;
        }
    }

    /// Changes the stream by a sublayer that runs for the given rows, in place if nothing else holds it.
    pub(super) fn change(&mut self, ran: &[usize], sublayer: impl FnOnce(Tensor<3>) -> Tensor<3>) {
        let hidden = self.hidden.extract();
        self.set(sublayer(hidden), ran);
    }

    /// Returns a row's current state as one that outlives the pass. `make` is called at most once until a sublayer runs
    /// for the row; until then every call returns the same copy.
    pub(super) fn keep(&mut self, row: usize, make: impl FnOnce(Tensor<3>) -> State) -> Arc<State> {
        let hidden = &self.hidden;
        // A copy of the row, since a view would keep the states of all rows in memory.
        let state = || dynlayer_model::select_rows(hidden.clone(), &[row]);
        self.kept[row].get_or_insert_with(|| Arc::new(make(state()))).clone()
    }
}
