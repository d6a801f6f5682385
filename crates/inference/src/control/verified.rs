//! The tokens of a round of speculation.

use super::logits::Logits;
use super::{ControllerError, Row};

/// The tokens of one round of speculation, in which the full model has checked the drafted ones.
#[derive(Clone, Debug)]
pub struct Verified<'a> {
    pub(crate) rows: Vec<VerifiedRow<'a>>,
}

impl<'a> Verified<'a> {
    /// The rows of the round.
    pub fn rows(&self) -> &[VerifiedRow<'a>] {
        &self.rows
    }

    pub(super) fn part(&self, has: impl Fn(u64) -> bool) -> Self {
        Self { rows: self.rows.iter().filter(|row| has(row.id())).copied().collect() }
    }
}

/// One row's tokens in a round of speculation.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedRow<'a> {
    pub(crate) row: &'a Row,
    pub(crate) drafted: &'a [u32],
    pub(crate) tokens: &'a [u32],
    pub(crate) stopped: bool,
    pub(crate) logits: &'a Logits,
    /// The index of the row's first logits, and their number.
    pub(crate) places: (usize, usize),
}

impl<'a> VerifiedRow<'a> {
    /// The sequence's id.
    pub fn id(&self) -> u64 {
        self.row.id
    }

    /// The row at the beginning of the round: its token is the input of the first draft.
    pub fn row(&self) -> &'a Row {
        self.row
    }

    /// The drafted tokens, which the controller's passes predicted; none in a round of one full pass.
    pub fn drafted(&self) -> &'a [u32] {
        self.drafted
    }

    /// The number of drafted tokens that were accepted.
    pub fn accepted(&self) -> usize {
        self.tokens.iter().zip(self.drafted).take_while(|(token, drafted)| token == drafted).count()
    }

    /// Returns `true` if a drafted token was replaced by another one. Drafts after it, and drafts after the end of the
    /// sequence, were not judged.
    pub fn rejected(&self) -> bool {
        self.accepted() < self.drafted.len().min(self.tokens.len())
    }

    /// The tokens that came out: the accepted ones, and one that the full model chose after them, unless an accepted one
    /// ends the sequence.
    pub fn tokens(&self) -> &'a [u32] {
        self.tokens
    }

    /// `true` if the sequence stops after these tokens.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The full model's logits at the place of the drafted token `index`, one per token of the vocabulary, before hooks and
    /// penalties; after the last drafted token if `index` is `drafted().len()`, and `None` if it is more. Those beyond
    /// `tokens()` follow tokens that did not come out.
    ///
    /// # Errors
    /// [`ControllerError::Device`] if the device does not deliver them.
    pub fn logits(&self, index: usize) -> Result<Option<&'a [f32]>, ControllerError> {
        let (first, number) = self.places;
        (index < number).then(|| self.logits.row(first + index).read()).transpose()
    }
}
