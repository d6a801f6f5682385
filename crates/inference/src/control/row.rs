//! The rows of a pass.

use crate::random;
use rand::Rng;

/// The kind of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A prompt, or a chunk of one: usually several tokens per row.
    Prefill,
    /// One token per row, which predicts the next one.
    Decode,
    /// A training pass over whole texts.
    Train,
}

/// One sequence's part in a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The sequence's id, chosen by the caller; by default its index among the prompts. It does not change when other
    /// rows leave.
    pub id: u64,
    /// The number that stands for the sequence in random draws: the id, unless the caller chose another. A copy of a
    /// sequence keeps it, so both draw the same numbers.
    pub stream: u64,
    /// The seed of the sequence's random draws. A random controller derives each draw from the seed, the stream, the
    /// position and the layer, so that a sequence draws the same numbers alone and in a batch.
    pub seed: u64,
    /// The row's last input token of this pass.
    pub token: u32,
    /// The position of that token, counted from 0 at the sequence's first token.
    pub position: usize,
    /// The number of tokens generated before this pass, since the prompt or the last appended turn.
    pub generated: usize,
    /// The number of the row's tokens in this pass, without padding. They are the last ones of the row.
    pub tokens: usize,
    /// `true` if this pass reads the last token of the prompt or of an appended turn.
    pub ends_prompt: bool,
    /// `true` if the decision counts for this row. It is `false` once the row has exited, at
    /// [`Place::Mlp`](super::Place::Mlp) unless the row asked for the question, and in passes that are only observed.
    pub asked: bool,
}

impl Row {
    /// Makes the row of a whole text that is run in one pass.
    pub(crate) fn text(id: u64, tokens: usize) -> Self {
        let position = tokens.saturating_sub(1);
        Self { id, stream: id, seed: 0, token: 0, position, generated: 0, tokens, ends_prompt: true, asked: true }
    }

    /// Draws a number from 0 to 1, 1 excluded, that depends only on the sequence's seed and stream, the row's position,
    /// the layer and the purpose: eight bytes that no other kind of draw uses. (Those of the library are in small
    /// letters.) So a sequence draws the same numbers alone and in a batch.
    ///
    /// ```
    /// use dynlayer_inference::{Action, Decision, controller_fn};
    ///
    /// let half = controller_fn(|site| {
    ///     let heads = |draw| if draw < 0.5 { Action::Run } else { Action::Skip };
    ///     Decision::per_row(site.rows().iter().map(|row| heads(row.draw(b"CoinFlip", site.layer()))))
    /// });
    /// # let _: &dyn dynlayer_inference::Controller = &half;
    /// ```
    pub fn draw(&self, purpose: &[u8; 8], layer: usize) -> f64 {
        random::at(*purpose, self.seed, [self.stream, self.position as u64, layer as u64]).random()
    }
}
