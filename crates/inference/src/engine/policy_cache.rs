//! The KV cache, with a policy for the keys and values of skipped attention sublayers.

use super::owed::{Meter, Owed, Settlement, State};
use super::stream::Stream;
use super::tally::Tally;
use crate::control::{KvPolicy, Row};
use dynlayer_model::{Block, Frame, KvCache, KvDtype, LayerKv, Llama, select_rows};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The keys and values of several sequences, one per row of the cache, and the state of their [`KvPolicy`].
#[derive(Debug)]
pub(crate) struct PolicyCache {
    cache: KvCache,
    policy: KvPolicy,
    /// One entry per row of the cache.
    memories: Vec<Memory>,
    /// The windows of the model's layers, by layer.
    windows: BTreeMap<usize, usize>,
    meter: Arc<Meter>,
}

/// The memory that a [`KvPolicy`] has of one sequence, layer by layer.
#[derive(Clone, Debug)]
enum Memory {
    Propagate,
    Deferred(Vec<Owed>),
    /// The slots of the tokens that skipped the attention, in ascending order.
    Omit(Vec<Vec<usize>>),
}

impl PolicyCache {
    /// Makes a cache without sequences.
    pub(crate) fn new(model: &Llama, policy: KvPolicy, dtype: KvDtype) -> Self {
        let windows = model.config().windows.clone();
        Self { cache: model.cache_of(dtype, 0, 0), policy, memories: Vec::new(), windows, meter: Arc::default() }
    }

    /// Adds an empty sequence with room for `slots` tokens; its row is the last.
    pub(crate) fn add_row(&mut self, slots: usize) {
        self.cache.add_row(slots);
        let n_layers = self.cache.n_layers();
        self.memories.push(match self.policy {
            KvPolicy::Propagate => Memory::Propagate,
            KvPolicy::Deferred => Memory::Deferred(vec![Owed::default(); n_layers]),
            KvPolicy::Omit => Memory::Omit(vec![Vec::new(); n_layers]),
        });
    }

    /// Adds a copy of a sequence; its row is the last.
    pub(crate) fn copy_row(&mut self, row: usize) {
        self.cache.copy_row(row);
        self.memories.push(self.memories[row].clone());
    }

    /// Makes a cache of the same sequences. The two share memory until one writes. The bytes of states that are owed already
    /// do not count in the copy's [`owed_bytes`](Self::owed_bytes).
    pub(crate) fn copy(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            policy: self.policy,
            memories: self.memories.clone(),
            windows: self.windows.clone(),
            meter: Arc::default(),
        }
    }

    /// Makes a cache that holds only copies of one sequence.
    pub(crate) fn copies(&self, row: usize, n: usize) -> Self {
        let mut cache = self.copy();
        let rows = cache.memories.len();
        (0..n).for_each(|_| cache.copy_row(row));
        (0..rows).for_each(|_| cache.remove_row(0));
        cache
    }

    /// Removes a sequence. Later rows move down by one index.
    pub(crate) fn remove_row(&mut self, row: usize) {
        self.cache.remove_row(row);
        self.memories.remove(row);
    }

    /// Drops the tokens of a sequence from `len` on, also those of a pass that ended with an error.
    pub(crate) fn truncate(&mut self, row: usize, len: usize) {
        self.cache.truncate(row, len);
        match &mut self.memories[row] {
            Memory::Propagate => {}
            Memory::Deferred(layers) => layers.iter_mut().for_each(|owed| owed.truncate(len)),
            Memory::Omit(layers) => layers.iter_mut().for_each(|holes| holes.retain(|slot| *slot < len)),
        }
    }

    /// Makes room for a pass over some rows, and returns its frame.
    pub(crate) fn frame(&mut self, model: &Llama, rows: &[usize], positions: &[Vec<usize>]) -> Frame {
        for (row, positions) in rows.iter().zip(positions) {
            self.cache.reserve(*row, self.cache.len(*row) + positions.len());
        }
        model.frame(&self.cache, rows, positions)
    }

    pub(super) fn advance(&mut self, frame: &Frame) {
        self.cache.advance(frame);
    }

    pub(super) fn layer_mut(&mut self, layer: usize) -> &mut LayerKv {
        self.cache.layer_mut(layer)
    }

    /// The memory of all keys and values, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// The largest size so far, in bytes, of residual states kept for deferred keys and values.
    pub(crate) fn owed_bytes(&self) -> u64 {
        self.meter.most()
    }

    /// The number of slots that [`KvPolicy::Omit`] hides from a row's tokens at a layer, summed over the tokens. Those
    /// that the layer's window hides anyway do not count.
    pub(super) fn holes(&self, layer: usize, frame: &Frame, row: usize) -> usize {
        let Some((row, start)) = frame.slots().nth(row) else { return 0 };
        let holes = self.memories[row].holes(layer);
        let Some(window) = self.windows.get(&layer) else { return frame.tokens() * holes.len() };
        // Here, slots are positions.
        let before = |own: usize| holes.partition_point(|hole| own.saturating_sub(*hole) >= *window);
        (start..start + frame.tokens()).map(|own| holes.len() - before(own)).sum()
    }

    /// Prepares a layer's attention for some rows of a pass: computes the keys and values that the layer owes them, or
    /// returns a frame that hides the layer's holes, if it has any.
    pub(super) fn ready(
        &mut self,
        layer: usize,
        rows: &[usize],
        model: &Llama,
        frame: &Frame,
        tally: &mut Tally,
    ) -> Option<Frame> {
        match self.policy {
            KvPolicy::Propagate => None,
            KvPolicy::Deferred => {
                let mut settlement = Settlement::default();
                let mut computed = Vec::new();
                for row in rows {
                    let Some((place, _)) = frame.slots().nth(*row) else { continue };
                    let Memory::Deferred(layers) = &mut self.memories[place] else { continue };
                    let settled = settlement.take(&mut layers[layer], place);
                    tally.keys_values(*row, settled.due, settled.computed);
                    if settled.computed > 0 {
                        computed.push(*row);
                    }
                }
                tally.projection(&computed);
                settlement.project(model, &model.layers()[layer], self.cache.layer_mut(layer));
                None
            }
            KvPolicy::Omit => {
                let holes: Vec<&[usize]> = frame.slots().map(|(place, _)| self.memories[place].holes(layer)).collect();
                let any = holes.iter().any(|holes| !holes.is_empty());
                any.then(|| {
                    frame.with_holes(|row| !holes[row].is_empty(), |row, slot| holes[row].binary_search(&slot).is_ok())
                })
            }
        }
    }

    /// Writes the keys and values of the layers that all rows have skipped since the stream changed. All come from the same
    /// states; a GPU projects several layers in one launch.
    pub(super) fn propagate(&mut self, model: &Llama, frame: &Frame, stream: &mut Stream) {
        let skipped = stream.take_skipped();
        if !skipped.is_empty() {
            model.propagate(&skipped, stream.hidden(), frame, &mut self.cache);
        }
    }

    /// Applies the policy to rows that skip a layer's attention.
    pub(super) fn skip(&mut self, skipped: Skipped<'_>, stream: &mut Stream, tally: &mut Tally) {
        let Skipped { layer, block, rows, written, frame, batch } = skipped;
        let places: Vec<(usize, usize)> = frame.slots().collect();
        if rows.is_empty() || places.is_empty() {
            return;
        }
        let slots = |row: usize| -> Range<usize> { places[row].1..places[row].1 + frame.tokens() };
        match self.policy {
            KvPolicy::Propagate => {
                for row in rows {
                    let tokens = frame.tokens();
                    tally.keys_values(*row, tokens, if written { 0 } else { tokens });
                }
                if written {
                    return;
                }
                tally.projection(rows);
                if rows.len() == places.len() {
                    stream.skip(layer);
                } else {
                    let kv = self.cache.layer_mut(layer);
                    block.propagate(select_rows(stream.hidden().clone(), rows), &frame.select_rows(rows), kv);
                }
            }
            KvPolicy::Deferred => {
                for row in rows {
                    let position = batch[*row].position + 1 - frame.tokens();
                    let state = |hidden| State::new(hidden, slots(*row).start, position, &self.meter);
                    let state = (!written).then(|| stream.keep(*row, state));
                    let Memory::Deferred(layers) = &mut self.memories[places[*row].0] else { continue };
                    layers[layer].add(state, slots(*row));
                }
            }
            KvPolicy::Omit => {
                for row in rows {
                    let Memory::Omit(layers) = &mut self.memories[places[*row].0] else { continue };
                    layers[layer].extend(slots(*row));
                }
            }
        }
    }
}

impl Memory {
    fn holes(&self, layer: usize) -> &[usize] {
        match self {
            Self::Omit(layers) => &layers[layer],
            Self::Propagate | Self::Deferred(_) => &[],
        }
    }
}

/// Rows that skip a layer's attention.
pub(super) struct Skipped<'a> {
    pub(super) layer: usize,
    pub(super) block: &'a Block,
    /// The indices of the rows.
    pub(super) rows: &'a [usize],
    /// `true` if the attention ran for other rows and wrote the keys and values of these rows too.
    pub(super) written: bool,
    pub(super) frame: &'a Frame,
    /// All rows of the pass.
    pub(super) batch: &'a [Row],
}
