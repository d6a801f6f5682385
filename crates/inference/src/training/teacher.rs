//! The distributions of a model at full depth, from which other passes learn.

use super::{PassOptions, TrainingBatch, TrainingError, TrainingItem, pass};
use crate::controllers::FullDepth;
use crate::parameters::to_host;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use dynlayer_model::{Digest, Llama};
use std::collections::BTreeMap;

/// The smallest probability of all tokens together that are not among the kept ones, so that its logarithm is finite.
const LEAST: f32 = 1e-6;

/// The likeliest next tokens of a model at full depth for the labels of items, computed once per item.
#[derive(Debug)]
pub(super) struct Teacher {
    model: Llama,
    /// The number of tokens per label.
    kept: usize,
    known: BTreeMap<Digest, Likeliest>,
}

/// The likeliest tokens of the labels of one item, and their log-probabilities in nats: those of a label follow each
/// other in falling order.
#[derive(Debug)]
struct Likeliest {
    ids: Vec<i32>,
    log_probs: Vec<f32>,
}

/// The likeliest tokens for the labels of a batch.
#[derive(Debug)]
pub(super) struct Targets {
    /// The tokens, `[labels, kept]`, those of a label in falling order.
    ids: Tensor<2, Int>,
    /// Their log-probabilities, `[labels, kept]`.
    log_probs: Tensor<2>,
}

impl Teacher {
    pub(super) fn new(model: Llama, kept: usize) -> Self {
        let kept = kept.clamp(1, model.config().vocab_size);
        Self { model, kept, known: BTreeMap::new() }
    }

    pub(super) fn model(&self) -> &Llama {
        &self.model
    }

    /// Returns the likeliest tokens for the labels of a batch. Items that are new run through the model.
    pub(super) fn targets(&mut self, batch: &TrainingBatch) -> Result<Targets, TrainingError> {
        let key = |item: &TrainingItem| Digest::of_tokens([&item.prompt[..], &item.answer]);
        for item in batch.items() {
            if self.known.contains_key(&key(item)) {
                continue;
            }
            // Alone: a training that continues meets an item in other company, which may change the last bits.
            let alone = TrainingBatch::new(&self.model, vec![item.clone()])?;
            let pass = pass(&self.model, &mut FullDepth, &alone, PassOptions::default())?;
            let logits = to_host(pass.logits(&self.model, &alone), || "the logits at full depth".into())?;
            let mut found = Likeliest { ids: Vec::new(), log_probs: Vec::new() };
            logits.chunks_exact(self.model.config().vocab_size).for_each(|logits| found.add(logits, self.kept));
            self.known.insert(key(item), found);
        }
        let (mut ids, mut log_probs) = (Vec::new(), Vec::new());
        for found in batch.items().iter().filter_map(|item| self.known.get(&key(item))) {
            ids.extend_from_slice(&found.ids);
            log_probs.extend_from_slice(&found.log_probs);
        }
        let (device, shape): (Device, _) = (self.model.device(), [batch.label_count(), self.kept]);
        Ok(Targets {
            ids: Tensor::from_data(TensorData::new(ids, shape), &device),
            log_probs: Tensor::from_data(TensorData::new(log_probs, shape), &device),
        })
    }
}

impl Likeliest {
    /// Adds the likeliest tokens for a label.
    fn add(&mut self, logits: &[f32], kept: usize) {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
        #[expect(clippy::cast_possible_truncation, reason = "a log-probability is used in f32")]
        let normaliser = (f64::from(most) + sum.ln()) as f32;
        let falls = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        let mut ids: Vec<usize> = (0..logits.len()).collect();
        ids.select_nth_unstable_by(kept - 1, falls);
        ids.truncate(kept);
        ids.sort_unstable_by(falls);
        self.log_probs.extend(ids.iter().map(|id| logits[*id] - normaliser));
        self.ids.extend(ids.iter().filter_map(|id| i32::try_from(*id).ok()));
    }
}

impl Targets {
    /// Returns the mean divergence KL(full depth || pass) over the labels, in nats, `[1]`, where the tokens beyond the
    /// kept ones count as one; and the share of labels for which both have the same likeliest token, `[1]`.
    pub(super) fn divergence(&self, logits: Tensor<2>) -> (Tensor<1>, Tensor<1>) {
        let likeliest = self.ids.clone().narrow(1, 0, 1);
        let agreement = logits.clone().detach().argmax(1).equal(likeliest).float().mean();
        let found = log_softmax(logits, 1).gather(1, self.ids.clone()); // [labels, kept]
        let probs = self.log_probs.clone().exp();
        let kept = (probs.clone() * (self.log_probs.clone() - found.clone())).sum_dim(1); // [labels, 1]
        let rest = |probs: Tensor<2>| (probs.sum_dim(1).neg() + 1.0).clamp_min(LEAST);
        let (rest, found) = (rest(probs), rest(found.exp()));
        let beyond = rest.clone() * (rest.log() - found.log());
        ((kept + beyond).mean(), agreement)
    }
}
