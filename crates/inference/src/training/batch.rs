//! Batches of prompts and answers for a training pass.

use super::TrainingError;
use crate::control::{ControlFrom, Row};
use crate::tokens;
use burn::tensor::{Device, Int, Tensor, TensorData};
use dynlayer_model::{Digest, Frame, Llama};
use std::ops::Range;

/// A prompt and the answer that is to be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainingItem {
    /// The id from which noise derives, so that an item gets the same noise in every batch.
    pub id: u64,
    /// The prompt, at least one token.
    pub prompt: Vec<u32>,
    /// The answer, at least one token. It must include the end-of-text token if the model is to learn to stop.
    pub answer: Vec<u32>,
}

/// Items padded on the left to one width.
///
/// A *place* is an index along the width. The last token of an answer is predicted and never read, so a row of `p`
/// prompt and `a` answer tokens takes `p + a - 1` places. *Labels* are the tokens to be predicted, those of the
/// answers; the place before a label predicts it.
#[derive(Clone, Debug)]
pub struct TrainingBatch {
    tokens: Vec<Vec<u32>>,
    positions: Vec<Vec<usize>>,
    padding: Vec<usize>,
    items: Vec<TrainingItem>,
    /// The row of each item, and the place after its last one.
    ends: Vec<(usize, usize)>,
}

impl TrainingBatch {
    /// Pads the items for a model.
    ///
    /// # Errors
    /// If there are no items, a prompt or an answer is empty, a text is longer than the model's context, a token is not
    /// in its vocabulary, or two items share an id.
    pub fn new(model: &Llama, items: Vec<TrainingItem>) -> Result<Self, TrainingError> {
        if items.is_empty() {
            return Err(TrainingError::EmptyBatch);
        }
        let mut ids: Vec<u64> = items.iter().map(|item| item.id).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TrainingError::RepeatedId { id: pair[0] });
        }
        for TrainingItem { id, prompt, answer } in &items {
            let text = [&prompt[..], answer].concat();
            for (part, ids) in [("prompt", prompt), ("answer", answer), ("text", &text)] {
                tokens::check(model, ids).map_err(|problem| TrainingError::Item { id: *id, part, problem })?;
            }
        }
        let length = |item: &TrainingItem| item.prompt.len() + item.answer.len() - 1;
        let width = items.iter().map(length).max().unwrap_or(0);
        let padding: Vec<usize> = items.iter().map(|item| width - length(item)).collect();
        let tokens = items.iter().zip(&padding).map(|(item, pad)| {
            let text = item.prompt.iter().chain(&item.answer[..item.answer.len() - 1]);
            std::iter::repeat_n(0, *pad).chain(text.copied()).collect()
        });
        let positions = padding.iter().map(|pad| (0..width).map(|place| place.saturating_sub(*pad)).collect());
        let (tokens, positions) = (tokens.collect(), positions.collect());
        let ends = (0..items.len()).map(|row| (row, width)).collect();
        Ok(Self { tokens, positions, padding, items, ends })
    }

    /// Returns the batch with all items in one row, in which the tokens that all prompts begin with stand once; `None`
    /// if they are less than half of the longest text, or the row is so long that its attention takes what its layers save.
    pub(super) fn packed(&self) -> Option<Self> {
        let prompts = || self.items.iter().map(|item| &item.prompt);
        let first = prompts().next()?;
        let common = |prompt: &Vec<u32>| first.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // The last token of a prompt predicts the first one of the item's own answer.
        let begin = prompts().map(|prompt| common(prompt).min(prompt.len() - 1)).min()?;
        if 2 * begin < self.width() {
            return None;
        }
        let (mut tokens, mut positions) = (first[..begin].to_vec(), (0..begin).collect::<Vec<_>>());
        let mut ends = Vec::new();
        for TrainingItem { prompt, answer, .. } in &self.items {
            tokens.extend(prompt[begin..].iter().chain(&answer[..answer.len() - 1]));
            positions.extend(begin..prompt.len() + answer.len() - 1);
            ends.push((0, tokens.len()));
        }
        // Attention goes by the square of the length, and is a small part of a layer at usual lengths.
        if tokens.len().pow(2) > 4 * self.items.len() * self.width().pow(2) {
            return None;
        }
        let (tokens, positions, padding) = (vec![tokens], vec![positions], vec![0]);
        Some(Self { tokens, positions, padding, items: self.items.clone(), ends })
    }

    /// The items, in the order of the rows.
    pub fn items(&self) -> &[TrainingItem] {
        &self.items
    }

    /// The digest of the items, with their ids and in their order.
    pub fn digest(&self) -> Digest {
        let texts = self.items.iter().flat_map(|item| [&item.prompt[..], &item.answer]);
        let ids: Vec<u8> = self.items.iter().flat_map(|item| item.id.to_le_bytes()).collect();
        Digest::of([Digest::of_tokens(texts).as_ref(), &ids[..]])
    }

    /// The number of places per row, padding included.
    pub fn width(&self) -> usize {
        self.tokens.first().map_or(0, Vec::len)
    }

    /// The number of labels of all rows together.
    pub fn label_count(&self) -> usize {
        self.items.iter().map(|item| item.answer.len()).sum()
    }

    /// The places that predict labels, one range per item: from the last prompt token to the end.
    pub fn label_places(&self) -> Vec<Range<usize>> {
        self.items.iter().zip(&self.ends).map(|(item, (_, end))| end - item.answer.len()..*end).collect()
    }

    /// The places that a controller decides about, one range per item. With [`ControlFrom::FirstGenerated`] these are
    /// the places that *read* an answer token, with [`ControlFrom::LastPromptToken`] also the one that reads the last
    /// prompt token, and with [`ControlFrom::All`] all places but the padding.
    pub fn controlled_places(&self, from: ControlFrom) -> Vec<Range<usize>> {
        let start = |item: &TrainingItem, row: usize, end: usize| match from {
            ControlFrom::FirstGenerated => end + 1 - item.answer.len(),
            ControlFrom::LastPromptToken => end - item.answer.len(),
            ControlFrom::All => self.padding[row],
        };
        self.items.iter().zip(&self.ends).map(|(item, (row, end))| start(item, *row, *end)..*end).collect()
    }

    /// The rows of a pass with this seed. A row of many items has the first one's id.
    pub(super) fn rows(&self, seed: u64) -> Vec<Row> {
        let rows = self.items.iter().zip(&self.padding).zip(&self.tokens);
        let rows = rows.map(|((item, padding), places)| {
            let token = places.last().copied().unwrap_or_default();
            Row { seed, token, ..Row::text(item.id, places.len() - padding) }
        });
        rows.collect()
    }

    /// The frame of a pass.
    pub(super) fn frame(&self, model: &Llama) -> Frame {
        if self.tokens.len() < self.items.len() {
            model.branched_frame(&self.positions)
        } else {
            model.uncached_frame(&self.positions, &self.padding)
        }
    }

    /// The token ids, `[rows, width]`.
    pub(super) fn tokens(&self, model: &Llama) -> Tensor<2, Int> {
        let rows: Vec<&[u32]> = self.tokens.iter().map(Vec::as_slice).collect();
        model.tokens(&rows)
    }

    /// The indices of the places that predict labels into a tensor `[rows * width]`, as a tensor `[labels]`.
    pub(super) fn label_index(&self, device: &Device) -> Tensor<1, Int> {
        let width = self.width();
        let places = self.label_places().into_iter().zip(&self.ends);
        #[expect(clippy::cast_possible_wrap, reason = "indices into a tensor")]
        let places: Vec<i64> =
            places.flat_map(|(places, (row, _))| places.map(move |place| (row * width + place) as i64)).collect();
        Tensor::from_data(places.as_slice(), device)
    }

    /// The labels, in the order of [`label_index`](Self::label_index), `[labels]`.
    pub(super) fn labels(&self, device: &Device) -> Tensor<1, Int> {
        let labels: Vec<i64> =
            self.items.iter().flat_map(|item| item.answer.iter().map(|token| i64::from(*token))).collect();
        Tensor::from_data(labels.as_slice(), device)
    }

    /// Returns the logits for the labels, `[labels, vocab_size]`, that norm and head give for the states of a pass,
    /// `[rows, width, d_model]`.
    pub(super) fn logits(&self, model: &Llama, hidden: Tensor<3>) -> Tensor<2> {
        let [rows, width, d_model] = hidden.dims();
        let index = self.label_index(&hidden.device());
        let states = hidden.reshape([rows * width, d_model]).select(0, index); // [labels, d_model]
        model.logits(states.unsqueeze::<3>()).squeeze_dim::<2>(0)
    }

    /// A mask `[rows, width]` with 1 at the given places of every item and 0 elsewhere.
    pub(super) fn mask(&self, places: &[Range<usize>], device: &Device) -> Tensor<2> {
        let (rows, width) = (self.tokens.len(), self.width());
        let mut values = vec![0.0_f32; rows * width];
        for (places, (row, _)) in places.iter().zip(&self.ends) {
            values[row * width..][places.clone()].fill(1.0);
        }
        Tensor::from_data(TensorData::new(values, [rows, width]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, item, items, model};
    use super::*;
    use crate::TokenProblem;

    #[test]
    fn places_of_labels_and_gates() {
        let model = model(&Device::flex());
        let batch = batch(&model);
        assert_eq!((batch.width(), batch.label_count()), (7, 8));
        // A row ends with the second-to-last token of its answer.
        assert_eq!(batch.label_places(), [4..7, 6..7, 3..7]);
        assert_eq!(batch.controlled_places(ControlFrom::FirstGenerated), [5..7, 7..7, 4..7]);
        assert_eq!(batch.controlled_places(ControlFrom::LastPromptToken), [4..7, 6..7, 3..7]);
        assert_eq!(batch.controlled_places(ControlFrom::All), [0..7, 5..7, 3..7]);
    }

    #[test]
    fn rows_end_with_the_last_token_that_is_read() {
        let rows = batch(&model(&Device::flex())).rows(5);
        let found = rows.iter().map(|row| (row.id, row.stream, row.seed, row.token, row.position, row.tokens));
        assert_eq!(found.collect::<Vec<_>>(), [(4, 4, 5, 7, 6, 7), (9, 9, 5, 11, 1, 2), (2, 2, 5, 23, 3, 4)]);
    }

    #[test]
    fn prompts_that_begin_alike_are_packed() {
        let items =
            vec![item(7, &[1, 2, 3, 4, 5], &[6, 7]), item(3, &[1, 2, 3, 4], &[9, 10]), item(5, &[1, 2, 3, 4], &[5])];
        let packed = TrainingBatch::new(&model(&Device::flex()), items).unwrap().packed().unwrap();
        // The last prompt token is each item's own, even where it is the same.
        assert_eq!(packed.tokens, [[1, 2, 3, 4, 5, 6, 4, 9, 4]]);
        assert_eq!(packed.positions, [[0, 1, 2, 3, 4, 5, 3, 4, 3]]);
        assert_eq!(packed.label_places(), [4..6, 6..8, 8..9]);
        let alone = |prompts: [&[u32]; 2]| {
            let items = prompts.iter().zip(0..).map(|(prompt, id)| item(id, prompt, &[3])).collect();
            TrainingBatch::new(&model(&Device::flex()), items).unwrap().packed()
        };
        assert!(alone([&[1, 2, 3, 4], &[5, 2, 3, 4]]).is_none(), "nothing in common");
        assert!(alone([&[1, 2, 3, 4], &[1, 3, 3, 4]]).is_none(), "less than half in common");
        let half = |id: u32| item(id.into(), &[vec![1; 16], vec![2 + id % 20; 12]].concat(), &[3; 4]);
        let many = |n| TrainingBatch::new(&model(&Device::flex()), (0..n).map(half).collect()).unwrap().packed();
        assert!(many(4).is_some() && many(20).is_none(), "too long together");
    }

    #[test]
    fn unusable_items_are_refused() {
        let model = model(&Device::flex());
        let refused = |items| TrainingBatch::new(&model, items).unwrap_err();
        assert!(matches!(refused(vec![]), TrainingError::EmptyBatch));
        assert!(matches!(
            refused(vec![item(1, &[], &[2])]),
            TrainingError::Item { id: 1, part: "prompt", problem: TokenProblem::Empty }
        ));
        assert!(matches!(
            refused(vec![item(1, &[2], &[])]),
            TrainingError::Item { id: 1, part: "answer", problem: TokenProblem::Empty }
        ));
        assert!(matches!(refused(vec![item(5, &[1], &[2]), item(5, &[1], &[2])]), TrainingError::RepeatedId { id: 5 }));
        assert!(matches!(
            refused(vec![item(1, &[2; 30], &[2; 3])]),
            TrainingError::Item { id: 1, part: "text", problem: TokenProblem::TooLong { tokens: 33, context: 32 } }
        ));
        assert!(matches!(
            refused(vec![item(1, &[2], &[30])]),
            TrainingError::Item { id: 1, problem: TokenProblem::OutOfRange { token: 30, vocab_size: 30 }, .. }
        ));
        assert!(TrainingBatch::new(&model, items()).is_ok());
    }
}
