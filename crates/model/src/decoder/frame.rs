//! The positions, slots and masks that all layers of one pass share.

use super::rope::{Rope, Rotation};
use crate::ops::{SLOTS_ABREAST, row_index};
use burn::tensor::{Bool, Device, Tensor, TensorData};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
#[cfg(feature = "gpu")]
use std::sync::OnceLock;

/// The rotations of a pass's tokens, the slots that it writes, and what its tokens must not attend to.
///
/// Made once per pass by [`Llama::frame`](super::Llama::frame), or by
/// [`Llama::uncached_frame`](super::Llama::uncached_frame) if keys and values are not kept.
#[derive(Debug, Clone)]
pub struct Frame {
    tokens: usize,
    /// The slots of each row; empty if keys and values are not cached.
    places: Vec<Place>,
    pub(crate) rotation: Rotation,
    /// `[rows, 1, tokens, tokens]`, `true` = hidden, for frames without slots; `None` = every token up to the own is
    /// seen.
    mask: Option<Tensor<4, Bool>>,
    /// Masks like `mask` for layers with a window, by window. A window that is absent hides no more than `mask`.
    windows: BTreeMap<usize, Tensor<4, Bool>>,
    /// The slots that tokens see in layers with these windows, if the cache is a pool; made when they are first asked for.
    #[cfg(feature = "gpu")]
    seen: BTreeMap<Option<usize>, OnceLock<Option<SeenSlots>>>,
}

/// The slots of a pool that each token of a pass sees, as kernels take them.
#[cfg(feature = "gpu")]
#[derive(Debug, Clone)]
pub(super) struct SeenSlots {
    /// The place of each token: the first slot of its row in the pool; the first and the last slot that it sees, counted from
    /// there, of which the last is its own; the cosines and the sines of its rotation. `[rows * tokens * (3 + head_dim)]`.
    pub(super) places: Tensor<1>,
    /// For each token and slot of its row 0, or a negative number where the token must not attend, `[rows * tokens, slots]`;
    /// `None` = nothing is hidden between the first and the last slot.
    pub(super) bias: Option<Tensor<2>>,
}

/// The slots of one row in a pass.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The row of the cache.
    pub(crate) row: usize,
    /// The row's first slot in the pool, if the cache is one.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "only kernels for GPUs read it"))]
    pool: Option<usize>,
    /// The first slot that the pass writes.
    pub(crate) start: usize,
    /// The positions of the pass's tokens.
    pub(crate) positions: Arc<[usize]>,
    /// One byte per token and slot, `[tokens, start + tokens]`, nonzero where the token must not attend to the slot;
    /// `None` = every slot up to the own is seen. Windows are not part of it.
    holes: Option<Arc<[u8]>>,
    /// The slots that windows leave, by window. A window that is absent hides none.
    views: BTreeMap<usize, View>,
}

/// The slots of a row that a window leaves.
#[derive(Debug, Clone)]
struct View {
    /// The first slot that is read, a multiple of [`SLOTS_ABREAST`], so that sums over slots have the same order whatever other
    /// tokens are in the pass.
    first: usize,
    /// One byte per token and slot from `first` on, nonzero where the token must not attend to the slot; `None` = every
    /// slot from `first` up to the own is seen.
    hidden: Option<Arc<[u8]>>,
}

impl Frame {
    /// Makes the frame of a pass that appends the same number of tokens to some rows of a cache.
    ///
    /// - `slots[i]`: the cache's row that row `i` of the pass reads and writes, its first slot in the pool if the cache is
    ///   one, and the positions of its used slots
    /// - `positions[i][token]`: the position that rotates the token, independent of its slot
    /// - `windows`: the windows that layers have
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, there is not one entry per row, or a row is named twice.
    pub(crate) fn cached(
        rope: &Rope,
        slots: &[(usize, Option<usize>, &[usize])],
        positions: &[Vec<usize>],
        windows: &BTreeSet<usize>,
        device: &Device,
    ) -> Self {
        let mut frame = Self::bare(rope, positions, device);
        assert_eq!(slots.len(), positions.len(), "positions for each row");
        for (i, ((row, pool, earlier), own)) in slots.iter().zip(positions).enumerate() {
            assert!(!slots[..i].iter().any(|(other, ..)| other == row), "row {row} twice");
            let mut views = BTreeMap::new();
            if !windows.is_empty() {
                let all = [*earlier, own.as_slice()].concat();
                let view = |window: &usize| Some((*window, View::new(&all, own.len(), *window)?));
                views.extend(windows.iter().filter_map(view));
            }
            let positions = own.as_slice().into();
            frame.places.push(Place { row: *row, pool: *pool, start: earlier.len(), positions, holes: None, views });
        }
        #[cfg(feature = "gpu")]
        {
            let windows = std::iter::once(None).chain(windows.iter().copied().map(Some));
            frame.seen = windows.map(|window| (window, OnceLock::new())).collect();
        }
        frame
    }

    /// Makes the frame of `Llama::uncached_frame`, or with `branches` that of `Llama::branched_frame`.
    pub(crate) fn uncached(
        rope: &Rope,
        positions: &[Vec<usize>],
        padding: &[usize],
        branches: bool,
        windows: &BTreeSet<usize>,
        device: &Device,
    ) -> Self {
        let mut frame = Self::bare(rope, positions, device);
        assert_eq!(padding.len(), positions.len(), "one padding per row");
        let (rows, tokens) = (padding.len(), frame.tokens);
        let mask = |window: usize| {
            let mut hidden = vec![true; rows * tokens * tokens];
            for (row, (positions, pad)) in positions.iter().zip(padding).enumerate() {
                let mut seen: Vec<usize> = Vec::new();
                for own in 0..tokens {
                    // A padding token sees itself, so that every query has a key.
                    seen.retain(|at| *at >= *pad && (!branches || positions[*at] < positions[own]));
                    seen.push(own);
                    for at in seen.iter().filter(|at| !outside(positions[own], positions[**at], window)) {
                        hidden[(row * tokens + own) * tokens + at] = false;
                    }
                }
            }
            Tensor::<4, Bool>::from_data(TensorData::new(hidden, [rows, 1, tokens, tokens]), device)
        };
        frame.mask = (branches || padding.iter().any(|pad| *pad > 0)).then(|| mask(usize::MAX));
        let hides = |window: usize| {
            positions.iter().any(|row| {
                let (lowest, highest) = bounds(row);
                outside(highest, lowest, window)
            })
        };
        let hiding = windows.iter().filter(|window| hides(**window));
        frame.windows = hiding.map(|window| (*window, mask(*window))).collect();
        frame
    }

    fn bare(rope: &Rope, positions: &[Vec<usize>], device: &Device) -> Self {
        let tokens = positions.first().map_or(0, Vec::len);
        assert!(tokens > 0 && positions.iter().all(|row| row.len() == tokens), "ragged or empty positions");
        let rotation = rope.at(positions, device);
        Self {
            tokens,
            places: Vec::new(),
            rotation,
            mask: None,
            windows: BTreeMap::new(),
            #[cfg(feature = "gpu")]
            seen: BTreeMap::new(),
        }
    }

    /// The number of tokens per row.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The cache's row of each row of the pass, and the first slot that the pass writes there; empty if keys and values
    /// are not cached.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = (usize, usize)> + '_ {
        self.places.iter().map(|place| (place.row, place.start))
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The mask of a layer with this window, for frames without slots: `[rows, 1, tokens, tokens]`, `true` = hidden;
    /// `None` = every token up to the own is seen.
    pub(crate) fn mask(&self, window: Option<usize>) -> Option<&Tensor<4, Bool>> {
        window.and_then(|window| self.windows.get(&window)).or(self.mask.as_ref())
    }

    /// Returns the frame of the same pass for some of its rows.
    ///
    /// With it, a block takes and returns tensors of these rows only, and leaves the cache's other rows alone.
    ///
    /// # Panics
    /// If a row is out of range.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let index = row_index(rows, self.rotation.device());
        let places = if self.places.is_empty() { &[][..] } else { rows };
        let some = |mask: &Tensor<4, Bool>| mask.clone().select(0, index.clone());
        Self {
            tokens: self.tokens,
            places: places.iter().map(|row| self.places[*row].clone()).collect(),
            rotation: self.rotation.select(rows),
            mask: self.mask.as_ref().map(some),
            windows: self.windows.iter().map(|(window, mask)| (*window, some(mask))).collect(),
            #[cfg(feature = "gpu")]
            seen: self.unseen(),
        }
    }

    /// Returns the frame of the same pass that also hides the slots for which `hole(row, slot)` is `true`, in its rows for
    /// which `any(row)` is `true`. A token always sees its own slot.
    pub fn with_holes(&self, any: impl Fn(usize) -> bool, hole: impl Fn(usize, usize) -> bool) -> Self {
        let mut frame = self.clone();
        for (row, place) in frame.places.iter_mut().enumerate().filter(|(row, _)| any(*row)) {
            let slots = place.start + self.tokens;
            let hidden = (place.start..slots)
                .flat_map(|own| (0..slots).map(move |slot| (own, slot)))
                .map(|(own, slot)| u8::from(slot > own || (slot != own && hole(row, slot))));
            place.holes = Some(hidden.collect());
        }
        #[cfg(feature = "gpu")]
        {
            frame.seen = self.unseen();
        }
        frame
    }

    /// The slots that each token sees in a layer with this window, if the cache is a pool.
    #[cfg(feature = "gpu")]
    pub(super) fn seen_slots(&self, window: Option<usize>) -> Option<&SeenSlots> {
        self.seen.get(&window)?.get_or_init(|| self.to_seen(window)).as_ref()
    }

    /// Returns the windows of `seen`, of which nothing is made.
    #[cfg(feature = "gpu")]
    fn unseen(&self) -> BTreeMap<Option<usize>, OnceLock<Option<SeenSlots>>> {
        self.seen.keys().map(|window| (*window, OnceLock::new())).collect()
    }

    #[cfg(feature = "gpu")]
    fn to_seen(&self, window: Option<usize>) -> Option<SeenSlots> {
        let device = self.rotation.device();
        let longest = self.longest();
        let (mut places, mut bias, mut gaps) = (Vec::new(), Vec::new(), false);
        for (row, place) in self.places.iter().enumerate() {
            let (read, hidden) = place.seen(window);
            let width = place.start + self.tokens - read;
            for token in 0..self.tokens {
                let own = place.start + token;
                let sees =
                    |slot: usize| hidden.as_deref().is_none_or(|hidden| hidden[token * width + slot - read] == 0);
                let first = (read..own).find(|slot| sees(*slot)).unwrap_or(own);
                for slot in [place.pool?, first, own] {
                    places.push(exact(slot)?);
                }
                let (cos, sin) = self.rotation.of(row * self.tokens + token);
                places.extend_from_slice(cos);
                places.extend_from_slice(sin);
                gaps |= hidden.is_some() && !(first..own).all(sees);
                if hidden.is_some() {
                    bias.resize((row * self.tokens + token) * longest, 0.0);
                    bias.extend((0..=own).map(|slot| if slot < first || !sees(slot) { -1.0 } else { 0.0 }));
                }
            }
        }
        let tokens = self.places.len() * self.tokens;
        bias.resize(tokens * longest, 0.0);
        let bias = gaps.then(|| Tensor::from_data(TensorData::new(bias, [tokens, longest]), device));
        Some(SeenSlots { places: Tensor::from_data(places.as_slice(), device), bias })
    }

    /// The slots of the longest row, those of the pass included.
    #[cfg(feature = "gpu")]
    pub(super) fn longest(&self) -> usize {
        self.places.iter().map(|place| place.start + self.tokens).max().unwrap_or_default()
    }
}

impl Place {
    /// Returns the first slot that a layer with this window reads, and the mask of the slots from there on: one byte
    /// per token and slot, nonzero where the token must not attend; `None` = every slot up to the own is seen.
    pub(crate) fn seen(&self, window: Option<usize>) -> (usize, Option<Cow<'_, [u8]>>) {
        let Some(View { first, hidden }) = window.and_then(|window| self.views.get(&window)) else {
            return (0, self.holes.as_deref().map(Cow::Borrowed));
        };
        let Some(holes) = &self.holes else {
            return (*first, hidden.as_deref().map(Cow::Borrowed));
        };
        let slots = self.start + self.positions.len();
        let mut both: Vec<u8> = holes.chunks_exact(slots).flat_map(|token| &token[*first..]).copied().collect();
        for (byte, hidden) in both.iter_mut().zip(hidden.iter().flat_map(|hidden| hidden.iter())) {
            *byte |= *hidden;
        }
        (*first, Some(Cow::Owned(both)))
    }
}

impl View {
    /// Returns what a window leaves of the slots with these positions, of which the last `tokens` are those of the
    /// pass; `None` if it hides none.
    ///
    /// Positions usually ascend with the slots, but need not.
    fn new(positions: &[usize], tokens: usize, window: usize) -> Option<Self> {
        let (start, end) = (positions.len() - tokens, positions.len());
        let (lowest, highest) = bounds(&positions[start..]);
        let first = (0..start).find(|slot| !outside(lowest, positions[*slot], window)).unwrap_or(start);
        let first = first - first % SLOTS_ABREAST;
        let (oldest, _) = bounds(&positions[first..]);
        if !outside(highest, oldest, window) {
            return (first > 0).then_some(Self { first, hidden: None });
        }
        let hidden = (start..end)
            .flat_map(|own| (first..end).map(move |slot| (own, slot)))
            .map(|(own, slot)| slot > own || (slot != own && outside(positions[own], positions[slot], window)));
        Some(Self { first, hidden: Some(hidden.map(u8::from).collect()) })
    }
}

/// Returns a slot's number as a float, if it is small enough to be exact.
#[cfg(feature = "gpu")]
fn exact(slot: usize) -> Option<f32> {
    #[expect(clippy::cast_precision_loss, reason = "it is below 2^24")]
    (slot < 1 << f32::MANTISSA_DIGITS).then_some(slot as f32)
}

/// Returns `true` if a window hides the token at `position` from the token at `own`.
fn outside(own: usize, position: usize, window: usize) -> bool {
    own.saturating_sub(position) >= window
}

/// The lowest and the highest of some positions.
fn bounds(positions: &[usize]) -> (usize, usize) {
    positions.iter().fold((usize::MAX, 0), |(low, high), position| (low.min(*position), high.max(*position)))
}
