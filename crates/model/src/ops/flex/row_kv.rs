//! One row's keys and values in the memory of the processor.

use super::tensor;
use crate::device::KvDtype;
use burn::tensor::Tensor;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// One row's keys and values at a layer. Clones share memory until one is written.
#[derive(Clone, Debug)]
pub(crate) struct RowKv {
    values: Arc<Values>,
    heads: usize,
    head_dim: usize,
    capacity: usize,
}

/// Keys and values, `[kv_heads, capacity, head_dim]` each.
#[derive(Clone, Debug)]
enum Values {
    F32([Vec<f32>; 2]),
    F16([Vec<f16>; 2]),
}

/// Keys and values of some slots of one head, `[slots, head_dim]` each.
pub(crate) enum Slots<'a> {
    F32(&'a [f32], &'a [f32]),
    F16(&'a [f16], &'a [f16]),
}

impl RowKv {
    /// Makes keys and values of 0; `shape` is `[kv_heads, head_dim]`.
    pub(crate) fn new(dtype: KvDtype, [heads, head_dim]: [usize; 2], capacity: usize) -> Self {
        let len = heads * capacity * head_dim;
        let values = match dtype {
            KvDtype::F32 => Values::F32([vec![0.0; len], vec![0.0; len]]),
            KvDtype::F16 => Values::F16([vec![f16::ZERO; len], vec![f16::ZERO; len]]),
        };
        Self { values: Arc::new(values), heads, head_dim, capacity }
    }

    /// Changes the number of slots, and keeps the first `used`.
    pub(crate) fn resize(&mut self, used: usize, capacity: usize) {
        fn moved<T: Copy + Default>(values: &[T], heads: usize, [used, from, to]: [usize; 3]) -> Vec<T> {
            let mut out = vec![T::default(); heads * to];
            for head in 0..heads {
                out[head * to..][..used].copy_from_slice(&values[head * from..][..used]);
            }
            out
        }
        let sizes = [used, self.capacity, capacity].map(|slots| slots * self.head_dim);
        let values = match &*self.values {
            Values::F32(both) => Values::F32(both.each_ref().map(|values| moved(values, self.heads, sizes))),
            Values::F16(both) => Values::F16(both.each_ref().map(|values| moved(values, self.heads, sizes))),
        };
        (self.values, self.capacity) = (Arc::new(values), capacity);
    }

    /// Panics unless there are so many heads of this width; `shape` is `[kv_heads, head_dim]`.
    pub(crate) fn check(&self, shape: [usize; 2]) {
        let found = [self.heads, self.head_dim];
        assert_eq!(found, shape, "heads and their width in the cache, and in the model");
    }

    /// Writes keys and values of one head to the slots from `start` on, `[slots, head_dim]` each.
    ///
    /// # Panics
    /// If there is no such head or slot.
    pub(crate) fn write(&mut self, head: usize, start: usize, k: &[f32], v: &[f32]) {
        assert!(start + k.len() / self.head_dim <= self.capacity, "slot {start} and later of {}", self.capacity);
        let at = (head * self.capacity + start) * self.head_dim;
        match Arc::make_mut(&mut self.values) {
            Values::F32([keys, values]) => {
                keys[at..at + k.len()].copy_from_slice(k);
                values[at..at + v.len()].copy_from_slice(v);
            }
            Values::F16([keys, values]) => {
                keys[at..at + k.len()].convert_from_f32_slice(k);
                values[at..at + v.len()].convert_from_f32_slice(v);
            }
        }
    }

    /// The keys and values of some slots of one head.
    pub(crate) fn slots(&self, head: usize, first: usize, slots: usize) -> Slots<'_> {
        let at = (head * self.capacity + first) * self.head_dim;
        let range = at..at + slots * self.head_dim;
        match &*self.values {
            Values::F32([k, v]) => Slots::F32(&k[range.clone()], &v[range]),
            Values::F16([k, v]) => Slots::F16(&k[range.clone()], &v[range]),
        }
    }

    /// Returns copies of some slots as `f32`, `[1, kv_heads, slots, head_dim]` each.
    pub(crate) fn tensors(&self, first: usize, slots: usize) -> (Tensor<4>, Tensor<4>) {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for head in 0..self.heads {
            match self.slots(head, first, slots) {
                Slots::F32(k, v) => {
                    keys.extend_from_slice(k);
                    values.extend_from_slice(v);
                }
                Slots::F16(k, v) => {
                    keys.extend(k.iter().copied().map(f16::to_f32));
                    values.extend(v.iter().copied().map(f16::to_f32));
                }
            }
        }
        let shape = [1, self.heads, slots, self.head_dim];
        (tensor(keys, shape), tensor(values, shape))
    }
}
