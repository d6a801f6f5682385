//! One layer's keys and values.

use super::Frame;
use super::frame::Place;
use crate::device::KvDtype;
use crate::ops::CachedRow;
#[cfg(feature = "flex")]
use crate::ops::flex::RowKv;
use burn::tensor::{DType, Device, Tensor, s};
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

/// The keys and then the values of all rows, `[2 * kv_heads, slots, head_dim]`: the slots of a head lie one after the other,
/// as products want them.
#[derive(Debug, Clone)]
struct Pool {
    kv: Tensor<3>,
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
        let kv = Tensor::zeros([2 * heads, 0, width], (device, dtype.burn()));
        Self(Store::Pool(Pool { kv, starts: Vec::new() }))
    }

    /// Adds an empty row of `slots.len()` slots; a pool holds it in these slots, and grows to `pool` slots.
    pub(super) fn add_row(&mut self, slots: Range<usize>, pool: usize, dtype: KvDtype, shape: [usize; 2]) {
        match &mut self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(rows) => rows.push(RowKv::new(dtype, shape, slots.len())),
            Store::Pool(shared) => {
                shared.grow(pool);
                // Slots that are hidden may be unwritten, and are read times 0: they must not hold the NaN of an earlier row.
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
                pool.assign(start..start + tokens, heads_first(k, v));
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
            Store::Pool(pool) => pool.row(place.row, first, slots),
        };
        CachedRow { k, v, hidden }
    }

    /// The keys and then the values of all rows, `[2 * kv_heads, slots, head_dim]`, if they share one tensor.
    #[cfg(feature = "gpu")]
    pub(super) fn shared(&mut self) -> Option<&mut Tensor<3>> {
        match &mut self.0 {
            #[cfg(feature = "flex")]
            Store::Rows(_) => None,
            Store::Pool(pool) => Some(&mut pool.kv),
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
        let [heads, now, width] = self.kv.dims();
        if slots > now {
            let room = Tensor::zeros([heads, slots - now, width], (&self.kv.device(), self.kv.dtype()));
            self.kv.inplace(|kv| Tensor::cat(vec![kv, room], 1));
        }
    }

    /// Sets slots to 0.
    fn clear(&mut self, slots: Range<usize>) {
        let [heads, _, width] = self.kv.dims();
        if !slots.is_empty() {
            let zeros = Tensor::zeros([heads, slots.len(), width], (&self.kv.device(), self.kv.dtype()));
            self.assign(slots, zeros);
        }
    }

    /// Copies the first `used` slots of a row to `slots`, and sets the others of `slots` to 0.
    fn copy(&mut self, row: usize, used: usize, slots: Range<usize>) {
        self.clear(slots.start + used..slots.end);
        if used > 0 {
            let old = self.kv.clone().narrow(1, self.starts[row], used);
            self.assign(slots.start..slots.start + used, old);
        }
    }

    fn assign(&mut self, slots: Range<usize>, kv: Tensor<3>) {
        let dtype = self.kv.dtype();
        self.kv.inplace(|cache| cache.slice_assign(s![.., slots, ..], kv.cast(dtype)));
    }

    /// Returns the keys and values of a row's slots from `first` on in `f32`, `[1, kv_heads, slots, head_dim]` each.
    fn row(&self, row: usize, first: usize, slots: usize) -> (Tensor<4>, Tensor<4>) {
        let heads = self.kv.dims()[0] / 2;
        let some = self.kv.clone().narrow(1, self.starts[row] + first, slots).cast(DType::F32).unsqueeze::<4>();
        (some.clone().narrow(1, 0, heads), some.narrow(1, heads, heads))
    }
}

/// Joins keys and values, `[rows, kv_heads, tokens, head_dim]` each, to `[2 * kv_heads, rows * tokens, head_dim]`.
fn heads_first(k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
    let both = Tensor::cat(vec![k, v], 1);
    let [rows, heads, tokens, width] = both.dims();
    let both = if rows == 1 { both } else { both.swap_dims(0, 1) };
    both.reshape([heads, rows * tokens, width])
}
