//! One layer's keys and values.

use super::Frame;
use super::frame::{Decode, Place, Read};
use crate::device::KvDtype;
use crate::ops::CachedRow;
#[cfg(feature = "flex")]
use crate::ops::flex::RowKv;
use burn::tensor::{DType, Device, IndexingUpdateOp, Tensor, s};
use std::ops::Range;

/// One layer's keys and values.
///
/// On `flex` each row has memory of its own, which kernels read and write where it is. GPUs spend more time on launching
/// small kernels than on running them, so there all rows share one tensor, which one launch can read or write; other
/// devices do as GPUs.
#[derive(Debug, Clone)]
pub struct LayerKv(Store);

#[derive(Debug, Clone)]
#[cfg_attr(feature = "flex", expect(clippy::large_enum_variant, reason = "there is one per layer"))]
enum Store {
    #[cfg(feature = "flex")]
    Rows(Vec<RowKv>),
    Pool(Pool),
}

/// The keys and values of all rows, `[kv_heads, slots, head_dim]` each: the slots of a head lie one after the other, as
/// products want them.
#[derive(Debug, Clone)]
struct Pool {
    k: Tensor<3>,
    v: Tensor<3>,
    /// The first slot of each row.
    starts: Vec<usize>,
}

impl LayerKv {
    /// Makes keys and values without rows that have memory of their own.
    #[cfg(feature = "flex")]
    pub(super) fn separate() -> Self {
        Self(Store::Rows(Vec::new()))
    }

    /// Makes keys and values without rows that share one tensor; `shape` is `[kv_heads, head_dim]`.
    pub(super) fn pooled(dtype: KvDtype, [heads, width]: [usize; 2], device: &Device) -> Self {
        let empty = || Tensor::zeros([heads, 0, width], (device, dtype.burn()));
        Self(Store::Pool(Pool { k: empty(), v: empty(), starts: Vec::new() }))
    }

    /// Adds an empty row of `slots.len()` slots; a pool holds it in these slots, and grows to `pool` slots.
    pub(super) fn add_row(&mut self, slots: Range<usize>, pool: usize, dtype: KvDtype, shape: [usize; 2]) {
        match &mut self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(rows) => rows.push(RowKv::new(dtype, shape, slots.len())),
            Store::Pool(shared) => {
                shared.grow(pool);
                // Slots that no token has written are read too, times 0: they must not hold the NaN of an earlier row.
                shared.clear(slots.clone());
                shared.starts.push(slots.start);
            }
        }
    }

    /// Adds a copy of a row; a pool holds it in `slots`, grows to `pool` slots, and copies the first `used` slots.
    pub(super) fn copy_row(&mut self, row: usize, used: usize, slots: Range<usize>, pool: usize) {
        match &mut self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(rows) => rows.push(rows[row].clone()),
            Store::Pool(shared) => {
                shared.grow(pool);
                shared.copy(row, used, slots.clone());
                shared.starts.push(slots.start);
            }
        }
    }

    /// Removes a row. Later rows move down by one index.
    pub(super) fn remove_row(&mut self, row: usize) {
        match &mut self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(rows) => drop(rows.remove(row)),
            Store::Pool(shared) => drop(shared.starts.remove(row)),
        }
    }

    /// Gives a row, of which the first `used` slots are in use, `slots.len()` slots. A pool holds it in these slots from now
    /// on, and grows to `pool` slots.
    pub(super) fn resize_row(&mut self, row: usize, used: usize, slots: Range<usize>, pool: usize) {
        match &mut self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(rows) => rows[row].resize(used, slots.len()),
            Store::Pool(shared) => {
                shared.grow(pool);
                shared.copy(row, used, slots.clone());
                shared.starts[row] = slots.start;
            }
        }
    }

    /// Writes keys and values to the slots of a frame; does nothing if the frame has none.
    ///
    /// # Shapes
    /// - `k`, `v`: `[rows, kv_heads, tokens, head_dim]`
    ///
    /// # Panics
    /// If the cache has no such row or slot.
    pub fn write(&mut self, frame: &Frame, k: &Tensor<4>, v: &Tensor<4>) {
        let written = frame.batch().and_then(|batch| batch.written.as_ref());
        #[cfg_attr(not(feature = "flex"), expect(irrefutable_let_patterns, reason = "there is no other store"))]
        if let Store::Pool(pool) = &mut self.0
            && let Some(written) = written
        {
            let assign = |cache: Tensor<3>, x: &Tensor<4>| {
                let x = heads_first(x.clone()).cast(cache.dtype());
                cache.select_assign(1, written.clone(), x, IndexingUpdateOp::Assign)
            };
            pool.k.inplace(|cache| assign(cache, k));
            pool.v.inplace(|cache| assign(cache, v));
            return;
        }
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
        let [_, heads, tokens, width] = k.dims();
        match &mut self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(rows) => {
                let values = |x: Tensor<4>| x.into_data().iter::<f32>().collect::<Vec<f32>>();
                let (k, v) = (values(k), values(v));
                rows[row].check([heads, width]);
                for head in 0..heads {
                    let of = head * tokens * width..(head + 1) * tokens * width;
                    rows[row].write(head, start, &k[of.clone()], &v[of]);
                }
            }
            Store::Pool(pool) => {
                let start = pool.starts[row] + start;
                pool.assign(start..start + tokens, heads_first(k), heads_first(v));
            }
        }
    }

    /// Returns the keys and values that a pass attends to at this place in a layer with this window, its own included.
    pub(crate) fn cached<'a>(&self, place: &'a Place, window: Option<usize>) -> CachedRow<'a> {
        let (first, hidden) = place.seen(window);
        let slots = place.start + place.positions.len() - first;
        let (k, v) = match &self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(rows) => rows[place.row].tensors(first, slots),
            Store::Pool(pool) => pool.rows(&Read::Range(pool.starts[place.row] + first..), 1, slots),
        };
        CachedRow { k, v, hidden }
    }

    /// Returns the keys and values that a pass of one token per row reads, `[rows, kv_heads, slots, head_dim]` each; `None`
    /// if each row has tensors of its own.
    pub(crate) fn batched(&self, decode: &Decode) -> Option<(Tensor<4>, Tensor<4>)> {
        match &self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(_) => None,
            Store::Pool(pool) => Some(pool.rows(&decode.read, decode.rows, decode.slots)),
        }
    }

    /// The rows, if each has memory of its own.
    #[cfg(feature = "flex")]
    pub(super) fn rows(&mut self) -> Option<&mut [RowKv]> {
        match &mut self.0 {
            Store::Rows(rows) => Some(rows),
            Store::Pool(_) => None,
        }
    }
}

impl Pool {
    /// Adds slots until there are `slots`.
    fn grow(&mut self, slots: usize) {
        let [heads, now, width] = self.k.dims();
        if slots > now {
            let room = Tensor::zeros([heads, slots - now, width], (&self.k.device(), self.k.dtype()));
            self.k.inplace(|k| Tensor::cat(vec![k, room.clone()], 1));
            self.v.inplace(|v| Tensor::cat(vec![v, room], 1));
        }
    }

    /// Sets slots to 0.
    fn clear(&mut self, slots: Range<usize>) {
        let [heads, _, width] = self.k.dims();
        if !slots.is_empty() {
            let zeros = Tensor::zeros([heads, slots.len(), width], (&self.k.device(), self.k.dtype()));
            self.assign(slots, zeros.clone(), zeros);
        }
    }

    /// Copies the first `used` slots of a row to `slots`, and sets the others of `slots` to 0.
    fn copy(&mut self, row: usize, used: usize, slots: Range<usize>) {
        self.clear(slots.start + used..slots.end);
        if used > 0 {
            let old = |cache: &Tensor<3>| cache.clone().narrow(1, self.starts[row], used);
            let (k, v) = (old(&self.k), old(&self.v));
            self.assign(slots.start..slots.start + used, k, v);
        }
    }

    fn assign(&mut self, slots: Range<usize>, k: Tensor<3>, v: Tensor<3>) {
        let dtype = self.k.dtype();
        self.k.inplace(|cache| cache.slice_assign(s![.., slots.clone(), ..], k.cast(dtype)));
        self.v.inplace(|cache| cache.slice_assign(s![.., slots, ..], v.cast(dtype)));
    }

    /// Returns keys and values in `f32`, `[rows, kv_heads, slots, head_dim]` each.
    fn rows(&self, read: &Read, rows: usize, slots: usize) -> (Tensor<4>, Tensor<4>) {
        let [heads, _, width] = self.k.dims();
        let part = |cache: &Tensor<3>| {
            let some = match read {
                Read::Range(from) => cache.clone().narrow(1, from.start, slots),
                Read::Slots(index) => cache.clone().select(1, index.clone()),
            }; // [kv_heads, rows * slots, head_dim]
            some.cast(DType::F32).reshape([heads, rows, slots, width]).swap_dims(0, 1)
        };
        (part(&self.k), part(&self.v))
    }
}

/// Reorders `[rows, kv_heads, tokens, head_dim]` to `[kv_heads, rows * tokens, head_dim]`.
fn heads_first(x: Tensor<4>) -> Tensor<3> {
    let [rows, heads, tokens, width] = x.dims();
    let x = if rows == 1 { x } else { x.swap_dims(0, 1) };
    x.reshape([heads, rows * tokens, width])
}
