//! The batches of the training steps.

use super::arguments::Arguments;
use dynlayer::inference::training::{StepPart, TrainingBatch, TrainingError, TrainingItem, TunedDepth};
use dynlayer::metrics::random;
use dynlayer::model::{Digest, Llama};
use dynlayer_examples::{Loaded, items};
use rand::seq::SliceRandom;
use std::error::Error;

dynlayer::metrics::purposes! {
    /// The order of the items in an epoch; the indices are its number, the part of the step, and 1 for other text.
    ORDER = b"adaptord";
}

/// The number of pieces of other text, and the tokens of each: its first ones, which count as a prompt, and the others.
const PIECES: usize = 400;
const PIECE: (usize, usize) = (8, 56);

/// The number of batches among which items are sorted by length.
const WINDOW: usize = 8;

/// The items that are learned from.
pub struct Batches {
    items: Vec<TrainingItem>,
    /// Pieces of other text.
    others: Vec<TrainingItem>,
    batch: usize,
    seed: u64,
}

impl Batches {
    pub fn new(arguments: &Arguments, loaded: &Loaded, items: Vec<TrainingItem>) -> Result<Self, Box<dyn Error>> {
        let mut others = Vec::new();
        if let Some(file) = &arguments.other {
            let pieces = self::items(Some(file), &arguments.model, loaded, PIECE.0, PIECE.1, PIECES)?;
            let piece = |(id, piece): (u64, _)| {
                let dynlayer::inference::ScoreItem { prompt, continuation } = piece;
                TrainingItem { id, prompt, answer: continuation }
            };
            others.extend((1 << 32..).zip(pieces).map(piece));
        }
        let (batch, seed) = (arguments.batch, arguments.seed);
        if items.len() < batch {
            return Err(format!("{} prompts with answers; a step needs {batch}", items.len()).into());
        }
        if !others.is_empty() && others.len() < batch {
            return Err(format!("--other has {} pieces of text; a step needs {batch}", others.len()).into());
        }
        Ok(Self { items, others, batch, seed })
    }

    /// The digest of all items.
    pub fn digest(&self) -> Digest {
        let all = self.items.iter().chain(&self.others);
        Digest::of_tokens(all.flat_map(|item| [&item.prompt[..], &item.answer]))
    }

    /// The batch of a step. If there is other text, steps with only full depth learn from it.
    pub fn batch(&self, model: &Llama, depth: &TunedDepth, at: StepPart) -> Result<TrainingBatch, TrainingError> {
        let other = *depth == TunedDepth::Full && !self.others.is_empty();
        let items = if other { &self.others } else { &self.items };
        let per_epoch = (items.len() / self.batch) as u64;
        let (epoch, place) = (at.step / per_epoch, at.step % per_epoch);
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.shuffle(&mut random::at(ORDER, self.seed, [epoch, at.part, u64::from(other)]));
        // Items of similar lengths run together, so that little is padded.
        for window in order.chunks_mut(WINDOW * self.batch) {
            window.sort_by_key(|i| items[*i].prompt.len() + items[*i].answer.len());
        }
        let first = usize::try_from(place).unwrap_or_default() * self.batch;
        let chosen = &order[first..first + self.batch];
        TrainingBatch::new(model, chosen.iter().map(|i| items[*i].clone()).collect())
    }
}
