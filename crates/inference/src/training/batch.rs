//! Texts with their answers, laid out for a pass.

use super::TrainingError;
use crate::control::{ControlFrom, Row};
use crate::tokens;
use burn::tensor::{Device, Int, Tensor, TensorData};
use dynlayer_model::Llama;
use std::ops::Range;

/// A prompt and the answer that is to be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainingItem {
    /// Noise is drawn by this, so that an item is treated alike in every batch.
    pub id: u64,
    /// At least one token.
    pub prompt: Vec<u32>,
    /// At least one token; with the token that ends a text, if the model is to learn to stop.
    pub answer: Vec<u32>,
}

/// Items padded on the left to one width, as decoding pads them.
///
/// The last token of an answer is predicted and never read, so a row of `p` prompt and `a` answer tokens takes
/// `p + a - 1` places. *Labels* are the tokens to be predicted; the place that predicts one comes before it.
#[derive(Clone, Debug)]
pub struct TrainingBatch {
    tokens: Vec<Vec<u32>>,
    positions: Vec<Vec<usize>>,
    padding: Vec<usize>,
    rows: Vec<Row>,
    items: Vec<TrainingItem>,
}

impl TrainingBatch {
    /// Lays the items out for a model.
    ///
    /// # Errors
    /// If there are none, a prompt or an answer is empty, a text is longer than the model's context, a token is not in
    /// its vocabulary, or two items share an id.
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
        let rows = items.iter().map(|item| Row { id: item.id, position: length(item) - 1, generated: 0 });
        Ok(Self {
            tokens: tokens.collect(),
            positions: positions.collect(),
            padding: padding.clone(),
            rows: rows.collect(),
            items,
        })
    }

    /// The items, in the order of the rows.
    pub fn items(&self) -> &[TrainingItem] {
        &self.items
    }

    /// Places per row, padding included.
    pub fn width(&self) -> usize {
        self.tokens.first().map_or(0, Vec::len)
    }

    /// Labels of all rows together.
    pub fn label_count(&self) -> usize {
        self.items.iter().map(|item| item.answer.len()).sum()
    }

    /// Per row, the places that predict its labels, from that of the last prompt token on.
    pub fn label_places(&self) -> Vec<Range<usize>> {
        let width = self.width();
        self.items.iter().map(|item| width - item.answer.len()..width).collect()
    }

    /// Per row, the places that a controller decides about: those whose *input* is an answer token by default, with the
    /// last prompt token, or all that are not padding.
    pub fn controlled_places(&self, from: ControlFrom) -> Vec<Range<usize>> {
        let width = self.width();
        let start = |item: &TrainingItem, pad: usize| match from {
            ControlFrom::FirstGenerated => width + 1 - item.answer.len(),
            ControlFrom::LastPromptToken => width - item.answer.len(),
            ControlFrom::All => pad,
        };
        self.items.iter().zip(&self.padding).map(|(item, pad)| start(item, *pad)..width).collect()
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn positions(&self) -> &[Vec<usize>] {
        &self.positions
    }

    pub(super) fn padding(&self) -> &[usize] {
        &self.padding
    }

    /// `[rows, width]`.
    pub(super) fn tokens(&self, model: &Llama) -> Tensor<2, Int> {
        let rows: Vec<&[u32]> = self.tokens.iter().map(Vec::as_slice).collect();
        model.tokens(&rows)
    }

    /// The places of all labels, into rows laid one after another, `[labels]`.
    pub(super) fn label_index(&self, device: &Device) -> Tensor<1, Int> {
        let width = self.width();
        let places = self.label_places().into_iter().enumerate();
        let places: Vec<i64> =
            places.flat_map(|(row, places)| places.map(move |place| signed(row * width + place))).collect();
        Tensor::from_data(places.as_slice(), device)
    }

    /// The labels, in the order of [`label_index`](Self::label_index), `[labels]`.
    pub(super) fn labels(&self, device: &Device) -> Tensor<1, Int> {
        let labels: Vec<i64> =
            self.items.iter().flat_map(|item| item.answer.iter().map(|token| i64::from(*token))).collect();
        Tensor::from_data(labels.as_slice(), device)
    }

    /// 1 in the given places of every row and 0 elsewhere, `[rows, width]`.
    pub(super) fn mask(&self, places: &[Range<usize>], device: &Device) -> Tensor<2> {
        let width = self.width();
        let ones =
            |places: &Range<usize>| (0..width).map(|place| f32::from(u8::from(places.contains(&place)))).collect();
        let values: Vec<f32> = places.iter().flat_map(|places| -> Vec<f32> { ones(places) }).collect();
        Tensor::from_data(TensorData::new(values, [places.len(), width]), device)
    }
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
