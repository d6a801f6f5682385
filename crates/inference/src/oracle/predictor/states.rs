//! Mean hidden states of prompts in an early layer.

use crate::control::{ControllerError, Row, Site, read};
use crate::embedding::{Pooling, embed_one};
use crate::generation::GenerateError;
use crate::oracle::Item;
use crate::tokens::{self, TokenProblem};
use burn::tensor::Tensor;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Mean hidden states of prompts: the states entering a layer, averaged over all tokens of the prompt but the last,
/// whose pass is already controlled.
///
/// ```
/// use dynlayer_inference::oracle::{Item, PromptStates};
/// # let model = dynlayer_inference::conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
///
/// let items = [Item { id: 4, prompt: vec![1, 2, 3], ..Item::default() }];
/// let states = PromptStates::measure(&model, &items, 1)?;
/// assert_eq!(states.get(4).map(<[f32]>::len), Some(model.config().d_model));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptStates {
    layer: usize,
    states: HashMap<u64, Vec<f32>>,
}

impl PromptStates {
    /// Creates prompt states from vectors that were computed elsewhere: for each sequence the mean state entering
    /// `layer`. All vectors have the same length.
    pub fn new(layer: usize, states: impl IntoIterator<Item = (u64, Vec<f32>)>) -> Self {
        Self { layer, states: states.into_iter().collect() }
    }

    /// Runs the first `layer` layers over every prompt. A prompt of one token gets an empty state, which stands for the
    /// mean of the others.
    ///
    /// # Errors
    /// If the model has no such layer, or a prompt cannot be run.
    pub fn measure(model: &Llama, items: &[Item], layer: usize) -> Result<Self, GenerateError> {
        let mut states = HashMap::new();
        for item in items {
            let Some((_, before)) = item.prompt.split_last() else {
                return Err(GenerateError::Prompt { prompt: 0, problem: TokenProblem::Empty });
            };
            if before.is_empty() {
                states.insert(item.id, Vec::new());
                continue;
            }
            let n_layers = model.layers().len();
            if layer >= n_layers {
                return Err(ControllerError::LayerOutOfRange { layer, n_layers }.into());
            }
            tokens::check(model, before).map_err(|problem| GenerateError::Prompt { prompt: 0, problem })?;
            let mean = embed_one(model, before, layer, Pooling::Mean);
            states.insert(item.id, read(mean.squeeze_dim::<1>(0))?);
        }
        Ok(Self { layer, states })
    }

    /// The layer whose input the states are.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// A sequence's state, `[d_model]` or empty; `None` for an unknown sequence.
    pub fn get(&self, sequence: u64) -> Option<&[f32]> {
        self.states.get(&sequence).map(Vec::as_slice)
    }
}

/// The states of the tokens that were observed of each sequence, `[tokens, d_model]`, on the device. They are the
/// sequence's first tokens.
#[derive(Debug, Default)]
pub(super) struct Pool {
    states: HashMap<u64, Tensor<2>>,
}

impl Pool {
    /// Adds the states of a pass's real tokens, for the sequences that `wanted` accepts.
    pub(super) fn add(&mut self, site: &Site<'_>, wanted: impl Fn(u64) -> bool) {
        let tokens = site.hidden().dims()[1];
        for (index, row) in site.rows().iter().enumerate().filter(|(_, row)| wanted(row.id)) {
            let states = site.hidden().clone().narrow(0, index, 1).squeeze_dim::<2>(0);
            let states = states.narrow(0, tokens - row.tokens, row.tokens);
            let states = match self.states.remove(&row.id) {
                Some(before) => Tensor::cat(vec![before, states], 0),
                None => states,
            };
            self.states.insert(row.id, states);
        }
    }

    /// The number of tokens of a sequence.
    pub(super) fn tokens(&self, sequence: u64) -> usize {
        self.states.get(&sequence).map_or(0, |states| states.dims()[0])
    }

    /// Keeps only the first `tokens` tokens of a sequence.
    pub(super) fn truncate(&mut self, sequence: u64, tokens: usize) {
        let states = self.states.remove(&sequence).filter(|_| tokens > 0);
        if let Some(states) = states {
            let kept = states.dims()[0].min(tokens);
            self.states.insert(sequence, states.narrow(0, 0, kept));
        }
    }

    /// Gives a sequence the states of the one that it is a copy of.
    pub(super) fn copy(&mut self, original: u64, sequence: u64) {
        if let Some(states) = self.states.get(&original).cloned() {
            self.states.insert(sequence, states);
        }
    }

    /// The mean state of a sequence, `[d_model]`; `None` without a token.
    pub(super) fn mean(&self, sequence: u64) -> Option<Tensor<1>> {
        Some(self.states.get(&sequence)?.clone().mean_dim(0).squeeze_dim::<1>(0))
    }

    /// The mean states of the rows, `[rows, d_model]`; a row without a token gets `default`.
    pub(super) fn means(&self, rows: &[Row], default: &Tensor<1>) -> Tensor<2> {
        Tensor::stack::<2>(rows.iter().map(|row| self.mean(row.id).unwrap_or_else(|| default.clone())).collect(), 0)
    }
}
