//! Keys and values of earlier tokens.

use crate::config::LlamaConfig;
use burn::tensor::{Device, Int, Tensor, s};

/// Preallocated keys and values of every layer.
///
/// A *slot* is a place along the cache's third axis. All rows share the slots of a pass; which position a slot holds
/// for a row is up to the caller, who gives positions and hidden slots in the [`Frame`](super::Frame).
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
    /// Room for `rows` sequences of `capacity` slots: `2 * n_layers * rows * n_kv_heads * capacity * head_dim` numbers
    /// of 4 bytes.
    pub fn new(config: &LlamaConfig, rows: usize, capacity: usize, device: &Device) -> Self {
        let shape = [rows, config.n_kv_heads, capacity, config.head_dim];
        let layer = |_| LayerKv { k: Tensor::zeros(shape, device), v: Tensor::zeros(shape, device) };
        Self { layers: (0..config.n_layers).map(layer).collect(), len: 0, capacity }
    }

    /// Slots in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Slots there are.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// One layer's keys and values, to be handed to its block.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn layer_mut(&mut self, layer: usize) -> &mut LayerKv {
        &mut self.layers[layer]
    }

    /// Takes the `tokens` slots that a pass has just written into use.
    ///
    /// # Panics
    /// If that is more than the capacity.
    pub fn advance(&mut self, tokens: usize) {
        assert!(self.len + tokens <= self.capacity, "{} + {tokens} slots in a cache of {}", self.len, self.capacity);
        self.len += tokens;
    }

    /// Forgets every slot from `len` on; does nothing if fewer are in use.
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
        let index: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
        let index = Tensor::<1, Int>::from_data(index.as_slice(), &first.k.device());
        for layer in &mut self.layers {
            layer.k.inplace(|k| k.select(0, index.clone()));
            layer.v.inplace(|v| v.select(0, index.clone()));
        }
    }
}

impl LayerKv {
    /// Stores `k` and `v`, `[rows, kv_heads, tokens, head_dim]`, in the slots from `start` on.
    pub(crate) fn write(&mut self, start: usize, k: Tensor<4>, v: Tensor<4>) {
        let slots = start..start + k.dims()[2];
        self.k.inplace(|cache| cache.slice_assign(s![.., .., slots.clone(), ..], k));
        self.v.inplace(|cache| cache.slice_assign(s![.., .., slots, ..], v));
    }

    /// Keys and values of the slots before `end`, `[rows, kv_heads, end, head_dim]` each.
    pub(crate) fn read(&self, end: usize) -> (Tensor<4>, Tensor<4>) {
        (self.k.clone().narrow(2, 0, end), self.v.clone().narrow(2, 0, end))
    }
}
