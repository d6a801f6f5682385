//! The cache of keys and values.

use super::Frame;
use super::frame::Place;
use crate::config::LlamaConfig;
use crate::ops::CachedRow;
use burn::tensor::{Device, Tensor, s};

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
    device: Device,
}

/// The slots of one row: those in use, and those there is room for.
#[derive(Debug, Clone)]
struct Extent {
    /// The position of the token in each slot in use.
    positions: Vec<usize>,
    capacity: usize,
}

/// One layer's keys and values, row by row.
#[derive(Debug, Clone, Default)]
pub struct LayerKv {
    rows: Vec<RowKv>,
}

/// One row's keys and values in one layer, `[1, kv_heads, capacity, head_dim]` each.
#[derive(Debug, Clone)]
struct RowKv {
    k: Tensor<4>,
    v: Tensor<4>,
}

impl KvCache {
    /// Makes a cache of `rows` empty rows with room for `capacity` slots each.
    ///
    /// A slot takes `2 * n_layers * n_kv_heads * head_dim` numbers of 4 bytes.
    pub fn new(config: &LlamaConfig, rows: usize, capacity: usize, device: &Device) -> Self {
        let layers = vec![LayerKv::default(); config.n_layers];
        let shape = [config.n_kv_heads, config.head_dim];
        let mut cache = Self { layers, extents: Vec::new(), shape, device: device.clone() };
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
        (4 * 2 * self.layers.len() * slots * self.shape.iter().product::<usize>()) as u64
    }

    /// The keys and values of one layer, which its block reads and writes.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn layer_mut(&mut self, layer: usize) -> &mut LayerKv {
        &mut self.layers[layer]
    }

    /// Adds an empty row with room for `capacity` slots, and returns its index.
    pub fn add_row(&mut self, capacity: usize) -> usize {
        let [heads, width] = self.shape;
        for layer in &mut self.layers {
            let zeros = || Tensor::zeros([1, heads, capacity, width], &self.device);
            layer.rows.push(RowKv { k: zeros(), v: zeros() });
        }
        self.extents.push(Extent { positions: Vec::new(), capacity });
        self.extents.len() - 1
    }

    /// Adds a copy of a row, and returns its index. The two rows share memory until one of them is written.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn copy_row(&mut self, row: usize) -> usize {
        for layer in &mut self.layers {
            let copy = layer.rows[row].clone();
            layer.rows.push(copy);
        }
        self.extents.push(self.extents[row].clone());
        self.extents.len() - 1
    }

    /// Removes a row. Later rows move down by one index.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn remove_row(&mut self, row: usize) {
        for layer in &mut self.layers {
            layer.rows.remove(row);
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
        let ([heads, width], more) = (self.shape, capacity - now);
        let room = Tensor::zeros([1, heads, more, width], &self.device);
        for layer in &mut self.layers {
            let RowKv { k, v } = &mut layer.rows[row];
            k.inplace(|k| Tensor::cat(vec![k, room.clone()], 2));
            v.inplace(|v| Tensor::cat(vec![v, room.clone()], 2));
        }
        self.extents[row].capacity = capacity;
    }

    /// Marks the slots that a pass has just written as in use.
    ///
    /// # Panics
    /// If a row has no room for them.
    pub fn advance(&mut self, frame: &Frame) {
        for place in frame.places() {
            let Extent { positions, capacity } = &mut self.extents[place.row];
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

impl LayerKv {
    /// Writes keys and values to the slots of a frame; does nothing if the frame has none.
    ///
    /// # Shapes
    /// - `k`, `v`: `[rows, kv_heads, tokens, head_dim]`
    ///
    /// # Panics
    /// If the cache has no such row or slot.
    pub fn write(&mut self, frame: &Frame, k: &Tensor<4>, v: &Tensor<4>) {
        for (i, place) in frame.places().iter().enumerate() {
            let part = |x: &Tensor<4>| if x.dims()[0] == 1 { x.clone() } else { x.clone().narrow(0, i, 1) };
            self.write_slots(place.row, place.start, part(k), part(v));
        }
    }

    /// Writes keys and values to the slots of one row from `start` on.
    ///
    /// # Shapes
    /// - `k`, `v`: `[1, kv_heads, tokens, head_dim]`
    ///
    /// # Panics
    /// If the cache has no such row or slot.
    pub fn write_slots(&mut self, row: usize, start: usize, k: Tensor<4>, v: Tensor<4>) {
        let slots = start..start + k.dims()[2];
        let row = &mut self.rows[row];
        row.k.inplace(|cache| cache.slice_assign(s![.., .., slots.clone(), ..], k));
        row.v.inplace(|cache| cache.slice_assign(s![.., .., slots, ..], v));
    }

    /// Returns the keys and values that a pass attends to at this place in a layer with this window, its own included.
    pub(crate) fn cached<'a>(&self, place: &'a Place, window: Option<usize>) -> CachedRow<'a> {
        let RowKv { k, v } = &self.rows[place.row];
        let (first, hidden) = place.seen(window);
        let slots = place.start + place.positions.len() - first;
        let read = |x: &Tensor<4>| x.clone().narrow(2, first, slots);
        CachedRow { k: read(k), v: read(v), hidden }
    }
}
