//! The positions, slots and masks that all layers of one pass share.

use super::Rope;
use crate::ops::row_index;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use std::sync::Arc;

/// The rotations of a pass's tokens, the slots that it writes, and what its tokens must not attend to.
///
/// Made once per pass by [`Llama::frame`](super::Llama::frame).
#[derive(Debug, Clone)]
pub struct Frame {
    tokens: usize,
    /// The slots of each row; empty if keys and values are not cached.
    places: Vec<Place>,
    /// `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) cos: Tensor<4>,
    /// `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) sin: Tensor<4>,
    /// `[rows, 1, tokens, tokens]`, `true` = hidden, for frames without slots; `None` = every token up to the own is
    /// seen.
    pub(crate) mask: Option<Tensor<4, Bool>>,
}

/// The slots of one row in a pass.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The row of the cache.
    pub(crate) row: usize,
    /// The first slot that the pass writes.
    pub(crate) start: usize,
    /// One byte per token and slot, `[tokens, start + tokens]`, nonzero where the token must not attend to the slot;
    /// `None` = every slot up to the own is seen.
    pub(crate) hidden: Option<Arc<[u8]>>,
}

impl Frame {
    /// Makes the frame of a pass that appends the same number of tokens to some rows of a cache.
    ///
    /// - `slots[i]`: the cache's row that row `i` of the pass reads and writes, and the first slot to write there
    /// - `positions[i][token]`: the position that rotates the token, independent of its slot
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, there is not one entry per row, or a row is named twice.
    pub fn new(rope: &Rope, slots: &[(usize, usize)], positions: &[Vec<usize>], device: &Device) -> Self {
        let mut frame = Self::bare(rope, positions, device);
        assert_eq!(slots.len(), positions.len(), "positions for each row");
        for (i, (row, start)) in slots.iter().enumerate() {
            assert!(!slots[..i].iter().any(|(other, _)| other == row), "row {row} twice");
            frame.places.push(Place { row: *row, start: *start, hidden: None });
        }
        frame
    }

    /// Makes the frame of a pass over whole texts, whose keys and values are not kept.
    ///
    /// - `positions[row][token]`: the position that rotates the token
    /// - `padding[row]`: the number of tokens at the start that no other token of the row attends to
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, or `padding` does not have one entry per row.
    pub fn uncached(rope: &Rope, positions: &[Vec<usize>], padding: &[usize], device: &Device) -> Self {
        let mut frame = Self::bare(rope, positions, device);
        assert_eq!(padding.len(), positions.len(), "one padding per row");
        frame.mask = padding.iter().any(|pad| *pad > 0).then(|| {
            let (rows, tokens) = (padding.len(), frame.tokens);
            // A padding token sees itself, so that every query has a key.
            let row = |pad: &usize| {
                let pad = *pad;
                (0..tokens).flat_map(move |own| (0..tokens).map(move |at| at > own || (at != own && at < pad)))
            };
            let hidden: Vec<bool> = padding.iter().flat_map(row).collect();
            Tensor::from_data(TensorData::new(hidden, [rows, 1, tokens, tokens]), device)
        });
        frame
    }

    fn bare(rope: &Rope, positions: &[Vec<usize>], device: &Device) -> Self {
        let tokens = positions.first().map_or(0, Vec::len);
        assert!(tokens > 0 && positions.iter().all(|row| row.len() == tokens), "ragged or empty positions");
        let (cos, sin) = rope.at(positions, device);
        Self { tokens, places: Vec::new(), cos, sin, mask: None }
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

    /// Returns the frame of the same pass for some of its rows.
    ///
    /// With it, a block takes and returns tensors of these rows only, and neither reads nor writes the cache's other
    /// rows.
    ///
    /// # Panics
    /// If a row is out of range.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let index = row_index(rows, &self.cos.device());
        let places = if self.places.is_empty() { &[][..] } else { rows };
        Self {
            tokens: self.tokens,
            places: places.iter().map(|row| self.places[*row].clone()).collect(),
            cos: self.cos.clone().select(0, index.clone()),
            sin: self.sin.clone().select(0, index.clone()),
            mask: self.mask.clone().map(|mask| mask.select(0, index)),
        }
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
            place.hidden = Some(hidden.collect());
        }
        frame
    }
}
