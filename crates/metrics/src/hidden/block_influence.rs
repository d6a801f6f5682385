//! Block influence.

use super::cosine_similarity;
use crate::TensorError;
use crate::numbers::ToF64;
use crate::tensors::check_size;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Block influence of each layer, collected over batches of tokens: 1 minus the mean, over tokens, of the cosine
/// similarity of a layer's input and output (Men et al. 2024, "ShortGPT: layers in large language models are more
/// redundant than you expect", arXiv 2403.03853, equation 1).
///
/// It is 0 for a layer that does not change the direction of the states, and at most 2. The layers of least influence
/// are the first candidates for skipping.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dynlayer_metrics::hidden::BlockInfluence;
///
/// // Two layers, one token: the first turns the state by a right angle, the second only doubles it.
/// let states = Tensor::from_floats([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 2.0]]], &Device::flex());
/// let mut influence = BlockInfluence::default();
/// influence.add(&states)?;
/// let values = influence.values().unwrap();
/// assert!((values[0] - 1.0).abs() < 1e-6 && values[1].abs() < 1e-6);
/// # Ok::<(), dynlayer_metrics::TensorError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockInfluence {
    /// Sum of cosines per layer.
    sums: Vec<f64>,
    tokens: u64,
}

impl BlockInfluence {
    /// Adds tokens, given by their states before and after every layer.
    ///
    /// # Shapes
    /// - `states`: `[layers + 1, tokens, d_model]`: the embeddings, then the residual stream after each layer
    ///
    /// # Errors
    ///
    /// [`TensorError::Empty`] with fewer than two states, [`TensorError::Shapes`] if the number of layers differs from
    /// before, [`TensorError::ZeroVector`] and [`TensorError::NotFinite`] for vectors without a direction. On error
    /// nothing is added.
    pub fn add(&mut self, states: &Tensor<3>) -> Result<(), TensorError> {
        let [n_states, tokens, _] = states.dims();
        check_size("states around layers", states.dims(), [2, 1, 1])?;
        let layers = n_states - 1;
        if self.tokens > 0 && self.sums.len() != layers {
            let what = "layers of later states";
            return Err(TensorError::Shapes { what, found: vec![layers], expected: vec![self.sums.len()] });
        }
        let (before, after) = (states.clone().narrow(0, 0, layers), states.clone().narrow(0, 1, layers));
        let means = cosine_similarity(&before, &after)?.row_means();
        self.sums.resize(layers, 0.0);
        self.sums.iter_mut().zip(means).for_each(|(sum, mean)| *sum += mean * tokens.to_f64());
        self.tokens += tokens as u64;
        Ok(())
    }

    /// Number of tokens added.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The influence of each layer; `None` before any token.
    pub fn values(&self) -> Option<Vec<f64>> {
        (self.tokens > 0).then(|| self.sums.iter().map(|sum| 1.0 - sum / self.tokens.to_f64()).collect())
    }
}
