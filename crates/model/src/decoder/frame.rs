//! What all layers of one pass share.

use super::Rope;
use burn::tensor::{Bool, Device, Tensor, TensorData};

/// The place of a pass in the cache, its rotations, and which slots each of its tokens may look at.
///
/// Made once per pass by [`Llama::frame`](super::Llama::frame).
#[derive(Debug, Clone)]
pub struct Frame {
    start: usize,
    tokens: usize,
    /// `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) cos: Tensor<4>,
    /// `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) sin: Tensor<4>,
    /// `[rows, 1, tokens, start + tokens]`, `true` = hidden; `None` = every slot up to the token's own is seen.
    pub(crate) mask: Option<Tensor<4, Bool>>,
}

impl Frame {
    /// A pass over the slots from `start` on.
    ///
    /// - `positions[row][token]`: the position that rotates the token, independent of its slot
    /// - `padding[row]`: how many of the first slots the row never looks at (left padding)
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, or `padding` has not one entry per row.
    pub fn new(rope: &Rope, start: usize, positions: &[Vec<usize>], padding: &[usize], device: &Device) -> Self {
        let rows = positions.len();
        let tokens = positions.first().map_or(0, Vec::len);
        assert!(tokens > 0 && positions.iter().all(|row| row.len() == tokens), "ragged or empty positions");
        assert_eq!(padding.len(), rows, "one padding per row");
        let (cos, sin) = rope.at(positions, device);
        let mask = padding.iter().any(|pad| *pad > 0).then(|| mask(start, tokens, padding, device));
        Self { start, tokens, cos, sin, mask }
    }

    /// The first slot of the pass.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Tokens per row.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The slot after the last of the pass.
    pub fn end(&self) -> usize {
        self.start + self.tokens
    }
}

/// `[rows, 1, tokens, start + tokens]`: hides padding, and what comes after the token itself.
///
/// A padding token sees itself, so that no query is left without any key.
fn mask(start: usize, tokens: usize, padding: &[usize], device: &Device) -> Tensor<4, Bool> {
    let slots = start + tokens;
    let hidden: Vec<bool> = padding
        .iter()
        .flat_map(|pad| {
            (start..slots).flat_map(move |own| (0..slots).map(move |slot| slot > own || (slot < *pad && slot != own)))
        })
        .collect();
    Tensor::from_data(TensorData::new(hidden, [padding.len(), 1, tokens, slots]), device)
}
