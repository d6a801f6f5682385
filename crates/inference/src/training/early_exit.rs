//! A loss for early exits.

use super::{TrainingBatch, TrainingError, TrainingPass};
use burn::tensor::{Tensor, activation::log_softmax};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// The early-exit loss of `LayerSkip` (Elhoushi et al. 2024, arXiv 2404.16710, section 4.1.2): the mean of the
/// cross-entropies that final norm and head reach after each layer, where later layers have larger weights.
///
/// The weights `e` are divided by their sum. For layer `l` of `L`, counted from 0, they are (equations 5 and 6)
///
/// ```text
/// e(l) = scale * l (l + 1) / 2                       for l < L - 1
/// e(L - 1) = L - 1 + scale * (L - 2) (L - 1) / 2
/// ```
///
/// With a `rotation` of `R`, step `t` uses the last layer and the layers `l` with `l mod R = t mod R`; all others have
/// a weight of 0 (the rotational curriculum).
///
/// ```
/// use dynlayer_inference::training::ExitLoss;
///
/// let weights = ExitLoss { scale: 1.0, rotation: 1 }.weights(4, 0);
/// let sum = 0.0 + 1.0 + 3.0 + (3.0 + 3.0);
/// assert_eq!(weights, [0.0 / sum, 1.0 / sum, 3.0 / sum, 6.0 / sum]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitLoss {
    /// The weight of early exits, at least 0; `LayerSkip` uses 0.1 to 1.
    pub scale: f64,
    /// The distance between two exits of one step, in layers, at least 1.
    pub rotation: u64,
}

impl ExitLoss {
    /// The weights of the exits after each layer at a step; their sum is 1.
    pub fn weights(&self, n_layers: usize, step: u64) -> Vec<f64> {
        let last = n_layers.saturating_sub(1);
        let triangle = |n: usize| (n * (n + 1) / 2) as f64;
        let weight = |layer: usize| {
            if layer == last {
                // A model of one layer has this exit only.
                if last == 0 { 1.0 } else { last as f64 + self.scale * triangle(last - 1) }
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

    /// Checks the options.
    pub(super) fn check(&self) -> Result<(), TrainingError> {
        let ok = self.scale.is_finite() && self.scale >= 0.0;
        TrainingError::check(ok, "the scale of the exit loss", self.scale, "a finite number, at least 0")?;
        TrainingError::check(self.rotation > 0, "the rotation of exits", self.rotation, "at least 1")
    }

    /// Returns the weighted loss, `[1]`, and the layer and cross-entropy, `[1]`, of each exit with a weight above 0.
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
            "one per layer; set PassOptions::keep_states",
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
        let exit_weights: Vec<f32> = exits.iter().map(|layer| weights[*layer] as f32).collect();
        let weighted = losses * Tensor::<1>::from_floats(exit_weights.as_slice(), &device);
        Ok((weighted.sum(), parts))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, model, values};
    use super::*;
    use crate::controllers::{ExitAfter, FullDepth};
    use crate::training::{PassOptions, pass};
    use burn::tensor::Device;

    #[test]
    fn every_exit_has_the_loss_of_a_model_that_stops_there() {
        let model = model(&Device::flex());
        let batch = batch(&model);
        let options = PassOptions { keep_states: true, ..PassOptions::default() };
        let full = pass(&model, &mut FullDepth, &batch, options).unwrap();
        let exits = ExitLoss { scale: 0.5, rotation: 1 };
        let (loss, parts) = exits.loss(&model, &full, &batch, 0).unwrap();
        let weights = exits.weights(4, 0);
        let mut expected = 0.0;
        assert_eq!(parts.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(), [1, 2, 3]);
        for (layer, part) in parts {
            let alone = pass(&model, &mut ExitAfter(layer + 1), &batch, PassOptions::default()).unwrap();
            let alone = values(alone.cross_entropy(&model, &batch))[0];
            assert!((values(part)[0] - alone).abs() < 2e-5, "after layer {layer}");
            expected += weights[layer] * f64::from(alone);
        }
        assert!((f64::from(values(loss)[0]) - expected).abs() < 2e-5);
    }

    #[test]
    fn exits_take_turns() {
        let exits = ExitLoss { scale: 1.0, rotation: 3 };
        let at = |step| -> Vec<usize> { (0..12).filter(|layer| exits.weights(12, step)[*layer] > 0.0).collect() };
        assert_eq!([at(0), at(1), at(2)], [vec![3, 6, 9, 11], vec![1, 4, 7, 10, 11], vec![2, 5, 8, 11]]);
        assert_eq!(at(3), at(0));
        for weights in [exits.weights(12, 1), exits.weights(1, 0), ExitLoss { scale: 0.0, rotation: 1 }.weights(5, 0)] {
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn options_out_of_range_and_missing_states_are_refused() {
        let model = model(&Device::flex());
        let batch = batch(&model);
        let full = pass(&model, &mut FullDepth, &batch, PassOptions::default()).unwrap();
        let refused = |scale, rotation| {
            matches!(ExitLoss { scale, rotation }.loss(&model, &full, &batch, 0), Err(TrainingError::Option { .. }))
        };
        assert!(refused(f64::NAN, 1) && refused(-1.0, 1) && refused(1.0, 0));
        assert!(refused(1.0, 1), "no states were kept");
    }
}
