//! The positions, slots and masks that all layers of one pass share.

use super::rope::{Rope, Rotation};
use crate::ops::{SLOTS_ABREAST, row_index};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeFrom;
use std::sync::Arc;

/// The multiple to which the slots are rounded up that a decode pass on a GPU reads, and those that a row has there. Every
/// new shape may compile or tune kernels.
pub(super) const STEP: usize = 64;

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
    /// The slots that all rows together read and write, if the cache is a pool.
    batch: Option<Batch>,
}

/// The slots of a pool that the rows of a pass read and write.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The slots that are written, `[rows * tokens]`; `None` for a single row, whose slots are a range.
    pub(super) written: Option<Tensor<1, Int>>,
    /// The slots that are read in a pass of one token per row; `None` if there are more tokens.
    pub(super) decode: Option<Decode>,
}

/// The slots of a pool that are read in a pass of one token per row.
#[derive(Debug, Clone)]
pub(crate) struct Decode {
    pub(super) rows: usize,
    /// The number of slots that are read for each row, at least as many as the longest row has.
    pub(super) slots: usize,
    pub(super) read: Read,
    /// The summands of the scores, by window: 0, or negative infinity where the token must not attend;
    /// `[rows, 1, 1, slots]`.
    bias: BTreeMap<Option<usize>, Tensor<4>>,
}

/// Slots of a pool.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one per pass")]
pub(super) enum Read {
    /// Slots of one row, from this one on.
    Range(RangeFrom<usize>),
    /// Slots of all rows, row after row, `[rows * slots]`.
    Slots(Tensor<1, Int>),
}

/// The slots of one row in a pass.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The row of the cache.
    pub(crate) row: usize,
    /// The row's first slot in the pool, if the cache is one.
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
        if slots.iter().any(|(_, pool, _)| pool.is_some()) {
            frame.rotation = frame.rotation.for_gpu();
        }
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
        let windows = std::iter::once(None).chain(windows.iter().copied().map(Some));
        frame.batch = frame.pooled(windows.collect(), device);
        frame
    }

    /// Makes the frame of a pass over whole texts, whose keys and values are not kept.
    ///
    /// - `positions[row][token]`: the position that rotates the token
    /// - `padding[row]`: the number of tokens at the start that no other token of the row attends to
    /// - `windows`: the windows that layers have
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, or `padding` does not have one entry per row.
    pub(crate) fn uncached(
        rope: &Rope,
        positions: &[Vec<usize>],
        padding: &[usize],
        windows: &BTreeSet<usize>,
        device: &Device,
    ) -> Self {
        let mut frame = Self::bare(rope, positions, device);
        assert_eq!(padding.len(), positions.len(), "one padding per row");
        let (rows, tokens) = (padding.len(), frame.tokens);
        let mask = |window: usize| {
            let mut hidden = Vec::with_capacity(rows * tokens * tokens);
            for (positions, pad) in positions.iter().zip(padding) {
                for own in 0..tokens {
                    let unseen = |at: usize| at < *pad || outside(positions[own], positions[at], window);
                    // A padding token sees itself, so that every query has a key.
                    hidden.extend((0..tokens).map(|at| at > own || (at != own && unseen(at))));
                }
            }
            Tensor::<4, Bool>::from_data(TensorData::new(hidden, [rows, 1, tokens, tokens]), device)
        };
        frame.mask = padding.iter().any(|pad| *pad > 0).then(|| mask(usize::MAX));
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
        Self { tokens, places: Vec::new(), rotation, mask: None, windows: BTreeMap::new(), batch: None }
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
    /// With it, a block takes and returns tensors of these rows only, and neither reads nor writes the cache's other
    /// rows.
    ///
    /// # Panics
    /// If a row is out of range.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let index = row_index(rows, &self.rotation.cos.device());
        let places = if self.places.is_empty() { &[][..] } else { rows };
        let some = |mask: &Tensor<4, Bool>| mask.clone().select(0, index.clone());
        let mut frame = Self {
            tokens: self.tokens,
            places: places.iter().map(|row| self.places[*row].clone()).collect(),
            rotation: self.rotation.select(rows),
            mask: self.mask.as_ref().map(some),
            windows: self.windows.iter().map(|(window, mask)| (*window, some(mask))).collect(),
            batch: None,
        };
        frame.batch = self.pooled_again(&frame);
        frame
    }

    /// Returns the frame of the same pass that also hides the slots for which `hole(row, slot)` is `true`, in the rows
    /// for which `any(row)` is `true`.
    ///
    /// `row` counts the rows of this frame. A token always sees its own slot.
    pub fn with_holes(&self, any: impl Fn(usize) -> bool, hole: impl Fn(usize, usize) -> bool) -> Self {
        let mut frame = self.clone();
        for (row, place) in frame.places.iter_mut().enumerate().filter(|(row, _)| any(*row)) {
            let slots = place.start + self.tokens;
            let hidden = (place.start..slots)
                .flat_map(|own| (0..slots).map(move |slot| (own, slot)))
                .map(|(own, slot)| u8::from(slot > own || (slot != own && hole(row, slot))));
            place.holes = Some(hidden.collect());
        }
        frame.batch = self.pooled_again(&frame);
        frame
    }

    /// The slots that all rows together read and write, if the cache is a pool.
    pub(super) fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// The slots that are read in a pass of one token per row, if the cache is a pool.
    pub(super) fn decode(&self) -> Option<&Decode> {
        self.batch.as_ref()?.decode.as_ref()
    }

    /// Returns the batch of another frame for the same windows.
    fn pooled_again(&self, other: &Self) -> Option<Batch> {
        let windows = self.decode().map(|decode| decode.bias.keys().copied().collect());
        other.pooled(windows.unwrap_or_default(), &self.rotation.cos.device())
    }

    /// Returns what all rows together read and write, if the cache is a pool.
    fn pooled(&self, windows: Vec<Option<usize>>, device: &Device) -> Option<Batch> {
        let first: Vec<usize> = self.places.iter().map(|place| place.pool).collect::<Option<_>>()?;
        let rows = first.len();
        let written = (rows > 1).then(|| {
            let starts = first.iter().zip(&self.places).map(|(first, place)| first + place.start);
            row_index(&starts.flat_map(|start| start..start + self.tokens).collect::<Vec<_>>(), device)
        });
        let longest = self.places.iter().map(|place| place.start).max()?;
        let decode = (self.tokens == 1).then(|| {
            let slots = (longest + 1).next_multiple_of(STEP);
            let read = match first[..] {
                [first] => Read::Range(first..),
                _ => {
                    // A short row reads its last slot again and again.
                    let last = |place: &Place| (place.start + 1).next_multiple_of(STEP) - 1;
                    let rows = first.iter().zip(&self.places).map(|(first, place)| (*first, last(place)));
                    let some = rows.flat_map(|(first, last)| (0..slots).map(move |slot| first + slot.min(last)));
                    Read::Slots(row_index(&some.collect::<Vec<_>>(), device))
                }
            };
            let bias = |window: Option<usize>| {
                let bias: Vec<f32> = self.places.iter().flat_map(|place| place.bias(window, slots)).collect();
                Tensor::from_data(TensorData::new(bias, [rows, 1, 1, slots]), device)
            };
            let bias = windows.into_iter().map(|window| (window, bias(window))).collect();
            Decode { rows, slots, read, bias }
        });
        Some(Batch { written, decode })
    }
}

impl Decode {
    /// The summands of the scores of a layer with this window, `[rows, 1, 1, slots]`.
    pub(super) fn bias(&self, window: Option<usize>) -> Option<&Tensor<4>> {
        self.bias.get(&window)
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

    /// Returns what is added to the scores of a single token in a layer with this window, for `slots` slots: 0, or
    /// negative infinity where it must not attend.
    fn bias(&self, window: Option<usize>, slots: usize) -> Vec<f32> {
        let (first, hidden) = self.seen(window);
        let sees = |slot: usize| {
            (first..=self.start).contains(&slot) && hidden.as_deref().is_none_or(|hidden| hidden[slot - first] == 0)
        };
        (0..slots).map(|slot| if sees(slot) { 0.0 } else { f32::NEG_INFINITY }).collect()
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

/// Returns `true` if a window hides the token at `position` from the token at `own`.
fn outside(own: usize, position: usize, window: usize) -> bool {
    own.saturating_sub(position) >= window
}

/// The lowest and the highest of some positions.
fn bounds(positions: &[usize]) -> (usize, usize) {
    positions.iter().fold((usize::MAX, 0), |(low, high), position| (low.min(*position), high.max(*position)))
}
