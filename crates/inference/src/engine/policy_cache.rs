//! The KV cache, with a policy for the keys and values of skipped attention sublayers.

use super::owed::{self, Meter, Owed, State};
use super::stream::Stream;
use super::tally::Tally;
use crate::control::{KvPolicy, Row};
use dynlayer_model::{Block, Frame, KvCache, LayerKv, Llama, select_rows};
use std::sync::Arc;

/// The keys and values of a batch, and the state of its [`KvPolicy`].
#[derive(Clone, Debug)]
pub(crate) struct PolicyCache {
    cache: KvCache,
    memory: Memory,
    rows: usize,
}

/// The state of a [`KvPolicy`], layer by layer.
#[derive(Clone, Debug)]
enum Memory {
    Propagate,
    Deferred(Vec<Owed>, Arc<Meter>),
    Omit(Vec<Holes>),
}

impl PolicyCache {
    pub(crate) fn new(model: &Llama, rows: usize, slots: usize, policy: KvPolicy) -> Self {
        let n_layers = model.layers().len();
        let memory = match policy {
            KvPolicy::Propagate => Memory::Propagate,
            KvPolicy::Deferred => Memory::Deferred(vec![Owed::default(); n_layers], Arc::default()),
            KvPolicy::Omit => Memory::Omit(vec![Holes(vec![Vec::new(); rows]); n_layers]),
        };
        Self { cache: model.cache(rows, slots), memory, rows }
    }

    /// Makes room for a pass after the slots in use, and returns its frame.
    pub(crate) fn frame(&mut self, model: &Llama, positions: &[Vec<usize>], padding: &[usize]) -> Frame {
        let tokens = positions.first().map_or(0, Vec::len);
        self.cache.reserve(self.cache.len() + tokens);
        model.frame(&self.cache, positions, padding)
    }

    pub(super) fn advance(&mut self, tokens: usize) {
        self.cache.advance(tokens);
    }

    pub(super) fn layer_mut(&mut self, layer: usize) -> &mut LayerKv {
        self.cache.layer_mut(layer)
    }

    /// Keeps the given rows, in the given order; a row may be named more than once.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        self.cache.select_rows(rows);
        self.rows = rows.len();
        match &mut self.memory {
            Memory::Propagate => {}
            Memory::Deferred(layers, _) => owed::select_rows(layers, rows),
            Memory::Omit(layers) => layers.iter_mut().for_each(|holes| holes.select_rows(rows)),
        }
    }

    /// The largest size so far, in bytes, of residual states kept for deferred keys and values.
    pub(crate) fn owed_bytes(&self) -> u64 {
        match &self.memory {
            Memory::Deferred(_, meter) => meter.most(),
            Memory::Propagate | Memory::Omit(_) => 0,
        }
    }

    /// The number of holes of a row at a layer: slots that [`KvPolicy::Omit`] hides from the row's tokens.
    pub(super) fn holes(&self, layer: usize, row: usize) -> usize {
        match &self.memory {
            Memory::Omit(layers) => layers[layer].0[row].len(),
            Memory::Propagate | Memory::Deferred(..) => 0,
        }
    }

    /// Prepares a layer's attention for `rows`: computes the keys and values that the layer owes them, or returns a
    /// frame that hides the layer's holes, if it has any.
    pub(super) fn ready(
        &mut self,
        layer: usize,
        rows: &[usize],
        model: &Llama,
        frame: &Frame,
        tally: &mut Tally,
    ) -> Option<Frame> {
        match &mut self.memory {
            Memory::Propagate => None,
            Memory::Deferred(layers, _) => {
                let block = &model.layers()[layer];
                let settled = layers[layer].settle(rows, model, block, self.cache.layer_mut(layer));
                for (row, settled) in rows.iter().zip(&settled) {
                    tally.keys_values(*row, settled.due, settled.computed);
                }
                let computed = rows.iter().zip(&settled).filter(|(_, settled)| settled.computed > 0);
                tally.projection(&computed.map(|(row, _)| *row).collect::<Vec<_>>());
                None
            }
            Memory::Omit(layers) => {
                let holes = &layers[layer];
                holes.any().then(|| frame.with_holes(|row, slot| holes.contains(row, slot)))
            }
        }
    }

    /// Applies the policy to rows that skip a layer's attention.
    pub(super) fn skip(&mut self, skipped: Skipped<'_>, stream: &mut Stream, tally: &mut Tally) {
        let Skipped { layer, block, rows, written, frame, batch } = skipped;
        if rows.is_empty() {
            return;
        }
        match &mut self.memory {
            Memory::Propagate => {
                for row in rows {
                    let tokens = tally.tokens(*row);
                    tally.keys_values(*row, tokens, if written { 0 } else { tokens });
                }
                if written {
                    return;
                }
                tally.projection(rows);
                let kv = self.cache.layer_mut(layer);
                if rows.len() == self.rows {
                    block.propagate(stream.hidden().clone(), frame, kv);
                } else {
                    block.propagate(select_rows(stream.hidden().clone(), rows), &frame.select_rows(rows), kv);
                }
            }
            Memory::Deferred(layers, meter) => {
                let mut tokens = vec![0; batch.len()];
                for row in rows {
                    tokens[*row] = tally.tokens(*row);
                }
                let last = || batch.iter().map(|row| row.position).collect();
                let state = (!written).then(|| stream.keep(|hidden| State::new(hidden, frame.start(), last(), meter)));
                layers[layer].add(state, tokens);
            }
            Memory::Omit(layers) => {
                for row in rows {
                    layers[layer].0[*row].extend(frame.end() - tally.tokens(*row)..frame.end());
                }
            }
        }
    }
}

/// Rows that skip a layer's attention.
pub(super) struct Skipped<'a> {
    pub(super) layer: usize,
    pub(super) block: &'a Block,
    pub(super) rows: &'a [usize],
    /// `true` if the attention ran for other rows and wrote the keys and values of these rows too.
    pub(super) written: bool,
    pub(super) frame: &'a Frame,
    /// All rows of the batch.
    pub(super) batch: &'a [Row],
}

/// The holes of one layer under [`KvPolicy::Omit`]: for each row, the slots of the tokens that skipped the attention,
/// in ascending order.
#[derive(Debug, Default, Clone)]
struct Holes(Vec<Vec<usize>>);

impl Holes {
    fn any(&self) -> bool {
        self.0.iter().any(|row| !row.is_empty())
    }

    fn contains(&self, row: usize, slot: usize) -> bool {
        self.0[row].binary_search(&slot).is_ok()
    }

    fn select_rows(&mut self, rows: &[usize]) {
        self.0 = rows.iter().map(|row| self.0[*row].clone()).collect();
    }
}
