//! One row's keys and values in the memory of the processor.

use super::tensor;
use burn::tensor::Tensor;
use std::sync::Arc;

/// One row's keys and values at a layer, `[kv_heads, capacity, head_dim]` each. Clones share memory until one is written.
#[derive(Clone, Debug)]
pub(crate) struct RowKv {
    k: Arc<Vec<f32>>,
    v: Arc<Vec<f32>>,
    heads: usize,
    head_dim: usize,
    capacity: usize,
}

impl RowKv {
    /// Makes keys and values of 0; `shape` is `[kv_heads, head_dim]`.
    pub(crate) fn new([heads, head_dim]: [usize; 2], capacity: usize) -> Self {
        let zeros = || Arc::new(vec![0.0; heads * capacity * head_dim]);
        Self { k: zeros(), v: zeros(), heads, head_dim, capacity }
    }

    /// Changes the number of slots, and keeps the first `used`.
    pub(crate) fn resize(&mut self, used: usize, capacity: usize) {
        let mut larger = Self::new([self.heads, self.head_dim], capacity);
        for head in 0..self.heads {
            larger.write(head, 0, &self.k(head)[..used * self.head_dim], &self.v(head)[..used * self.head_dim]);
        }
        *self = larger;
    }

    /// Writes keys and values of one head to the slots from `start` on, `[slots, head_dim]` each.
    ///
    /// # Panics
    /// If there is no such head or slot.
    pub(crate) fn write(&mut self, head: usize, start: usize, k: &[f32], v: &[f32]) {
        assert!(start + k.len() / self.head_dim <= self.capacity, "slot {start} and later of {}", self.capacity);
        let at = (head * self.capacity + start) * self.head_dim;
        Arc::make_mut(&mut self.k)[at..at + k.len()].copy_from_slice(k);
        Arc::make_mut(&mut self.v)[at..at + v.len()].copy_from_slice(v);
    }

    /// The keys of one head, `[capacity, head_dim]`.
    pub(crate) fn k(&self, head: usize) -> &[f32] {
        self.head(&self.k, head)
    }

    /// The values of one head, `[capacity, head_dim]`.
    pub(crate) fn v(&self, head: usize) -> &[f32] {
        self.head(&self.v, head)
    }

    /// Returns copies of some slots, `[1, kv_heads, slots, head_dim]` each.
    pub(crate) fn tensors(&self, first: usize, slots: usize) -> (Tensor<4>, Tensor<4>) {
        let some = |values: &[f32]| {
            let slots_of = |head| &self.head(values, head)[first * self.head_dim..(first + slots) * self.head_dim];
            let copied = (0..self.heads).flat_map(slots_of).copied().collect();
            tensor(copied, [1, self.heads, slots, self.head_dim])
        };
        (some(&self.k), some(&self.v))
    }

    fn head<'a>(&self, values: &'a [f32], head: usize) -> &'a [f32] {
        let size = self.capacity * self.head_dim;
        &values[head * size..(head + 1) * size]
    }
}
