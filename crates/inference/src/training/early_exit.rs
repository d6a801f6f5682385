//! A loss at every depth.

use super::{TrainingBatch, TrainingError, TrainingPass};
use burn::tensor::{Tensor, activation::log_softmax};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// The early-exit loss of `LayerSkip` (Elhoushi et al. 2024, arXiv 2404.16710, section 4.1.2): the cross-entropy of final
/// norm and head after every layer, later layers weighing more.
///
/// After layer `l` of `L`, from 0, the weight is (equations 5 and 6), before all are divided by their sum,
///
/// ```text
/// e(l) = scale * l (l + 1) / 2                       for l < L - 1
/// e(L - 1) = L - 1 + scale * (L - 2) (L - 1) / 2
/// ```
///
/// With `rotation` `R`, step `t` takes the layers `l` with `l mod R = t mod R` and the last, all others weighing 0 (the
/// rotational curriculum).
///
/// ```
/// use dynlayer_inference::training::ExitLoss;
///
/// let weights = ExitLoss { scale: 1.0, rotation: 1 }.weights(4, 0);
/// let sum = 0.0 + 1.0 + 3.0 + (3.0 + 3.0);
/// assert_eq!(weights, [0.0 / sum, 1.0 / sum, 3.0 / sum, 6.0 / sum]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitLoss {
    /// How much early exits weigh, at least 0; `LayerSkip` takes 0.1 to 1.
    pub scale: f64,
    /// Every how many layers there is an exit in one step, at least 1.
    pub rotation: u64,
}

impl ExitLoss {
    /// The weights of the exits after each layer at a step; their sum is 1.
    pub fn weights(&self, n_layers: usize, step: u64) -> Vec<f64> {
        let last = n_layers.saturating_sub(1);
        #[expect(clippy::cast_precision_loss, reason = "few layers")]
        let triangle = |n: usize| (n * (n + 1) / 2) as f64;
        let weight = |layer: usize| {
            if layer == last {
                #[expect(clippy::cast_precision_loss, reason = "few layers")]
                let own = last as f64;
                // A model of one layer has this exit only.
                if last == 0 { 1.0 } else { own + self.scale * triangle(last - 1) }
            } else if layer as u64 % self.rotation.max(1) == step % self.rotation.max(1) {
                self.scale * triangle(layer)
            } else {
                0.0
            }
        };
        let weights: Vec<f64> = (0..n_layers).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    /// Refuses options out of range.
    pub(super) fn check(&self) -> Result<(), TrainingError> {
        let ok = self.scale.is_finite() && self.scale >= 0.0;
        TrainingError::check(ok, "the scale of the exit loss", self.scale, "a finite number, at least 0")?;
        TrainingError::check(self.rotation > 0, "the rotation of exits", self.rotation, "at least 1")
    }

    /// The weighted loss, `[1]`, and the cross-entropy of the exits that have a weight, with the layers after which they
    /// stand.
    ///
    /// # Errors
    /// If an option is out of its range, or the pass kept no states.
    pub fn loss(
        &self,
        model: &Llama,
        pass: &TrainingPass,
        batch: &TrainingBatch,
        step: u64,
    ) -> Result<(Tensor<1>, Vec<(usize, Tensor<1>)>), TrainingError> {
        self.check()?;
        let n_layers = model.layers().len();
        let kept = pass.states.len();
        TrainingError::check(
            kept == n_layers,
            "the number of kept states",
            kept,
            "one per layer: PassOptions::keep_states",
        )?;
        let weights = self.weights(n_layers, step);
        let exits: Vec<usize> = (0..n_layers).filter(|layer| weights[*layer] > 0.0).collect();
        let device = pass.hidden.device();
        let [rows, width, d_model] = pass.hidden.dims();
        let index = batch.label_index(&device);
        let states = exits.iter().map(|layer| {
            let state = pass.states.get(layer + 1).unwrap_or(&pass.hidden);
            state.clone().reshape([rows * width, d_model]).select(0, index.clone()) // [labels, d_model]
        });
        // All exits go through norm and head together.
        let logits = model.logits(Tensor::stack(states.collect(), 0)); // [exits, labels, vocab_size]
        let labels = batch.labels(&device).reshape([1, -1, 1]).repeat_dim(0, exits.len()); // [exits, labels, 1]
        let losses = log_softmax(logits, 2).gather(2, labels).squeeze_dim::<2>(2).mean_dim(1).squeeze_dim::<1>(1).neg();
        let parts = exits.iter().enumerate().map(|(i, layer)| (*layer, losses.clone().narrow(0, i, 1)));
        let parts: Vec<(usize, Tensor<1>)> = parts.collect();
        #[expect(clippy::cast_possible_truncation, reason = "weights between 0 and 1")]
        let of_exits: Vec<f32> = exits.iter().map(|layer| weights[*layer] as f32).collect();
        let weighted = losses * Tensor::<1>::from_floats(of_exits.as_slice(), &device);
        Ok((weighted.sum(), parts))
    }
}
