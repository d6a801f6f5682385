//! The positions and masks that all layers of one pass share.

use super::Rope;
use crate::ops::row_index;
use burn::tensor::{Bool, Device, Tensor, TensorData};

/// The slots that a pass writes, the rotations of its tokens, and the mask of slots that each token must not attend to.
///
/// Made once per pass by [`Llama::frame`](super::Llama::frame).
#[derive(Debug, Clone)]
pub struct Frame {
    start: usize,
    tokens: usize,
    /// The number of slots at the start that are padding, per row.
    padding: Vec<usize>,
    /// The cache's rows that the pass reads and writes, in the order of its tensors; `None` = all of them.
    pub(crate) rows: Option<Vec<usize>>,
    /// `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) cos: Tensor<4>,
    /// `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) sin: Tensor<4>,
    /// `[rows, 1, tokens, start + tokens]`, `true` = hidden; `None` = every slot up to the token's own is seen.
    pub(crate) mask: Option<Tensor<4, Bool>>,
}

impl Frame {
    /// Makes the frame of a pass that writes the slots from `start` on.
    ///
    /// - `positions[row][token]`: the position that rotates the token, independent of its slot
    /// - `padding[row]`: the number of slots at the start that the row never attends to (left padding)
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, or `padding` does not have one entry per row.
    pub fn new(rope: &Rope, start: usize, positions: &[Vec<usize>], padding: &[usize], device: &Device) -> Self {
        let rows = positions.len();
        let tokens = positions.first().map_or(0, Vec::len);
        assert!(tokens > 0 && positions.iter().all(|row| row.len() == tokens), "ragged or empty positions");
        assert_eq!(padding.len(), rows, "one padding per row");
        let (cos, sin) = rope.at(positions, device);
        let padding = padding.to_vec();
        let mut frame = Self { start, tokens, padding, rows: None, cos, sin, mask: None };
        frame.mask = frame.padding.iter().any(|pad| *pad > 0).then(|| frame.make_mask(|_, _| false));
        frame
    }

    /// The first slot of the pass.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The number of tokens per row.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The end of the pass's slots: one past the last.
    pub fn end(&self) -> usize {
        self.start + self.tokens
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
        Self {
            start: self.start,
            tokens: self.tokens,
            padding: rows.iter().map(|row| self.padding[*row]).collect(),
            rows: Some(rows.iter().map(|row| self.rows.as_ref().map_or(*row, |of| of[*row])).collect()),
            cos: self.cos.clone().select(0, index.clone()),
            sin: self.sin.clone().select(0, index.clone()),
            mask: self.mask.clone().map(|mask| mask.select(0, index)),
        }
    }

    /// Returns the frame of the same pass that also hides the slots for which `hole(row, slot)` is `true`.
    ///
    /// `row` counts the rows of this frame. A token always sees its own slot.
    pub fn with_holes(&self, hole: impl Fn(usize, usize) -> bool) -> Self {
        Self { mask: Some(self.make_mask(hole)), ..self.clone() }
    }

    /// Makes the mask `[rows, 1, tokens, start + tokens]`, which hides padding, holes, and all slots after the token's
    /// own.
    ///
    /// A padding token sees itself, so that every query has a key.
    fn make_mask(&self, hole: impl Fn(usize, usize) -> bool) -> Tensor<4, Bool> {
        let slots = self.end();
        let mut hidden = Vec::with_capacity(self.padding.len() * self.tokens * slots);
        for (row, pad) in self.padding.iter().enumerate() {
            for own in self.start..slots {
                let unseen = |slot| slot > own || (slot != own && (slot < *pad || hole(row, slot)));
                hidden.extend((0..slots).map(unseen));
            }
        }
        Tensor::from_data(TensorData::new(hidden, [self.padding.len(), 1, self.tokens, slots]), &self.cos.device())
    }
}
