//! The cache of keys and values.

use crate::config::LlamaConfig;
use crate::ops::row_index;
use burn::tensor::{Device, Tensor, s};
use std::ops::Range;

/// Preallocated keys and values of every layer.
///
/// A *slot* is a place along the cache's third axis. All rows share the slots of a pass. The caller decides which position
/// a slot holds for a row, and gives positions and hidden slots in the [`Frame`](super::Frame).
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerKv>,
    len: usize,
    capacity: usize,
}

/// One layer's keys and values, `[rows, kv_heads, capacity, head_dim]` each.
#[derive(Debug, Clone)]
pub struct LayerKv {
    k: Tensor<4>,
    v: Tensor<4>,
}

impl KvCache {
    /// Makes an empty cache for `rows` sequences of `capacity` slots: `2 * n_layers * rows * n_kv_heads * capacity * head_dim` numbers
    /// of 4 bytes.
    pub fn new(config: &LlamaConfig, rows: usize, capacity: usize, device: &Device) -> Self {
        let shape = [rows, config.n_kv_heads, capacity, config.head_dim];
        let layer = |_| LayerKv { k: Tensor::zeros(shape, device), v: Tensor::zeros(shape, device) };
        Self { layers: (0..config.n_layers).map(layer).collect(), len: 0, capacity }
    }

    /// The number of slots in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of slots.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The keys and values of one layer, which its block reads and writes.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn layer_mut(&mut self, layer: usize) -> &mut LayerKv {
        &mut self.layers[layer]
    }

    /// Makes room for at least `capacity` slots. Does nothing if there is room; otherwise the capacity at least doubles, so
    /// that growing by one token at a time copies each slot a bounded number of times on average.
    pub fn reserve(&mut self, capacity: usize) {
        if capacity <= self.capacity {
            return;
        }
        let more = capacity.max(2 * self.capacity) - self.capacity;
        for layer in &mut self.layers {
            let [rows, heads, _, width] = layer.k.dims();
            let grow = |kv: Tensor<4>| {
                let room = Tensor::zeros([rows, heads, more, width], &kv.device());
                Tensor::cat(vec![kv, room], 2)
            };
            layer.k.inplace(grow);
            layer.v.inplace(grow);
        }
        self.capacity += more;
    }

    /// Counts the `tokens` slots that a pass has just written as in use.
    ///
    /// # Panics
    /// If that is more than the capacity.
    pub fn advance(&mut self, tokens: usize) {
        assert!(self.len + tokens <= self.capacity, "{} + {tokens} slots in a cache of {}", self.len, self.capacity);
        self.len += tokens;
    }

    /// Drops every slot from `len` on; does nothing if fewer are in use.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Keeps the given rows, in the given order; a row may be named more than once.
    ///
    /// # Panics
    /// If a row is out of range.
    pub fn select_rows(&mut self, rows: &[usize]) {
        let Some(first) = self.layers.first() else { return };
        let there = first.k.dims()[0];
        assert!(rows.iter().all(|row| *row < there), "rows {rows:?} of {there}");
        let index = row_index(rows, &first.k.device());
        for layer in &mut self.layers {
            layer.k.inplace(|k| k.select(0, index.clone()));
            layer.v.inplace(|v| v.select(0, index.clone()));
        }
    }
}

impl LayerKv {
    /// Writes `k` and `v` to the slots from `start` on, of the given rows in their order, or of all rows.
    ///
    /// # Shapes
    /// - `k`, `v`: `[rows, kv_heads, tokens, head_dim]`
    ///
    /// # Panics
    /// If the cache has no such row or slot.
    pub fn write(&mut self, rows: Option<&[usize]>, start: usize, k: Tensor<4>, v: Tensor<4>) {
        let [n, _, tokens, _] = k.dims();
        let slots = start..start + tokens;
        let Some(rows) = rows else { return self.assign(0..n, slots, k, v) };
        // Neighbouring rows go together.
        let mut from = 0;
        while from < rows.len() {
            let follows = |n: &usize| rows.get(from + n) == Some(&(rows[from] + n));
            let together = (1..rows.len()).take_while(follows).count() + 1;
            let part = |x: &Tensor<4>| x.clone().narrow(0, from, together);
            self.assign(rows[from]..rows[from] + together, slots.clone(), part(&k), part(&v));
            from += together;
        }
    }

    fn assign(&mut self, rows: Range<usize>, slots: Range<usize>, k: Tensor<4>, v: Tensor<4>) {
        // Keys and values that fill the whole cache, as in a training pass, need no copy.
        if self.k.dims() == k.dims() {
            (self.k, self.v) = (k, v);
            return;
        }
        self.k.inplace(|cache| cache.slice_assign(s![rows.clone(), .., slots.clone(), ..], k));
        self.v.inplace(|cache| cache.slice_assign(s![rows, .., slots, ..], v));
    }

    /// Keys and values of the slots before `end`, `[rows, kv_heads, end, head_dim]` each.
    pub(crate) fn read(&self, end: usize) -> (Tensor<4>, Tensor<4>) {
        (self.k.clone().narrow(2, 0, end), self.v.clone().narrow(2, 0, end))
    }
}
