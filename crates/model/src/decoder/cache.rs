//! The cache of keys and values.

use super::{Frame, LayerKv};
use crate::config::LlamaConfig;
use crate::device::{KvDtype, has_kernels};
use burn::tensor::Device;
use std::ops::Range;

/// The keys and values of several sequences, for every layer.
///
/// A *row* of the cache is one sequence. A *slot* is the place of one token in its row. Rows have slots of their own:
/// they differ in length, and adding, copying or removing a row moves no keys or values of other rows. A token's slot
/// need not equal its position in the text: positions are given in the [`Frame`].
///
/// The cache keeps every token, also for layers with a window, so that a row can be cut back to any length.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerKv>,
    extents: Vec<Extent>,
    /// The shape of one slot, `[kv_heads, head_dim]`.
    shape: [usize; 2],
    dtype: KvDtype,
    /// The number of slots that the rows share; `None` on `flex`, where each row has slots of its own.
    pool: Option<usize>,
}

/// The slots of one row: those in use, and those there is room for.
#[derive(Debug, Clone)]
struct Extent {
    /// The position of the token in each slot in use.
    positions: Vec<usize>,
    capacity: usize,
    /// The row's part of the pool; without a pool, from 0 on.
    slots: Range<usize>,
}

impl KvCache {
    /// Makes a cache of `rows` empty rows with room for `capacity` slots each.
    ///
    /// A slot takes `2 * n_layers * n_kv_heads * head_dim` numbers of this type.
    pub fn new(config: &LlamaConfig, dtype: KvDtype, rows: usize, capacity: usize, device: &Device) -> Self {
        Self::with_pool(!has_kernels(device) || device.is_autodiff(), config, dtype, rows, capacity, device)
    }

    /// Makes a cache as [`new`](Self::new) does, whose rows share slots if `pooled`.
    pub(super) fn with_pool(
        pooled: bool,
        config: &LlamaConfig,
        dtype: KvDtype,
        rows: usize,
        capacity: usize,
        device: &Device,
    ) -> Self {
        let shape = [config.n_kv_heads, config.head_dim];
        #[cfg(feature = "flex")]
        let layer = if pooled { LayerKv::pooled(dtype, shape, device) } else { LayerKv::separate() };
        #[cfg(not(feature = "flex"))]
        let layer = LayerKv::pooled(dtype, shape, device);
        let (layers, pool) = (vec![layer; config.n_layers], pooled.then_some(0));
        let mut cache = Self { layers, extents: Vec::new(), shape, dtype, pool };
        for _ in 0..rows {
            cache.add_row(capacity);
        }
        cache
    }

    /// The number of layers.
    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.extents.len()
    }

    /// The number of slots of a row that are in use.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn len(&self, row: usize) -> usize {
        self.positions(row).len()
    }

    /// The positions of the tokens in a row's slots.
    pub(crate) fn positions(&self, row: usize) -> &[usize] {
        &self.extents[row].positions
    }

    /// The number of slots that a row has room for.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn capacity(&self, row: usize) -> usize {
        self.extents[row].capacity
    }

    /// The memory of all rows, in bytes.
    pub fn bytes(&self) -> u64 {
        let slots: usize = self.extents.iter().map(|extent| extent.capacity).sum();
        (self.dtype.bytes() * 2 * self.layers.len() * slots * self.shape.iter().product::<usize>()) as u64
    }

    /// The keys and values of one layer, which its block reads and writes.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn layer_mut(&mut self, layer: usize) -> &mut LayerKv {
        &mut self.layers[layer]
    }

    /// The keys and values of all layers.
    #[cfg(feature = "gpu")]
    pub(super) fn layers_mut(&mut self) -> &mut [LayerKv] {
        &mut self.layers
    }

    /// Adds an empty row with room for `capacity` slots, and returns its index.
    pub fn add_row(&mut self, capacity: usize) -> usize {
        let slots = self.room(capacity);
        let pool = self.pool.unwrap_or_default();
        for layer in &mut self.layers {
            layer.add_row(slots.clone(), pool, self.dtype, self.shape);
        }
        self.extents.push(Extent { positions: Vec::new(), capacity, slots });
        self.extents.len() - 1
    }

    /// Adds a copy of a row, and returns its index. On CPUs the two rows share memory until one of them is written.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn copy_row(&mut self, row: usize) -> usize {
        let mut copy = self.extents[row].clone();
        copy.slots = self.room(copy.capacity);
        let (used, pool) = (copy.positions.len(), self.pool.unwrap_or_default());
        for layer in &mut self.layers {
            layer.copy_row(row, used, copy.slots.clone(), pool);
        }
        self.extents.push(copy);
        self.extents.len() - 1
    }

    /// Removes a row. Later rows move down by one index.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn remove_row(&mut self, row: usize) {
        for layer in &mut self.layers {
            layer.remove_row(row);
        }
        self.extents.remove(row);
    }

    /// Makes room for at least `capacity` slots of a row in all.
    ///
    /// Does nothing if there is room; otherwise the capacity grows by at least a quarter, so that growing by one token
    /// at a time copies each slot a bounded number of times on average.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn reserve(&mut self, row: usize, capacity: usize) {
        let now = self.extents[row].capacity;
        if capacity <= now {
            return;
        }
        let capacity = capacity.max(now + now / 4);
        let slots = self.room(capacity);
        let (used, pool) = (self.len(row), self.pool.unwrap_or_default());
        for layer in &mut self.layers {
            layer.resize_row(row, used, slots.clone(), pool);
        }
        let extent = &mut self.extents[row];
        (extent.capacity, extent.slots) = (capacity, slots);
    }

    /// The first slot of a row in the pool; `None` if there is no pool.
    pub(crate) fn first_slot(&self, row: usize) -> Option<usize> {
        self.pool.map(|_| self.extents[row].slots.start)
    }

    /// Finds slots for a row of `capacity`: in a pool, the first that no row has. The pool grows if it has too few, at least
    /// to twice its size.
    fn room(&mut self, capacity: usize) -> Range<usize> {
        let Some(pool) = &mut self.pool else { return 0..capacity };
        let capacity = capacity.max(1);
        let mut taken: Vec<&Range<usize>> = self.extents.iter().map(|extent| &extent.slots).collect();
        taken.sort_by_key(|slots| slots.start);
        let mut start = 0;
        for slots in taken {
            if start + capacity <= slots.start {
                break;
            }
            start = slots.end;
        }
        if start + capacity > *pool {
            *pool = (start + capacity).max(2 * *pool);
        }
        start..start + capacity
    }

    /// Marks the slots that a pass has just written as in use.
    ///
    /// # Panics
    /// If a row has no room for them.
    pub fn advance(&mut self, frame: &Frame) {
        for place in frame.places() {
            let Extent { positions, capacity, .. } = &mut self.extents[place.row];
            positions.resize(place.start, 0);
            positions.extend_from_slice(&place.positions);
            let len = positions.len();
            assert!(len <= *capacity, "{len} slots in a row of {capacity}");
        }
    }

    /// Drops every slot of a row from `len` on; does nothing if fewer are in use.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn truncate(&mut self, row: usize, len: usize) {
        self.extents[row].positions.truncate(len);
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
