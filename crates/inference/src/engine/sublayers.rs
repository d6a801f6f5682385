//! The sublayers of a layer, run for some or all rows.

use super::partial::Chooser;
use super::policy_cache::{PolicyCache, Skipped};
use super::rows::{keep_skippers, scatter};
use super::stream::Stream;
use super::tally::Tally;
use crate::control::Row;
use burn::tensor::Tensor;
use dynlayer_metrics::cost::Dimensions;
use dynlayer_model::{Frame, Llama, select_rows};

/// The sublayers of a pass, with the state that running them changes.
pub(super) struct Sublayers<'a> {
    pub(super) model: &'a Llama,
    pub(super) frame: &'a Frame,
    pub(super) rows: Vec<Row>,
    /// The indices of all rows.
    pub(super) everyone: Vec<usize>,
    pub(super) chooser: Chooser,
    pub(super) dimensions: Dimensions,
    pub(super) cache: &'a mut PolicyCache,
    pub(super) stream: Stream,
    pub(super) tally: Tally,
}

impl Sublayers<'_> {
    /// Writes the keys and values of the layers that all rows have skipped since the stream changed. To be called before it
    /// changes, and at the end of the pass.
    pub(super) fn propagate(&mut self) {
        self.cache.propagate(self.model, self.frame, &mut self.stream);
    }

    /// Runs the whole layer for all rows.
    pub(super) fn everything(&mut self, layer: usize) {
        let holes = self.cache.ready(layer, &self.everyone, self.model, self.frame, &mut self.tally);
        self.tally.attention(layer, &self.everyone, &self.everyone, |row| self.cache.holes(layer, self.frame, row));
        self.tally.mlp(&self.everyone, &self.everyone);
        let frame = holes.as_ref().unwrap_or(self.frame);
        let block = &self.model.layers()[layer];
        let kv = self.cache.layer_mut(layer);
        self.stream.change(&self.everyone, |hidden| block.forward(hidden, frame, kv));
    }

    /// Runs the attention for the rows that run it, and applies the KV policy to the others.
    pub(super) fn attention(&mut self, layer: usize, runs: &[bool]) {
        let (block, frame, batch) = (&self.model.layers()[layer], self.frame, &self.rows);
        let (running, skipping) = split(runs);
        let skipped = |written| Skipped { layer, block, rows: &skipping, written, frame, batch };
        if running.is_empty() {
            self.cache.skip(skipped(false), &mut self.stream, &mut self.tally);
            return;
        }
        let holes = self.cache.ready(layer, &running, self.model, frame, &mut self.tally);
        let frame = holes.as_ref().unwrap_or(frame);
        let weights = self.dimensions.attention_weights();
        let gathers = !skipping.is_empty() && self.gathers(running.len(), runs.len(), weights);
        let launched = if gathers { &running } else { &self.everyone };
        self.tally.attention(layer, &running, launched, |row| self.cache.holes(layer, self.frame, row));
        let kv = self.cache.layer_mut(layer);
        if skipping.is_empty() {
            return self.stream.change(&running, |hidden| block.attention(hidden, frame, kv));
        }
        let hidden = self.stream.hidden();
        let hidden = if gathers {
            let ran = block.attention(select_rows(hidden.clone(), &running), &frame.select_rows(&running), kv);
            scatter(hidden, &running, ran)
        } else {
            keep_skippers(runs, block.attention(hidden.clone(), frame, kv), hidden)
        };
        self.cache.skip(skipped(!gathers), &mut self.stream, &mut self.tally);
        self.stream.set(hidden, &running);
    }

    /// Runs the MLP for the rows that run it.
    pub(super) fn feed_forward(&mut self, layer: usize, runs: &[bool]) {
        let block = &self.model.layers()[layer];
        let (running, skipping) = split(runs);
        if running.is_empty() {
            return;
        }
        self.propagate();
        let gathers = !skipping.is_empty() && self.gathers(running.len(), runs.len(), self.dimensions.mlp_weights());
        self.tally.mlp(&running, if gathers { &running } else { &self.everyone });
        if skipping.is_empty() {
            return self.stream.change(&running, |hidden| block.feed_forward(hidden));
        }
        let hidden = self.stream.hidden();
        let hidden = if gathers {
            scatter(hidden, &running, block.feed_forward(select_rows(hidden.clone(), &running)))
        } else {
            keep_skippers(runs, block.feed_forward(hidden.clone()), hidden)
        };
        self.stream.set(hidden, &running);
    }

    /// Runs the whole layer for all rows, with its update multiplied by `gate: [rows, tokens]`. The gate is zero for
    /// the rows that do not run the layer according to `runs`.
    pub(super) fn gated(&mut self, layer: usize, gate: Tensor<2>, runs: &[bool]) {
        let (block, frame, batch) = (&self.model.layers()[layer], self.frame, &self.rows);
        let (running, skipping) = split(runs);
        let holes = self.cache.ready(layer, &running, self.model, frame, &mut self.tally);
        self.tally.attention(layer, &running, &self.everyone, |row| self.cache.holes(layer, self.frame, row));
        self.tally.mlp(&running, &self.everyone);
        let hidden = self.stream.hidden().clone();
        let ran = block.forward(hidden.clone(), holes.as_ref().unwrap_or(frame), self.cache.layer_mut(layer));
        let skipped = Skipped { layer, block, rows: &skipping, written: true, frame, batch };
        self.cache.skip(skipped, &mut self.stream, &mut self.tally);
        self.stream.set(hidden.clone() + (ran - hidden) * gate.unsqueeze_dim::<3>(2), &self.everyone);
    }

    fn gathers(&self, some: usize, all: usize, weights: f64) -> bool {
        self.chooser.gathers(some, all, self.frame.tokens(), weights)
    }
}

/// Returns the indices of the rows that run, and of the rows that do not.
fn split(runs: &[bool]) -> (Vec<usize>, Vec<usize>) {
    (0..runs.len()).partition(|row| runs[*row])
}
