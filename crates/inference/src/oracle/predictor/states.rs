//! Mean hidden states of prompts in an early layer.

use crate::control::{Action, Batch, Controller, ControllerError, Decision, Row, Site};
use crate::control::{ControlFrom, RunSettings};
use crate::generation::{GenerateError, GenerateOptions, generate};
use crate::oracle::Item;
use crate::tokens::TokenProblem;
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
            let mut reader = StateReader { layer, pool: Pool::default() };
            let options = GenerateOptions {
                run: RunSettings { control_from: ControlFrom::All, ..RunSettings::default() },
                max_new_tokens: 1,
                sequence_ids: vec![item.id],
                ..GenerateOptions::default()
            };
            generate(model, &mut reader, &[before.to_vec()], options)?.finish()?;
            if let Some(mean) = reader.pool.mean(item.id) {
                states.insert(item.id, read(mean)?);
            }
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

/// Reads a tensor's values to the host.
fn read(mean: Tensor<1>) -> Result<Vec<f32>, GenerateError> {
    let failed = |error: &dyn std::fmt::Debug| GenerateError::Device(format!("{error:?}"));
    let data = mean.try_into_data().map_err(|error| failed(&error))?;
    data.try_into_vec_as::<f32>().map_err(|error| failed(&error))
}

/// The sum of the states of each sequence, on the device, with the number of tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    sums: HashMap<u64, (Tensor<1>, usize)>,
}

impl Pool {
    /// Adds the states of a pass's real tokens.
    pub(super) fn add(&mut self, site: &Site<'_>) {
        let [rows, tokens, width] = site.hidden().dims();
        let padding = site.token_mask().bool_not().unsqueeze_dim::<3>(2).expand([rows, tokens, width]);
        let real = site.hidden().clone().mask_fill(padding, 0.0);
        let sums = real.sum_dim(1).squeeze_dim::<2>(1); // [rows, d_model]
        for (i, (row, pad)) in site.rows().iter().zip(site.padding).enumerate() {
            let sum = sums.clone().narrow(0, i, 1).squeeze_dim::<1>(0);
            let here = tokens - pad.min(&tokens);
            let entry = self.sums.remove(&row.id);
            let entry = entry.map_or((sum.clone(), here), |(before, count)| (before + sum, count + here));
            self.sums.insert(row.id, entry);
        }
    }

    /// The mean state of a sequence, `[d_model]`; `None` without a token.
    pub(super) fn mean(&self, sequence: u64) -> Option<Tensor<1>> {
        let (sum, tokens) = self.sums.get(&sequence).filter(|(_, tokens)| *tokens > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "prompts are far shorter than 2^24 tokens")]
        let tokens = *tokens as f32;
        Some(sum.clone() / tokens)
    }

    /// The mean states of the rows, `[rows, d_model]`; a row without a token gets `default`.
    pub(super) fn means(&self, rows: &[Row], default: &Tensor<1>) -> Tensor<2> {
        Tensor::stack::<2>(rows.iter().map(|row| self.mean(row.id).unwrap_or_else(|| default.clone())).collect(), 0)
    }
}

/// Runs a prompt up to a layer, adds up the states entering it, and exits.
struct StateReader {
    layer: usize,
    pool: Pool,
}

impl Controller for StateReader {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if site.layer() < self.layer {
            return Action::Run.into();
        }
        self.pool.add(site);
        Action::Exit.into()
    }

    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        batch.check_layer(self.layer)
    }
}
