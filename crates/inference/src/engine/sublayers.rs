//! The sublayers of a layer, run for some or all rows.

use super::partial::Chooser;
use super::policy_cache::{PolicyCache, Skipped};
use super::rows::{keep_skippers, scatter, select};
use super::stream::Stream;
use super::tally::Tally;
use crate::control::Row;
use burn::tensor::Tensor;
use dynlayer_metrics::cost::Dimensions;
use dynlayer_model::{Frame, Llama};

/// Everything that the layers of a pass share.
pub(super) struct Sublayers<'a> {
    pub(super) model: &'a Llama,
    pub(super) frame: &'a Frame,
    pub(super) rows: &'a [Row],
    /// The indices of all rows.
    pub(super) everyone: Vec<usize>,
    pub(super) chooser: Chooser,
    pub(super) dimensions: Dimensions,
}

impl Sublayers<'_> {
    /// Runs the whole layer for all rows.
    pub(super) fn everything(&self, layer: usize, stream: &mut Stream, cache: &mut PolicyCache, tally: &mut Tally) {
        let holes = cache.ready(layer, &self.everyone, self.model, self.frame, tally);
        tally.attention(&self.everyone, &self.everyone, |row| cache.holes(layer, row));
        tally.mlp(&self.everyone, &self.everyone);
        let frame = holes.as_ref().unwrap_or(self.frame);
        let block = &self.model.layers()[layer];
        stream.set(block.forward(stream.hidden().clone(), frame, cache.layer_mut(layer)));
    }

    /// Runs the attention for the rows that run it, and applies the KV policy to the others.
    pub(super) fn attention(
        &self,
        layer: usize,
        runs: &[bool],
        stream: &mut Stream,
        cache: &mut PolicyCache,
        tally: &mut Tally,
    ) {
        let (block, frame, batch) = (&self.model.layers()[layer], self.frame, self.rows);
        let (running, skipping) = split(runs);
        let skipped = |written| Skipped { layer, block, rows: &skipping, written, frame, batch };
        if running.is_empty() {
            cache.skip(skipped(false), stream, tally);
            return;
        }
        let holes = cache.ready(layer, &running, self.model, frame, tally);
        let frame = holes.as_ref().unwrap_or(frame);
        let weights = self.dimensions.attention_weights();
        let gathers = !skipping.is_empty() && self.gathers(running.len(), runs.len(), weights);
        let launched = if gathers { &running } else { &self.everyone };
        tally.attention(&running, launched, |row| cache.holes(layer, row));
        let hidden = if gathers {
            let some = frame.select_rows(&running);
            let ran = block.attention(select(stream.hidden(), &running), &some, cache.layer_mut(layer));
            scatter(stream.hidden(), &running, ran)
        } else {
            let ran = block.attention(stream.hidden().clone(), frame, cache.layer_mut(layer));
            if skipping.is_empty() { ran } else { keep_skippers(runs, ran, stream.hidden()) }
        };
        cache.skip(skipped(!gathers), stream, tally);
        stream.set(hidden);
    }

    /// Runs the MLP for the rows that run it.
    pub(super) fn feed_forward(&self, layer: usize, runs: &[bool], stream: &mut Stream, tally: &mut Tally) {
        let block = &self.model.layers()[layer];
        let (running, skipping) = split(runs);
        if running.is_empty() {
            return;
        }
        let hidden = stream.hidden();
        let hidden = if skipping.is_empty() {
            tally.mlp(&running, &running);
            block.feed_forward(hidden.clone())
        } else if self.gathers(running.len(), runs.len(), self.dimensions.mlp_weights()) {
            tally.mlp(&running, &running);
            scatter(hidden, &running, block.feed_forward(select(hidden, &running)))
        } else {
            tally.mlp(&running, &self.everyone);
            keep_skippers(runs, block.feed_forward(hidden.clone()), hidden)
        };
        stream.set(hidden);
    }

    /// Runs the whole layer for all rows, its update weighted by `gate: [rows, tokens]`, which is zero for rows that do
    /// not count as run.
    pub(super) fn gated(
        &self,
        layer: usize,
        gate: Tensor<2>,
        runs: &[bool],
        stream: &mut Stream,
        cache: &mut PolicyCache,
        tally: &mut Tally,
    ) {
        let (block, frame, batch) = (&self.model.layers()[layer], self.frame, self.rows);
        let (running, skipping) = split(runs);
        let holes = cache.ready(layer, &running, self.model, frame, tally);
        tally.attention(&running, &self.everyone, |row| cache.holes(layer, row));
        tally.mlp(&running, &self.everyone);
        let hidden = stream.hidden().clone();
        let ran = block.forward(hidden.clone(), holes.as_ref().unwrap_or(frame), cache.layer_mut(layer));
        cache.skip(Skipped { layer, block, rows: &skipping, written: true, frame, batch }, stream, tally);
        stream.set(hidden.clone() + (ran - hidden) * gate.unsqueeze_dim::<3>(2));
    }

    fn gathers(&self, some: usize, all: usize, weights: f64) -> bool {
        self.chooser.gathers(some, all, self.frame.tokens(), weights)
    }
}

/// The indices of the rows that run, and of those that do not.
fn split(runs: &[bool]) -> (Vec<usize>, Vec<usize>) {
    (0..runs.len()).partition(|row| runs[*row])
}
